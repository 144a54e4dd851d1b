//! The trace that a request belongs to: `traceparent` and `tracestate`.
//!
//! **Shape**: `traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01` -> [`Trace`] with that trace, the caller's span as
//! parent and a span of its own; onwards `00-0af7651916cd43dd8448eb211c80319c-{own span}-01`.
//!
//! **Invariants**: a `traceparent` that is not valid, or stands there twice, begins a new trace, and then `tracestate` means nothing.
//! A `tracestate` goes on in its order, or not at all where one member is not valid. Ids are chance and no secret.
//!
//! **Source**: W3C Trace Context, level 2.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::request_id;

/// The trace of one request. Clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: [u8; 16],
    span: [u8; 8],
    flags: u8,
    caller: Option<Arc<FromCaller>>,
}

/// What the caller said of it.
#[derive(Debug, PartialEq, Eq)]
struct FromCaller {
    span: [u8; 8],
    state: Option<HeaderValue>,
}

/// The ids of a trace in the digits that logs and headers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex<const N: usize>([u8; N]);

impl Trace {
    /// The trace that the caller is in, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let [one, two, three] = request_id::chance();
        let own = three.max(1).to_be_bytes();
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let parent = match (lines.next(), lines.next()) {
            (Some(only), None) => Parent::read(only.as_bytes()),
            _ => None,
        };
        match parent {
            // A new one, of which nobody has recorded anything.
            None => Self {
                id: (u128::from(one) << 64 | u128::from(two)).max(1).to_be_bytes(),
                span: own,
                flags: RANDOM,
                caller: None,
            },
            Some(Parent { id, span, flags }) => Self {
                id,
                span: own,
                flags,
                caller: Some(Arc::new(FromCaller {
                    span,
                    state: state(headers),
                })),
            },
        }
    }

    /// Did the caller send it?
    #[must_use]
    pub fn is_callers(&self) -> bool {
        self.caller.is_some()
    }

    /// The trace.
    #[must_use]
    pub fn id(&self) -> Hex<16> {
        Hex(self.id)
    }

    /// The span of this request.
    #[must_use]
    pub fn span(&self) -> Hex<8> {
        Hex(self.span)
    }

    /// The caller's span.
    #[must_use]
    pub fn parent(&self) -> Option<Hex<8>> {
        self.caller.as_ref().map(|caller| Hex(caller.span))
    }

    /// Its ids, for the log.
    #[must_use]
    pub fn ids(&self) -> TraceIds {
        TraceIds {
            trace: self.id(),
            span: self.span(),
            parent: self.parent(),
        }
    }

    /// The headers that tell a vendor of it.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let Self { id, span, flags, caller } = self;
        let parent = HeaderValue::from_str(&format!("00-{}-{}-{flags:02x}", Hex(*id), Hex(*span))).ok();
        let state = caller.as_ref().and_then(|caller| caller.state.clone());
        let parent = parent.map(|parent| (TRACEPARENT, parent));
        parent.into_iter().chain(state.map(|state| (TRACESTATE, state)))
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The ids of a trace, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// The trace.
    pub trace: Hex<16>,
    /// The span of the request.
    pub span: Hex<8>,
    /// The caller's span.
    pub parent: Option<Hex<8>>,
}

impl<const N: usize> Hex<N> {
    /// The id of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; N] {
        &self.0
    }
}

/// What a valid `traceparent` says.
#[derive(Debug, PartialEq, Eq)]
struct Parent {
    id: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

impl Parent {
    /// A version above 0 is read as far as this one goes.
    fn read(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let separators = [2, 35, 52];
        if separators.iter().any(|at| head.get(*at) != Some(&b'-')) {
            return None;
        }
        let [version] = hex(head.get(..2)?)?;
        let goes_on = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let id: [u8; 16] = hex(head.get(3..35)?)?;
        let span: [u8; 8] = hex(head.get(36..52)?)?;
        let [flags] = hex(head.get(53..)?)?;
        let is_valid = goes_on && id != [0; 16] && span != [0; 8];
        is_valid.then_some(Self {
            id,
            span,
            flags: flags & (SAMPLED | RANDOM),
        })
    }
}

/// Lower-case digits only.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |value, one| Some(value << 4 | digit(one)?))?;
    }
    Some(bytes)
}

/// The list of all lines in their order, as far as it is passed on; nothing where a member is not valid.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut members: Vec<&str> = Vec::new();
    for line in headers.get_all(TRACESTATE) {
        for member in line.to_str().ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_new = members
                .iter()
                .all(|other| other.split_once('=').is_none_or(|(other, _)| other != key));
            if !is_key(key) || !is_value(value) || !is_new || members.len() == MAX_MEMBERS {
                return None;
            }
            members.push(member);
        }
    }
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    // As the standard has it: the long ones go first, then the last ones.
    while length(&members) > MAX_STATE + 1 {
        match members.iter().rposition(|member| member.len() > LONG_MEMBER) {
            Some(at) => drop(members.remove(at)),
            None => drop(members.pop()),
        }
    }
    if members.is_empty() {
        return None;
    }
    HeaderValue::from_str(&members.join(",")).ok()
}

fn is_key(key: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let first = key.bytes().next();
    key.len() <= 256 && first.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) && key.bytes().all(rest)
}

fn is_value(value: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, 0x20..=0x7e) && !b",=".contains(&byte);
    (1..=256).contains(&value.len()) && value.bytes().all(is_plain)
}

/// The trace and the caller's span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What the systems on the way noted.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Version, trace, span and flags, with what stands between them.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
/// The trace id is chance.
const RANDOM: u8 = 2;
const MAX_MEMBERS: usize = 32;
/// As much has to be passed on.
const MAX_STATE: usize = 512;
/// Members above it go first.
const LONG_MEMBER: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(parents: &[&str], states: &[&str]) -> HeaderMap {
        let line = |name: HeaderName, text: &&str| (name, HeaderValue::from_str(text).unwrap());
        let parents = parents.iter().map(|text| line(TRACEPARENT, text));
        parents.chain(states.iter().map(|text| line(TRACESTATE, text))).collect()
    }

    fn told(trace: &Trace) -> (String, Option<String>) {
        let headers: HeaderMap = trace.headers().collect();
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        (text(TRACEPARENT).unwrap(), text(TRACESTATE))
    }

    #[test]
    fn a_valid_parent_is_followed_with_a_span_of_our_own() {
        let trace = Trace::of(&headers(&[PARENT], &["b=2, a@x=1", "", "c=3"]));
        assert!(trace.is_callers());
        assert_eq!(trace.id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.parent().unwrap().to_string(), "b7ad6b7169203331");
        let (parent, state) = told(&trace);
        assert_eq!(parent, format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", trace.span()));
        assert_ne!(trace.span().to_string(), "b7ad6b7169203331");
        assert_eq!(state.unwrap(), "b=2,a@x=1,c=3");
    }

    #[test]
    fn flags_and_versions() {
        let id = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        for (sent, flags) in [
            (format!("00-{id}-00"), Some("00")),
            (format!("00-{id}-03"), Some("03")),
            (format!("00-{id}-ff"), Some("03")),
            (format!("01-{id}-01"), Some("01")),
            (format!("cc-{id}-09-what-is-to-come"), Some("01")),
            (format!("cc-{id}-01-"), Some("01")),
            (format!("cc-{id}-01.what"), None),
            (format!("ff-{id}-01"), None),
            (format!("00-{id}-01-"), None),
            (format!("00-{id}-1"), None),
            (format!("0-{id}-01"), None),
            (format!("00-{id}-0A"), None),
            (format!("00-{}-01", id.to_uppercase()), None),
            (format!("00_{id}-01"), None),
            (format!("00-{id}"), None),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(), None),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(), None),
            ("00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01".to_owned(), None),
            (String::new(), None),
        ] {
            let trace = Trace::of(&headers(&[&sent], &["a=1"]));
            let (parent, state) = told(&trace);
            match flags {
                Some(flags) => assert!(
                    parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent.ends_with(&format!("-{flags}")),
                    "{sent}: {parent}"
                ),
                None => assert!(
                    !trace.is_callers() && !parent.contains("0af7651916cd43dd") && state.is_none(),
                    "{sent}: {parent}"
                ),
            }
        }
        assert!(!Trace::of(&headers(&[PARENT, PARENT], &[])).is_callers(), "twice is not once");
    }

    #[test]
    fn a_list_is_kept_whole_or_not_at_all() {
        let many: Vec<String> = (0..33).map(|at| format!("k{at}=v")).collect();
        let long = "x".repeat(257);
        for (sent, kept) in [
            ("a=1", Some("a=1")),
            ("\t a=1 ,, b=two words", Some("a=1,b=two words")),
            ("1a=1,tenant@system=1,a_-*/z=~", Some("1a=1,tenant@system=1,a_-*/z=~")),
            (&many[..32].join(","), Some(&*many[..32].join(","))),
            (&many.join(","), None),
            ("a=1,a=2", None),
            ("a=1,b", None),
            ("a=1,b=", None),
            ("a=1,B=1", None),
            ("a=1,b=1=2", None),
            ("a=1,@b=1", None),
            (&format!("a=1,b={long}"), None),
            (&format!("a=1,{long}=b"), None),
            ("", None),
        ] {
            let trace = Trace::of(&headers(&[PARENT], &[sent]));
            assert_eq!(told(&trace).1.as_deref(), kept, "{sent}");
        }
        // Long members go first, then the last ones.
        let (large, small) = (format!("large={}", "x".repeat(150)), |at: usize| {
            format!("s{at}={}", "y".repeat(97))
        });
        let sent = [small(1), large, small(2), small(3), small(4), small(5), small(6)].join(",");
        let kept = told(&Trace::of(&headers(&[PARENT], &[&sent]))).1.unwrap();
        assert_eq!(kept, [small(1), small(2), small(3), small(4), small(5)].join(","));
        assert!(kept.len() <= 512);
    }

    #[test]
    fn new_traces_do_not_repeat() {
        let traces: BTreeSet<_> = (0..10_000)
            .map(|_| Trace::of(&HeaderMap::new()))
            .map(|trace| trace.id().to_string())
            .collect();
        assert_eq!(traces.len(), 10_000);
        let (parent, state) = told(&Trace::of(&HeaderMap::new()));
        assert!(Parent::read(parent.as_bytes()).is_some() && parent.ends_with("-02") && state.is_none());
    }

    proptest! {
        #[test]
        fn every_valid_parent_comes_through(id in 1_u128.., span in 1_u64.., flags: u8, version in 0_u8..255, more in "[ -~]{0,40}") {
            let more = if version == 0 || more.is_empty() { String::new() } else { format!("-{more}") };
            let sent = format!("{version:02x}-{id:032x}-{span:016x}-{flags:02x}{more}");
            let trace = Trace::of(&headers(&[&sent], &[]));
            prop_assert!(trace.is_callers());
            prop_assert_eq!(trace.parent().unwrap().to_string(), format!("{span:016x}"));
            let expected = format!("00-{id:032x}-{}-{:02x}", trace.span(), flags & 3);
            prop_assert_eq!(told(&trace).0, expected);
        }

        #[test]
        fn one_changed_character_is_seen(at in 0_usize..55, by in any::<char>().prop_filter("another kind", |c| c.is_ascii_graphic() && !c.is_ascii_digit() && !('a'..='f').contains(c) && *c != '-')) {
            let mut sent: Vec<char> = PARENT.chars().collect();
            sent[at] = by;
            let sent: String = sent.into_iter().collect();
            prop_assert!(Parent::read(sent.as_bytes()).is_none());
        }

        #[test]
        fn whatever_comes_what_goes_out_is_valid(parent in "[ -~]{0,80}", states in prop::collection::vec("[ -~\\t]{0,700}", 0..3)) {
            let states: Vec<&str> = states.iter().map(String::as_str).collect();
            for parent in [parent.as_str(), PARENT] {
                let (parent, state) = told(&Trace::of(&headers(&[parent], &states)));
                prop_assert!(Parent::read(parent.as_bytes()).is_some());
                if let Some(kept) = state {
                    prop_assert!(kept.len() <= 512);
                    let again = told(&Trace::of(&headers(&[PARENT], &[&kept]))).1;
                    prop_assert_eq!(again, Some(kept));
                }
            }
        }
    }
}
