//! JSON text -> value and the places of its parts.
//!
//! **Shape**: `{"type": "strin"}` -> `Document { value, tree }`, where `tree.at("/type")` knows line and column.
//!
//! **Invariants**: keys are unique; what serde_json refuses is refused here, with its place.

use serde_json::Value;

use crate::config::diagnostic::Diagnostics;
use crate::config::files::FileSet;
use crate::config::place::{FileId, Path, Span};
use crate::config::yaml::{self, Node};

/// A JSON file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file.
    pub file: FileId,
    /// Its value.
    pub value: Value,
    /// The places of its parts.
    pub tree: Node,
}

/// Reads a JSON file of the set; nothing after a fault.
///
/// ```
/// use taskgate::config::{diagnostic::Diagnostics, files::FileSet, json};
///
/// let mut files = FileSet::default();
/// let id = files.add("a.json", r#"{ "type": "object" }"#);
/// let mut faults = Diagnostics::default();
/// let document = json::parse(id, &files, &mut faults).expect("it is JSON");
/// assert_eq!(files.slice(document.tree.at("/type").expect("it is there").span), "\"object\"");
/// ```
pub fn parse(file: FileId, files: &FileSet, faults: &mut Diagnostics) -> Option<Document> {
    let text = files.text(file);
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            let at = offset(text, error.line(), error.column());
            faults.fault(
                Span::new(file, at, at),
                &Path::default(),
                format!("invalid JSON: {}", without_place(&error)),
            );
            return None;
        }
    };
    let before = faults.len();
    let tree = yaml::parse_json(text, file, faults)?;
    (faults.len() == before).then_some(Document { file, value, tree })
}

/// The byte at a line and a column of serde_json: both from 1, columns in bytes, 0 for the end of the line before.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The text of an error without ` at line 3 column 5`: the headline has the place.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.as_str(), |(message, _)| message)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut files = FileSet::default();
        let id = files.add("a.json", text);
        let mut faults = Diagnostics::default();
        let document = parse(id, &files, &mut faults);
        assert_eq!(document.is_none(), !expected.is_empty());
        let rendered = faults.render(&files);
        let headlines: Vec<_> = rendered.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(headlines, expected);
    }

    #[test]
    fn faults_have_their_places() {
        check("{}", &[]);
        check("{\"a\": 1,}", &["error: a.json:1:9: invalid JSON: trailing comma"]);
        check("{\n  \"a\" 1\n}", &["error: a.json:2:7: invalid JSON: expected `:`"]);
        check("{\"ä\": tru}", &["error: a.json:1:10: invalid JSON: expected ident"]);
        check("{", &["error: a.json:1:1: invalid JSON: EOF while parsing an object"]);
        check("", &["error: a.json:1:1: invalid JSON: EOF while parsing a value"]);
        check("{\"a\": {\"b\": 1, \"b\": 2}}", &["error: a.json:1:16: a: duplicate key `b`"]);
    }

    #[test]
    fn every_json_has_a_tree() {
        check("{\n\t\"a\": [\n\t\t1.5,\n\t\t-1e3,\n\t\ttrue\n\t],\n\t\"on\": null\n}\n", &[]);
        check(r#"{"\u00e9\/": "\ud83d\ude00", "pattern": "^[^:]*: #$", "":[],"x":{}}"#, &[]);
        check("[18446744073709551616, 0.1, -0]", &[]);
        check("\"text\"", &[]);
        check(&format!("{{\"{}\": 1}}", "k".repeat(2000)), &[]);
    }
}
