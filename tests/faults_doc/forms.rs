//! Right answers in the wrong bytes, and wrong ones in bytes that try to do harm: what the rules make of them.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use taskgate::model::call::UpstreamReply;

use super::{call, table};

/// A success of the first one, in JSON.
const CFW: &str = r#"{"data":{"id":"ebf891cd-2163-48a0-9963-6309f99dd3c4","name":"test"}}"#;
/// A success of the last one, in XML, for the id that [`call`] takes.
const PRIME: &str = "<mgmtResponse responseType=\"operation\"><operationResult><message>m</message><operation>CANCELRUNNING</operation><success>\
                     <success><id>15</id><message>Success</message><status>Success</status></success></success></operationResult></mgmtResponse>";

fn told(provider: &str, headers: &[(HeaderName, &'static str)], body: impl Into<Bytes>) -> &'static str {
    let table = table();
    let (id, values) = call(&table, provider, "stop");
    let reply = UpstreamReply {
        status: StatusCode::OK,
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect::<HeaderMap>(),
        body: body.into(),
    };
    match table.providers[provider].actions["stop"]
        .reply
        .normalize(&values, &id, &reply)
        .result
    {
        Ok(answer) => answer.success.outcome().as_str(),
        Err(error) => error.reason.code(),
    }
}

/// Row 65: the media type is a hint, the bytes decide; a page and a coding that nobody asked for are believed.
#[test]
fn media_types_of_answers() {
    let (taken, bad) = ("accepted", "BAD_VENDOR_RESPONSE");
    for (provider, media_type, body, expected) in [
        ("cfw", "application/json", CFW, taken),
        ("cfw", "text/plain", CFW, taken),
        ("cfw", "application/json; charset=latin1", CFW, taken),
        ("cfw", "application/xml", CFW, taken),
        ("cfw", "text/html", CFW, bad),
        ("cfw", "application/json", PRIME, bad),
        ("prime", "application/xml", PRIME, taken),
        ("prime", "application/json", PRIME, taken),
        ("prime", "text/html;charset=utf-8", PRIME, bad),
        ("prime", "application/xml", CFW, bad),
    ] {
        assert_eq!(
            told(provider, &[(CONTENT_TYPE, media_type)], body),
            expected,
            "{provider} {media_type} {body}"
        );
    }
    assert_eq!((told("cfw", &[], CFW), told("prime", &[], PRIME)), (taken, taken));
    for coding in ["gzip", "br", "x"] {
        assert_eq!(told("cfw", &[(CONTENT_ENCODING, coding)], CFW), bad, "{coding}");
    }
}

/// Row 68.
#[test]
fn encodings_of_answers() {
    let (taken, bad) = ("accepted", "BAD_VENDOR_RESPONSE");
    let marked = |text: &str| format!("\u{feff}{text}").into_bytes();
    let utf16 = |text: &str| -> Vec<u8> { format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let broken = |text: &str| {
        text.replace("test", "te\u{1}st")
            .replace("Success", "Suc\u{1}cess")
            .replace('\u{1}', "\u{ff}")
    };
    let latin1 = |text: &str| -> Vec<u8> { broken(text).chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect() };
    let declared = |encoding: &str| format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>{PRIME}").into_bytes();
    for (what, provider, body, expected) in [
        ("a mark", "prime", marked(PRIME), taken),
        ("UTF-16", "prime", utf16(PRIME), bad),
        ("UTF-16", "cfw", utf16(CFW), bad),
        ("latin1", "prime", latin1(PRIME), bad),
        ("latin1", "cfw", latin1(CFW), bad),
        ("UTF-8, declared", "prime", declared("UTF-8"), taken),
        ("UTF-7, declared", "prime", declared("UTF-7"), bad),
        ("UTF-16, declared", "prime", declared("UTF-16"), bad),
        ("latin1, declared", "prime", declared("ISO-8859-1"), bad),
    ] {
        assert_eq!(told(provider, &[], body), expected, "{what} {provider}");
    }
}

/// Row 70, as far as it is not cut off before: deep, wide, and twice the same.
#[test]
fn shapes_of_answers() {
    let deep = |open: &str, close: &str, times: usize| format!("{}{}", open.repeat(times), close.repeat(times));
    let members = (0..200_000).map(|at| format!("\"m{at}\":0")).collect::<Vec<_>>().join(",");
    for (what, provider, body) in [
        ("deep", "cfw", format!("{{\"data\":{}}}", deep("[", "]", 100_000))),
        ("wide", "cfw", format!("{{{members}}}")),
        ("twice", "cfw", CFW.replace("\"name\"", "\"id\":\"1\",\"name\"")),
        ("deep", "prime", deep("<a>", "</a>", 100_000)),
        ("wide", "prime", format!("<mgmtResponse>{}</mgmtResponse>", "<a/>".repeat(200_000))),
    ] {
        assert_eq!(told(provider, &[], body), "BAD_VENDOR_RESPONSE", "{what} {provider}");
    }
}
