//! Signed requests: what is signed is what is sent, for any method, target, headers and body. The canonical request is made here once
//! more, by the words of the vendor's guide.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use taskgate::crypto::{hmac_sha256_hex, sha256_hex};
use taskgate::model::call::UpstreamRequest;
use taskgate::model::reason::Reason;
use taskgate::route::credentials::{DatedAccessKey, SdkKey};
use taskgate::route::{Credentials, Endpoint};
use taskgate::upstream::credentials::preview;

use super::is_civil;
use super::message::Message;

/// `data` is a request: `PUT /v1/p/stop?b=2&a=1\nContent-Type: application/json\n\n{}`.
pub(super) fn check(data: &[u8]) {
    let Some(message) = Message::read(data) else { return };
    let Some((method, target)) = message.first.split_once(' ') else {
        return;
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    // What a route renders is one; there is nothing else to sign.
    if !target.starts_with('/')
        || !target.is_ascii()
        || PathAndQuery::try_from(target)
            .map(|parsed| parsed.as_str() != target)
            .unwrap_or(true)
    {
        return;
    }
    let mut headers = message.headers;
    // No route may set what the credentials set.
    for name in ["authorization", "x-sdk-content-sha256", "x-security-token"] {
        headers.remove(name);
    }
    headers.insert("x-sdk-date", HeaderValue::from_static("20251120T101530Z"));
    let request = UpstreamRequest {
        method,
        target: target.to_owned(),
        headers,
        body: Bytes::copy_from_slice(message.body),
    };
    over_the_whole(request.clone());
    over_method_and_path(request);
}

fn endpoint() -> Endpoint {
    Endpoint {
        scheme: Scheme::HTTPS,
        authority: "vendor.example:8443".parse().unwrap(),
        prefix: "/base".to_owned(),
    }
}

fn over_the_whole(mut request: UpstreamRequest) {
    let credentials = Credentials::SdkHmacSha256(
        SdkKey {
            access_key: "AK".to_owned(),
            secret_key: SECRET.to_owned().into(),
            security_token: Some(HeaderValue::from_static("temporary")),
            headers: Vec::new(),
        }
        .into(),
    );
    let before = request.clone();
    let added = match preview(&credentials, &mut request, &endpoint()) {
        Ok(added) => added,
        Err(error) => {
            assert_eq!(error.reason, Reason::UnrepresentableValue, "{error:?}");
            assert!(before.target.to_ascii_uppercase().contains("%2F"), "{}", before.target);
            return is_civil(&error);
        }
    };
    // The target says the same, and is canonical now.
    assert_eq!(path(&request.target), path(&before.target));
    assert_eq!(pairs(&request.target), pairs(&before.target));
    assert!(PathAndQuery::try_from(request.target.as_str()).is_ok(), "{}", request.target);
    let mut again = request.clone();
    assert_eq!(
        preview(&credentials, &mut again, &endpoint()).ok().as_ref(),
        Some(&added),
        "another signature for the same"
    );
    assert_eq!(again.target, request.target);

    let mut all = request.headers.clone();
    for (name, value) in added.iter().filter(|(name, _)| *name != AUTHORIZATION) {
        all.insert(name, value.clone());
    }
    let (names, canonical) = canonical(&request, &all);
    let text = format!("SDK-HMAC-SHA256\n20251120T101530Z\n{}", sha256_hex(&canonical));
    let signature = hmac_sha256_hex(SECRET.as_bytes(), text.as_bytes());
    let expected = format!("SDK-HMAC-SHA256 Access=AK, SignedHeaders={names}, Signature={signature}");
    let (_, authorization) = added.iter().find(|(name, _)| *name == AUTHORIZATION).unwrap();
    assert!(authorization.is_sensitive());
    assert_eq!(authorization.to_str().unwrap(), expected, "{}", String::from_utf8_lossy(&canonical));
}

fn over_method_and_path(mut request: UpstreamRequest) {
    let credentials = Credentials::DatedAccessKey(
        DatedAccessKey {
            id: "id".to_owned(),
            secret: SECRET.to_owned().into(),
            zone: jiff::tz::TimeZone::UTC,
            zone_name: "UTC".to_owned(),
            strip: "/base".to_owned(),
        }
        .into(),
    );
    let before = request.target.clone();
    match preview(&credentials, &mut request, &endpoint()) {
        Ok(added) => assert!(added.iter().all(|(_, value)| value.to_str().is_ok()), "{added:?}"),
        Err(error) => is_civil(&error),
    }
    assert_eq!(request.target, before);
}

/// Six parts, each on a line: method, path, query, headers, their names, digest of the body.
fn canonical(request: &UpstreamRequest, headers: &HeaderMap) -> (String, Vec<u8>) {
    let mut signed: Vec<(&str, &[u8])> = vec![("host", b"vendor.example:8443")];
    for (name, value) in headers {
        if !["host", "user-agent"].contains(&name.as_str()) && !name.as_str().contains('_') {
            signed.push((name.as_str(), value.as_bytes().trim_ascii()));
        }
    }
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let decoded: Vec<u8> = percent_decode_str(&format!("/base{}", path(&request.target))).collect();
    let mut path: String = decoded.split_inclusive(|byte| *byte == b'/').fold(String::new(), |path, segment| {
        let (segment, slash) = segment.strip_suffix(b"/").map_or((segment, ""), |segment| (segment, "/"));
        path + &encode(segment) + slash
    });
    if !path.ends_with('/') {
        path.push('/');
    }
    let query: Vec<String> = pairs(&request.target)
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    let mut text = format!("{}\n{path}\n{}\n", request.method, query.join("&")).into_bytes();
    for (name, value) in &signed {
        text.extend([name.as_bytes(), b":", value, b"\n"].concat());
    }
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or(b"application/json");
    let unsigned = !kind.starts_with(b"application/json") && !kind.starts_with(b"application/bson");
    let digest = if unsigned && !request.body.is_empty() {
        "UNSIGNED-PAYLOAD".to_owned()
    } else {
        sha256_hex(&request.body)
    };
    text.extend(format!("\n{names}\n{digest}").into_bytes());
    (names, text)
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// The parameters, decoded and sorted.
fn pairs(target: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let parts = query.split('&').filter(|part| !part.is_empty());
    let mut pairs: Vec<_> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (percent_decode_str(name).collect(), percent_decode_str(value).collect()))
        .collect();
    pairs.sort_unstable();
    pairs
}

fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, UNRESERVED).to_string()
}

const SECRET: &str = "SK";
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
