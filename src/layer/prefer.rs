//! The header `Prefer`: what of it taskgate knows.
//!
//! **Shape**: `Prefer: respond-async, wait=20` -> 20 s.
//!
//! **Invariants**: a preference is a wish: one that is not known or not well formed is ignored, as if it were not there.
//!
//! **Source**: RFC 7240 sections 2 and 4.3.

use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::negotiation::split_outside_quotes;

/// How long the caller wants to wait, at most [`MAX_WAIT`].
///
/// ```
/// use std::time::Duration;
/// use taskgate::layer::prefer::wait;
/// let headers = http::HeaderMap::from_iter([(http::HeaderName::from_static("prefer"), http::HeaderValue::from_static("wait=20"))]);
/// assert_eq!(wait(&headers), Some(Duration::from_secs(20)));
/// ```
#[must_use]
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text: Vec<&str> = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()).collect();
    // Of a preference that stands there more than once the first counts (section 2).
    let value = text.iter().flat_map(|text| preferences(text)).find_map(|(name, value)| {
        let is_wait = name.eq_ignore_ascii_case("wait");
        is_wait.then_some(value)
    })?;
    let digits = value.trim_matches('"');
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // More digits than a number holds are more seconds than the cap.
    Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)).min(MAX_WAIT))
}

/// Does the caller want to hear of what was accepted before it has settled? What they wait for at most comes first, where they
/// say so as well (section 4.3).
#[must_use]
pub fn respond_async(headers: &HeaderMap) -> bool {
    let text = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    text.flat_map(preferences)
        .any(|(name, value)| name.eq_ignore_ascii_case("respond-async") && value.trim_matches('"').is_empty())
}

/// What the answer says of preferences that were followed (section 3); nothing where none was.
#[must_use]
pub fn applied(waited: Option<Duration>, respond_async: bool) -> Option<HeaderValue> {
    let wait = waited.map(|waited| format!("wait={}", waited.as_secs()));
    match (respond_async, wait) {
        (false, None) => None,
        (false, Some(wait)) => HeaderValue::from_str(&wait).ok(),
        (true, None) => Some(HeaderValue::from_static("respond-async")),
        (true, Some(wait)) => HeaderValue::from_str(&format!("respond-async, {wait}")).ok(),
    }
}

/// Names and values of the preferences of one line; parameters are left out, none of those known here has any.
fn preferences(line: &str) -> Vec<(&str, &str)> {
    split_outside_quotes(line, ',')
        .into_iter()
        .filter_map(|preference| split_outside_quotes(preference, ';').first().copied())
        .map(|preference| {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            (name.trim(), value.trim())
        })
        .collect()
}

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The header that says which preference was followed.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// A minute: balancers and browsers give up about then.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&'static str], expected: Option<u64>) {
        let headers: HeaderMap = lines.iter().map(|line| (PREFER, HeaderValue::from_static(line))).collect();
        assert_eq!(wait(&headers).map(|wait| wait.as_secs()), expected, "{lines:?}");
    }

    #[test]
    fn waits_are_read_and_capped() {
        check(&["wait=20"], Some(20));
        check(&["WAIT = \"20\""], Some(20));
        check(&["respond-async, wait=10; strict"], Some(10));
        check(&["return=minimal", "wait=7"], Some(7));
        check(&["wait=0"], Some(0));
        check(&["wait=3600"], Some(60));
        check(&["wait=99999999999999999999999"], Some(60));
        check(&["wait=5, wait=9"], Some(5));
        check(&["wait=5", "wait=9"], Some(5));
        check(&[r#"note="a, wait=3", wait=4"#], Some(4));
    }

    #[test]
    fn an_early_answer_is_asked_for_by_name() {
        for (line, asked) in [
            ("respond-async", true),
            ("Respond-Async", true),
            ("wait=10, respond-async; x=1", true),
            ("respond-async=\"\"", true),
            ("respond-async=no", false),
            ("respond-asynchronously", false),
            ("note=\"respond-async\"", false),
        ] {
            let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_static(line))]);
            assert_eq!(respond_async(&headers), asked, "{line}");
        }
        let said =
            |waited: Option<u64>, early| applied(waited.map(Duration::from_secs), early).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(said(None, false), None);
        assert_eq!(said(Some(5), false).as_deref(), Some("wait=5"));
        assert_eq!(said(None, true).as_deref(), Some("respond-async"));
        assert_eq!(said(Some(5), true).as_deref(), Some("respond-async, wait=5"));
    }

    #[test]
    fn what_is_not_known_or_not_well_formed_is_ignored() {
        for line in [
            "",
            "wait",
            "wait=",
            "wait=-1",
            "wait=1.5",
            "wait=ten",
            "wait=20s",
            "waits=20",
            "x; wait=20",
            "wait=\"\"",
        ] {
            check(&[line], None);
        }
        check(&[], None);
    }
}
