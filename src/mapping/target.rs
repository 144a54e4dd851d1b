//! Where a request goes, below the provider's endpoint: its path and its query.
//!
//! **Shape**: `/v1/${scope.project}/capture-task/stop` -> `/v1`, a value, `/capture-task/stop`; with a call
//! `/v1/09bb…/capture-task/stop?fw_instance_id=…`.
//!
//! **Invariants**: a segment is percent-encoded as a whole and is never empty, `.` or `..`, so a value cannot add or remove a segment. What
//! is the same with every call is encoded once, when the routes are read.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::bindings::Bindings;
use super::request::{RequestError, scalar};
use super::template::{RenderError, Scalar, Template, to_text};
use crate::codec::byte_set::ByteSet;
use crate::codec::tree::Tree;

/// The path that a route sends to, below the provider's endpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum PathTemplate {
    /// The usual path: one part after the other.
    Parts(Vec<PathPart>),
    /// Renders to a list of segments.
    Whole(Template),
}

/// A part of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum PathPart {
    /// A segment that each call says.
    Filled(Template),
    /// Segments that are the same with every call, encoded, each behind its `/`.
    Fixed(String),
}

impl From<Template> for PathTemplate {
    fn from(template: Template) -> Self {
        let Template::List(segments) = template else {
            return Self::Whole(template);
        };
        let mut parts = Vec::new();
        for segment in segments {
            let fixed = match &segment {
                Template::Literal(value) => to_text(value).filter(|text| !cannot_be_segment(text)),
                _ => None,
            };
            match (fixed, parts.last_mut()) {
                // What no path can carry is an error of each call, as if it came from a value.
                (None, _) => parts.push(PathPart::Filled(segment)),
                (Some(text), Some(PathPart::Fixed(before))) => push_segment(before, &text),
                (Some(text), _) => {
                    let mut path = String::new();
                    push_segment(&mut path, &text);
                    parts.push(PathPart::Fixed(path));
                }
            }
        }
        Self::Parts(parts)
    }
}

impl PathTemplate {
    /// Adds the path of a call.
    ///
    /// # Errors
    /// [`RequestError`] where a value is missing, or is none that can stand in a path.
    pub(super) fn render(&self, bindings: &Bindings<'_>, target: &mut String) -> Result<(), RequestError> {
        let segment = |target: &mut String, text: &str| {
            if cannot_be_segment(text) {
                return Err(RequestError::Segment);
            }
            push_segment(target, text);
            Ok(())
        };
        // What has no value is said before what cannot stand here.
        let mut refused = Ok(());
        let mut fill = |target: &mut String, template: &Template| {
            let result = match template.scalar(bindings)? {
                Some(Scalar::Text(text)) => segment(target, &text),
                Some(Scalar::None) => Err(RequestError::Place("path segment")),
                None => Ok(()),
            };
            if refused.is_ok() {
                refused = result;
            }
            Ok::<_, RenderError>(())
        };
        match self {
            Self::Parts(parts) => {
                for part in parts {
                    match part {
                        PathPart::Fixed(segments) => target.push_str(segments),
                        PathPart::Filled(template) => fill(target, template)?,
                    }
                }
                refused
            }
            Self::Whole(path) => match path.chosen(bindings)? {
                Some(Template::List(segments)) => {
                    for template in segments {
                        fill(target, template)?;
                    }
                    refused
                }
                Some(path) => match path.render(bindings)? {
                    Some(Tree::List(segments)) => segments
                        .iter()
                        .try_for_each(|tree| scalar(tree, "path segment").and_then(|text| segment(target, &text))),
                    _ => Err(RequestError::Place("path")),
                },
                None => Err(RequestError::Place("path")),
            },
        }
    }
}

/// A parameter that a route sends.
#[derive(Debug, PartialEq, Eq)]
pub struct QueryTemplate {
    /// Encoded, with its `=`.
    name: String,
    value: Template,
}

impl QueryTemplate {
    /// The parameter of this name.
    #[must_use]
    pub fn new(name: &str, value: Template) -> Self {
        let mut encoded = String::new();
        push_component(&mut encoded, name);
        encoded.push('=');
        Self { name: encoded, value }
    }
}

/// Adds the query of a call.
///
/// # Errors
/// [`RequestError`] where a value is missing, or is no text.
pub(super) fn render_query(query: &[QueryTemplate], bindings: &Bindings<'_>, target: &mut String) -> Result<(), RequestError> {
    let mut separator = '?';
    let mut pair = |name: &str, value: &str| {
        target.push(separator);
        separator = '&';
        target.push_str(name);
        push_component(target, value);
    };
    for QueryTemplate { name, value } in query {
        match value.scalar(bindings)? {
            None => {}
            Some(Scalar::Text(text)) => pair(name, &text),
            Some(Scalar::None) => {
                let rendered = value.render(bindings)?;
                let mut values = texts(rendered.as_ref())?;
                values.sort_unstable();
                values.iter().for_each(|value| pair(name, value));
            }
        }
    }
    Ok(())
}

/// The texts of a list for a query; of anything else the one text that it is.
fn texts<'t>(tree: Option<&'t Tree<'_>>) -> Result<Vec<Cow<'t, str>>, RequestError> {
    match tree {
        None => Ok(Vec::new()),
        Some(Tree::List(items)) => items.iter().map(|item| scalar(item, "query value")).collect(),
        Some(Tree::Value(value)) if value.is_array() => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let text = |item| to_text(item).ok_or(RequestError::Place("query value"));
            items.iter().map(text).collect()
        }
        Some(tree) => Ok(vec![scalar(tree, "query value")?]),
    }
}

/// Would it be no segment, or another one?
fn cannot_be_segment(text: &str) -> bool {
    matches!(text, "" | "." | "..")
}

fn push_segment(target: &mut String, text: &str) {
    target.push('/');
    push_component(target, text);
}

/// Adds a text as one part of a path or query; most hold nothing that has to be encoded.
fn push_component(target: &mut String, text: &str) {
    if PLAIN.has_all(text) {
        target.push_str(text);
    } else {
        target.extend(utf8_percent_encode(text, URI_COMPONENT));
    }
}

/// Percent-encodes everything but the unreserved characters (RFC 3986 section 2.3), as the vendors' own signers do.
const URI_COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The bytes that [`URI_COMPONENT`] leaves as they are.
static PLAIN: ByteSet = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = matches!(byte as u8, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    ByteSet::new(plain)
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::expression::Expression;
    use crate::mapping::request::{BodyTemplate, RequestTemplate};
    use crate::mapping::template::Placeholder;
    use http::Method;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn a_component_is_encoded_whether_it_is_plain_or_not(text in prop_oneof!["[ -~]{0,12}", "[0-9a-z._~-]{0,40}", any::<String>()]) {
            let mut target = "/".to_owned();
            push_component(&mut target, &text);
            prop_assert_eq!(target, format!("/{}", utf8_percent_encode(&text, URI_COMPONENT)));
        }
    }

    /// What is made of these templates, with a call whose id is that.
    fn target(path: Template, query: Vec<QueryTemplate>, id: &Value) -> Result<String, String> {
        let template = RequestTemplate {
            method: Method::GET,
            path: path.into(),
            query,
            headers: Vec::new(),
            body: BodyTemplate::None,
            bare: false,
        };
        let rendered = template.render(&Bindings::new().with("id", id));
        rendered.map(|request| request.target).map_err(|error| error.to_string())
    }

    fn id() -> Template {
        Template::Placeholder(Placeholder {
            expression: Expression::parse("id").unwrap(),
            optional: false,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_is_fixed_is_what_it_would_be_as_a_value(
            texts in prop::collection::vec(prop_oneof!["[a-z.]{0,2}", "[ -~]{0,6}", any::<String>()], 1..5),
            at in 0_usize..5,
        ) {
            let literal = |text: &String| Template::Literal(json!(text));
            // With a choice around it, which nothing is made of beforehand.
            let chosen = |text: &String| Template::When {
                condition: Expression::parse("true").unwrap(),
                then: Box::new(literal(text)),
                otherwise: None,
            };
            let query = || vec![QueryTemplate::new("a b", id()), QueryTemplate::new("z", Template::Literal(json!(["y", 5])))];
            let value = json!(texts[at % texts.len()]);
            let with_id = |mut segments: Vec<Template>| {
                segments.insert(at % (segments.len() + 1), id());
                Template::List(segments)
            };
            let fixed = target(with_id(texts.iter().map(literal).collect()), query(), &value);
            let filled = target(with_id(texts.iter().map(chosen).collect()), query(), &value);
            prop_assert_eq!(&fixed, &filled);
            let encoded = |text: &str| utf8_percent_encode(text, URI_COMPONENT).to_string();
            if let Ok(fixed) = fixed {
                let mut segments = texts.clone();
                segments.insert(at % (texts.len() + 1), value.as_str().unwrap().to_owned());
                let path: String = segments.iter().map(|segment| format!("/{}", encoded(segment))).collect();
                prop_assert_eq!(fixed, format!("{path}?a%20b={}&z=5&z=y", encoded(value.as_str().unwrap())));
            } else {
                prop_assert!(texts.iter().any(|text| cannot_be_segment(text)));
            }
        }
    }
}
