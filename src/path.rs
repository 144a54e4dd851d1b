//! The path of a request, read: `/tasks/{provider}/{id}:{action}` acts on a task, `/tasks/{provider}/{id}` is the task itself;
//! `/tasks/{provider}:batch{Action}` and `/tasks:batch{Action}` act on many; `/operations/{operation}` is an action under way.
//!
//! **Shape**: `/tasks/prime/15:stop` -> `TaskPath { provider: "prime", id: "15", action: Some("stop") }`.
//!
//! **Invariants**: the verb stands after the last raw colon, an encoded colon is data; the id is percent-decoded exactly
//! once and is then one segment of plain text: no separator, no dot segment, no control character. Nothing is normalised.
//!
//! **Source**: AIP-136 (custom methods), AIP-231 (batches), AIP-151 (operations), RFC 3986 section 3.3.

use percent_encoding::percent_decode_str;

use crate::codec::byte_set::ByteSet;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// A path that names a task, or an action on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPath {
    /// The provider as it stands there; not yet known to exist.
    pub provider: String,
    /// The id, percent-decoded once.
    pub id: String,
    /// The verb as it stands there; not yet known to exist. None: the task itself.
    pub action: Option<String>,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A task, or an action on it.
    Task(TaskPath),
    /// One action on many tasks.
    Batch(BatchPath),
    /// An action that was accepted, by its token as it stands there.
    Operation(String),
}

/// A path that names one action on many tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPath {
    /// The provider as it stands there; none: the tasks name theirs.
    pub provider: Option<String>,
    /// The verb of one of them: `stop` of `batchStop`; not yet known to exist.
    pub action: String,
}

/// Reads the path of a request target, without its query.
///
/// ```
/// use taskgate::path::{BatchPath, Target, target};
/// let many = BatchPath { provider: Some("prime".to_owned()), action: "stop".to_owned() };
/// assert_eq!(target("/tasks/prime:batchStop").unwrap(), Target::Batch(many));
/// assert_eq!(target("/operations/AbC_-1").unwrap(), Target::Operation("AbC_-1".to_owned()));
/// assert!(matches!(target("/tasks/prime/15:stop").unwrap(), Target::Task(_)));
/// ```
///
/// # Errors
/// As [`parse`].
pub fn target(path: &str) -> Result<Target, GatewayError> {
    if let Some(token) = path.strip_prefix("/operations/") {
        let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        return if is_token {
            Ok(Target::Operation(token.to_owned()))
        } else {
            Err(unknown_path())
        };
    }
    let many = match path.strip_prefix("/tasks") {
        Some(tail) if tail.starts_with(':') => tail.get(1..).map(|verb| (None, verb)),
        Some(tail) => tail
            .strip_prefix('/')
            .filter(|tail| !has(tail, b'/'))
            .and_then(|tail| tail.rsplit_once(':'))
            .map(|(provider, verb)| (Some(provider), verb)),
        None => None,
    };
    let Some((provider, verb)) = many else {
        return parse(path).map(Target::Task);
    };
    check_characters(path)?;
    match (provider, verb_of_many(verb)) {
        (Some(""), _) | (_, None) => Err(unknown_path()),
        (provider, Some(action)) => Ok(Target::Batch(BatchPath {
            provider: provider.map(str::to_owned),
            action,
        })),
    }
}

/// `stop` of `batchStop`.
fn verb_of_many(verb: &str) -> Option<String> {
    let verb = verb.strip_prefix("batch")?;
    let first = verb.chars().next().filter(char::is_ascii_uppercase)?;
    Some(format!("{}{}", first.to_ascii_lowercase(), verb.get(1..)?))
}

/// The verb for many tasks: `batchStop` of `stop`.
///
/// ```
/// assert_eq!(taskgate::path::verb_for_many("pauseNow"), "batchPauseNow");
/// ```
#[must_use]
pub fn verb_for_many(verb: &str) -> String {
    let mut rest = verb.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    "batch".chars().chain(first).chain(rest).collect()
}

/// Reads the path of a task or of an action on it, without the query.
///
/// ```
/// use taskgate::path::parse;
/// let path = parse("/tasks/prime/15:stop").unwrap();
/// assert_eq!((path.provider.as_str(), path.id.as_str(), path.action.as_deref()), ("prime", "15", Some("stop")));
/// assert_eq!(parse("/tasks/prime/15").unwrap().action, None);
/// assert!(parse("/tasks/prime/..:stop").is_err());
/// ```
///
/// # Errors
/// `UNKNOWN_PATH` (404) for another path, `INVALID_TARGET` (400) for characters or escapes that no path may hold,
/// `INVALID_TASK_ID` (400) for an id that cannot be one segment of plain text.
pub fn parse(path: &str) -> Result<TaskPath, GatewayError> {
    let is_escaped = check_characters(path)?;
    let rest = path.strip_prefix("/tasks/").ok_or_else(unknown_path)?;
    let end = rest.bytes().position(|byte| byte == b'/').ok_or_else(unknown_path)?;
    let (provider, tail) = (&rest[..end], &rest[end + 1..]);
    let (id, action) = match tail.bytes().rposition(|byte| byte == b':').map(|at| tail.split_at(at)) {
        Some((id, action)) => (id, action.get(1..)),
        None => (tail, None),
    };
    if provider.is_empty() || id.is_empty() || action == Some("") || has(tail, b'/') {
        return Err(unknown_path());
    }
    if has(id, b':') {
        return Err(invalid_id("an id holds no raw `:`; the verb stands after the last one"));
    }
    Ok(TaskPath {
        provider: provider.to_owned(),
        id: decode_id(id, is_escaped)?,
        action: action.map(str::to_owned),
    })
}

/// Has it this byte of ASCII? Paths are too short for a search that prepares itself.
fn has(text: &str, byte: u8) -> bool {
    text.bytes().any(|found| found == byte)
}

fn decode_id(raw: &str, is_escaped: bool) -> Result<String, GatewayError> {
    // Without an escape it is what the path may hold, and of that nothing but a dot segment is no id.
    if !is_escaped && raw.len() <= MAX_ID_CHARS && !matches!(raw, "." | "..") {
        return Ok(raw.to_owned());
    }
    let Ok(id) = percent_decode_str(raw).decode_utf8() else {
        return Err(invalid_id("an id is UTF-8"));
    };
    check_id(&id)?;
    Ok(id.into_owned())
}

/// Can this plain text, which stands for itself, be the id of a task? What a path may name, and nothing else.
///
/// # Errors
/// `INVALID_TASK_ID`.
pub fn check_id(id: &str) -> Result<(), GatewayError> {
    if id.is_empty() {
        return Err(invalid_id("an id is not empty"));
    }
    if id.chars().count() > MAX_ID_CHARS {
        return Err(invalid_id("an id has at most 256 characters"));
    }
    if id == "." || id == ".." {
        return Err(invalid_id("an id is not `.` or `..`"));
    }
    if id.contains(['/', '\\']) {
        return Err(invalid_id("an id holds no `/` and no `\\`, encoded or not"));
    }
    if id.chars().any(char::is_control) {
        return Err(invalid_id("an id holds no control characters"));
    }
    Ok(())
}

/// Refuses what RFC 3986 does not allow in a path, `;` (parameters that some servers cut off), and broken escapes. Is there an escape?
fn check_characters(path: &str) -> Result<bool, GatewayError> {
    if ALLOWED.has_all(path) {
        return Ok(false);
    }
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let mut hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        if !(ALLOWED.has(byte) || (byte == b'%' && hex() && hex())) {
            return Err(GatewayError::new(
                Reason::InvalidTarget,
                "the path holds a character or an escape that a path may not hold",
            ));
        }
    }
    Ok(true)
}

/// The bytes that stand for themselves in a path, `;` left out.
static ALLOWED: ByteSet = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < allowed.len() {
        allowed[byte] = matches!(byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
            | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' | b'/');
        byte += 1;
    }
    ByteSet::new(allowed)
};

fn invalid_id(detail: &str) -> GatewayError {
    GatewayError::new(Reason::InvalidTaskId, detail)
}

fn unknown_path() -> GatewayError {
    GatewayError::new(
        Reason::UnknownPath,
        "expected `/tasks/{provider}/{id}:{action}` or `/tasks/{provider}/{id}`",
    )
}

/// Longer than any vendor's id (HSS: 64, rescan tasks 256) and short enough to be read in a log.
const MAX_ID_CHARS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Result<(&str, &str, Option<&str>), Reason>) {
        let parsed = parse(path);
        let parsed = parsed
            .as_ref()
            .map(|p| (p.provider.as_str(), p.id.as_str(), p.action.as_deref()))
            .map_err(|error| error.reason);
        assert_eq!(parsed, expected, "{path}");
    }

    #[test]
    fn good_paths() {
        check("/tasks/acme/15:stop", Ok(("acme", "15", Some("stop"))));
        check("/tasks/x/a%20b:retry", Ok(("x", "a b", Some("retry"))));
        check("/tasks/x/a%3Ab:stop", Ok(("x", "a:b", Some("stop"))));
        check("/tasks/x/%C3%A9:stop", Ok(("x", "é", Some("stop"))));
        check("/tasks/x/a%252Fb:stop", Ok(("x", "a%2Fb", Some("stop"))));
        check("/tasks/x/$(project_id):stop", Ok(("x", "$(project_id)", Some("stop"))));
        check("/tasks/__proto__/1:STOP", Ok(("__proto__", "1", Some("STOP"))));
        check("/tasks/x/1", Ok(("x", "1", None)));
        check("/tasks/x/1%3Astop", Ok(("x", "1:stop", None)));
    }

    #[test]
    fn paths_of_many_and_of_operations() {
        let many = |provider: Option<&str>, action: &str| {
            Ok(Target::Batch(BatchPath {
                provider: provider.map(str::to_owned),
                action: action.to_owned(),
            }))
        };
        for (path, expected) in [
            ("/tasks/acme:batchStop", many(Some("acme"), "stop")),
            ("/tasks/acme:batchPauseNow", many(Some("acme"), "pauseNow")),
            ("/tasks:batchRetry", many(None, "retry")),
            ("/operations/a-_9Z", Ok(Target::Operation("a-_9Z".to_owned()))),
            (
                "/tasks/acme/1:batchStop",
                parse("/tasks/acme/1:batchStop").map(Target::Task).map_err(|error| error.reason),
            ),
            ("/tasks/acme:stop", Err(Reason::UnknownPath)),
            ("/tasks/acme:batchstop", Err(Reason::UnknownPath)),
            ("/tasks/acme:batch", Err(Reason::UnknownPath)),
            ("/tasks/:batchStop", Err(Reason::UnknownPath)),
            ("/tasks:", Err(Reason::UnknownPath)),
            ("/tasks:stop", Err(Reason::UnknownPath)),
            ("/tasks/a%zz:batchStop", Err(Reason::InvalidTarget)),
            ("/operations/", Err(Reason::UnknownPath)),
            ("/operations", Err(Reason::UnknownPath)),
            ("/operations/a/b", Err(Reason::UnknownPath)),
            ("/operations/a%20b", Err(Reason::UnknownPath)),
        ] {
            assert_eq!(target(path).map_err(|error| error.reason), expected, "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        for path in [
            "/",
            "/tasks",
            "/tasks/",
            "/tasks/x",
            "/tasks/x/",
            "/tasks/x/:stop",
            "/tasks//1:stop",
            "/tasks/x/1:stop/",
            "/tasks/x/1:",
            "/Tasks/x/1:stop",
            "//tasks/x/1:stop",
            "/tasks/x/y/1:stop",
            "*",
            "",
        ] {
            check(path, Err(Reason::UnknownPath));
        }
    }

    #[test]
    fn ids_that_cannot_be_one_segment_are_refused() {
        for id in [
            "..",
            ".",
            "%2e%2e",
            "%2E.",
            ".%2e",
            "a%2Fb",
            "a%5Cb",
            "..%2f..%2fadmin",
            "%00",
            "%0d%0a",
            "%09",
            "%7f",
            "%C2%84",
            "%ff",
            "%c0%ae%c0%ae",
            "%ed%a0%80",
            "id:stop",
            "id:retry",
        ] {
            check(&format!("/tasks/x/{id}:stop"), Err(Reason::InvalidTaskId));
        }
        check(&format!("/tasks/x/{}:stop", "a".repeat(257)), Err(Reason::InvalidTaskId));
    }

    #[test]
    fn characters_that_no_path_may_hold() {
        for id in ["a#b", "a;x=1", "a b", "{}", "`", "é", "%", "%2", "%zz", "a?b", "<", "\"", "^", "|"] {
            check(&format!("/tasks/x/{id}:stop"), Err(Reason::InvalidTarget));
        }
    }

    /// The same, part by part.
    fn parse_in_parts(path: &str) -> Result<(&str, &str, Option<&str>), Reason> {
        let ["", "tasks", provider, tail] = path.split('/').collect::<Vec<_>>()[..] else {
            return Err(Reason::UnknownPath);
        };
        let (id, action) = tail.rsplit_once(':').map_or((tail, None), |(id, action)| (id, Some(action)));
        if provider.is_empty() || action.is_some_and(str::is_empty) || id.is_empty() {
            return Err(Reason::UnknownPath);
        }
        let is_bad = id.contains(':') || matches!(id, "." | "..");
        if is_bad {
            Err(Reason::InvalidTaskId)
        } else {
            Ok((provider, id, action))
        }
    }

    proptest::proptest! {
        #[test]
        fn a_path_is_its_parts(path in "(/tasks|/task|)(/[a:.]{0,2}){0,2}/?[a:.]{0,5}(:[a-z/]{0,2})?") {
            check(&path, parse_in_parts(&path));
        }

        #[test]
        fn no_path_panics_and_every_id_is_one_segment(path in ".{0,60}", id in "[!-~]{1,40}") {
            let _ = (parse(&path), target(&path));
            if let Ok(path) = parse(&format!("/tasks/x/{id}:stop")) {
                proptest::prop_assert!(!path.id.contains('/') && !path.id.is_empty() && path.id != "..");
            }
        }
    }
}
