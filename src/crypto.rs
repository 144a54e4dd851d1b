//! Digests and signatures: the only place that knows the library which computes them.
//!
//! **Shape**: `sha512_hex("password")` -> `b109f3bb…`; `hmac_sha256_hex(key, text)` -> lower-case hex.
//!
//! **Invariants**: pure; nothing here keeps or prints what it is given.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// SHA-256 as it is.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    array
}

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-512 as lower-case hex.
///
/// ```
/// assert!(taskgate::crypto::sha512_hex(b"password").starts_with("b109f3bbbc244eb8"));
/// ```
#[must_use]
pub fn sha512_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA512, bytes).as_ref())
}

/// HMAC-SHA256 as lower-case hex.
#[must_use]
pub fn hmac_sha256_hex(key: &[u8], bytes: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref())
}

/// HMAC-SHA1 in Base64: an old scheme of a vendor asks for it, and its security does not rest on collisions.
#[must_use]
pub fn hmac_sha1_base64(key: &[u8], bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_known_texts() {
        // FIPS 180-4, the empty message; RFC 4231 and RFC 2202, test case 2.
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let text = b"what do ya want for nothing?";
        assert_eq!(
            hmac_sha256_hex(b"Jefe", text),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(hmac_sha1_base64(b"Jefe", text), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
    }
}
