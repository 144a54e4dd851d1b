//! The door: what a request must be before any stage works on it, whatever version of HTTP it came by.
//!
//! What breaks the framing of HTTP/1.1 never gets here (`framing`): it is `MALFORMED_HTTP` and the connection ends. A request whose
//! end is known and whose head says what RFC 9110 forbids is refused here, and the connection lives on.
//!
//! **Shape**: `GET http://a/x`, `host: b` -> `421 MISDIRECTED_REQUEST`; `OPTIONS *` -> `204`, `allow: GET, …`; otherwise nothing.
//!
//! **Errors**: `INVALID_HEADER` for `Host` and for names that some reader takes for one another, `INVALID_TARGET` for a form of target
//! that is not served, `MISDIRECTED_REQUEST` for a target on another host than `Host`.
//!
//! **Source**: RFC 9110 sections 4.2, 7.2, 9.3.7; RFC 9112 sections 3.2, 3.3; RFC 9113 section 8.3.1.

use std::collections::HashSet;
use std::net::Ipv6Addr;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;

use super::refusal;
use crate::layer::observe::{X_REQUEST_ID, new_request_id};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// What is answered here; `None` where the stages go on. `methods` is what `OPTIONS *` is told.
pub(super) fn answer<B>(request: &Request<B>, methods: &'static str) -> Option<Response<Full<Bytes>>> {
    match check(request) {
        Ok(()) if request.uri().path() == "*" => Some(options(methods)),
        Ok(()) => None,
        Err(error) => Some(refusal::answer(&error, request)),
    }
}

fn check<B>(request: &Request<B>) -> Result<(), GatewayError> {
    check_authority(request.version(), request.uri(), request.headers())?;
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Err(GatewayError::new(Reason::InvalidTarget, "`*` is a target of OPTIONS only"));
    }
    check_twins(request.headers())
}

/// The server as a whole was asked.
fn options(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&new_request_id()) {
        headers.insert(X_REQUEST_ID, id);
    }
    response
}

fn check_authority(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), GatewayError> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => {
            let authority = Authority::parse(host.as_bytes());
            Some(authority.ok_or_else(|| invalid_header(&HOST, "`Host` is one name or address, with a port or without"))?)
        }
        (Some(_), Some(_)) => return Err(invalid_header(&HOST, "`Host` stands there twice")),
    };
    if let Some(scheme) = uri.scheme_str()
        && !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err(GatewayError::new(
            Reason::InvalidTarget,
            "the target is neither an http nor an https one",
        ));
    }
    let Some(named) = uri.authority() else {
        return match host {
            // HTTP/1.0 did not know the header.
            None if version > Version::HTTP_10 => Err(invalid_header(&HOST, "there is no `Host`")),
            _ => Ok(()),
        };
    };
    if uri.scheme().is_none() {
        let detail = "a host and a port are a target of CONNECT, which is not served";
        return Err(GatewayError::new(Reason::InvalidTarget, detail));
    }
    let Some(named) = Authority::parse(named.as_str().as_bytes()) else {
        let detail = "the target names no host, or more than a host and a port";
        return Err(GatewayError::new(Reason::InvalidTarget, detail));
    };
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    match host {
        None if version == Version::HTTP_11 => Err(invalid_header(&HOST, "there is no `Host`")),
        Some(host) if !host.is_same(named, default) => Err(match version {
            // Two fields of one head that contradict each other: malformed, by RFC 9113.
            Version::HTTP_2 => invalid_header(&HOST, "`Host` and `:authority` differ"),
            _ => GatewayError::new(Reason::MisdirectedRequest, "the target is on another host than `Host` says"),
        }),
        _ => Ok(()),
    }
}

/// A server behind or before this one may take `_` for `-`: a header must not be there under both names.
fn check_twins(headers: &HeaderMap) -> Result<(), GatewayError> {
    if !headers.keys().any(|name| name.as_str().contains('_')) {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(headers.keys_len());
    for name in headers.keys() {
        if !seen.insert(name.as_str().replace('_', "-")) {
            let detail = "two headers differ in `_` and `-` only; some readers take them for one";
            return Err(GatewayError::new(Reason::InvalidHeader, detail));
        }
    }
    Ok(())
}

fn invalid_header(name: &HeaderName, detail: &str) -> GatewayError {
    GatewayError::new(Reason::InvalidHeader, detail).with_metadata("header", name.as_str())
}

/// A host and a port. Narrower than RFC 3986: of its registered names those that are host names, and no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        // The colons of an IPv6 address stand in brackets.
        let end = match text.strip_prefix('[') {
            Some(inner) => {
                let end = inner.find(']')?;
                inner.get(..end)?.parse::<Ipv6Addr>().ok()?;
                end + 2
            }
            None => {
                let is_of_host = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'A'..=b'Z' | b'_' | b'~');
                text.bytes().take_while(is_of_host).count()
            }
        };
        let (host, rest) = text.split_at_checked(end).filter(|(host, _)| !host.is_empty())?;
        let port = match (rest, rest.strip_prefix(':')) {
            ("" | ":", _) => None,
            (_, Some(digits)) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    fn is_same(self, other: Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for (text, expected) in [
            ("a", Some(("a", None))),
            ("gate.test:8080", Some(("gate.test", Some(8080)))),
            ("my_service", Some(("my_service", None))),
            ("192.0.2.1:80", Some(("192.0.2.1", Some(80)))),
            ("[::1]", Some(("[::1]", None))),
            ("[2001:db8::1]:443", Some(("[2001:db8::1]", Some(443)))),
            // RFC 3986 section 3.2.3: a port may be empty.
            ("a:", Some(("a", None))),
            ("", None),
            (":80", None),
            ("a,b", None),
            ("a b", None),
            ("u@h", None),
            ("h/p", None),
            ("h?q", None),
            ("h#f", None),
            ("h:99999", None),
            ("h:-1", None),
            ("h:+80", None),
            ("h:080000", None),
            ("h:80:80", None),
            ("h:8 0", None),
            ("::1", None),
            ("[::1", None),
            ("[::g]", None),
            ("[fe80::1%25eth0]", None),
            ("[::1]x", None),
            ("a]", None),
            ("%61", None),
            ("\u{e9}", None),
        ] {
            let found = Authority::parse(text.as_bytes()).map(|authority| (authority.host, authority.port));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(Authority::parse(b"a\xff"), None);
    }

    #[track_caller]
    fn checked(version: Version, method: &str, target: &str, headers: &str, expected: Option<Reason>) {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for line in headers.lines() {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            request = request.header(name, value);
        }
        let found = check(&request.body(()).unwrap()).err().map(|error| error.reason);
        assert_eq!(found, expected, "{version:?} {target} [{headers}]");
    }

    #[test]
    fn hosts_and_targets() {
        let header = Some(Reason::InvalidHeader);
        let target = Some(Reason::InvalidTarget);
        let misdirected = Some(Reason::MisdirectedRequest);
        for (version, uri, headers, expected) in [
            (Version::HTTP_11, "/x", "host: a", None),
            (Version::HTTP_11, "/x", "", header),
            (Version::HTTP_11, "/x", "host", header),
            (Version::HTTP_11, "/x", "host: a\nhost: a", header),
            (Version::HTTP_11, "/x", "host: a,b", header),
            (Version::HTTP_10, "/x", "", None),
            (Version::HTTP_10, "/x", "host: u@h", header),
            (Version::HTTP_11, "http://a/x", "host: a", None),
            (Version::HTTP_11, "http://A:80/x", "host: a", None),
            (Version::HTTP_11, "https://a/x", "host: a:443", None),
            (Version::HTTP_11, "http://a:81/x", "host: a", misdirected),
            (Version::HTTP_11, "http://b/x", "host: a", misdirected),
            (Version::HTTP_11, "http://a/x", "", header),
            (Version::HTTP_10, "http://a/x", "", None),
            (Version::HTTP_11, "http://u@a/x", "host: a", target),
            (Version::HTTP_11, "http://a:99999/x", "host: a", target),
            (Version::HTTP_11, "ftp://a/x", "host: a", target),
            (Version::HTTP_11, "a:443", "host: a", target),
            (Version::HTTP_11, "*", "host: a", target),
            (Version::HTTP_2, "http://a/x", "", None),
            (Version::HTTP_2, "http://a/x", "host: a", None),
            (Version::HTTP_2, "http://a/x", "host: b", header),
            (Version::HTTP_2, "/x", "host: a", None),
            (Version::HTTP_2, "/x", "", header),
        ] {
            checked(version, "POST", uri, headers, expected);
        }
        checked(Version::HTTP_11, "OPTIONS", "*", "host: a", None);
        checked(Version::HTTP_11, "OPTIONS", "*", "", header);
    }

    #[test]
    fn names_that_are_one_for_some() {
        let refused = Some(Reason::InvalidHeader);
        for (headers, expected) in [
            ("x-a: 1\nx_b: 1", None),
            ("x-a: 1\nx-a: 1", None),
            ("x-a: 1\nX_A: 1", refused),
            ("x-a_b: 1\nx_a-b: 1", refused),
            ("content-length: 1\ncontent_length: 2", refused),
        ] {
            checked(Version::HTTP_11, "POST", "/x", &format!("host: a\n{headers}"), expected);
        }
    }
}
