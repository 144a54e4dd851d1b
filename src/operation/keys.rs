//! The keys of operations: the first seals, all of them open, so that keys can be replaced while tokens are out.
//!
//! **Shape**: a token is `version(1) key(4) nonce(12) ciphertext tag(16)` in base64url without padding; version and key id are
//! authenticated along with the rest.
//!
//! **Invariants**: key material stands in secret boxes and in the library's own keys, and nothing here prints it. Each token has a fresh
//! random nonce (`nonce.rs`). Whatever is wrong with a token, the answer is the same.
//!
//! **Source**: NIST SP 800-38D (AES-GCM; section 8.3: a key with random nonces seals 2^32 messages, at a hundred a second in a year and
//! a third), RFC 4648 section 5.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};

use super::nonce::{self, NONCE_BYTES};
use super::payload::{append, decode};
use super::{Accepted, OpenError, Operation, TooLong};
use crate::crypto::sha256;

/// The keys of one gateway.
pub struct OperationKeys {
    sealing: Key,
    /// Those that were the first once, or will be.
    others: Vec<Key>,
}

/// One key, ready for use.
struct Key {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

/// What is wrong with keys; names a key by its place and shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not base64.
    #[error("key {place} is not base64")]
    NotBase64 {
        /// The first one is 1.
        place: usize,
    },
    /// There for the second time.
    #[error("key {place} stands there twice")]
    Repeated {
        /// The first one is 1.
        place: usize,
    },
    /// The library has no chance to offer, or does not take the key.
    #[error("no key can be made on this machine")]
    Unusable,
    /// All its bytes are the same: somebody meant to replace it.
    #[error("key {place} is a placeholder: all its bytes are the same")]
    Weak {
        /// The first one is 1.
        place: usize,
    },
    /// Too long or too short.
    #[error("key {place} has {bytes} bytes and should have {KEY_BYTES}")]
    WrongLength {
        /// The first one is 1.
        place: usize,
        /// How many it has.
        bytes: usize,
    },
}

impl OperationKeys {
    /// Keys as the configuration writes them: base64, in any of its forms, separated by commas; blanks around them mean nothing.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn parse(text: &SecretString) -> Result<Self, KeysError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, written) in text.expose_secret().split(',').enumerate() {
            let key = Key::parse(written.trim(), index + 1)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeysError::Repeated { place: index + 1 });
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        match keys.next() {
            Some(sealing) => Ok(Self {
                sealing,
                others: keys.collect(),
            }),
            None => Err(KeysError::Unusable),
        }
    }

    /// A key that nobody else has: what it seals, no other process opens.
    ///
    /// # Errors
    /// [`KeysError::Unusable`] where the machine offers no chance.
    pub fn random() -> Result<Self, KeysError> {
        let mut bytes = SecretBox::new(Box::new([0; KEY_BYTES]));
        draw(secrecy::ExposeSecretMut::expose_secret_mut(&mut bytes)).ok_or(KeysError::Unusable)?;
        Ok(Self {
            sealing: Key::new(&bytes)?,
            others: Vec::new(),
        })
    }

    /// The token of an operation, at most [`MAX_TOKEN_CHARS`] characters of base64url, behind a `front`; `now` is now.
    ///
    /// # Errors
    /// [`TooLong`] where the operation does not fit into one.
    pub fn seal(&self, front: &str, operation: Accepted<'_>, now: Timestamp) -> Result<String, TooLong> {
        let (head, nonce) = (self.sealing.head(), nonce::fresh(draw, now).ok_or(TooLong)?);
        // One buffer from the words to the sealed bytes, with room for what stands in front of them.
        let mut array = String::with_capacity(USUAL_BYTES);
        array.push_str(FRONT);
        append(&mut array, operation).ok_or(TooLong)?;
        let mut token = array.into_bytes();
        let (place, payload) = token.split_at_mut_checked(FRONT.len()).ok_or(TooLong)?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(TooLong);
        }
        place
            .iter_mut()
            .zip(head.into_iter().chain(nonce))
            .for_each(|(place, byte)| *place = byte);
        let (key, nonce) = (&self.sealing.key, Nonce::assume_unique_for_key(nonce));
        // The library fails for lengths that were excluded above and nothing else.
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(head), payload)
            .map_err(|_| TooLong)?;
        token.extend_from_slice(tag.as_ref());
        let mut text = String::with_capacity(front.len() + ENCODING.encoded_length(token.len()));
        text.push_str(front);
        ENCODING.encode_append(&token, &mut text);
        Ok(text)
    }

    /// The operation of a token.
    ///
    /// # Errors
    /// [`OpenError::Unknown`] for whatever one of these keys has not made just so; [`OpenError::Expired`] for a good one whose
    /// time is over.
    pub fn open(&self, token: &str, now: Timestamp) -> Result<Operation, OpenError> {
        if token.len() > MAX_TOKEN_CHARS {
            return Err(OpenError::Unknown);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| OpenError::Unknown)?;
        let operation = self
            .decrypt(&bytes)
            .and_then(|payload| decode(&payload))
            .ok_or(OpenError::Unknown)?;
        match now < operation.expires_at {
            true => Ok(operation),
            false => Err(OpenError::Expired),
        }
    }

    fn decrypt(&self, token: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = token.split_first_chunk::<HEAD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        std::iter::once(&self.sealing)
            .chain(&self.others)
            .filter(|key| key.head() == *head)
            .find_map(|key| {
                let mut sealed = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let opened = key.key.open_in_place(nonce, Aad::from(*head), &mut sealed).ok()?;
                Some(opened.to_vec())
            })
    }
}

impl Key {
    fn parse(written: &str, place: usize) -> Result<Self, KeysError> {
        let decoded = SecretBox::new(Box::new(
            STANDARD
                .decode(written)
                .or_else(|_| URL_SAFE.decode(written))
                .map_err(|_| KeysError::NotBase64 { place })?,
        ));
        let bytes: &Vec<u8> = decoded.expose_secret();
        let wrong_length = KeysError::WrongLength { place, bytes: bytes.len() };
        let bytes = SecretBox::new(Box::new(<[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| wrong_length)?));
        let mut each = bytes.expose_secret().iter();
        let first = each.next();
        if each.all(|byte| Some(byte) == first) {
            return Err(KeysError::Weak { place });
        }
        Self::new(&bytes)
    }

    fn new(bytes: &SecretBox<[u8; KEY_BYTES]>) -> Result<Self, KeysError> {
        let bytes = bytes.expose_secret();
        // What the digest of a key says of it, nobody can turn round.
        let labelled = SecretBox::new(Box::new([ID_LABEL, bytes].concat()));
        let digest = sha256(labelled.expose_secret());
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(digest.first_chunk::<ID_BYTES>().ok_or(KeysError::Unusable)?);
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeysError::Unusable)?;
        Ok(Self {
            id,
            key: LessSafeKey::new(key),
        })
    }

    /// The first bytes of every token of this key.
    fn head(&self) -> [u8; HEAD_BYTES] {
        let [a, b, c, d] = self.id;
        [VERSION, a, b, c, d]
    }
}

/// Chance that nobody can foresee.
fn draw(bytes: &mut [u8]) -> Option<()> {
    aws_lc_rs::rand::fill(bytes).ok()
}

impl PartialEq for OperationKeys {
    /// The same keys in the same order, as their ids tell.
    fn eq(&self, other: &Self) -> bool {
        let ids = |keys: &Self| keys.others.iter().map(|key| key.id).collect::<Vec<_>>();
        (self.sealing.id, ids(self)) == (other.sealing.id, ids(other))
    }
}

impl fmt::Debug for OperationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationKeys")
            .field("keys", &(1 + self.others.len()))
            .finish_non_exhaustive()
    }
}

/// The form of what follows; another one is another version.
const VERSION: u8 = 1;
const ID_BYTES: usize = 4;
const HEAD_BYTES: usize = 1 + ID_BYTES;
const TAG_BYTES: usize = 16;
/// Of a key, before base64: AES-256.
pub const KEY_BYTES: usize = 32;
/// Keeps the digest that is the id apart from any other use of the key.
const ID_LABEL: &[u8] = b"taskgate operation key id\0";
/// Half of what a request target may have (docs/http.md), so that a proxy's prefix and a query find room beside it. Everyday tokens
/// have a sixth of it.
pub const MAX_TOKEN_CHARS: usize = 2048;
const MAX_PAYLOAD_BYTES: usize = MAX_TOKEN_CHARS / 4 * 3 - HEAD_BYTES - NONCE_BYTES - TAG_BYTES;
/// Room for what stands in front of the payload.
const FRONT: &str = match str::from_utf8(&[0; HEAD_BYTES + NONCE_BYTES]) {
    Ok(zeros) => zeros,
    Err(_) => "",
};
/// More than most tokens have.
const USUAL_BYTES: usize = 352;
/// The SIMD crate needs a quarter of what the other one takes for some two hundred bytes; keys are read with the other, which is lenient.
const ENCODING: base64_simd::Base64 = base64_simd::URL_SAFE_NO_PAD;
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
