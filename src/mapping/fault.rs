//! What a vendor's error means: its own code, message and request id, and the reason that they become.
//!
//! **Shape**: 400 `{"error_code":"CFW.00200005","error_msg":"…"}` -> `TASK_NOT_FOUND` with `VendorFault { code, message, .. }`.
//!
//! **Invariants**: texts of the vendor are cut and cleaned before they go on; a code decides before the status does, and
//! the status before nothing: every status of 400 or more has a reason ([`Reason::of_vendor_status`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use super::expression::{Bindings, EvaluationError, Expression};
use super::template::{Placeholder, into_text};
use crate::codec::byte_set::ByteSet;
use crate::model::error::VendorFault;
use crate::model::reason::Reason;

/// A compiled table of the `faults` block.
#[derive(Debug, Default)]
pub struct FaultTable {
    /// Where the vendor's code may stand; the first that is present.
    pub code: Vec<Placeholder>,
    /// Where its message may stand.
    pub message: Vec<Placeholder>,
    /// Where the id of the exchange may stand.
    pub request_id: Vec<Placeholder>,
    /// What follows one of these texts in a message is not handed on: it may hold a signature or a header's value.
    pub cut_after: Vec<String>,
    /// Before the codes; the first that matches decides.
    pub rules: Vec<FaultRule>,
    /// Code to reason.
    pub codes: HashMap<String, Reason>,
    /// Codes whose prefix differs by product generation.
    pub families: Vec<CodeFamily>,
    /// Does the table read plain text? Otherwise a text answer of an error is not readable.
    pub reads_text: bool,
    /// Does it read what is fresh for each call?
    pub reads_call: bool,
}

/// One rule of a fault table.
#[derive(Debug)]
pub struct FaultRule {
    /// Which statuses.
    pub status: StatusPattern,
    /// And under what condition.
    pub when: Option<Expression>,
    /// What it is.
    pub reason: Reason,
}

/// Codes that are the same behind several prefixes.
#[derive(Debug)]
pub struct CodeFamily {
    /// The prefixes, such as `APIGW.`.
    pub prefixes: Vec<String>,
    /// The rest of the code to reason.
    pub codes: HashMap<String, Reason>,
}

/// The statuses that a rule is for.
///
/// ```
/// use taskgate::mapping::fault::StatusPattern;
///
/// let pattern = StatusPattern::parse("2xx").expect("it is a class");
/// assert!(pattern.matches(204) && !pattern.matches(302));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPattern {
    /// First and last status of each part, both included.
    pub ranges: Vec<(u16, u16)>,
}

impl StatusPattern {
    /// Every status.
    #[must_use]
    pub fn any() -> Self {
        Self {
            ranges: vec![(0, u16::MAX)],
        }
    }

    /// One class: `2xx`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let class = match text {
            "1xx" => 100,
            "2xx" => 200,
            "3xx" => 300,
            "4xx" => 400,
            "5xx" => 500,
            _ => return None,
        };
        Some(Self {
            ranges: vec![(class, class + 99)],
        })
    }

    /// Is `status` one of them?
    #[must_use]
    pub fn matches(&self, status: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl FaultTable {
    /// The vendor's own code.
    #[must_use]
    pub fn code(&self, bindings: &Bindings<'_>) -> Option<String> {
        first(&self.code, bindings, MAX_CODE_CHARS)
    }

    /// The vendor's own message, cut and cleaned.
    #[must_use]
    pub fn message(&self, bindings: &Bindings<'_>) -> Option<String> {
        first(&self.message, bindings, MAX_MESSAGE_CHARS).map(|text| self.cut(text))
    }

    /// A message up to and with the first of the texts after which nothing is handed on.
    ///
    /// ```
    /// use taskgate::mapping::fault::FaultTable;
    ///
    /// let table = FaultTable { cut_after: vec!["canonicalRequest:".to_owned()], ..FaultTable::default() };
    /// assert_eq!(table.cut("fail, CanonicalRequest:POST|/v1|secret".to_owned()), "fail, CanonicalRequest:…");
    /// assert_eq!(table.cut("other".to_owned()), "other");
    /// ```
    #[must_use]
    pub fn cut(&self, mut message: String) -> String {
        if self.cut_after.is_empty() {
            return message;
        }
        // Lower case of ASCII letters only, so that both texts have the same byte positions.
        let lower = message.to_ascii_lowercase();
        let end = self
            .cut_after
            .iter()
            .filter_map(|text| Some(lower.find(&text.to_ascii_lowercase())? + text.len()))
            .min();
        if let Some(end) = end.filter(|end| *end < message.len()) {
            message.truncate(end);
            message.push('…');
        }
        message
    }

    /// The vendor's id for the exchange.
    #[must_use]
    pub fn request_id(&self, bindings: &Bindings<'_>) -> Option<String> {
        first(&self.request_id, bindings, MAX_CODE_CHARS)
    }

    /// All of it, in case that the answer is a fault.
    #[must_use]
    pub fn fault(&self, status: u16, bindings: &Bindings<'_>) -> VendorFault {
        VendorFault {
            status,
            code: self.code(bindings),
            message: self.message(bindings),
            request_id: self.request_id(bindings),
        }
    }

    /// The reason by rule; `None` where no rule matches.
    ///
    /// # Errors
    /// [`EvaluationError`] where a condition cannot be evaluated: the answer is then not understood.
    pub fn by_rule(&self, status: u16, bindings: &Bindings<'_>) -> Result<Option<Reason>, EvaluationError> {
        for rule in self.rules.iter().filter(|rule| rule.status.matches(status)) {
            let holds = match &rule.when {
                Some(condition) => condition.holds(bindings)?,
                None => true,
            };
            if holds {
                return Ok(Some(rule.reason));
            }
        }
        Ok(None)
    }

    /// The reason by code; `None` where the table does not know it.
    #[must_use]
    pub fn by_code(&self, code: &str) -> Option<Reason> {
        self.codes.get(code).copied().or_else(|| {
            self.families.iter().find_map(|family| {
                let rest = family.prefixes.iter().find_map(|prefix| code.strip_prefix(prefix.as_str()))?;
                family.codes.get(rest).copied()
            })
        })
    }
}

fn first(places: &[Placeholder], bindings: &Bindings<'_>, limit: usize) -> Option<String> {
    places.iter().find_map(|place| {
        let text = match place.expression.header(bindings) {
            Some(header) => Cow::Borrowed(header?),
            None => into_text(place.expression.find(bindings).ok()?)?,
        };
        clean(&text, limit)
    })
}

/// A vendor's text as it may be shown: without control characters, cut, and `None` where nothing is left.
#[must_use]
pub fn clean(text: &str, limit: usize) -> Option<String> {
    let is_blank = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
    let is_plain = |text: &str| text.len() <= limit && PRINTED.has_all(text);
    // What vendors write mostly begins and ends with something.
    if !is_blank(text.as_bytes().first()) && !is_blank(text.as_bytes().last()) && is_plain(text) {
        return Some(text.to_owned());
    }
    let text = text.trim();
    let mut cleaned: String = text.chars().filter(|c| !c.is_control()).take(limit).collect();
    if cleaned.is_empty() {
        return None;
    }
    if text.chars().count() > limit {
        cleaned.push('…');
    }
    Some(cleaned)
}

/// The vendor's `Retry-After`, as seconds or as a date relative to its own `Date`; capped at [`MAX_RETRY_AFTER`].
///
/// Source: RFC 9110 section 10.2.3.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(value).ok()?;
            let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
            until.duration_since(now).unwrap_or_default()
        }
    };
    Some(after.min(MAX_RETRY_AFTER))
}

/// The characters of ASCII that are no controls.
static PRINTED: ByteSet = {
    let mut printed = [false; 256];
    let mut byte = 0;
    while byte < printed.len() {
        printed[byte] = matches!(byte as u8, b' '..=b'~');
        byte += 1;
    }
    ByteSet::new(printed)
};
/// The longest code in the vendors' documents has 36 characters; request ids have up to 64.
const MAX_CODE_CHARS: usize = 128;
/// Enough for a sentence of the vendor and too little for a page.
const MAX_MESSAGE_CHARS: usize = 512;
/// A caller that waits longer than five minutes is better served by asking again.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn families_match_by_the_rest_of_the_code() {
        let table = FaultTable {
            codes: HashMap::from([("X.1".to_owned(), Reason::TaskNotFound)]),
            families: vec![CodeFamily {
                prefixes: vec!["APIGW.".to_owned(), "APIG.".to_owned()],
                codes: HashMap::from([("0308".to_owned(), Reason::VendorRateLimited)]),
            }],
            ..FaultTable::default()
        };
        assert_eq!(table.by_code("X.1"), Some(Reason::TaskNotFound));
        assert_eq!(table.by_code("APIG.0308"), Some(Reason::VendorRateLimited));
        assert_eq!(table.by_code("APIC.0308"), None);
        assert_eq!(table.by_code("0308"), None);
    }

    #[test]
    fn retry_after_is_read_and_capped() {
        let headers = |after: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(after));
            headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
            headers
        };
        let date = Some("Sat, 21 Nov 2026 01:00:00 GMT");
        for (after, date, expected) in [
            ("2", None, Some(2)),
            ("3600", None, Some(300)),
            ("Sat, 21 Nov 2026 01:00:30 GMT", date, Some(30)),
            ("Sat, 21 Nov 2026 00:00:00 GMT", date, Some(0)),
            ("Sat, 21 Nov 2026 01:00:30 GMT", None, None),
            ("soon", None, None),
            ("-1", None, None),
        ] {
            assert_eq!(retry_after(&headers(after, date)), expected.map(Duration::from_secs), "{after}");
        }
    }

    #[test]
    fn vendor_texts_are_cleaned_and_cut() {
        assert_eq!(clean("  a\r\nb\u{7}c ", 10).as_deref(), Some("abc"));
        assert_eq!(clean("abcdef", 3).as_deref(), Some("abc…"));
        assert_eq!(clean(" \n", 3), None);
    }
}
