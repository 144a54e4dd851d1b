//! The texts that were read, so that a fault can be shown with line, column and excerpt.
//!
//! **Invariants**: a text never changes after it was added; a byte-order mark is dropped before spans are counted.

use crate::config::place::{FileId, Span};
use crate::crypto::sha256_hex;

/// Every file that was read for one compilation.
#[derive(Debug, Default)]
pub struct FileSet {
    files: Vec<Entry>,
}

/// One file with the offsets of its lines.
#[derive(Debug)]
struct Entry {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

/// A place as editors count it: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl FileSet {
    /// Adds a text under the name that faults show.
    ///
    /// ```
    /// use taskgate::config::files::FileSet;
    ///
    /// let mut files = FileSet::default();
    /// let id = files.add("routes.yaml", "\u{feff}version: 1\n");
    /// assert_eq!(files.text(id), "version: 1\n");
    /// ```
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let mut text = text.into();
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let id = u32::try_from(self.files.len()).map_or(FileId(u32::MAX), FileId);
        self.files.push(Entry {
            name: name.into(),
            text,
            line_starts,
        });
        id
    }

    /// The text of a file without byte-order mark.
    #[must_use]
    pub fn text(&self, id: FileId) -> &str {
        self.entry(id).map_or("", |entry| entry.text.as_str())
    }

    /// A hash over all texts, in hex digits: the same files have the same one in every process, wherever they stand.
    #[must_use]
    pub fn hash(&self) -> String {
        let digests: Vec<String> = self.files.iter().map(|file| sha256_hex(file.text.as_bytes())).collect();
        sha256_hex(digests.concat().as_bytes())
    }

    /// The name of a file as faults show it.
    #[must_use]
    pub fn name(&self, id: FileId) -> &str {
        self.entry(id).map_or("", |entry| entry.name.as_str())
    }

    /// Line and column of the start of `span`.
    #[must_use]
    pub fn position(&self, span: Span) -> Position {
        let Some(entry) = self.entry(span.file) else {
            return Position { line: 1, column: 1 };
        };
        let line = entry.line_starts.partition_point(|start| *start <= span.start).max(1);
        let line_start = entry.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = entry.text.get(line_start..span.start.min(entry.text.len())).unwrap_or_default();
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    /// What stands at `span`; empty when the span is not of this set.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text(span.file).get(span.start..span.end).unwrap_or_default()
    }

    /// `span` narrowed to the first occurrence of `part` in it, or `span` itself when `part` is not there verbatim
    /// (it was written with escapes, or over several lines).
    #[must_use]
    pub fn narrow(&self, span: Span, part: &str) -> Span {
        match self.slice(span).find(part) {
            Some(at) if !part.is_empty() => Span::new(span.file, span.start + at, span.start + at + part.len()),
            _ => span,
        }
    }

    /// The file's entry; ids of another set have none.
    fn entry(&self, id: FileId) -> Option<&Entry> {
        self.files.get(usize::try_from(id.0).ok()?)
    }
}

/// Some editors write it at the start of UTF-8 files; it is no part of the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, part: &str, expected: (usize, usize)) {
        let mut files = FileSet::default();
        let id = files.add("f", text);
        let span = files.narrow(Span::new(id, 0, files.text(id).len()), part);
        assert_eq!(files.slice(span), part);
        let Position { line, column } = files.position(span);
        assert_eq!((line, column), expected);
    }

    #[test]
    fn positions_count_lines_and_characters() {
        check("a: b\n", "a", (1, 1));
        check("a: b\nc: d", "d", (2, 4));
        check("a: b\r\nc: d", "d", (2, 4));
        check("é: ü\n日本: x", "x", (2, 5));
        check("\u{feff}a: b", "b", (1, 4));
    }

    #[test]
    fn what_is_not_there_does_not_narrow() {
        let mut files = FileSet::default();
        let id = files.add("f", "abc");
        let span = Span::new(id, 1, 3);
        assert_eq!(files.narrow(span, "x"), span);
        assert_eq!(files.slice(Span::new(FileId(7), 0, 1)), "");
    }
}
