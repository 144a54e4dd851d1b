//! The typed mirror of `providers`: a provider, its id and its actions.
//!
//! **Shape**: `acme: { title, endpoint, id: { type: integer }, actions: { stop: … } }` -> [`Provider`].

use serde_json::{Map, Value};

use crate::config::fields::{Fields, Item, Keys};
use crate::config::file::{Decoder, PROVIDER_RULE, VERB_RULE};
use crate::config::file_limits::{CallLimits, Limits};
use crate::config::file_route::{REPLY_KEYS, Reply, Request};
use crate::config::file_task::{Job, Look, Settles, Task};
use crate::config::file_tls::Tls;
use crate::config::place::{Place, Spanned};
use crate::config::yaml::{Key, Node};
use crate::route::{IdKind, LOOK, Repeat};

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name in the path.
    pub name: Spanned<String>,
    /// Where it stands.
    pub place: Place,
    /// The provider whose keys it takes over where it names none of its own.
    pub like: Option<Spanned<String>>,
    /// Are its actions those of the provider that it is like?
    pub borrowed_actions: bool,
    /// One line for people.
    pub title: Spanned<String>,
    /// Template over `env`.
    pub endpoint: Node,
    /// A name of `credentials`.
    pub credentials: Option<Spanned<String>>,
    /// Whom its https trusts.
    pub tls: Option<Tls>,
    /// A name of `faults`.
    pub faults: Option<Spanned<String>>,
    /// Defaults for the caller's scope: templates over `env`.
    pub scope: Vec<(Key, Node)>,
    /// What an id looks like.
    pub id: Id,
    /// How much, how long, how large.
    pub limits: Limits,
    /// Is the vendor told which trace a call belongs to?
    pub trace: bool,
    /// How to look at a task.
    pub task: Option<Task>,
    /// What can be done, by verb, in the order of the file.
    pub actions: Vec<Action>,
}

/// What an id looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// Where it stands.
    pub place: Place,
    /// Text or number.
    pub kind: IdKind,
    /// Of a text.
    pub pattern: Option<Spanned<String>>,
    /// Of a text.
    pub min_length: Option<Spanned<u64>>,
    /// Of a text.
    pub max_length: Option<Spanned<u64>>,
    /// Of a number.
    pub minimum: Option<Spanned<i64>>,
    /// Of a number.
    pub maximum: Option<Spanned<i64>>,
}

impl Id {
    /// The rule as JSON Schema.
    #[must_use]
    pub fn to_schema(&self) -> Value {
        let mut schema = Map::new();
        let mut put = |key: &str, value: Option<Value>| value.map(|value| schema.insert(key.to_owned(), value));
        put("type", Some(if self.kind == IdKind::Integer { "integer" } else { "string" }.into()));
        put("pattern", self.pattern.as_ref().map(|pattern| pattern.value.clone().into()));
        put("minLength", self.min_length.map(|length| length.value.into()));
        put("maxLength", self.max_length.map(|length| length.value.into()));
        put("minimum", self.minimum.map(|bound| bound.value.into()));
        put("maximum", self.maximum.map(|bound| bound.value.into()));
        Value::Object(schema)
    }
}

/// One action of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The verb.
    pub name: Spanned<String>,
    /// Where it stands.
    pub place: Place,
    /// One line for people.
    pub title: Spanned<String>,
    /// The file with the JSON Schema of the canonical request; nothing only after a fault.
    pub schema: Option<Spanned<String>>,
    /// May the request be sent again?
    pub repeat: Spanned<Repeat>,
    /// Does the vendor refuse what is over its limits before it acts?
    pub limited_before_acting: bool,
    /// How many tasks one request may be for, where it takes a list.
    pub batch: Option<Batch>,
    /// What is sent; nothing only after a fault.
    pub request: Option<Request>,
    /// What the answer means; nothing only after a fault.
    pub reply: Option<Reply>,
    /// How many in a time.
    pub limits: CallLimits,
    /// When to look at the task.
    pub look: Option<Look>,
    /// Which states end it.
    pub settles: Option<Settles>,
    /// The vendor's own job.
    pub job: Option<Job>,
}

/// How a request takes a list of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where it stands.
    pub place: Place,
    /// So many at most; nothing only after a fault.
    pub max: Option<Spanned<usize>>,
}

impl Decoder<'_> {
    /// One of `providers`, with what it takes over from another one in it.
    pub(crate) fn provider(&mut self, key: &Key, item: Item, keys: &Keys) -> Provider {
        let name = self.name(key, &item.place.path, PROVIDER_RULE);
        let mut fields = Fields::open(item, keys, self.faults);
        let id = match fields.take("id") {
            Some(item) => self.id(item),
            None => Id::any(fields.place.clone()),
        };
        let limits = fields.take("limits").map(|item| self.limits(item)).unwrap_or_default();
        let tls = fields.take("tls").map(|item| self.tls(item));
        let actions = fields.members("actions", self.faults);
        Provider {
            name,
            tls,
            borrowed_actions: false,
            like: fields
                .node("like")
                .and_then(|node| Some(Spanned::new(node.as_text()?.to_owned(), node.span))),
            title: fields.required_text("title", self.faults),
            endpoint: fields.required_node("endpoint"),
            credentials: fields.text("credentials", self.faults),
            faults: fields.text("faults", self.faults),
            scope: fields.templates("scope", self.faults),
            id,
            limits,
            trace: fields.flag("trace", self.faults).unwrap_or_default(),
            task: fields.take("task").map(|item| self.task(item)),
            actions: actions.into_iter().map(|(key, item)| self.action(&key, item)).collect(),
            place: fields.place,
        }
    }

    /// The key `id`.
    fn id(&mut self, item: Item) -> Id {
        let kind = match item.node.member("type").and_then(Node::as_text) {
            Some("integer") => IdKind::Integer,
            _ => IdKind::String,
        };
        let keys = if kind == IdKind::Integer {
            &INTEGER_ID_KEYS
        } else {
            &STRING_ID_KEYS
        };
        let mut fields = Fields::open(item, keys, self.faults);
        fields.word("type", &[("string", ()), ("integer", ())], self.faults);
        let length = (0, MAX_ID_LENGTH);
        let bound = (0, i64::MAX.into());
        let id = Id {
            kind,
            pattern: fields.text("pattern", self.faults),
            min_length: fields.integer("minLength", length, self.faults),
            max_length: fields.integer("maxLength", length, self.faults),
            minimum: fields.integer("minimum", bound, self.faults),
            maximum: fields.integer("maximum", bound, self.faults),
            place: fields.place,
        };
        let crossed = match kind {
            IdKind::Integer => id
                .minimum
                .zip(id.maximum)
                .filter(|(least, most)| least.value > most.value)
                .map(|(_, most)| (most.span, "maximum")),
            IdKind::String => id
                .min_length
                .zip(id.max_length)
                .filter(|(least, most)| least.value > most.value)
                .map(|(_, most)| (most.span, "maxLength")),
        };
        if let Some((span, key)) = crossed {
            self.faults.fault(
                span,
                &id.place.path.key(key),
                "no id can fit: the upper bound is below the lower one",
            );
        }
        if let Some(pattern) = &id.pattern
            && let Err(why) = crate::config::schemas::check_pattern(&pattern.value)
        {
            self.faults
                .fault(pattern.span, &id.place.path.key("pattern"), why)
                .hint(crate::config::schemas::PATTERN_HINT);
        }
        id
    }

    /// One of `actions`.
    fn action(&mut self, key: &Key, item: Item) -> Action {
        let name = self.name(key, &item.place.path, VERB_RULE);
        if key.text == LOOK {
            self.faults
                .fault(key.span, &item.place.path, "`look` is no verb of an action")
                .hint("looking at a task is a GET without a verb; `task` of the provider says how");
        }
        if key
            .text
            .strip_prefix("batch")
            .is_some_and(|verb| verb.starts_with(|c: char| c.is_ascii_uppercase()))
        {
            self.faults
                .fault(
                    key.span,
                    &item.place.path,
                    format!("`{}` is no verb of an action", key.text.escape_debug()),
                )
                .hint("every action `stop` has its `batchStop`; `batch: { max: 100 }` in it says that the vendor takes lists");
        }
        let mut fields = Fields::open(item, &ACTION_KEYS, self.faults);
        let repeat = [("never", Repeat::Never), ("safe", Repeat::Safe), ("same-key", Repeat::SameKey)];
        let request = fields.take("request").map(|item| self.request(item));
        let reply = fields.take("reply").map(|item| self.reply(item, request.as_ref(), &REPLY_KEYS));
        Action {
            name,
            title: fields.required_text("title", self.faults),
            schema: fields.text("schema", self.faults),
            repeat: fields
                .word("repeat", &repeat, self.faults)
                .unwrap_or_else(|| Spanned::new(Repeat::default(), fields.place.span)),
            limited_before_acting: fields.flag("limited_before_acting", self.faults).unwrap_or_default(),
            batch: fields.take("batch").map(|item| self.batch(item)),
            request,
            reply,
            limits: fields.take("limits").map(|item| self.call_limits(item)).unwrap_or_default(),
            look: fields.take("look").map(|item| self.look(item)),
            settles: fields.take("settles").map(|item| self.settles(item)),
            job: fields.take("job").map(|item| self.job(item)),
            place: fields.place,
        }
    }
}

impl Decoder<'_> {
    /// The key `batch` of an action.
    fn batch(&mut self, item: Item) -> Batch {
        let mut fields = Fields::open(item, &BATCH_KEYS, self.faults);
        Batch {
            max: fields.integer("max", (2, MAX_BATCH), self.faults),
            place: fields.place,
        }
    }
}

impl Id {
    /// Any text: stands in for an `id` that is missing.
    fn any(place: Place) -> Self {
        Self {
            place,
            kind: IdKind::String,
            pattern: None,
            min_length: None,
            max_length: None,
            minimum: None,
            maximum: None,
        }
    }
}

/// One of `providers`.
pub const PROVIDER_KEYS: Keys = Keys {
    what: "a provider",
    required: &["title", "endpoint", "id", "actions"],
    optional: &["credentials", "faults", "scope", "limits", "tls", "task", "trace"],
};
/// The `id` of a provider whose ids are text.
pub const STRING_ID_KEYS: Keys = Keys {
    what: "an id of text",
    required: &[],
    optional: &["type", "pattern", "minLength", "maxLength"],
};
/// The `id` of a provider whose ids are numbers.
pub const INTEGER_ID_KEYS: Keys = Keys {
    what: "an id of type integer",
    required: &["type"],
    optional: &["minimum", "maximum"],
};
/// One of `actions`.
pub const ACTION_KEYS: Keys = Keys {
    what: "an action",
    required: &["title", "schema", "request", "reply"],
    optional: &["repeat", "limited_before_acting", "limits", "batch", "look", "settles", "job"],
};
/// The `batch` of an action.
pub const BATCH_KEYS: Keys = Keys {
    what: "`batch`",
    required: &["max"],
    optional: &[],
};
/// As many tasks as a caller's batch has at most.
const MAX_BATCH: i128 = crate::mapping::envelope::MAX_ITEMS as i128;

/// A path of 8 KiB is the most that servers take.
const MAX_ID_LENGTH: i128 = 8192;
