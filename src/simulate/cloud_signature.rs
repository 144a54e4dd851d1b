//! The signature `SDK-HMAC-SHA256`, computed again from what came over the wire.
//!
//! **Shape.** [`Signed::of`] reads the `Authorization` header; [`Signed::is_right`] says whether the secret key gives the same signature.
//! The canonical request is six parts, each on a line: method, path, query, headers, their names, digest of the body.
//!
//! **Source.** The vendor's signing guide, and its SDK where the guide is silent.

use aws_lc_rs::{digest, hmac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::vendor::VendorRequest;

/// What a signed request says about its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed<'a> {
    pub(super) access_key: &'a str,
    names: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    /// None when the request is not signed at all; parts that are missing are empty and will not fit.
    pub(super) fn of(request: &'a VendorRequest) -> Option<Self> {
        let fields = request.header("authorization")?.strip_prefix(ALGORITHM)?;
        let field = |name: &str| {
            let value = fields.split(',').find_map(|field| field.trim().strip_prefix(name));
            value.and_then(|value| value.strip_prefix('='))
        };
        Some(Self {
            access_key: field("Access")?,
            names: field("SignedHeaders").unwrap_or_default().split(';').collect(),
            signature: field("Signature").unwrap_or_default(),
        })
    }

    /// Whether the header `name` is part of what was signed.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Whether the secret key gives this signature over the canonical request.
    pub(super) fn is_right(&self, request: &VendorRequest, canonical: &str, secret: &str) -> bool {
        let date = request.header(DATE_HEADER).unwrap_or_default();
        let text = format!(
            "{ALGORITHM}\n{date}\n{}",
            hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hex(hmac::sign(&key, text.as_bytes()).as_ref()) == self.signature
    }

    /// The canonical request.
    pub(super) fn canonical(&self, request: &VendorRequest) -> String {
        let headers: String = self
            .names
            .iter()
            .map(|name| {
                let value = request.headers.get(*name).map_or(&b""[..], |value| value.as_bytes());
                format!("{name}:{}\n", String::from_utf8_lossy(value).trim())
            })
            .collect();
        [
            request.method.as_str(),
            &path(request),
            &query(request),
            &headers,
            &self.names.join(";"),
            &body(request),
        ]
        .join("\n")
    }
}

/// Decoded once as a whole, so that an encoded slash becomes a border; always with a slash at its end.
fn path(request: &VendorRequest) -> String {
    let decoded = percent_decode_str(request.path()).decode_utf8_lossy();
    let mut path = decoded.split('/').map(encode).collect::<Vec<_>>().join("/");
    if !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// Sorted before it is encoded; a parameter always has its equals sign.
fn query(request: &VendorRequest) -> String {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

/// The digest of the bytes; a body that is neither JSON nor BSON may go unsigned, and says so.
fn body(request: &VendorRequest) -> String {
    let unsigned = request.header(CONTENT_HEADER).is_some_and(|value| value == UNSIGNED);
    if unsigned && !request.body.is_empty() {
        UNSIGNED.to_owned()
    } else {
        hex(digest::digest(&digest::SHA256, &request.body).as_ref())
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header with the moment of signing.
pub(super) const DATE_HEADER: &str = "x-sdk-date";

const ALGORITHM: &str = "SDK-HMAC-SHA256";
const CONTENT_HEADER: &str = "x-sdk-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &'static str) -> VendorRequest {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
            })
            .collect();
        VendorRequest {
            method: method.parse().unwrap(),
            target: target.to_owned(),
            headers,
            body: Bytes::from_static(body.as_bytes()),
            origin: String::new(),
            at_once: 1,
            sessions: 1,
        }
    }

    #[track_caller]
    fn check(request: &VendorRequest, expected: &str) {
        let names = Signed::of(request).unwrap();
        assert_eq!(names.canonical(request).replace('\n', "|"), expected);
    }

    fn signed(names: &str) -> String {
        format!("SDK-HMAC-SHA256 Access=AK, SignedHeaders={names}, Signature=00")
    }

    #[test]
    fn the_example_of_the_guide_has_the_signature_of_the_guide() {
        let authorization = "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, \
             Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe";
        let request = request(
            "GET",
            "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs?limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
            &[
                ("authorization", authorization),
                ("content-type", "application/json"),
                ("host", "service.region.example.com"),
                ("x-sdk-date", "20191115T033655Z"),
            ],
            "",
        );
        let signed = Signed::of(&request).unwrap();
        assert_eq!(signed.access_key, "QTWAOYTTINDUT2QVKYUC");
        assert!(signed.covers("host") && !signed.covers("x-project-id"));
        let canonical = signed.canonical(&request);
        assert!(signed.is_right(&request, &canonical, "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc"));
        assert!(!signed.is_right(&request, &canonical, "another"));
    }

    #[test]
    fn the_canonical_request_follows_the_rules() {
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let host = signed("host");
        let ask = |target, body| request("POST", target, &[("authorization", host.as_str()), ("host", " a  b ")], body);
        // Sorted before encoding, repeated and empty values, reserved characters, a plus that is a plus.
        check(
            &ask("/p?b=2&a=%2F*&a=!&c&d=x+y%20z~", ""),
            &format!("POST|/p/|a=%21&a=%2F%2A&b=2&c=&d=x%2By%20z~|host:a  b||host|{nothing}"),
        );
        check(
            &ask("/a%2Fb//%25~%C3%A9/", ""),
            &format!("POST|/a/b//%25~%C3%A9/||host:a  b||host|{nothing}"),
        );
        let braces = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        check(&ask("/", "{}"), &format!("POST|/||host:a  b||host|{braces}"));
        let names = signed("x-sdk-content-sha256");
        let unsigned = |body| {
            let headers = [("authorization", names.as_str()), ("x-sdk-content-sha256", "UNSIGNED-PAYLOAD")];
            request("PUT", "/", &headers, body)
        };
        let line = "PUT|/||x-sdk-content-sha256:UNSIGNED-PAYLOAD||x-sdk-content-sha256";
        check(&unsigned("text"), &format!("{line}|UNSIGNED-PAYLOAD"));
        check(&unsigned(""), &format!("{line}|{nothing}"));
    }

    #[test]
    fn requests_without_this_signature_are_not_signed() {
        for value in ["", "Basic x", "SDK-HMAC-SM3 Access=AK", "SDK-HMAC-SHA256 SignedHeaders=host"] {
            assert_eq!(Signed::of(&request("GET", "/", &[("authorization", value)], "")), None, "{value}");
        }
    }
}
