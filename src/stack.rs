//! The stack: the only place where the order of the stages is decided.
//!
//! ```text
//! page         the documents of the catalog, where the path is one of theirs; everything else goes on
//! observe      request id, deadline, log line, metrics; sees every final answer
//!  rescue      errors and panics become answers; below: fails, above: never
//!   shed       calls in flight over all providers; one more is refused at once, before a body is read
//!    admit     http::Request -> Admitted: head, size, media type, JSON
//!     keep     Admitted -> Asked: what has an idempotency key is done once; back: the first answer again
//!     fork     Asked -> TaskCall, of a task or of an operation, or one of the calls over many; what is only to be shown ends here (preview); back: Reply
//!      (spread)    BatchCall -> TaskCalls, each on the way of a single one; back: one Reply about all
//!      resolve     TaskCall -> RoutedCall: provider and route
//!       validate   RoutedCall -> ValidCall: id, defaults, schema
//!        pursue    ValidCall -> errands, one after the other: look, act, follow; back: Completed
//!         translate Errand -> Outbound; back: Exchange -> its report
//!          dispatch Outbound -> the provider's own way
//! ```
//!
//! Each stage owns the one behind it and says by its types what that one takes and gives; at both ends stands a `tower::Service`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;

use crate::catalog::Catalog;
use crate::idempotency::{Keeper, Memory, MemoryLimits, Records};
use crate::layer::admit::{Admit, AdmitLimits};
use crate::layer::fork::Fork;
use crate::layer::hub::{Hub, Pace};
use crate::layer::keep::Keep;
use crate::layer::observe::Observe;
use crate::layer::page::Pages;
use crate::layer::preview::{Preview, Prove, names_only};
use crate::layer::pursue::Pursue;
use crate::layer::quota::{Quotas, RateLimits};
use crate::layer::rescue::{Rescue, Spoken};
use crate::layer::resolve::{Meters, Resolve};
use crate::layer::resume::Operations;
use crate::layer::shed::{Room, Shed};
use crate::layer::spread::Spread;
use crate::layer::translate::Translate;
use crate::layer::validate::Validate;
use crate::layer::{BoxFuture, Exchange, Outbound, Stage, Tasks};
use crate::model::error::GatewayError;
use crate::operation::OperationKeys;
use crate::route::RouteTable;

/// The whole gateway as one service: never fails, always ready; clones share all of it.
pub struct Gateway<B> {
    entry: Arc<dyn Entry<B>>,
}

/// The outermost stage, whatever stands behind it.
trait Entry<B>: Send + Sync {
    fn enter(self: Arc<Self>, request: Request<B>) -> BoxFuture<Response<Full<Bytes>>, Infallible>;
}

impl<S, B> Entry<B> for Observe<S>
where
    S: Stage<Box<Request<B>>, Done = Box<Spoken>, Failed = Infallible>,
    B: Send + 'static,
{
    fn enter(self: Arc<Self>, request: Request<B>) -> BoxFuture<Response<Full<Bytes>>, Infallible> {
        // By itself, so that the stages hand a pointer on instead of the whole head.
        let request = Box::new(request);
        // The one box of a call on the way down to the tasks: the stages are one future.
        Box::pin(async move { Ok(self.answer(request).await) })
    }
}

impl<B> Service<Request<B>> for Gateway<B> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Full<Bytes>>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // What there is no room for is shed.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.enter(request)
    }
}

impl<B> Gateway<B> {
    /// Answers one request.
    pub(crate) fn enter(&self, request: Request<B>) -> BoxFuture<Response<Full<Bytes>>, Infallible> {
        Arc::clone(&self.entry).enter(request)
    }
}

impl<B> Clone for Gateway<B> {
    fn clone(&self) -> Self {
        Self {
            entry: Arc::clone(&self.entry),
        }
    }
}

impl<B> fmt::Debug for Gateway<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// What the stages know of the ways to the vendors besides that one can send by them.
#[derive(Clone)]
pub struct Known {
    /// Who counts the calls, for those who ask what is left.
    pub quotas: Option<Arc<dyn Quotas>>,
    /// What credentials add to a request, for those who only want to see it.
    pub prove: Prove,
}

impl Default for Known {
    /// Nothing.
    fn default() -> Self {
        Self {
            quotas: None,
            prove: names_only,
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

/// The limits of the stack.
#[derive(Clone, Debug)]
pub struct StackLimits {
    /// Calls in flight over all providers; one more is refused.
    pub in_flight: usize,
    /// Every answer is due this long after the head of its request.
    pub deadline: Duration,
    /// What a request may be.
    pub admit: AdmitLimits,
    /// How time passes for those who wait.
    pub pace: Pace,
    /// How accepted actions are named, so that they can be asked for.
    pub operations: Operations,
    /// How many idempotency keys are kept, and for how long.
    pub idempotency: MemoryLimits,
}

impl Default for StackLimits {
    fn default() -> Self {
        Self {
            in_flight: DEFAULT_IN_FLIGHT,
            deadline: DEFAULT_DEADLINE,
            admit: AdmitLimits::default(),
            pace: Pace::default(),
            operations: Operations::default(),
            idempotency: MemoryLimits::default(),
        }
    }
}

/// What all stacks of a process share, whichever table they read: how many calls are in flight, who looks at what, and which
/// calls were made under which key.
#[derive(Clone, Debug)]
pub struct Frame {
    limits: StackLimits,
    room: Arc<Room>,
    hub: Arc<Hub>,
    keeper: Keeper,
}

impl Frame {
    /// Once per process.
    #[must_use]
    pub fn new(limits: StackLimits) -> Self {
        let records = Arc::new(Memory::new(limits.idempotency));
        Self::with_records(limits, records)
    }

    /// With idempotency keys in this store, which may be one for several instances; its limits are its own.
    #[must_use]
    pub fn with_records(limits: StackLimits, records: Arc<dyn Records>) -> Self {
        Self {
            room: Arc::new(Room::new(limits.in_flight)),
            hub: Arc::new(Hub::new(limits.pace)),
            keeper: Keeper::new(records),
            limits,
        }
    }

    /// Names operations with these keys in every stack that is built from now on. Are they others than before?
    pub fn rekey(&mut self, keys: Arc<OperationKeys>) -> bool {
        let before = self.limits.operations.keys.replace(Arc::clone(&keys));
        before.is_none_or(|before| *before != *keys)
    }

    /// Builds the stack of one table over its ways to the vendors.
    pub fn build<U, B>(&self, table: Arc<RouteTable>, upstream: U) -> Gateway<B>
    where
        U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
        U::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.build_knowing(table, upstream, Known::default())
    }

    /// As [`Self::build`], with more that is known of the ways.
    pub fn build_knowing<U, B>(&self, table: Arc<RouteTable>, upstream: U, known: Known) -> Gateway<B>
    where
        U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
        U::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { limits, room, hub, keeper } = self;
        let operations = &limits.operations;
        let meters = Arc::new(Meters::new(&table));
        // Each stage around the one behind it, so this is read from the last line to the first.
        let stages = Translate::new(upstream);
        // All who wait share its hub.
        let stages = Pursue::new(Arc::clone(hub), operations.clone(), stages);
        let stages = Validate::new(stages);
        let stages = Resolve::new(Arc::clone(&table), Arc::clone(&meters), stages);
        // Single calls and those of a batch go the same way from here.
        let tasks = Tasks::new(stages);
        let many = Spread::new(Arc::clone(&table), Arc::clone(&meters), tasks.clone());
        let preview = Preview::new(Arc::clone(&table), known.prove);
        let stages = Fork::new(operations.clone(), preview, tasks, many);
        // Behind admit, as it needs the whole request; before anything that could act.
        let stages = Keep::new(keeper.clone(), Arc::clone(&table), meters, stages);
        let stages = Admit::new(limits.admit.clone(), Arc::clone(&table.passthrough), stages);
        // Before a body is read: a refused call costs next to nothing.
        let stages = Shed::new(Arc::clone(room), stages);
        // Inside observe: a panic is counted and keeps its request id.
        let stages = Rescue::new(stages);
        // Outermost, so that what rescue says is what is counted and logged.
        let rate_limits = RateLimits::new(&table, known.quotas);
        let stages = Observe::new(limits.deadline, rate_limits, &limits.admit.via, stages);
        Gateway { entry: Arc::new(stages) }
    }
}

/// The pages of a catalog, and the stack behind them.
struct Paged<B> {
    pages: Pages,
    gateway: Gateway<B>,
}

impl<B> Entry<B> for Paged<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    fn enter(self: Arc<Self>, request: Request<B>) -> BoxFuture<Response<Full<Bytes>>, Infallible> {
        match self.pages.answer(&request) {
            Some(page) => Box::pin(std::future::ready(Ok(page))),
            None => self.gateway.enter(request),
        }
    }
}

impl Frame {
    /// The stack with the pages of a catalog in front: they call no vendor and take no place among the calls, so they are there whatever
    /// else goes on.
    pub fn with_pages<B>(&self, catalog: Catalog, gateway: Gateway<B>) -> Gateway<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
    {
        let pages = Pages::new(catalog, self.limits.admit.clone());
        Gateway {
            entry: Arc::new(Paged { pages, gateway }),
        }
    }
}

/// Builds the stack of a table that is never replaced.
pub fn build<U, B>(table: Arc<RouteTable>, limits: &StackLimits, upstream: U) -> Gateway<B>
where
    U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
    U::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Frame::new(limits.clone()).build(table, upstream)
}

/// A call waits for its vendor most of the time and holds some tens of KiB: a thousand are 50 MiB.
pub const DEFAULT_IN_FLIGHT: usize = 1024;
/// Longer than the longest vendor timeout of the shipped routes (10 s), twice, plus reading the request; shorter than the
/// minute after which balancers give up. A caller's own wait comes on top.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
