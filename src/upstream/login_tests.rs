//! What answers to a login mean.

use bytes::Bytes;
use http::header::HeaderMap;
use http::{HeaderName, StatusCode};

use super::*;
use crate::mapping::answer::AnswerTest;
use crate::mapping::expression::Expression;
use crate::mapping::fault::StatusPattern;
use crate::mapping::template::Template;
use crate::model::call::UpstreamRequest;
use crate::route::Endpoint;
use crate::route::credentials::LoginPlan;

/// A login whose token is in a header, and whose times are in the body.
fn plan() -> SessionPlan {
    let placeholder = |source: &str, optional| Placeholder {
        expression: Expression::parse(source).unwrap(),
        optional,
    };
    let statuses = |statuses: &[u16]| StatusPattern {
        ranges: statuses.iter().map(|status| (*status, *status)).collect(),
    };
    SessionPlan {
        name: "sweets".to_owned(),
        endpoint: Endpoint {
            scheme: http::uri::Scheme::HTTPS,
            authority: "login.example".parse().unwrap(),
            prefix: String::new(),
        },
        login: LoginPlan {
            request: UpstreamRequest {
                method: http::Method::POST,
                target: "/login".to_owned(),
                headers: HeaderMap::new(),
                body: Bytes::from_static(b"open-sesame"),
            },
            status: statuses(&[201]),
            token: Template::Placeholder(placeholder("headers['x-subject-token']", false)),
            issued_at: Some(placeholder("body.token.issued_at", true)),
            expires_at: Some(placeholder("body.token.expires_at", true)),
            expires_in: None,
            lifetime: Duration::from_secs(24 * 3600),
        },
        header: HeaderName::from_static("x-auth-token"),
        value: Template::Placeholder(placeholder("token", false)),
        expired: None,
        rejected: AnswerTest {
            status: statuses(&[400, 401, 403]),
            when: None,
        },
        remember: Duration::from_secs(60),
        logout: None,
    }
}

fn reply(status: u16, headers: &[(&str, &[u8])], body: &str) -> UpstreamReply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    UpstreamReply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

#[track_caller]
fn lives(what: &str, headers: &[(&str, &[u8])], body: &str, expected: u64) {
    let mut all = vec![("x-subject-token", b"tok".as_slice())];
    all.extend_from_slice(headers);
    let grant = read(&plan(), &reply(201, &all, body)).unwrap();
    assert_eq!(grant.life.as_secs(), expected, "{what}");
}

#[test]
fn a_life_is_measured_on_the_vendors_clock() {
    let token = |issued: &str, expires: &str| format!(r#"{{"token":{{"issued_at":"{issued}","expires_at":"{expires}"}}}}"#);
    let day = 24 * 3600;
    // Microseconds as the vendor writes them; the clock of this machine is years away from it.
    let said = token("2020-01-03T09:05:22.701000Z", "2020-01-03T21:05:22.701000Z");
    lives("half a day", &[], &said, day / 2);
    lives(
        "never longer than the route believes",
        &[],
        &token("2020-01-03T09:00:00Z", "2030-01-03T09:00:00Z"),
        day,
    );
    lives("backwards", &[], &token("2020-01-03T09:00:00Z", "2019-01-03T09:00:00Z"), day);
    lives("no time at all", &[], &token("2020-01-03T09:00:00Z", "2020-01-03T09:00:00Z"), day);
    lives("a moment", &[], &token("2020-01-03T09:00:00Z", "2020-01-03T09:00:00.001Z"), 1);
    lives("not said", &[], "{}", day);
    lives("not a document", &[], "<html>", day);
    lives("not a time", &[], &token("yesterday", "tomorrow"), day);
    let expires = r#"{"token":{"expires_at":"2020-01-03T10:00:00Z"}}"#;
    lives(
        "from the date of the answer",
        &[("date", b"Fri, 03 Jan 2020 09:00:00 GMT")],
        expires,
        3600,
    );
    lives("in the past of our clock", &[], expires, day);
}

#[track_caller]
fn check(what: &str, reply: &UpstreamReply, rejected: bool, reason: Reason) {
    let refusal = read(&plan(), reply).unwrap_err();
    let (was_rejected, error) = match refusal {
        Refusal::Rejected(error) => (true, error),
        Refusal::Failed(error) => (false, error),
    };
    assert_eq!((was_rejected, error.reason), (rejected, reason), "{what}: {error:?}");
    assert!(!format!("{error:?}").contains("secret-text"), "{what}: {error:?}");
}

#[test]
fn answers_that_give_no_token() {
    use Reason::{VendorAuth, VendorUnavailable};
    let bad = r#"{"error":{"code":401,"message":"secret-text","title":"Unauthorized"}}"#;
    for status in [400, 401, 403] {
        check("bad secret", &reply(status, &[], bad), true, VendorAuth);
    }
    for status in [429, 500, 502, 503, 504] {
        check("trouble", &reply(status, &[], "secret-text"), false, VendorUnavailable);
    }
    for status in [200, 204, 302, 404, 405] {
        check("unexpected", &reply(status, &[("x-subject-token", b"tok")], ""), false, VendorAuth);
    }
    check("no token", &reply(201, &[], "{}"), false, VendorAuth);
    check("an empty token", &reply(201, &[("x-subject-token", b"")], "{}"), false, VendorAuth);
    check(
        "not ASCII",
        &reply(201, &[("x-subject-token", "sécret-text".as_bytes())], "{}"),
        false,
        VendorAuth,
    );
    check(
        "a tab",
        &reply(201, &[("x-subject-token", b"secret-\ttext")], "{}"),
        false,
        VendorAuth,
    );
    let long = "a".repeat(MAX_TOKEN_BYTES + 1);
    check(
        "too long",
        &reply(201, &[("x-subject-token", long.as_bytes())], "{}"),
        false,
        VendorAuth,
    );
}

#[test]
fn a_token_of_32_kib_is_taken_and_never_printed() {
    let long = "a".repeat(MAX_TOKEN_BYTES);
    let plan = plan();
    let grant = read(&plan, &reply(201, &[("x-subject-token", long.as_bytes())], "{}")).unwrap();
    assert_eq!(grant.value.len(), MAX_TOKEN_BYTES);
    let shown = format!("{grant:?} {plan:?}");
    assert!(!shown.contains("aaaa") && !shown.contains("open-sesame"), "{shown}");
}

#[test]
fn line_breaks_cannot_stand_in_a_token() {
    // Out of a body a token may be any text.
    for text in ["a\r\nx: y", "a\nb", "a\0b", "\u{7f}"] {
        assert!(header_value(&plan(), &SecretString::from(text)).is_none(), "{text:?}");
    }
}

#[test]
fn what_cannot_stand_in_a_header_is_no_token() {
    let longest = "t".repeat(MAX_TOKEN_BYTES);
    let too_long = "t".repeat(MAX_TOKEN_BYTES + 1);
    for (token, fits) in [
        ("tok", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("tok\r\nx-injected: 1", false),
        ("tok\n", false),
        ("tok\0", false),
        ("tök", false),
    ] {
        let value = header_value(&plan(), &SecretString::from(token));
        assert_eq!(value.is_some(), fits, "{} bytes", token.len());
        assert!(value.is_none_or(|value| value.is_sensitive()));
    }
}
