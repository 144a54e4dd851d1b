//! The typed mirror of what routes.yaml says about looking and following: a provider's `task`, an action's `look`, `settles` and `job`.
//!
//! **Shape**: `task: { schema, request, reply, item, state, every: 10s }` -> [`Task`].

use std::time::Duration;

use crate::config::fields::{self, Fields, Item, Keys};
use crate::config::file::Decoder;
use crate::config::file_limits::CallLimits;
use crate::config::file_route::{Reply, Request, RuleKind};
use crate::config::place::{Place, Spanned};
use crate::config::yaml::Node;

/// How to look at a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it stands.
    pub place: Place,
    /// The file with the JSON Schema of what a look needs; nothing only after a fault.
    pub schema: Option<Spanned<String>>,
    /// What is sent; nothing only after a fault.
    pub request: Option<Request>,
    /// What a page looks like; nothing only after a fault.
    pub reply: Option<Reply>,
    /// Placeholder for the task, or for the list of those that have its id.
    pub item: Node,
    /// A CEL condition: is the page all there is?
    pub complete: Option<Spanned<String>>,
    /// A `map` to states.
    pub state: Node,
    /// Template for the vendor's own word.
    pub raw_state: Option<Node>,
    /// Template for the name.
    pub name: Option<Node>,
    /// Template for a time.
    pub created_at: Option<Node>,
    /// Template for a time.
    pub updated_at: Option<Node>,
    /// How times are written.
    pub times: Option<Times>,
    /// Between two looks of those who wait.
    pub every: Option<Spanned<Duration>>,
    /// How many in a time.
    pub limits: CallLimits,
}

/// How times are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Where it stands.
    pub place: Place,
    /// The formats.
    pub format: Vec<Node>,
    /// Template over `env`: the zone of times that name none.
    pub zone: Option<Node>,
}

/// When an action looks at its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Where it stands.
    pub place: Place,
    /// Before it acts?
    pub before: bool,
    /// After which refusals.
    pub after: Vec<Spanned<String>>,
}

/// Which states end an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settles {
    /// Where it stands.
    pub place: Place,
    /// It is done.
    pub done: Vec<Spanned<String>>,
    /// It has failed.
    pub failed: Vec<Spanned<String>>,
    /// A CEL condition over `item`: it has failed.
    pub failed_when: Option<Spanned<String>>,
}

/// The vendor's own job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Where it stands.
    pub place: Place,
    /// Template over the action's answer.
    pub id: Node,
    /// What is asked; nothing only after a fault.
    pub request: Option<Request>,
    /// A CEL condition over the job's answer: it is under way.
    pub pending: Spanned<String>,
    /// A CEL condition over the job's answer: the session had expired.
    pub expired: Option<Spanned<String>>,
    /// Between two looks.
    pub every: Option<Spanned<Duration>>,
}

impl Decoder<'_> {
    /// The key `task` of a provider.
    pub(crate) fn task(&mut self, item: Item) -> Task {
        let mut fields = Fields::open(item, &TASK_KEYS, self.faults);
        let request = fields.take("request").map(|item| self.request(item));
        let reply = fields
            .take("reply")
            .map(|item| self.reply(item, request.as_ref(), &TASK_REPLY_KEYS));
        for rule in reply
            .iter()
            .flat_map(|reply| &reply.outcome)
            .filter(|rule| rule.is.value != RuleKind::Fault)
        {
            self.faults
                .fault(rule.is.span, &rule.place.path, "the rules of a look are faults only")
                .hint("a 2xx that fits the schema is a page");
        }
        let state = fields.take("state");
        if let Some(state) = &state {
            self.state(&state.place.path, &state.node);
        }
        Task {
            schema: fields.text("schema", self.faults),
            request,
            reply,
            item: fields.required_node("item"),
            complete: fields.text("complete", self.faults),
            state: state.map_or_else(|| Node::refused(fields.place.span), |item| item.node),
            raw_state: fields.node("raw_state"),
            name: fields.node("name"),
            created_at: fields.node("created_at"),
            updated_at: fields.node("updated_at"),
            times: fields.take("times").map(|item| self.times(item)),
            every: fields.duration("every", MAX_EVERY, self.faults),
            limits: fields.take("limits").map(|item| self.call_limits(item)).unwrap_or_default(),
            place: fields.place,
        }
    }

    fn times(&mut self, item: Item) -> Times {
        let mut fields = Fields::open(item, &TIMES_KEYS, self.faults);
        Times {
            format: fields
                .take("format")
                .map(|item| fields::one_or_many(item, self.faults))
                .unwrap_or_default(),
            zone: fields.node("zone"),
            place: fields.place,
        }
    }

    /// The key `look` of an action.
    pub(crate) fn look(&mut self, item: Item) -> Look {
        let mut fields = Fields::open(item, &LOOK_KEYS, self.faults);
        Look {
            before: fields.flag("before", self.faults).unwrap_or_default(),
            after: fields
                .items("after", self.faults)
                .into_iter()
                .filter_map(|item| fields::take_known(item, self.words.reasons, self.faults))
                .collect(),
            place: fields.place,
        }
    }

    /// The key `settles` of an action.
    pub(crate) fn settles(&mut self, item: Item) -> Settles {
        let mut fields = Fields::open(item, &SETTLES_KEYS, self.faults);
        let mut states = |key: &str, decoder: &mut Self| -> Vec<Spanned<String>> {
            fields
                .items(key, decoder.faults)
                .into_iter()
                .filter_map(|item| fields::take_known(item, decoder.words.states, decoder.faults))
                .collect()
        };
        let (done, failed) = (states("done", self), states("failed", self));
        let settles = Settles {
            done,
            failed,
            failed_when: fields.text("failed_when", self.faults),
            place: fields.place,
        };
        for word in settles.done.iter().chain(&settles.failed) {
            let path = &settles.place.path;
            if word.value == UNKNOWN {
                self.faults.fault(word.span, path, "a state that is not known settles nothing");
            }
            if settles
                .done
                .iter()
                .chain(&settles.failed)
                .filter(|other| other.value == word.value)
                .count()
                > 1
            {
                self.faults.fault(word.span, path, format!("`{}` stands there twice", word.value));
            }
        }
        settles
    }

    /// The key `job` of an action.
    pub(crate) fn job(&mut self, item: Item) -> Job {
        let mut fields = Fields::open(item, &JOB_KEYS, self.faults);
        Job {
            id: fields.required_node("id"),
            request: fields.take("request").map(|item| self.request(item)),
            pending: fields.required_text("pending", self.faults),
            expired: fields.text("expired", self.faults),
            every: fields.duration("every", MAX_EVERY, self.faults),
            place: fields.place,
        }
    }
}

/// A provider's `task`.
pub const TASK_KEYS: Keys = Keys {
    what: "`task`",
    required: &["schema", "request", "reply", "item", "state"],
    optional: &[
        "complete",
        "raw_state",
        "name",
        "created_at",
        "updated_at",
        "times",
        "every",
        "limits",
    ],
};
/// The `reply` of a `task`.
pub const TASK_REPLY_KEYS: Keys = Keys {
    what: "the reply to a look",
    required: &["schema"],
    optional: &["body", "outcome"],
};
/// The `times` of a `task`.
pub const TIMES_KEYS: Keys = Keys {
    what: "`times`",
    required: &["format"],
    optional: &["zone"],
};
/// An action's `look`.
pub const LOOK_KEYS: Keys = Keys {
    what: "`look`",
    required: &[],
    optional: &["before", "after"],
};
/// An action's `settles`.
pub const SETTLES_KEYS: Keys = Keys {
    what: "`settles`",
    required: &["done"],
    optional: &["failed", "failed_when"],
};
/// An action's `job`.
pub const JOB_KEYS: Keys = Keys {
    what: "`job`",
    required: &["id", "request", "pending"],
    optional: &["expired", "every"],
};

/// The canonical word for a state that the vendor's table does not have.
const UNKNOWN: &str = "unknown";
/// Nobody waits longer than a minute, so nobody would see a second look.
const MAX_EVERY: Duration = Duration::from_secs(60);
