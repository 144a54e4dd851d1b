//! A page: a document that is made ahead of its request, and the HTTP around it.
//!
//! **Shape**: `Page { media_type: "application/json", body, etag }` + `If-None-Match: "3f9c…"` -> 304 without content.
//!
//! **Invariants**: the same bytes have the same entity tag; another coding has another one (RFC 9110 section 8.8.3). Nothing of a page
//! is loaded from elsewhere: the policy of every page for people forbids it.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use crate::crypto::sha256_hex;
use crate::negotiation::Coding;

/// A document ready to be sent.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status: 200 for every page that there is.
    pub status: StatusCode,
    /// The media type.
    pub media_type: &'static str,
    /// The bytes; compressed where `compressed` says so.
    pub body: Bytes,
    /// Are the bytes compressed with gzip?
    pub compressed: bool,
    /// The strong entity tag, with its quotes.
    pub etag: String,
    /// Does it depend on `Accept` which of several pages this is?
    pub negotiated: bool,
}

impl Page {
    /// A page with these bytes.
    #[must_use]
    pub fn new(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let etag = format!("\"{}\"", sha256_hex(&body).get(..ETAG_DIGITS).unwrap_or_default());
        Self {
            status: StatusCode::OK,
            media_type,
            body,
            compressed: false,
            etag,
            negotiated: false,
        }
    }

    /// A page whose bytes have been compressed with gzip; who does not take that gets them decompressed.
    #[must_use]
    pub fn compressed(media_type: &'static str, body: &'static [u8]) -> Self {
        Self {
            compressed: true,
            ..Self::new(media_type, Bytes::from_static(body))
        }
    }

    /// The same page, one of several between which `Accept` decides.
    #[must_use]
    pub fn negotiated(mut self) -> Self {
        self.negotiated = true;
        self
    }

    /// The answer to a request with these headers: the page, or 304 where the caller has it.
    #[must_use]
    pub fn respond(&self, asked: &HeaderMap) -> Response<Bytes> {
        let coded = self.compressed && Coding::asked(asked).packs();
        let etag = match (self.compressed, coded) {
            (true, false) => self.etag.replacen('"', "\"plain-", 1),
            _ => self.etag.clone(),
        };
        let is_known = is_known(asked, &etag);
        let mut response = Response::new(match (is_known, self.compressed, coded) {
            (true, ..) => Bytes::new(),
            (false, true, false) => decompressed(&self.body),
            (false, ..) => self.body.clone(),
        });
        *response.status_mut() = if is_known { StatusCode::NOT_MODIFIED } else { self.status };
        let headers = response.headers_mut();
        // It may be kept, and is asked for again each time: another configuration may run by then.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(ETAG, etag);
        }
        match (self.compressed, self.negotiated) {
            (true, _) => _ = headers.insert(VARY, HeaderValue::from_static("accept-encoding")),
            (false, true) => _ = headers.insert(VARY, HeaderValue::from_static("accept")),
            (false, false) => {}
        }
        if is_known {
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if coded {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if self.media_type == HTML {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
        response
    }
}

/// Is one of the tags that the caller has this one? Weak and strong ones compare alike here (RFC 9110 section 13.1.2).
fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    let lists = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The build has compressed it, so it can be decompressed; what cannot would be shown as nothing.
fn decompressed(body: &Bytes) -> Bytes {
    let mut plain = Vec::new();
    match GzDecoder::new(body.as_ref()).read_to_end(&mut plain) {
        Ok(_) => plain.into(),
        Err(_) => Bytes::new(),
    }
}

/// JSON.
pub(super) const JSON: &str = "application/json";
/// A page for people.
pub(super) const HTML: &str = "text/html; charset=utf-8";
/// A JSON Schema.
pub(super) const SCHEMA_JSON: &str = "application/schema+json";
/// Scripts, styles and calls of this origin, and images that stand in the styles; nothing else, and in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
/// 128 bits.
const ETAG_DIGITS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn who_has_it_gets_no_content() {
        let page = Page::new(JSON, "{}");
        for (tags, known) in [
            (page.etag.clone(), true),
            (format!("W/{}", page.etag), true),
            (format!("\"x\", {}", page.etag), true),
            ("*".to_owned(), true),
            ("\"x\"".to_owned(), false),
        ] {
            let response = page.respond(&headers(&[("if-none-match", &tags)]));
            assert_eq!(response.status() == StatusCode::NOT_MODIFIED, known, "{tags}");
            assert_eq!(response.body().is_empty(), known, "{tags}");
            assert_eq!(response.headers()[ETAG], page.etag);
        }
        assert_ne!(page.etag, Page::new(JSON, "[]").etag);
    }

    #[test]
    fn pages_for_people_load_nothing_from_elsewhere() {
        let response = Page::new(HTML, "<p>").respond(&HeaderMap::new());
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"));
        assert!(
            !Page::new(JSON, "{}")
                .respond(&HeaderMap::new())
                .headers()
                .contains_key(CONTENT_SECURITY_POLICY)
        );
    }
}
