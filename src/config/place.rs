//! Where something stands: bytes of a file, and the path of keys that leads there.
//!
//! **Shape**: `Span { file, start: 412, end: 417 }`; `providers.acme.actions.stop.request.xml`.

use std::borrow::Cow;
use std::fmt;

/// One file of a [`FileSet`](crate::config::files::FileSet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub(crate) u32);

/// A range of bytes in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: usize,
    /// One past the last byte; equal to `start` for a place between bytes.
    pub end: usize,
}

impl Span {
    /// The range `start..end` of `file`.
    #[must_use]
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        Self {
            file,
            start,
            end: end.max(start),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value with its place.
    #[must_use]
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// The keys that lead to a place, as people write them.
///
/// ```
/// use taskgate::config::place::Path;
///
/// let rule = Path::default().key("faults").key("globex").key("rules").index(0);
/// assert_eq!(rule.to_string(), "faults.globex.rules[0]");
/// assert_eq!(Path::default().key("codes").key("XY.1").to_string(), "codes[\"XY.1\"]");
/// let long = (0..200).fold(Path::default(), |path, _| path.key("key"));
/// assert!(long.to_string().len() < 600 && long.to_string().ends_with("key.…"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(String);

impl Path {
    /// The path of the member `key` of this place.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.0.clone();
        let key = shown(key);
        let key = key.as_ref();
        if path.len() > MAX_PATH {
            // Every fault holds a path: it ends where nobody reads on.
            if !path.ends_with(CUT) {
                path.push_str(CUT);
            }
        } else if !is_plain(key) {
            path.push_str(&format!("[{key:?}]"));
        } else if path.is_empty() {
            path.push_str(key);
        } else {
            path.push('.');
            path.push_str(key);
        }
        Self(path)
    }

    /// The path of the item `index` of this place.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path as text; empty for the whole file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path together with the bytes that a fault about it points at: the key that introduces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it stands.
    pub span: Span,
    /// The keys that lead there.
    pub path: Path,
}

/// A key as it stands in a path: the start of it where it is very long.
fn shown(key: &str) -> Cow<'_, str> {
    match key.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", key.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(key),
    }
}

/// Longer keys are the work of a program.
const MAX_SHOWN: usize = 128;
/// Far beyond the paths of routes and schemas that people write.
const MAX_PATH: usize = 512;
const CUT: &str = ".…";

/// Can `key` stand in a path without quotes?
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '@'))
}
