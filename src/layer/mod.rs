//! Ring 3: the stages of a request, in the order of their names' appearance in `stack.rs`.
//!
//! **Shape**: `http::Request` -> `TaskCall` -> `RoutedCall` -> `ValidCall` -> `Errand`, one or more
//! -> `Outbound` and back: `Exchange` -> the errand's report -> `Completed` -> `Spoken`.
//!
//! **Invariants**: a stage adapts and decides nothing about vendors; the types make another order a compile error. A stage owns the
//! one behind it and is shared by all calls: what is of one call travels with it.

use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;

use crate::idempotency::{Claim, IdempotencyKey};
use crate::mapping::request::CallValues;
use crate::model::answer::{Answer, Outcome};
use crate::model::call::{Asked, Resumed, TaskCall, UpstreamReply, UpstreamRequest};
use crate::model::error::GatewayError;
use crate::route::{Provider, Route};
use crate::telemetry::metrics::RequestMeter;

pub mod admit;
pub mod dispatch;
pub mod errand;
pub mod fork;
pub mod hub;
pub mod keep;
pub mod observe;
pub mod page;
pub mod prefer;
pub mod preview;
pub mod pursue;
pub mod quota;
pub mod request_id;
pub mod rescue;
pub mod resolve;
pub mod resume;
pub mod shed;
pub mod spread;
pub mod together;
pub mod trace;
pub mod translate;
pub mod validate;

/// A stage of the way: does its part with a call of one kind, and hands it on to the stage behind it.
pub trait Stage<Call>: Send + Sync + 'static {
    /// What comes back where it went well.
    type Done;
    /// Why it did not.
    type Failed;

    /// One call, from here to the vendor and back.
    fn run<'a>(&'a self, context: &'a Arc<CallContext>, call: Call) -> impl Future<Output = Result<Self::Done, Self::Failed>> + Send;
}

/// The stages for tasks behind one pointer. Single calls, batches and operations share them, and the stages in front need not know
/// their types: each would have them in its own once more, and the compiler would take minutes over it.
#[derive(Clone)]
pub struct Tasks(Arc<dyn AnyTasks>);

trait AnyTasks: Send + Sync {
    fn run_any<'a>(&'a self, context: &'a Arc<CallContext>, call: TaskCall) -> Telling<'a>;
}

/// What the stages for tasks come to, in time.
pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<Box<Completed>, Box<Failed>>> + Send + 'a>>;

impl<S> AnyTasks for S
where
    S: Stage<TaskCall, Done = Box<Completed>, Failed = Box<Failed>>,
{
    fn run_any<'a>(&'a self, context: &'a Arc<CallContext>, call: TaskCall) -> Telling<'a> {
        Box::pin(self.run(context, call))
    }
}

impl Tasks {
    /// Behind this pointer.
    #[must_use]
    pub fn new(stages: impl Stage<TaskCall, Done = Box<Completed>, Failed = Box<Failed>>) -> Self {
        Self(Arc::new(stages))
    }

    /// One call, from here to the vendor and back.
    ///
    /// # Errors
    /// As the stages say.
    pub fn run<'a>(&'a self, context: &'a Arc<CallContext>, call: TaskCall) -> Telling<'a> {
        self.0.run_any(context, call)
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

/// The future at the two ends of the stages, where services stand.
pub type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// What travels with a call through all stages, and with each of its requests to the vendor, who share it.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The id of the request, in every answer and log line.
    pub request_id: Arc<str>,
    /// The trace that the request belongs to.
    pub trace: trace::Trace,
    /// When the caller's answer is due.
    pub deadline: Instant,
    /// What the way to the vendor has to know of the caller and of this call's credentials.
    pub credentials: CallCredentials,
    /// What the requests of this call left open.
    pub doubt: Doubt,
    /// The right to act that came with the caller's idempotency key; to be asked before anything is sent that acts.
    pub claim: Option<Arc<Claim>>,
    /// What it has in common with the other calls of its batch, where it is one of many.
    pub member: Option<Arc<together::Member>>,
}

/// A request that was admitted.
#[derive(Debug)]
pub struct Admitted {
    /// What it asks for.
    pub asked: Asked,
    /// What the caller calls it, where it acts and has a name.
    pub keyed: Option<Box<Keyed>>,
}

/// What the caller calls a call.
#[derive(Debug)]
pub struct Keyed {
    /// The name.
    pub key: IdempotencyKey,
    /// The path of the request, as it was sent.
    pub path: String,
}

/// What a request of a call may have done without an answer to say so, before it was repeated.
#[derive(Clone, Debug, Default)]
pub struct Doubt(OnceLock<Box<GatewayError>>);

impl Doubt {
    /// A request is repeated although it may have acted: what is known without the repetition. The first doubt stays.
    #[cold]
    pub fn raise(&self, open: impl FnOnce() -> GatewayError) {
        self.0.get_or_init(|| Box::new(open()));
    }

    /// What another one left open is open here as well.
    pub fn share(&self, other: &Self) {
        if let Some(open) = other.0.get() {
            self.raise(|| GatewayError::clone(open));
        }
    }

    /// A result as it may be told: that a repetition came to nothing does not prove that nothing was done.
    ///
    /// # Errors
    /// Those of the result; what was left open in the place of one that says `not_done`.
    pub fn settle<T>(&self, result: Result<T, GatewayError>) -> Result<T, GatewayError> {
        match (result, self.0.get()) {
            (Err(error), Some(open)) if error.reason.facts().outcome == Outcome::NotDone => Err(still_open(open, &error)),
            (result, _) => result,
        }
    }
}

/// What was left open, and that a repetition came to nothing.
#[cold]
fn still_open(open: &GatewayError, repeated: &GatewayError) -> GatewayError {
    let why = repeated.internal.as_deref().unwrap_or(&repeated.detail);
    let mut open = open.clone();
    let note = format!("repeated, with {}: {why}", repeated.reason.code());
    open.internal = Some(match open.internal.take() {
        Some(internal) => format!("{internal}; {note}"),
        None => note,
    });
    open
}

/// What the credentials of a call depend on.
#[derive(Debug, Default)]
pub struct CallCredentials {
    /// The caller's headers that some provider's credentials hand on, marked sensitive; no other header gets this far.
    pub passed: HeaderMap,
    /// Which session the call's last request was sent with; 0 before the first.
    pub session: AtomicU64,
}

impl Clone for CallCredentials {
    /// For another call of the same caller.
    fn clone(&self) -> Self {
        Self {
            passed: self.passed.clone(),
            session: AtomicU64::default(),
        }
    }
}

/// How one request of a call uses the provider's credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialUse {
    /// Not at all.
    None,
    /// As the provider's configuration says.
    #[default]
    Normal,
    /// With a session that is newer than that of the call's last request, which turned out to have ended. Otherwise as `Normal`.
    Renewed,
}

/// What a request is to its vendor: which limits it has, and whether it may find out if the vendor is back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aim {
    /// It acts on a task that could be looked at first.
    #[default]
    Act,
    /// It acts, and nobody can look.
    ActUnseen,
    /// It asks what became of a job, and changes nothing.
    Ask,
    /// It looks at a task, and changes nothing.
    Look,
}

/// A call whose provider and action are known.
#[derive(Clone, Debug)]
pub struct RoutedCall {
    /// The call as it was read.
    pub call: TaskCall,
    /// Its provider.
    pub provider: Arc<Provider>,
    /// Its route.
    pub route: Arc<Route>,
}

/// A call whose values fit the route's schema.
#[derive(Clone, Debug)]
pub struct ValidCall {
    /// The id as the caller wrote it.
    pub id: String,
    /// The values that templates use.
    pub values: CallValues,
    /// How long the caller wants to wait for the action to settle.
    pub wait: Option<Duration>,
    /// The action was accepted before: it is followed, and nothing is sent that acts.
    pub resumed: Option<Box<Resumed>>,
    /// Its provider.
    pub provider: Arc<Provider>,
    /// Its route.
    pub route: Arc<Route>,
}

/// A vendor request on its way. Small, as it is handed on often.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// What travels along.
    pub context: Arc<CallContext>,
    /// Where it goes.
    pub provider: Arc<Provider>,
    /// By which route.
    pub route: Arc<Route>,
    /// What for.
    pub aim: Aim,
    /// What goes.
    pub request: Box<UpstreamRequest>,
    /// As whom.
    pub credentials: CredentialUse,
}

/// A vendor's reply and how long it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The reply, read to its end.
    pub reply: UpstreamReply,
    /// From handing the request over to the client to the last byte received, connecting included.
    pub elapsed: Duration,
}

/// A call that succeeded.
#[derive(Clone, Debug)]
pub struct Completed {
    /// What the vendor said.
    pub answer: Answer,
    /// What was called.
    pub trail: Trail,
}

/// What goes back through the stages in front of the tasks'.
#[derive(Debug)]
pub enum Reply {
    /// A call that succeeded, to be put into words.
    Completed(Box<Completed>),
    /// Words already: of many calls, or of one that was answered before.
    Spoken(Box<rescue::Spoken>),
}

/// What is known of a call for its log line and metrics, whether it succeeded or not.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// The route, once it is known.
    pub route: Option<Arc<Route>>,
    /// What the calls of this route are counted with: labels are those of the table, so they stay a closed set.
    pub meter: Option<Arc<RequestMeter>>,
    /// The id that the caller asked for.
    pub id: Option<String>,
    /// The caller's `reason`: for the log and nothing else.
    pub caller_reason: Option<String>,
    /// How long the vendor took, where it was called.
    pub vendor_elapsed: Option<Duration>,
    /// Was the vendor's reply outside the route's schema?
    pub drift: bool,
    /// The caller's wish to wait, where it was followed.
    pub waited: Option<Duration>,
    /// Was the request only shown, and nothing sent?
    pub validated_only: bool,
    /// Does the caller want an answer before the action has settled?
    pub respond_async: bool,
    /// Was an accepted action only followed?
    pub resumed: bool,
    /// What was called in place of a route, where it was many tasks.
    pub many: Option<Many>,
}

/// One action on many tasks, in the words of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many {
    /// Whose tasks; none where they name theirs.
    pub provider: Option<String>,
    /// `batchStop`.
    pub action: String,
    /// Is a vendor told which trace it belongs to?
    pub traced: bool,
}

/// A call that did not succeed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: GatewayError,
    /// What was called.
    pub trail: Trail,
}

impl From<GatewayError> for Box<Failed> {
    #[cold]
    fn from(error: GatewayError) -> Self {
        Self::new(Failed {
            error,
            trail: Trail::default(),
        })
    }
}

/// The caller's `reason`, from the canonical request.
fn caller_reason(body: &serde_json::Map<String, Value>) -> Option<String> {
    body.get("reason").and_then(Value::as_str).map(str::to_owned)
}
