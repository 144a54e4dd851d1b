//! The compiled route table: what the stages read at run time. Immutable, shared by `Arc`.
//!
//! **Invariants**: everything in here has been checked; nothing refers to a name that does not exist. Only the compiler
//! in `config` makes one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::uri::{Authority, Scheme};
use serde_json::{Map, Value};

use crate::catalog::example::Examples;
use crate::mapping::job::JobRules;
use crate::mapping::look::{Settles, TaskRules};
use crate::mapping::reply::ReplyRules;
use crate::mapping::request::{CallValues, Fresh, RequestError, RequestTemplate};
use crate::model::call::{UpstreamReply, UpstreamRequest};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::schema::RequestSchema;
use crate::trust::Trust;

pub mod credentials;
mod limits;

pub use credentials::Credentials;
pub use limits::{
    Allowance, BreakerPlan, DEFAULT_BURST, DEFAULT_CALLS, DEFAULT_CONSECUTIVE, DEFAULT_LONGEST_PAUSE, DEFAULT_PAUSE, DEFAULT_QUEUE_LENGTH,
    DEFAULT_QUEUE_WAIT, DEFAULT_SHARE, DEFAULT_WINDOW, Queue, Rate,
};

/// All providers, by the name that stands in the path.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// The providers, by name.
    pub providers: BTreeMap<String, Arc<Provider>>,
    /// Every verb that any provider offers.
    pub verbs: BTreeSet<String>,
    /// The callers' headers that some provider's credentials hand on; no other one outlives the first stage.
    pub passthrough: Arc<HashSet<HeaderName>>,
    /// Calls and answers for the documents; empty where nobody asked for them.
    pub examples: Examples,
}

/// One configured deployment of a vendor's product.
#[derive(Debug)]
pub struct Provider {
    /// The name in the path.
    pub name: String,
    /// The provider whose actions it has, where it has none of its own: that one's cases are its cases.
    pub actions_of: Option<String>,
    /// One line for people.
    pub title: String,
    /// Where and as whom to call it, or the names of the variables that are missing.
    pub connection: Result<Connection, Vec<String>>,
    /// Where the credentials are one of several: the variables of each, of which one set is enough.
    pub alternatives: Vec<Vec<String>>,
    /// What an id looks like.
    pub id: IdRule,
    /// How much at once, how long, how large.
    pub limits: Limits,
    /// Defaults for the caller's `scope`.
    pub scope: Map<String, Value>,
    /// What can be done with a task, by verb.
    pub actions: BTreeMap<String, Arc<Route>>,
    /// How to look at a task, where the vendor shows it.
    pub task: Option<Arc<Task>>,
}

impl Provider {
    /// Is the other one called at the same place, as the same one and within the same limits, so that what is known of the vendor
    /// (connections, sessions, calls under way) holds for both? Their actions may differ.
    #[must_use]
    pub fn is_called_like(&self, other: &Self) -> bool {
        (&self.name, &self.connection, &self.limits) == (&other.name, &other.connection, &other.limits)
    }
}

/// How to look at a task.
#[derive(Debug)]
pub struct Task {
    /// What is sent and how the answer is read; its action is [`LOOK`].
    pub route: Arc<Route>,
    /// How the task is found and read.
    pub rules: TaskRules,
    /// Between two looks of those who wait.
    pub every: Duration,
}

/// Where a provider is called and how taskgate proves itself. Two that are equal reach the same vendor as the same one.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Where.
    pub endpoint: Endpoint,
    /// As whom.
    pub credentials: Credentials,
    /// Whom its https trusts.
    pub trust: Trust,
}

/// The base of a vendor's interface: `https://host:port/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and optional port; never user information.
    pub authority: Authority,
    /// Path prefix without a slash at its end; mostly empty.
    pub prefix: String,
}

/// What an id looks like.
#[derive(Debug)]
pub struct IdRule {
    /// Text or number.
    pub kind: IdKind,
    /// The rest of the rule.
    pub schema: crate::schema::Schema,
    /// The same as a document: for discovery.
    pub document: Value,
    /// The rule in words, for error texts: `^[0-9a-f]{32}$`, `an integer from 1`.
    pub description: String,
}

/// The type that `${id}` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// A 64-bit integer, written without sign or leading zero.
    Integer,
    /// Text.
    String,
}

/// How much at once, how long, how large: per provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls under way at once.
    pub in_flight: usize,
    /// Who comes when that many are under way.
    pub queue: Queue,
    /// What every request to the vendor has to respect, logins aside.
    pub allowances: Vec<Arc<Allowance>>,
    /// When the provider is left alone; never without one.
    pub breaker: Option<BreakerPlan>,
    /// For one connection attempt, DNS and TLS included.
    pub connect_timeout: Duration,
    /// For one vendor call, from the first byte sent to the last received.
    pub timeout: Duration,
    /// A larger answer is not read.
    pub max_reply_bytes: usize,
    /// Close the connection after each call instead of keeping it.
    pub close: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: DEFAULT_IN_FLIGHT,
            queue: Queue::default(),
            allowances: Vec::new(),
            breaker: Some(BreakerPlan::default()),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            timeout: DEFAULT_TIMEOUT,
            max_reply_bytes: DEFAULT_MAX_REPLY_BYTES,
            close: false,
        }
    }
}

/// May a request be sent again when its answer is lost?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// Never: the second one may act again.
    #[default]
    Never,
    /// It carries a key that is the call's own, and the vendor refuses a second one with the same key.
    SameKey,
    /// The second one changes nothing.
    Safe,
}

/// One action of one provider, compiled.
#[derive(Debug)]
pub struct Route {
    /// The provider's name.
    pub provider: String,
    /// The verb.
    pub action: String,
    /// One line for people.
    pub title: String,
    /// The canonical request.
    pub schema: RequestSchema,
    /// May it be sent again?
    pub repeat: Repeat,
    /// Does the vendor refuse what is over its limits before it acts?
    pub limited_before_acting: bool,
    /// To how many tasks at most one request may go, where it takes a list of them.
    pub batch: Option<usize>,
    /// What is sent.
    pub request: RequestTemplate,
    /// What the answer means.
    pub reply: ReplyRules,
    /// The configuration values that templates may use, by name.
    pub settings: Arc<Value>,
    /// Does anything of it read what is fresh for each call (`call`)? Nothing is made up where nobody does.
    pub reads_call: bool,
    /// Is the vendor told which trace a call belongs to?
    pub trace: bool,
    /// What this request has to respect besides what all of the provider's have to.
    pub allowances: Vec<Arc<Allowance>>,
    /// What is done beside sending the request once.
    pub pursuit: Pursuit,
}

/// What is done beside sending the request once: looking before and after, and following. Nothing by default.
#[derive(Debug, Default)]
pub struct Pursuit {
    /// Look before acting: a task that is not there is not found, one that has ended has ended already.
    pub look_before: bool,
    /// Refusals after which a look says whether the task has ended already.
    pub look_after: Vec<Reason>,
    /// Which states end the action.
    pub settles: Option<Settles>,
    /// Does every call that fits the schema of the action say what a look needs? False where that is not certain.
    pub always_seen: bool,
    /// The vendor's own job.
    pub job: Option<JobRules>,
}

impl Route {
    /// Makes the vendor's request of a call.
    ///
    /// # Errors
    /// As [`RequestTemplate::render`].
    pub fn render(&self, call: &CallValues) -> Result<UpstreamRequest, RequestError> {
        match self.batch {
            None => self.request.render(&call.bindings()),
            Some(_) => self.render_for(call, [&call.id]),
        }
    }

    /// Makes one request for the tasks with these ids; all the rest is that of the call.
    ///
    /// # Errors
    /// As [`RequestTemplate::render`].
    pub fn render_for<'a>(&self, call: &CallValues, ids: impl IntoIterator<Item = &'a Value>) -> Result<UpstreamRequest, RequestError> {
        let ids = ids.into_iter().cloned().collect();
        self.request.render(&call.bindings().with(IDS, &ids))
    }

    /// What an answer is an error of, as far as that can be said without the values of a call: conditions over them do not hold.
    #[must_use]
    pub fn refusal(&self, reply: &UpstreamReply) -> Option<GatewayError> {
        let nobody = CallValues {
            id: Value::Null,
            body: Map::new(),
            call: Fresh::unknown(),
            settings: Arc::clone(&self.settings),
        };
        self.reply.normalize(&nobody, "", reply).result.err()
    }

    /// Does it only look?
    #[must_use]
    pub fn is_look(&self) -> bool {
        self.action == LOOK
    }
}

/// What looking is called where an action has its verb: in metrics, in the log and in the tree of cases. No verb is called so.
pub const LOOK: &str = "look";
/// The name of the list of ids in a request that takes one.
pub const IDS: &str = "ids";
/// A vendor that acts on tasks rarely needs more, and a hanging one must not collect the gateway's memory.
pub const DEFAULT_IN_FLIGHT: usize = 16;
/// A TCP and TLS handshake across the world takes well under a second; three allow for one lost packet.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Stop calls answer within a second or two; beyond ten the caller is better served with the truth that nobody knows.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest known answer is a list page of about 400 KiB.
pub const DEFAULT_MAX_REPLY_BYTES: usize = 1 << 20;
