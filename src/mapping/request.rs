//! From the canonical call to the vendor's request.
//!
//! **Shape**: route `POST /v1/${scope.project}/capture-task/stop`, `{ task_id: "${id}" }` with a valid call ->
//! `UpstreamRequest { method, target: "/v1/09bb…/capture-task/stop?fw_instance_id=…", headers, body }`.
//!
//! **Invariants**: the query is sorted by name (signatures of vendors are made over that order); nothing comes from the caller's
//! headers. Where it goes is `target.rs`.

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::bindings::{Bindings, Bound};
use super::target::{PathTemplate, QueryTemplate, render_query};
use super::template::{RenderError, Template, to_text};
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
        self.path.render(bindings, &mut target)?;
        render_query(&self.query, bindings, &mut target)?;
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
}

pub(super) fn scalar<'t>(tree: &'t Tree<'_>, place: &'static str) -> Result<Cow<'t, str>, RequestError> {
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
    use serde_json::json;

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
