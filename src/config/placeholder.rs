//! Text with `${…}` in it, taken apart.
//!
//! **Shape**: `OAuth ${env.X}` -> `[Literal("OAuth "), Placeholder { source: "env.X", optional: false }]`.

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands; `$${` has become `${`.
    Literal(String),
    /// What stands in `${…}` or `${?…}`.
    Placeholder {
        /// The expression.
        source: String,
        /// `${?…}`
        optional: bool,
    },
}

/// The text cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceholderError {
    /// `${}`
    #[error("expected an expression between `${{` and `}}`")]
    Empty,
    /// `${…` without an end.
    #[error("expected `}}` after `${{`")]
    Open,
}

/// Takes a text apart. Braces and quotes inside an expression are counted, so `${ {'a': 1}.a }` is one placeholder.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, PlaceholderError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = from.strip_prefix("$${") {
            literal.push_str("${");
            rest = after;
        } else if let Some(after) = from.strip_prefix("${") {
            let length = expression_length(after).ok_or(PlaceholderError::Open)?;
            let (source, after) = after.split_at(length);
            let (source, optional) = source.strip_prefix('?').map_or((source, false), |source| (source, true));
            if source.trim().is_empty() {
                return Err(PlaceholderError::Empty);
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Placeholder {
                source: source.trim().to_owned(),
                optional,
            });
            rest = after.strip_prefix('}').unwrap_or(after);
        } else {
            literal.push('$');
            rest = from.strip_prefix('$').unwrap_or(from);
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Where the closing brace of the expression stands.
fn expression_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.to_owned())
    }

    fn placeholder(source: &str, optional: bool) -> Piece {
        Piece::Placeholder {
            source: source.to_owned(),
            optional,
        }
    }

    #[test]
    fn texts_are_taken_apart() {
        for (text, expected) in [
            ("plain", Ok(vec![literal("plain")])),
            ("", Ok(vec![literal("")])),
            ("${id}", Ok(vec![placeholder("id", false)])),
            ("${? a.b }", Ok(vec![placeholder("a.b", true)])),
            (
                "a ${x} b${y}",
                Ok(vec![literal("a "), placeholder("x", false), literal(" b"), placeholder("y", false)]),
            ),
            ("$${x} $5 $", Ok(vec![literal("${x} $5 $")])),
            ("${ {'a': '}'}.a }", Ok(vec![placeholder("{'a': '}'}.a", false)])),
            ("${'\\'}'}", Ok(vec![placeholder("'\\'}'", false)])),
            ("${}", Err(PlaceholderError::Empty)),
            ("${?}", Err(PlaceholderError::Empty)),
            ("${a", Err(PlaceholderError::Open)),
            ("${'}", Err(PlaceholderError::Open)),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
    }
}
