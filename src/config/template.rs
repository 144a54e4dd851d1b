//! Templates of routes.yaml, compiled: nodes with placeholders and operators -> [`Template`].
//!
//! **Errors**: unknown reference, a reference that may be absent and is not optional, an enum table with a hole or a dead
//! key, a text that is no expression, a list or object where text is needed; all of them, with their places.

use std::collections::BTreeSet;

use serde_json::Value;

use super::diagnostic::{Diagnostics, did_you_mean};
use super::names::{Lookup, Names, kind};
use super::place::{Path, Span};
use super::placeholder::{Piece, pieces};
use super::yaml::{Key, Node, NodeValue};
use crate::mapping::expression::{Expression, Reference};
use crate::mapping::template::{Part, Placeholder, Template};
use crate::route::IDS;

/// Compiles the templates of one place (a request, a reply), noting what they use.
pub(super) struct TemplateCompiler<'a> {
    /// Where faults go.
    pub(super) faults: &'a mut Diagnostics,
    /// The canonical paths that have been used.
    pub(super) used: BTreeSet<Vec<String>>,
    /// Must every reference be known to a schema? Error answers have none.
    pub(super) strict: bool,
    /// May a reference that is not optional be absent all the same? Then rendering fails, which the place has to expect.
    pub(super) absence_allowed: bool,
}

/// What may stand in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// A path: compiled to the list of its segments.
    Path,
    /// Text, number, boolean or a list of them.
    Query,
    /// Text, number or boolean.
    Scalar,
    /// Anything.
    Value,
}

impl<'a> TemplateCompiler<'a> {
    /// A compiler that reports to `faults`.
    pub(super) fn new(faults: &'a mut Diagnostics, strict: bool) -> Self {
        Self {
            faults,
            used: BTreeSet::new(),
            strict,
            absence_allowed: false,
        }
    }

    /// Compiles a node. `None` where it has faults, which have been noted.
    pub(super) fn compile(&mut self, node: &Node, path: &Path, names: &Names, position: Position) -> Option<Template> {
        if node.is_refused() {
            return None;
        }
        match &node.value {
            NodeValue::Text(text) if position == Position::Path => self.path(text, node.span, path, names),
            NodeValue::Text(text) => self.text(text, node.span, path, names, position),
            NodeValue::Map(members) => self.map(members, node, path, names, position),
            NodeValue::List(_) if matches!(position, Position::Path | Position::Scalar) => {
                self.faults.fault(node.span, path, "expected a text, found a list");
                None
            }
            NodeValue::List(items) => {
                let compiled: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| self.compile(item, &path.index(at), names, position))
                    .collect();
                compiled.into_iter().collect::<Option<Vec<_>>>().map(Template::List)
            }
            _ if position == Position::Path => {
                self.faults.fault(
                    node.span,
                    path,
                    format!("expected a path that starts with `/`, found {}", node.describe()),
                );
                None
            }
            _ => Some(Template::Literal(node.to_json())),
        }
    }

    /// Compiles a placeholder that must stand alone: `"${list}"`.
    pub(super) fn placeholder(&mut self, node: &Node, path: &Path, names: &Names) -> Option<Placeholder> {
        match self.compile(node, path, names, Position::Value)? {
            Template::Placeholder(placeholder) => Some(placeholder),
            _ => {
                self.faults
                    .fault(node.span, path, "expected one placeholder, such as `\"${scope.project}\"`");
                None
            }
        }
    }

    /// Compiles a condition: CEL without `${}`.
    pub(super) fn condition(&mut self, source: &str, span: Span, path: &Path, names: &Names) -> Option<Expression> {
        if source.contains("${") {
            self.faults
                .fault(span, path, "a condition is CEL without `${}`")
                .hint("write `status == 200` and not `${status} == 200`");
            return None;
        }
        let expression = self.parse(source, span, path)?;
        let mut known = true;
        for used in expression.uses() {
            // A condition over an answer may ask for members that a success never has, so only a near miss is a fault.
            match names.look_up(&used.reference) {
                Lookup::Found { .. } => {
                    self.used.insert(names.origin(&used.reference));
                }
                Lookup::Unknown { word, candidates } => {
                    let near = did_you_mean(&word, candidates.iter().map(String::as_str));
                    if word == used.reference.root || near.is_some() {
                        self.unknown(&used.reference, &word, &candidates, span, path);
                        known = false;
                    }
                }
            }
        }
        known.then_some(expression)
    }

    fn parse(&mut self, source: &str, span: Span, path: &Path) -> Option<Expression> {
        match Expression::parse(source) {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.faults
                    .fault(span, path, error.to_string())
                    .focus(source)
                    .hint("CEL compares with `==` and joins with `&&` and `||`; https://cel.dev explains it");
                None
            }
        }
    }

    fn unknown(&mut self, reference: &Reference, word: &str, candidates: &[String], span: Span, path: &Path) {
        let hint = did_you_mean(word, candidates.iter().map(String::as_str))
            .or_else(|| (!candidates.is_empty()).then(|| format!("known here: {}", candidates.join(", "))));
        let secret = reference.root == "env";
        let hint = if secret {
            Some("`env` stands in `endpoint`, `scope`, `tls` and `credentials` only".to_owned())
        } else {
            hint
        };
        let hint = if reference.root == "reason" {
            Some("`reason` goes to the log only".to_owned())
        } else {
            hint
        };
        let hint = if reference.root == IDS {
            Some("`ids` stands in the request of an action with `batch: { max: … }` only".to_owned())
        } else {
            hint
        };
        self.faults
            .fault(span, path, format!("unknown reference `{reference}`"))
            .focus(word)
            .maybe_hint(hint);
    }

    fn text(&mut self, text: &str, span: Span, path: &Path, names: &Names, position: Position) -> Option<Template> {
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(error) => {
                self.faults
                    .fault(span, path, error.to_string())
                    .hint("a `${` that means itself is written `$${`");
                return None;
            }
        };
        if let [Piece::Literal(literal)] = pieces.as_slice() {
            return Some(Template::Literal(Value::String(literal.clone())));
        }
        let alone = pieces.len() == 1;
        let mut parts = Vec::new();
        let mut sound = true;
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => parts.push(Part::Literal(literal)),
                Piece::Placeholder { source, optional } => {
                    let position = if alone { position } else { Position::Scalar };
                    match self.checked(&source, optional, span, path, names, position) {
                        Some(expression) => parts.push(Part::Placeholder(Placeholder { expression, optional })),
                        None => sound = false,
                    }
                }
            }
        }
        match (sound, alone, parts.pop()) {
            (false, ..) | (true, _, None) => None,
            (true, true, Some(Part::Placeholder(placeholder))) => Some(Template::Placeholder(placeholder)),
            (true, _, Some(last)) => {
                parts.push(last);
                Some(Template::Text(parts))
            }
        }
    }

    /// Parses an expression and checks all that it refers to.
    fn checked(&mut self, source: &str, optional: bool, span: Span, path: &Path, names: &Names, position: Position) -> Option<Expression> {
        let expression = self.parse(source, span, path)?;
        let mut sound = true;
        for used in expression.uses() {
            match names.look_up(&used.reference) {
                Lookup::Unknown { .. } if !self.strict && used.reference.root == "body" => {}
                Lookup::Unknown { word, candidates } => {
                    self.unknown(&used.reference, &word, &candidates, span, path);
                    sound = false;
                }
                Lookup::Found { guaranteed, schema } => {
                    self.used.insert(names.origin(&used.reference));
                    if !guaranteed && !optional && !used.guarded && !self.absence_allowed {
                        let fault = self.faults.fault(
                            span,
                            path,
                            format!("`{}` may be absent: the schema does not guarantee it", used.reference),
                        );
                        fault.focus(source).hint(format!(
                            "write `${{?{source}}}` to leave the place out, or require the member in the schema"
                        ));
                        sound = false;
                    }
                    let is_whole = matches!(&expression, Expression::Reference(reference) if *reference == used.reference);
                    let found = schema.as_ref().and_then(kind);
                    let misfit = match position {
                        Position::Path | Position::Scalar => matches!(found, Some("object" | "array")),
                        Position::Query => found == Some("object"),
                        Position::Value => false,
                    };
                    if is_whole && misfit {
                        let message = format!(
                            "`{}` is {}, which cannot stand here",
                            used.reference,
                            with_article(found.unwrap_or_default())
                        );
                        self.faults.fault(span, path, message).focus(source);
                        sound = false;
                    }
                }
            }
        }
        sound.then_some(expression)
    }

    fn path(&mut self, text: &str, span: Span, path: &Path, names: &Names) -> Option<Template> {
        let Some(rest) = text.strip_prefix('/') else {
            // In the words of the decoder, which has looked at plain texts: the same fault is shown once.
            let found = text
                .chars()
                .next()
                .map_or("an empty text".to_owned(), |c| format!("`{}`", c.escape_debug()));
            self.faults.fault(span, path, format!("a path starts with `/`, found {found}"));
            return None;
        };
        let mut segments = Vec::new();
        for segment in split_segments(rest) {
            if segment.is_empty() {
                self.faults
                    .fault(span, path, "the path has an empty segment")
                    .hint("remove the doubled or last `/`");
                return None;
            }
            if segment.contains(['?', '#']) && !segment.contains("${") {
                self.faults
                    .fault(span, path, "a path holds no `?` and no `#`")
                    .hint("parameters stand under `query`");
                return None;
            }
            segments.push(self.text(segment, span, path, names, Position::Scalar));
        }
        segments.into_iter().collect::<Option<Vec<_>>>().map(Template::List)
    }

    fn map(&mut self, members: &[(Key, Node)], node: &Node, path: &Path, names: &Names, position: Position) -> Option<Template> {
        let operator = members
            .iter()
            .map(|(key, _)| key.text.as_str())
            .find(|key| ["each", "map", "when", "literal"].contains(key));
        match operator {
            Some("each") => self.each(members, node, path, names, position),
            Some("map") => self.table(members, node, path, names, position),
            Some("when") => self.when(members, node, path, names, position),
            Some("literal") => {
                self.only(members, &["literal"], path)?;
                if position != Position::Value {
                    self.faults.fault(node.span, path, "`literal` stands where any value may stand");
                    return None;
                }
                let inner = node.member("literal")?;
                match &inner.value {
                    NodeValue::Map(members) => self.object(members, &path.key("literal"), names, position),
                    _ => self.compile(inner, &path.key("literal"), names, position),
                }
            }
            _ if position != Position::Value => {
                self.faults
                    .fault(node.span, path, "expected a text or an operator (`map`, `when`), found a mapping");
                None
            }
            _ => self.object(members, path, names, position),
        }
    }

    fn object(&mut self, members: &[(Key, Node)], path: &Path, names: &Names, position: Position) -> Option<Template> {
        let compiled: Vec<_> = members
            .iter()
            .map(|(key, member)| Some((key.text.clone(), self.compile(member, &path.key(&key.text), names, position)?)))
            .collect();
        compiled.into_iter().collect::<Option<Vec<_>>>().map(Template::Object)
    }
}

/// Splits at `/` outside of placeholders.
fn split_segments(text: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => {
                segments.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    segments.push(text.get(start..).unwrap_or_default());
    segments
}

fn with_article(kind: &str) -> &'static str {
    match kind {
        "array" => "a list",
        "object" => "an object",
        _ => "a value",
    }
}
