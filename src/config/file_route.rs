//! The typed mirror of an action's `request` and `reply`.
//!
//! **Shape**: `request: { method: PUT, path: …, xml: … }` -> [`Request`]; `reply: { schema: …, outcome: [ … ] }` -> [`Reply`].

use std::collections::HashMap;

use http::Method;
use http::header::HeaderName;

use crate::config::fields::{self, Fields, Item, Keys};
use crate::config::file::Decoder;
use crate::config::place::{Path, Place, Span, Spanned};
use crate::config::yaml::{Key, Node, NodeValue};
pub use crate::mapping::fault::StatusPattern;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it stands.
    pub place: Place,
    /// The vendor's method.
    pub method: Spanned<Method>,
    /// A template or an operator; a text starts with `/`.
    pub path: Node,
    /// Names and templates, in the order of the file.
    pub query: Vec<(Key, Node)>,
    /// Names and templates, in the order of the file; no name twice.
    pub headers: Vec<(Spanned<HeaderName>, Node)>,
    /// The body.
    pub body: RequestBody,
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// None.
    Empty,
    /// A template of JSON.
    Json(Node),
    /// A template of XML: a mapping with one member, unless it was refused.
    Xml(Node),
}

/// What the answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Where it stands.
    pub place: Place,
    /// How the body is read.
    pub body: ReplyBody,
    /// The file with the JSON Schema of a successful answer; there unless the body is empty or after a fault.
    pub schema: Option<Spanned<String>>,
    /// The rules, in order.
    pub outcome: Vec<OutcomeRule>,
}

/// How the body of an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// The answer of a success has none.
    Empty,
    /// As JSON.
    Json,
    /// As XML.
    Xml,
}

/// One rule over the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRule {
    /// Where it stands.
    pub place: Place,
    /// The vendor's status; any when left out.
    pub status: Option<Spanned<StatusPattern>>,
    /// A CEL condition.
    pub when: Option<Spanned<String>>,
    /// What it means.
    pub is: Spanned<RuleKind>,
    /// A state or a `map` to states; there with `done` and `accepted`.
    pub state: Option<Node>,
    /// Template for the task's name.
    pub name: Option<Node>,
    /// Template for the message.
    pub message: Option<Node>,
    /// One of [`Words::reasons`](crate::config::file::Words::reasons); only with `fault`.
    pub reason: Option<Spanned<String>>,
    /// Template for the vendor's code; only with `fault`.
    pub code: Option<Node>,
    /// Results per id; only with `done` and `accepted`.
    pub items: Option<Items>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Under way.
    Accepted,
    /// Confirmed.
    Done,
    /// Not done.
    Fault,
}

/// Where an answer lists results per id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// Where it stands.
    pub place: Place,
    /// Template for the list of those that were done.
    pub done: Node,
    /// Template for the list of those that failed.
    pub failed: Node,
    /// Template over `item`.
    pub id: Node,
    /// Template over `item`.
    pub message: Option<Node>,
    /// The reason of a failed one.
    pub reason: Option<Spanned<String>>,
}

impl Decoder<'_> {
    /// The key `request`.
    pub(crate) fn request(&mut self, item: Item) -> Request {
        let mut fields = Fields::open(item, &REQUEST_KEYS, self.faults);
        let method = fields.word("method", &METHODS, self.faults);
        let method = method.unwrap_or_else(|| Spanned::new(Method::POST, fields.place.span));
        let path = fields.required_node("path");
        if let Some(text) = path.as_text().filter(|text| !text.starts_with('/')) {
            let found = text
                .chars()
                .next()
                .map_or("an empty text".to_owned(), |c| format!("`{}`", c.escape_debug()));
            self.faults.fault(
                path.span,
                &fields.place.path.key("path"),
                format!("a path starts with `/`, found {found}"),
            );
        }
        let query = fields.templates("query", self.faults);
        let headers = self.headers(&mut fields);
        let body = self.body(&mut fields);
        Request {
            method,
            path,
            query,
            headers,
            body,
            place: fields.place,
        }
    }

    /// The key `headers`.
    fn headers(&mut self, fields: &mut Fields) -> Vec<(Spanned<HeaderName>, Node)> {
        let mut seen: HashMap<HeaderName, Span> = HashMap::new();
        let mut headers = Vec::new();
        for (key, item) in fields.members("headers", self.faults) {
            let path = &item.place.path;
            let Some(name) = fields::parse_header(&key.text, key.span, path, self.faults) else {
                continue;
            };
            if OWN_HEADERS.contains(&name.value.as_str()) {
                self.faults
                    .fault(key.span, path, format!("taskgate sets the header `{}` itself", key.text));
            } else if SECRET_HEADERS.contains(&name.value.as_str()) {
                self.faults
                    .fault(key.span, path, format!("the header `{}` carries a secret", key.text))
                    .hint("only `credentials` can place secrets");
            } else if let Some(first) = seen.insert(name.value.clone(), key.span) {
                self.faults
                    .fault(key.span, path, format!("duplicate header `{}`", key.text))
                    .note(first, "the first is here");
            } else {
                headers.push((name, item.node));
            }
        }
        headers
    }

    /// At most one of `json` and `xml`.
    fn body(&mut self, fields: &mut Fields) -> RequestBody {
        let (json, xml) = (fields.take("json"), fields.take("xml"));
        if let (Some(json), Some(xml)) = (&json, &xml) {
            self.faults
                .fault(xml.place.span, &fields.place.path, "both `json` and `xml`")
                .hint("a request has one body")
                .note(json.place.span, "`json` is here");
        }
        match (json, xml) {
            (_, Some(Item { place, node })) => RequestBody::Xml(self.xml_root(&place, node)),
            (Some(json), None) => RequestBody::Json(json.node),
            (None, None) => RequestBody::Empty,
        }
    }

    /// XML has one root element.
    fn xml_root(&mut self, place: &Place, node: Node) -> Node {
        match &node.value {
            NodeValue::Map(entries) if entries.len() == 1 => node,
            NodeValue::Refused => node,
            NodeValue::Map(entries) => {
                self.faults.fault(
                    place.span,
                    &place.path,
                    format!("XML has one root element, found {}", entries.len()),
                );
                node
            }
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Null | NodeValue::Text(_) => {
                fields::wrong_type(&node, &place.path, "a mapping with the root element", self.faults);
                Node::refused(node.span)
            }
        }
    }

    /// The key `reply`.
    pub(crate) fn reply(&mut self, item: Item, request: Option<&Request>) -> Reply {
        let mut fields = Fields::open(item, &REPLY_KEYS, self.faults);
        let words = [("json", ReplyBody::Json), ("xml", ReplyBody::Xml), ("empty", ReplyBody::Empty)];
        let named = fields.has("body");
        let body = fields.word("body", &words, self.faults).map(|word| word.value);
        let schema_key = fields.take("schema");
        if let (Some(ReplyBody::Empty), Some(item)) = (body, &schema_key) {
            self.faults
                .fault(item.place.span, &item.place.path, "`schema` has no use with `body: empty`")
                .hint("take one of them out");
        }
        let is_missing = schema_key.is_none() && body != Some(ReplyBody::Empty) && (body.is_some() || !named) && !fields.is_unusable();
        if is_missing {
            self.faults
                .fault(fields.place.span, &fields.place.path, "missing key `schema`")
                .hint("an answer without a body is `body: empty`");
        }
        let schema = schema_key.and_then(|item| fields::take_text(item, self.faults));
        let body = body.unwrap_or(match request.map(|request| &request.body) {
            Some(RequestBody::Xml(_)) => ReplyBody::Xml,
            Some(RequestBody::Empty | RequestBody::Json(_)) | None => ReplyBody::Json,
        });
        let outcome = fields
            .items("outcome", self.faults)
            .into_iter()
            .map(|item| self.outcome_rule(item))
            .collect();
        Reply {
            place: fields.place,
            body,
            schema,
            outcome,
        }
    }

    /// One of the rules of `outcome`.
    fn outcome_rule(&mut self, item: Item) -> OutcomeRule {
        let mut fields = Fields::open(item, &OUTCOME_KEYS, self.faults);
        let words = [
            ("done", RuleKind::Done),
            ("accepted", RuleKind::Accepted),
            ("fault", RuleKind::Fault),
        ];
        let is = fields.word("is", &words, self.faults);
        if let Some(is) = &is {
            self.combination(is.value, &fields);
        }
        let status = self.status(&mut fields);
        let state = fields.take("state");
        if let Some(state) = &state {
            self.state(&state.place.path, &state.node);
        }
        OutcomeRule {
            status,
            when: fields.text("when", self.faults),
            is: is.unwrap_or_else(|| Spanned::new(RuleKind::Fault, fields.place.span)),
            state: state.map(|item| item.node),
            name: fields.node("name"),
            message: fields.node("message"),
            reason: self.reason(&mut fields),
            code: fields.node("code"),
            items: fields.take("items").map(|item| self.listed(item)),
            place: fields.place,
        }
    }

    /// Which keys go with which kind of rule.
    fn combination(&mut self, kind: RuleKind, fields: &Fields) {
        let (unfit, owner): (&[&str], &str) = match kind {
            RuleKind::Accepted | RuleKind::Done => (&["reason", "code"], "`is: fault`"),
            RuleKind::Fault => (&["state", "name", "items"], "`is: done` and `is: accepted`"),
        };
        for key in unfit {
            if let Some(span) = fields.span_of(key) {
                self.faults
                    .fault(span, &fields.place.path, format!("`{key}` goes with {owner} only"));
            }
        }
        if kind != RuleKind::Fault && !fields.has("state") {
            self.faults
                .fault(fields.place.span, &fields.place.path, "missing key `state`")
                .hint("write `state: unknown` when the answer does not tell it");
        }
    }

    /// A state, or a `map` whose targets are states; a placeholder could become any text.
    fn state(&mut self, path: &Path, node: &Node) {
        match &node.value {
            NodeValue::Text(text) if text.contains("${") => {
                self.faults
                    .fault(node.span, path, "a state cannot be a placeholder")
                    .hint("a `map` says which of the vendor's words means which state");
            }
            NodeValue::Text(text) => {
                if !self.words.states.contains(&text.as_str()) {
                    let word = Spanned::new(text.clone(), node.span);
                    fields::unknown_word(&word, path, self.words.states.iter().copied(), self.faults);
                }
            }
            NodeValue::Map(_) if node.member("map").is_some() => {
                for (key, target) in node.member("to").and_then(Node::as_map).unwrap_or_default() {
                    self.state(&path.key("to").key(&key.text), target);
                }
                if let Some(target) = node.member("else") {
                    self.state(&path.key("else"), target);
                }
            }
            NodeValue::Refused => {}
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null => {
                fields::wrong_type(node, path, "a state or a `map` to states", self.faults);
            }
        }
    }

    /// The key `items`.
    fn listed(&mut self, item: Item) -> Items {
        let mut fields = Fields::open(item, &ITEMS_KEYS, self.faults);
        Items {
            done: fields.required_node("done"),
            failed: fields.required_node("failed"),
            id: fields.required_node("id"),
            message: fields.node("message"),
            reason: self.reason(&mut fields),
            place: fields.place,
        }
    }

    /// The key `status`: `200`, `[200, 202]` or `2xx`.
    pub(crate) fn status(&mut self, fields: &mut Fields) -> Option<Spanned<StatusPattern>> {
        let item = fields.take("status")?;
        let span = item.node.span;
        let parts = match item.node.value {
            NodeValue::List(_) => fields::items(item, self.faults),
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Refused | NodeValue::Text(_) => {
                vec![item]
            }
        };
        let mut ranges = Vec::new();
        for Item { place, node } in parts {
            let range = match &node.value {
                NodeValue::Int(status) if (100..=599).contains(status) => u16::try_from(*status).ok().map(|status| vec![(status, status)]),
                NodeValue::Text(text) => StatusPattern::parse(text).map(|pattern| pattern.ranges),
                NodeValue::Refused => Some(Vec::new()),
                NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null => None,
            };
            match range {
                Some(range) => ranges.extend(range),
                None => {
                    self.faults
                        .fault(
                            node.span,
                            &place.path,
                            format!("expected an HTTP status, found {}", node.describe()),
                        )
                        .hint("write `200`, `[200, 202]` or `2xx`");
                }
            }
        }
        (!ranges.is_empty()).then(|| Spanned::new(StatusPattern { ranges }, span))
    }
}

/// An action's `request`.
pub const REQUEST_KEYS: Keys = Keys {
    what: "a request",
    required: &["method", "path"],
    optional: &["query", "headers", "json", "xml"],
};
/// An action's `reply`. `schema` is required unless `body` is `empty`.
pub const REPLY_KEYS: Keys = Keys {
    what: "a reply",
    required: &["outcome"],
    optional: &["body", "schema"],
};
/// A rule of `outcome`. `state` is required with `done` and `accepted`.
pub const OUTCOME_KEYS: Keys = Keys {
    what: "a rule",
    required: &["is"],
    optional: &["status", "when", "state", "name", "message", "reason", "code", "items"],
};
/// The `items` of a rule.
pub const ITEMS_KEYS: Keys = Keys {
    what: "`items`",
    required: &["done", "failed", "id"],
    optional: &["message", "reason"],
};

/// The methods that act or look. `CONNECT` and `TRACE` have no use here.
const METHODS: [(&str, Method); 5] = [
    ("GET", Method::GET),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
];
/// The frame of the message (RFC 9110 section 7.6.1, RFC 9112 section 6) and the loop check are not the route's business.
const OWN_HEADERS: [&str; 13] = [
    // Codings that nothing here undoes.
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "forwarded",
];
/// Headers that carry secrets by their standard.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
