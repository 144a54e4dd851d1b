//! The scheme `sdk-hmac-sha256`: a signature over the whole request.
//!
//! **Shape**: `POST /v1/p/stop?a=1` + key -> `X-Sdk-Date: 20251120T101530Z`,
//! `Authorization: SDK-HMAC-SHA256 Access=…, SignedHeaders=content-type;host;x-sdk-date, Signature=…`.
//!
//! **Invariants**: what is signed is what is sent: the query goes out in its canonical form, and no header is signed that the
//! transport adds or that proxies like to change.
//!
//! **Source**: the vendor's signing guide, and its SDK (class Signer) run on the vectors in `tests/fixtures/vectors`.

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use secrecy::ExposeSecret;

use crate::crypto;
use crate::model::call::UpstreamRequest;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::Endpoint;
use crate::route::credentials::{SdkKey, X_SDK_CONTENT_SHA256, X_SDK_DATE, X_SECURITY_TOKEN};

/// Signs the request for this moment: the headers to add. The query of the request becomes canonical.
///
/// # Errors
/// `UNREPRESENTABLE_VALUE` for a path with an encoded `/`: signer and vendor would read it in two ways.
pub(super) fn sign(
    request: &mut UpstreamRequest,
    endpoint: &Endpoint,
    key: &SdkKey,
    now: Timestamp,
) -> Result<Vec<(HeaderName, HeaderValue)>, GatewayError> {
    let path = request.target.split_once('?').map_or(request.target.as_str(), |(path, _)| path);
    if path.to_ascii_uppercase().contains("%2F") {
        let detail = "a value with `/` goes to the vendor's path, which cannot be signed so that both sides read it alike";
        return Err(GatewayError::new(Reason::UnrepresentableValue, detail));
    }
    let mut added: Vec<(HeaderName, HeaderValue)> = key.headers.clone();
    added.extend(key.security_token.clone().map(|token| (X_SECURITY_TOKEN, token)));
    if !request.headers.contains_key(X_SDK_DATE) {
        added.push((X_SDK_DATE, header(&now.strftime("%Y%m%dT%H%M%SZ").to_string())?));
    }
    if is_unsigned(request) {
        added.push((X_SDK_CONTENT_SHA256, HeaderValue::from_static(UNSIGNED)));
    }
    let canonical = Canonical::of(request, endpoint, &added);
    request.target = canonical.target.clone();
    let mut authorization = header(&canonical.authorization(key))?;
    authorization.set_sensitive(true);
    added.push((AUTHORIZATION, authorization));
    Ok(added)
}

fn header(text: &str) -> Result<HeaderValue, GatewayError> {
    HeaderValue::from_str(text).map_err(|_| GatewayError::new(Reason::MappingFailed, "the request cannot be signed; nothing was sent"))
}

/// A body that is neither JSON nor BSON is left out of the signature.
fn is_unsigned(request: &UpstreamRequest) -> bool {
    request.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        !kind.starts_with(b"application/json") && !kind.starts_with(b"application/bson")
    })
}

/// The canonical request, and what else follows from it.
struct Canonical {
    request: Vec<u8>,
    signed_headers: String,
    date: String,
    target: String,
}

impl Canonical {
    fn of(request: &UpstreamRequest, endpoint: &Endpoint, added: &[(HeaderName, HeaderValue)]) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target.as_str(), ""));
        let query = canonical_query(query);
        let mut headers: Vec<(&str, &[u8])> = request
            .headers
            .iter()
            .chain(added.iter().map(|(name, value)| (name, value)))
            .filter(|(name, _)| **name != USER_AGENT && **name != HOST && !name.as_str().contains('_'))
            .map(|(name, value)| (name.as_str(), value.as_bytes().trim_ascii()))
            .collect();
        let host = host(endpoint);
        headers.push((HOST.as_str(), host.as_bytes()));
        headers.sort_unstable();
        let signed_headers = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let date = headers
            .iter()
            .find(|(name, _)| *name == X_SDK_DATE.as_str())
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default();

        let mut text = Vec::with_capacity(512);
        for line in [
            request.method.as_str(),
            &canonical_path(&format!("{}{path}", endpoint.prefix)),
            &query,
        ] {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        for (name, value) in &headers {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(signed_headers.as_bytes());
        text.push(b'\n');
        if is_unsigned(request) && !request.body.is_empty() {
            text.extend_from_slice(UNSIGNED.as_bytes());
        } else {
            text.extend_from_slice(crypto::sha256_hex(&request.body).as_bytes());
        }
        Self {
            request: text,
            signed_headers,
            date,
            target: if query.is_empty() {
                path.to_owned()
            } else {
                format!("{path}?{query}")
            },
        }
    }

    fn string_to_sign(&self) -> String {
        format!("{ALGORITHM}\n{}\n{}", self.date, crypto::sha256_hex(&self.request))
    }

    fn authorization(&self, key: &SdkKey) -> String {
        let signature = crypto::hmac_sha256_hex(key.secret_key.expose_secret().as_bytes(), self.string_to_sign().as_bytes());
        format!(
            "{ALGORITHM} Access={}, SignedHeaders={}, Signature={signature}",
            key.access_key, self.signed_headers
        )
    }
}

/// As the transport writes it: the port only where it is not the scheme's own.
fn host(endpoint: &Endpoint) -> String {
    let default = if endpoint.scheme == Scheme::HTTPS { 443 } else { 80 };
    match endpoint.authority.port_u16() {
        Some(port) if port == default => endpoint.authority.host().to_owned(),
        _ => endpoint.authority.as_str().to_owned(),
    }
}

/// Decoded once as a whole, split, each segment encoded, and a `/` at the end.
fn canonical_path(path: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let segments: Vec<String> = decoded
        .split(|byte| *byte == b'/')
        .map(|segment| percent_encode(segment, UNRESERVED).to_string())
        .collect();
    let mut canonical = segments.join("/");
    if !canonical.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

/// Pairs sorted by raw name, then raw value; always `name=value`.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (percent_decode_str(name).collect(), percent_decode_str(value).collect()))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name, UNRESERVED), percent_encode(value, UNRESERVED)))
        .collect();
    pairs.join("&")
}

const ALGORITHM: &str = "SDK-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// `A-Z a-z 0-9 - . _ ~` stay (RFC 3986 section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use serde_json::Value;

    fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> UpstreamRequest {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            // From bytes, as `from_str` takes ASCII only.
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        UpstreamRequest {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target: target.to_owned(),
            headers: map,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn endpoint(url: &str) -> Endpoint {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, prefix) = rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, format!("/{p}")));
        Endpoint {
            scheme: scheme.parse().unwrap(),
            authority: authority.parse().unwrap(),
            prefix,
        }
    }

    fn key() -> SdkKey {
        SdkKey {
            access_key: "AK".to_owned(),
            secret_key: "SK".to_owned().into(),
            security_token: None,
            headers: Vec::new(),
        }
    }

    fn canonical(request: &UpstreamRequest) -> String {
        let endpoint = endpoint("https://h.example");
        String::from_utf8(Canonical::of(request, &endpoint, &[]).request).unwrap()
    }

    fn encoded(text: &str) -> String {
        percent_encode(text.as_bytes(), UNRESERVED).to_string()
    }

    #[test]
    fn every_vector_of_the_vendors_signer() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors");
        let mut checked = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let vector: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let Some(access_key) = vector.get("access_key").and_then(Value::as_str) else {
                continue;
            };
            let name = vector["name"].as_str().unwrap();
            let input = &vector["input"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            // As a mapping would write the query: encoded and in the order of the input.
            let query: Vec<String> = input["query_pairs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| format!("{}={}", encoded(&text(&pair[0])), encoded(&text(&pair[1]))))
                .collect();
            let separator = if query.is_empty() { "" } else { "?" };
            let target = format!("{}{separator}{}", text(&input["path"]), query.join("&"));
            let headers: Vec<(String, String)> = input["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect();
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut request = request(&text(&input["method"]), &target, &headers, &text(&input["body_utf8"]));
            let endpoint = endpoint(&format!("https://{}", text(&input["host"])));
            let key = SdkKey {
                access_key: access_key.to_owned(),
                secret_key: text(&vector["secret_key"]).into(),
                ..key()
            };
            let added = sign(&mut request, &endpoint, &key, Timestamp::UNIX_EPOCH).unwrap();
            let value = |name: &HeaderName| {
                added
                    .iter()
                    .find(|(added, _)| added == name)
                    .map(|(_, value)| value.to_str().unwrap().to_owned())
            };
            assert_eq!(value(&AUTHORIZATION).unwrap(), text(&vector["authorization"]), "{name}");
            assert_eq!(request.target, text(&vector["request_target_on_the_wire"]), "{name}");
            assert_eq!(
                value(&X_SDK_CONTENT_SHA256),
                vector["headers_after_signing"]["X-Sdk-Content-Sha256"].as_str().map(str::to_owned),
                "{name}"
            );
            let unsigned: Vec<_> = added.iter().filter(|(name, _)| *name != AUTHORIZATION).cloned().collect();
            let canonical = Canonical::of(&request, &endpoint, &unsigned);
            assert_eq!(
                String::from_utf8(canonical.request.clone()).unwrap(),
                text(&vector["canonical_request"]),
                "{name}"
            );
            assert_eq!(canonical.string_to_sign(), text(&vector["string_to_sign"]), "{name}");
            checked += 1;
        }
        assert_eq!(checked, 14);
    }

    /// The numbers are those of the rules in the vendor's SDK that no file shows.
    #[test]
    fn paths() {
        for (rule, path, expected) in [
            (2, "/", "/"),
            (3, "/v1/x/", "/v1/x/"),
            (8, "/v1/%E6%8A%93", "/v1/%E6%8A%93/"),
            (8, "/v1/%e6%8a%93", "/v1/%E6%8A%93/"),
            (9, "/v1/a b!*'()~-._", "/v1/a%20b%21%2A%27%28%29~-._/"),
            (10, "/v1/a%2Fb", "/v1/a/b/"),
            (11, "/v1/a%25b", "/v1/a%25b/"),
            (11, "/v1/a%252Fb", "/v1/a%252Fb/"),
            (12, "/v1/../a//b/.", "/v1/../a//b/./"),
        ] {
            assert_eq!(canonical_path(path), expected, "rule {rule}: {path}");
        }
    }

    #[test]
    fn queries() {
        for (rule, query, expected) in [
            (14, "id=b&id=a&z=1&id=10", "id=10&id=a&id=b&z=1"),
            // Sorted before it is encoded: `-` is below `a`, `%C3` above `z`.
            (17, "%C3%A9=1&z=2&a-b=3&a=4", "a=4&a-b=3&z=2&%C3%A9=1"),
            (17, "B=1&a=2&A=3", "A=3&B=1&a=2"),
            // U+FF61 sorts below U+1F680 by code point and by UTF-8, not by UTF-16.
            (17, "%F0%9F%9A%80=1&%EF%BD%A1=2", "%EF%BD%A1=2&%F0%9F%9A%80=1"),
            (19, "flag=true&other=false", "flag=true&other=false"),
            (15, "a&b=", "a=&b="),
            (18, "a=%7E~%2a", "a=~~%2A"),
        ] {
            assert_eq!(canonical_query(query), expected, "rule {rule}: {query}");
        }
    }

    #[test]
    fn bodies() {
        let json = [("Content-Type", "application/json")];
        let last = |request: &UpstreamRequest| canonical(request).lines().last().unwrap().to_owned();
        // 21: `{}` is not nothing.
        assert_eq!(
            last(&request("POST", "/x", &json, "{}")),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        // 23: bytes, not meaning.
        assert_ne!(
            last(&request("POST", "/x", &json, r#"{"a":"é"}"#)),
            last(&request("POST", "/x", &json, r#"{"a":"\u00e9"}"#))
        );
        // 25: the header is there, and nothing is still nothing.
        let mut empty = request("POST", "/x", &[("Content-Type", "application/xml")], "");
        let added = sign(&mut empty, &endpoint("https://h.example"), &key(), Timestamp::UNIX_EPOCH).unwrap();
        assert!(added.contains(&(X_SDK_CONTENT_SHA256, HeaderValue::from_static(UNSIGNED))));
        assert!(last(&empty).starts_with("e3b0c442"));
        // BSON is signed as JSON is.
        let bson = request("POST", "/x", &[("Content-Type", "application/bson")], "x");
        assert!(!is_unsigned(&bson) && !last(&bson).starts_with("UNSIGNED"));
    }

    #[test]
    fn headers() {
        // 27: sent, not signed; and nothing that a proxy rewrites.
        let with = request("GET", "/x", &[("x_a_b", "1"), ("x-c", "2"), ("User-Agent", "u")], "");
        assert!(canonical(&with).contains("\nhost;x-c\n"), "{}", canonical(&with));
        // 28: UTF-8 as it stands.
        let umlaut = request("GET", "/x", &[("x-name", "é")], "");
        assert!(canonical(&umlaut).contains("\nx-name:é\n"));
        // 29 and 31: the port where it is not the default; the date in UTC.
        for (url, expected) in [
            ("https://h.example", "h.example"),
            ("https://h.example:443", "h.example"),
            ("https://h.example:8443", "h.example:8443"),
            ("http://h.example:80/base", "h.example"),
            ("http://127.0.0.1:443", "127.0.0.1:443"),
        ] {
            assert_eq!(host(&endpoint(url)), expected);
        }
        let now = "2025-11-20T11:15:30.987+01:00".parse().unwrap();
        let mut plain = request("GET", "/x", &[], "");
        let added = sign(&mut plain, &endpoint("http://h.example/base"), &key(), now).unwrap();
        assert!(added.contains(&(X_SDK_DATE, HeaderValue::from_static("20251120T101530Z"))));
        assert!(canonical(&plain).starts_with("GET\n/x/\n\nhost:h.example\n"));
    }

    #[test]
    fn what_the_key_brings_is_signed_as_well() {
        let key = SdkKey {
            security_token: Some(HeaderValue::from_static("temporary")),
            headers: vec![(HeaderName::from_static("x-project-id"), HeaderValue::from_static("p"))],
            ..key()
        };
        let mut request = request("GET", "/x?b=2&a=1", &[("content-type", "application/json")], "");
        let added = sign(&mut request, &endpoint("https://h.example/base"), &key, Timestamp::UNIX_EPOCH).unwrap();
        let (_, authorization) = added.last().unwrap();
        assert!(
            authorization
                .to_str()
                .unwrap()
                .contains("SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token, ")
        );
        assert_eq!(request.target, "/x?a=1&b=2");
        let signed = Canonical::of(&request, &endpoint("https://h.example/base"), &added);
        assert!(String::from_utf8(signed.request).unwrap().starts_with("GET\n/base/x/\na=1&b=2\n"));
        assert!(!format!("{key:?}{added:?}").contains("SK") && !format!("{added:?}").contains("Signature="));
    }

    #[test]
    fn a_slash_inside_a_segment_is_not_signed() {
        let mut request = request("GET", "/v1/a%2fb", &[], "");
        let error = sign(&mut request, &endpoint("https://h.example"), &key(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.reason, Reason::UnrepresentableValue);
    }
}
