//! Content negotiation: what a caller takes as an answer, by `Accept` and `Accept-Encoding`.
//!
//! **Shape**: `Accept: text/html, */*;q=0.1` -> JSON fits; `Accept-Encoding: gzip, br` -> [`Coding::Packed`].
//!
//! **Invariants**: what is not well formed in a list is ignored, as if it were not there; a list of nothing else is no list. Who does
//! not ask for a coding gets none, and pays nothing for it. A problem is told in its own media type whatever is asked for.
//!
//! **Source**: RFC 9110 sections 12.4.2, 12.5.1 and 12.5.3.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};

/// In which content codings a caller takes an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    #[default]
    Plain,
    /// With gzip where that is worth it.
    Packed,
    /// With gzip and not without.
    OnlyPacked,
    /// In none that there is.
    Nothing,
}

impl Coding {
    /// What these headers ask for.
    #[must_use]
    pub fn asked(headers: &HeaderMap) -> Self {
        if !headers.contains_key(ACCEPT_ENCODING) {
            return Self::Plain;
        }
        let (mut gzip, mut identity, mut others) = (None, None, None);
        for element in headers.get_all(ACCEPT_ENCODING).iter().flat_map(elements) {
            let Some((coding, weight)) = weighted(element) else { continue };
            let place = match coding {
                name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => &mut gzip,
                name if name.eq_ignore_ascii_case("identity") => &mut identity,
                "*" => &mut others,
                _ => continue,
            };
            *place = Some(place.map_or(weight, |before: u16| before.max(weight)));
        }
        let gzip = gzip.or(others).unwrap_or(0);
        // What is not named is taken, but liked less than what is.
        let is_refused = identity.or(others) == Some(0);
        match (gzip > 0 && identity.is_none_or(|identity| gzip >= identity), is_refused) {
            (true, true) => Self::OnlyPacked,
            (true, false) => Self::Packed,
            (false, true) => Self::Nothing,
            (false, false) => Self::Plain,
        }
    }

    /// Is gzip taken, and liked no less than none?
    #[must_use]
    pub fn packs(self) -> bool {
        matches!(self, Self::Packed | Self::OnlyPacked)
    }

    /// The document with gzip, where the caller wants it and it is worth it.
    #[must_use]
    pub fn pack(self, document: &str) -> Option<Vec<u8>> {
        let wanted = match self {
            Self::Packed => document.len() >= WORTH_PACKING,
            Self::OnlyPacked => true,
            Self::Plain | Self::Nothing => false,
        };
        if !wanted {
            return None;
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(document.len() / 2), Compression::fast());
        // Writing to a vector does not fail.
        encoder.write_all(document.as_bytes()).ok()?;
        encoder.finish().ok()
    }

    /// Would another caller get this document in another coding?
    #[must_use]
    pub fn varies(self, document: &str) -> bool {
        document.len() >= WORTH_PACKING || self == Self::OnlyPacked
    }
}

/// Is JSON among the media types that a caller takes?
#[must_use]
pub fn takes_json(headers: &HeaderMap) -> bool {
    match wish(headers, "application", "json") {
        Wish::None => true,
        Wish::Other => false,
        Wish::Weighted { weight, .. } => weight > 0,
    }
}

/// Does the caller name JSON, and like it better than a page for people? Who names neither, or anything, gets the page.
#[must_use]
pub fn prefers_json(headers: &HeaderMap) -> bool {
    let named = |kind, subtype| match wish(headers, kind, subtype) {
        Wish::Weighted { closeness, weight } if closeness > ANYTHING => weight,
        Wish::Weighted { .. } | Wish::None | Wish::Other => 0,
    };
    let json = named("application", "json").max(named("application", "problem+json"));
    json > named("text", "html")
}

/// What `Accept` says of one media type.
enum Wish {
    /// Nothing of any: everything is taken.
    None,
    /// Only others are named.
    Other,
    /// How closely the closest range fits, and its weight in thousandths.
    Weighted { closeness: u8, weight: u16 },
}

fn wish(headers: &HeaderMap, kind: &str, subtype: &str) -> Wish {
    let mut best: Option<(u8, u16)> = None;
    let mut said_anything = false;
    for element in headers.get_all(ACCEPT).iter().flat_map(elements) {
        let Some((range, weight)) = weighted(element) else { continue };
        let Some(closeness) = closeness(range, kind, subtype) else {
            continue;
        };
        said_anything = true;
        if closeness > 0 {
            best = best.max(Some((closeness, weight)));
        }
    }
    match best {
        Some((closeness, weight)) => Wish::Weighted { closeness, weight },
        None if said_anything => Wish::Other,
        None => Wish::None,
    }
}

/// Most callers send one of these, or nothing.
#[must_use]
pub fn plainly_takes_json(value: &HeaderValue) -> bool {
    matches!(value.as_bytes(), b"*/*" | b"application/json")
}

/// The elements of a list; none of a line that is no text.
fn elements(line: &HeaderValue) -> impl Iterator<Item = &str> {
    let line = line.to_str().unwrap_or_default();
    split_outside_quotes(line, ',')
        .into_iter()
        .map(|element| element.trim_matches(BLANKS))
        .filter(|element| !element.is_empty())
}

/// An element without its weight, and that in thousandths; nothing for one that is not well formed.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let Some((before, last)) = element.rsplit_once(';') else {
        return Some((element, 1000));
    };
    match last
        .split_once('=')
        .map(|(name, value)| (name.trim_matches(BLANKS), value.trim_matches(BLANKS)))
    {
        Some((name, value)) if name.eq_ignore_ascii_case("q") => Some((before.trim_matches(BLANKS), weight(value)?)),
        _ => Some((element, 1000)),
    }
}

/// Source: RFC 9110 section 12.4.2.
fn weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// How closely a media range fits a media type, 0 where it does not; nothing for what is no media range.
fn closeness(range: &str, kind: &str, subtype: &str) -> Option<u8> {
    let mut parts = split_outside_quotes(range, ';').into_iter().map(|part| part.trim_matches(BLANKS));
    let (any_kind, any_subtype) = parts.next()?.split_once('/')?;
    if !is_token(any_kind) || !is_token(any_subtype) || (any_kind == "*" && any_subtype != "*") {
        return None;
    }
    let mut fits = true;
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        // What is sent is in UTF-8, and has no other parameter.
        fits &= name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8");
    }
    let is_kind = any_kind.eq_ignore_ascii_case(kind);
    Some(match (any_kind, any_subtype) {
        _ if !fits => 0,
        ("*", _) => ANYTHING,
        (_, "*") if is_kind => 2,
        (_, any_subtype) if is_kind && any_subtype.eq_ignore_ascii_case(subtype) => 3,
        _ => 0,
    })
}

/// The parts of a line between separators that stand outside quotes.
pub(crate) fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.extend(text.get(start..at));
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// Source: RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

const BLANKS: [char; 2] = [' ', '\t'];
/// How closely `*/*` fits.
const ANYTHING: u8 = 1;
/// An answer about one task has some 400 bytes and goes in one packet in any case.
const WORTH_PACKING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn headers(name: http::HeaderName, lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (name.clone(), HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    #[test]
    fn media_types_by_one_table() {
        for (lines, takes) in [
            (&[][..], true),
            (&[""], true),
            (&["*/*"], true),
            (&["application/json"], true),
            (&["APPLICATION/Json"], true),
            (&["application/*"], true),
            (&["application/json; charset=utf-8"], true),
            (&["text/html, application/xhtml+xml, */*;q=0.8"], true),
            (&["text/html", "application/json;q=0.001"], true),
            (&["application/problem+json, application/json"], true),
            (&["text/html;level=\"a,b;q=0\", */* ; q=0.1"], true),
            // The closest range decides.
            (&["application/json;q=0, */*"], false),
            (&["application/*;q=0, application/json"], true),
            (&["*/*;q=0"], false),
            (&["text/html"], false),
            (&["text/*, image/png"], false),
            (&["application/problem+json"], false),
            (&["application/jsonp"], false),
            (&["application/json;version=1"], false),
            (&["application/json; charset=latin1"], false),
            // What is not well formed is not there.
            (&["json"], true),
            (&["application/json;q=2"], true),
            (&["text/html;q=0.1234"], true),
            (&["*/json"], true),
            (&["a b/c"], true),
            (&[","], true),
            (&["json, text/html"], false),
        ] {
            assert_eq!(takes_json(&headers(ACCEPT, lines)), takes, "{lines:?}");
        }
    }

    #[test]
    fn pages_for_people_by_one_table() {
        for (lines, json) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["application/json"], true),
            (&["application/problem+json"], true),
            (&["application/*, text/plain;q=0.5"], true),
            (&["application/json;q=0"], false),
            (&["text/html, application/json"], false),
            (&["text/html;q=0.5, application/json"], true),
            (&["text/*;q=0.9, application/json;q=0.8"], false),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], false),
            (&["text/html;q=0, application/json;q=0.1"], true),
        ] {
            assert_eq!(prefers_json(&headers(ACCEPT, lines)), json, "{lines:?}");
        }
    }

    #[test]
    fn codings_by_one_table() {
        use Coding::{Nothing, OnlyPacked, Packed, Plain};
        for (lines, coding) in [
            (&[][..], Plain),
            (&[""], Plain),
            (&["br, deflate"], Plain),
            (&["identity"], Plain),
            (&["gzip"], Packed),
            (&["GZIP"], Packed),
            (&["x-gzip"], Packed),
            (&["*"], Packed),
            (&["gzip, deflate, br, zstd"], Packed),
            (&["br", "gzip;q=0.2"], Packed),
            (&["gzip;q=0"], Plain),
            (&["gzip;q=0, *"], Plain),
            (&["gzip;q=0.5, identity"], Plain),
            (&["gzip;q=0.5, identity;q=0.5"], Packed),
            (&["gzip, identity;q=0"], OnlyPacked),
            (&["*, identity;q=0"], OnlyPacked),
            (&["gzip, *;q=0"], OnlyPacked),
            (&["identity;q=0"], Nothing),
            (&["*;q=0"], Nothing),
            (&["br, *;q=0.000"], Nothing),
            (&["*;q=0, identity;q=0.1"], Plain),
            (&["gzip;q=x"], Plain),
            (&["identity;q=-1"], Plain),
        ] {
            assert_eq!(Coding::asked(&headers(ACCEPT_ENCODING, lines)), coding, "{lines:?}");
        }
    }

    #[test]
    fn short_documents_stay_as_they_are() {
        let (short, long) = ("x".repeat(1023), "x".repeat(1024));
        for (coding, packs) in [
            (Coding::Plain, (false, false)),
            (Coding::Packed, (false, true)),
            (Coding::OnlyPacked, (true, true)),
            (Coding::Nothing, (false, false)),
        ] {
            assert_eq!((coding.pack(&short).is_some(), coding.pack(&long).is_some()), packs, "{coding:?}");
            assert!(coding.varies(&long), "a cache has to know");
        }
        assert!(!Coding::Packed.varies(&short) && Coding::OnlyPacked.varies(&short));
    }

    proptest! {
        #[test]
        fn what_was_packed_is_what_it_was(document in any::<String>(), times in 0_usize..40) {
            let document = document.repeat(times);
            let packed = Coding::OnlyPacked.pack(&document).unwrap();
            let mut read = String::new();
            GzDecoder::new(packed.as_slice()).read_to_string(&mut read).unwrap();
            prop_assert_eq!(read, document);
        }

        #[test]
        fn no_header_breaks_anything(lines in prop::collection::vec("[ -~\\t]{0,60}", 0..4)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let _ = (takes_json(&headers(ACCEPT, &lines)), Coding::asked(&headers(ACCEPT_ENCODING, &lines)));
        }
    }
}
