//! From the canonical call to the vendor's request.
//!
//! **Shape**: route `POST /v1/${scope.project}/capture-task/stop`, `{ task_id: "${id}" }` with a valid call ->
//! `UpstreamRequest { method, target: "/v1/09bb…/capture-task/stop?fw_instance_id=…", headers, body }`.
//!
//! **Invariants**: a path segment is percent-encoded as a whole and is never empty, `.` or `..`, so a value cannot add or
//! remove a segment; the query is sorted by name (signatures of vendors are made over that order); nothing comes
//! from the caller's headers.

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::bindings::{Bindings, Bound};
use super::template::{RenderError, Scalar, Template, to_text};
use crate::codec::byte_set::ByteSet;
use crate::codec::tree::Tree;
use crate::codec::{EncodeError, EncodeFault, json, xml};
use crate::model::call::UpstreamRequest;
use crate::model::error::{GatewayError, Violation};
use crate::model::reason::Reason;

/// What a route sends.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestTemplate {
    /// The vendor's method.
    pub method: Method,
    /// The path's segments.
    pub path: PathTemplate,
    /// Parameters by name, sorted.
    pub query: Vec<QueryTemplate>,
    /// Headers besides `Content-Type`.
    pub headers: Vec<(HeaderName, HeaderTemplate)>,
    /// The body.
    pub body: BodyTemplate,
    /// Is it sent without credentials?
    pub bare: bool,
}

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

/// What a route sends as the value of a header.
#[derive(Debug, PartialEq, Eq)]
pub enum HeaderTemplate {
    /// What each call says.
    Filled(Template),
    /// The same with every call.
    Fixed(HeaderValue),
}

impl From<Template> for HeaderTemplate {
    fn from(template: Template) -> Self {
        let fixed = match &template {
            Template::Literal(value) => to_text(value).and_then(|text| HeaderValue::from_str(&text).ok()),
            _ => None,
        };
        // What no header can carry is an error of each call, as if it came from a value.
        fixed.map_or(Self::Filled(template), Self::Fixed)
    }
}

/// What a route sends as a body.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyTemplate {
    /// An HTML form: `application/x-www-form-urlencoded`.
    Form(Template),
    /// A JSON document.
    Json(Template),
    /// No body.
    None,
    /// An XML document.
    Xml(Template),
}

impl BodyTemplate {
    fn content_type(&self) -> Option<HeaderValue> {
        match self {
            Self::Form(_) => Some(HeaderValue::from_static("application/x-www-form-urlencoded")),
            Self::Json(_) => Some(HeaderValue::from_static("application/json")),
            Self::None => None,
            Self::Xml(_) => Some(HeaderValue::from_static("application/xml")),
        }
    }
}

/// The vendor's request cannot be made; nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// XML has no way to carry it.
    #[error("the body has no XML form")]
    Encode(#[source] EncodeError),
    /// The value is not a header value.
    #[error("the value of the header `{0}` holds characters that a header cannot carry")]
    Header(HeaderName),
    /// The template rendered to something that is no path or query value.
    #[error("the {0} is not a text, number or boolean")]
    Place(&'static str),
    /// A template has no value.
    #[error("the route's template cannot be filled")]
    Render(#[from] RenderError),
    /// A path segment that is empty, `.` or `..`.
    #[error("a value cannot stand in the path")]
    Segment,
}

impl RequestError {
    /// The error for the caller: their value, or the route's mistake.
    #[must_use]
    pub fn into_gateway_error(self) -> GatewayError {
        let internal = causes(&self);
        let error = match &self {
            Self::Encode(error) if error.fault() == EncodeFault::Character => {
                let mut problem = GatewayError::new(
                    Reason::UnrepresentableValue,
                    "a value holds a character that the vendor's XML cannot carry",
                );
                problem.violations.push(Violation {
                    pointer: error.pointer().to_owned(),
                    detail: "a character that XML 1.0 cannot carry (place in the vendor's document)".to_owned(),
                });
                problem
            }
            Self::Header(name) => GatewayError::new(
                Reason::UnrepresentableValue,
                format!("a value that goes to the vendor's header `{name}` holds characters that a header cannot carry"),
            ),
            Self::Segment => GatewayError::new(
                Reason::UnrepresentableValue,
                "a value that goes to the vendor's path is empty, `.` or `..`",
            ),
            Self::Encode(_) | Self::Place(_) | Self::Render(_) => GatewayError::new(
                Reason::MappingFailed,
                "the route's mapping has no vendor request for these values; nothing was sent",
            ),
        };
        error.with_internal(internal)
    }
}

impl RequestTemplate {
    /// Makes the vendor's request.
    ///
    /// # Errors
    /// [`RequestError`] where a value is missing or cannot be carried; then nothing may be sent.
    pub fn render(&self, bindings: &Bindings<'_>) -> Result<UpstreamRequest, RequestError> {
        let mut target = String::with_capacity(USUAL_TARGET);
        self.render_path(bindings, &mut target)?;
        self.render_query(bindings, &mut target)?;
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        headers.extend(self.body.content_type().map(|value| (CONTENT_TYPE, value)));
        for (name, template) in &self.headers {
            let value = match template {
                HeaderTemplate::Fixed(value) => value.clone(),
                HeaderTemplate::Filled(template) => match template.text(bindings)? {
                    Some(value) => HeaderValue::from_str(&value).map_err(|_| RequestError::Header(name.clone()))?,
                    None => continue,
                },
            };
            headers.insert(name.clone(), value);
        }
        let body = match &self.body {
            BodyTemplate::None => Bytes::new(),
            BodyTemplate::Form(template) => form(&present(template.render(bindings)?)?)?.into(),
            BodyTemplate::Json(template) => {
                let mut out = String::with_capacity(json::USUAL_DOCUMENT);
                let is_there = template.write_json(bindings, &mut out)?;
                is_there.then(|| out.into()).ok_or(RequestError::Place("body"))?
            }
            BodyTemplate::Xml(template) => xml::encode(&present(template.render(bindings)?)?)
                .map_err(RequestError::Encode)?
                .into(),
        };
        Ok(UpstreamRequest {
            method: self.method.clone(),
            target,
            headers,
            body,
        })
    }

    fn render_path(&self, bindings: &Bindings<'_>, target: &mut String) -> Result<(), RequestError> {
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
        match &self.path {
            PathTemplate::Parts(parts) => {
                for part in parts {
                    match part {
                        PathPart::Fixed(segments) => target.push_str(segments),
                        PathPart::Filled(template) => fill(target, template)?,
                    }
                }
                refused
            }
            PathTemplate::Whole(path) => match path.chosen(bindings)? {
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

    fn render_query(&self, bindings: &Bindings<'_>, target: &mut String) -> Result<(), RequestError> {
        let mut separator = '?';
        let mut pair = |name: &str, value: &str| {
            target.push(separator);
            separator = '&';
            target.push_str(name);
            push_component(target, value);
        };
        for QueryTemplate { name, value } in &self.query {
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

fn scalar<'t>(tree: &'t Tree<'_>, place: &'static str) -> Result<Cow<'t, str>, RequestError> {
    match tree {
        Tree::Value(value) => to_text(value).ok_or(RequestError::Place(place)),
        Tree::List(_) | Tree::Object(_) => Err(RequestError::Place(place)),
    }
}

/// An HTML form; a list repeats its name. Source: WHATWG URL, application/x-www-form-urlencoded serializing.
fn form(tree: &Tree<'_>) -> Result<String, RequestError> {
    let mut text = String::new();
    let mut pair = |name: &str, value: &str| {
        for (separator, part) in [(if text.is_empty() { "" } else { "&" }, name), ("=", value)] {
            text.push_str(separator);
            for piece in utf8_percent_encode(part, FORM_COMPONENT) {
                // Only a blank is encoded so, and alone.
                text.push_str(if piece == "%20" { "+" } else { piece });
            }
        }
    };
    let Tree::Object(members) = tree else {
        return Err(RequestError::Place("form"));
    };
    for (name, member) in members {
        match member {
            Tree::List(items) => items
                .iter()
                .try_for_each(|item| scalar(item, "form value").map(|value| pair(name, &value)))?,
            Tree::Value(value) if value.is_array() => value.as_array().into_iter().flatten().try_for_each(|item| {
                to_text(item)
                    .map(|value| pair(name, &value))
                    .ok_or(RequestError::Place("form value"))
            })?,
            _ => pair(name, &scalar(member, "form value")?),
        }
    }
    Ok(text)
}

/// A body that is left out as a whole is an empty object: the compiler allows it only where the author wrote so.
fn present(tree: Option<Tree<'_>>) -> Result<Tree<'_>, RequestError> {
    tree.ok_or(RequestError::Place("body"))
}

/// An error and its causes on one line, for the log.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
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

/// Longer than the paths and queries of the shipped routes, so that one allocation holds them.
const USUAL_TARGET: usize = 192;

/// Percent-encodes what a form's names and values cannot hold. Source: WHATWG URL, application/x-www-form-urlencoded percent-encode set.
const FORM_COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// What is fresh for each call: `call.uuid`. An object in expressions, made when somebody asks for all of it.
#[derive(Clone, Debug)]
pub struct Fresh {
    uuid: Option<String>,
    whole: OnceLock<Value>,
}

impl Fresh {
    /// A call with an id of its own, 32 hex digits.
    #[must_use]
    pub fn new(uuid: &str) -> Self {
        Self {
            uuid: Some(uuid.to_owned()),
            whole: OnceLock::new(),
        }
    }

    /// A request that belongs to no single call.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            uuid: None,
            whole: Value::Object(serde_json::Map::new()).into(),
        }
    }

    /// No call at all.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            uuid: None,
            whole: Value::Null.into(),
        }
    }

    /// The id, where a look-up of this member finds it.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.uuid.as_deref().filter(|_| name == "uuid")
    }

    /// All of it.
    pub(super) fn whole(&self) -> &Value {
        self.whole.get_or_init(|| serde_json::json!({ "uuid": self.uuid }))
    }
}

impl PartialEq for Fresh {
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

/// The values that stand for a call in expressions.
#[derive(Clone, Debug, PartialEq)]
pub struct CallValues {
    /// `id`: text or number.
    pub id: Value,
    /// `scope`, `force`, `parameters`, `reason`: the canonical request after defaults and validation.
    pub body: serde_json::Map<String, Value>,
    /// `call`: what is fresh for each call.
    pub call: Fresh,
    /// `settings`: the configuration values.
    pub settings: std::sync::Arc<Value>,
}

impl CallValues {
    /// The names that a request template may use.
    #[must_use]
    pub fn bindings(&self) -> Bindings<'_> {
        Bindings::of_call(self)
    }

    /// What one of them stands for.
    pub(super) fn named(&self, name: &str) -> Option<Bound<'_>> {
        match name {
            "id" => Some(Bound::Value(&self.id)),
            "call" => Some(Bound::Fresh(&self.call)),
            "settings" => Some(Bound::Value(&self.settings)),
            "scope" | "force" | "parameters" => self.body.get(name).map(Bound::Value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

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
        Template::Placeholder(crate::mapping::template::Placeholder {
            expression: crate::mapping::expression::Expression::parse("id").unwrap(),
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
                condition: crate::mapping::expression::Expression::parse("true").unwrap(),
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

    #[test]
    fn a_constant_header_is_made_once_and_an_impossible_one_is_an_error_of_the_call() {
        let template = |value: Value| HeaderTemplate::from(Template::Literal(value));
        assert_eq!(template(json!("a b")), HeaderTemplate::Fixed(HeaderValue::from_static("a b")));
        assert_eq!(template(json!(5)), HeaderTemplate::Fixed(HeaderValue::from_static("5")));
        for value in [json!("a\nb"), json!(null), json!({})] {
            assert_eq!(template(value.clone()), HeaderTemplate::Filled(Template::Literal(value)));
        }
    }

    #[test]
    fn forms_keep_their_order_and_repeat_lists() {
        let (list, nested) = (json!(["x", 2, true]), json!({ "a": 1 }));
        let value = |value: Value| Tree::from(value);
        let tree = Tree::Object(vec![
            ("z b".into(), value(json!("a b&c=d+e~*-._é"))),
            ("n".into(), value(json!(5))),
            ("l".into(), (&list).into()),
            ("t".into(), Tree::List(vec![value(json!("%"))])),
            ("e".into(), value(json!(""))),
        ]);
        assert_eq!(form(&tree).unwrap(), "z+b=a+b%26c%3Dd%2Be%7E*-._%C3%A9&n=5&l=x&l=2&l=true&t=%25&e=");
        assert_eq!(form(&Tree::Object(Vec::new())).unwrap(), "");
        for bad in [
            Tree::from(&list),
            Tree::Object(vec![("a".into(), (&nested).into())]),
            Tree::Object(vec![("a".into(), Tree::List(vec![(&nested).into()]))]),
        ] {
            assert!(matches!(form(&bad), Err(RequestError::Place(_))));
        }
    }
}
