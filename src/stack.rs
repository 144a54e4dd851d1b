//! The stack: the only place where the order of the stages is decided.
//!
//! ```text
//! observe      request id, deadline, log line, metrics; sees every final answer
//!  rescue      errors and panics become answers; below: fails, above: never
//!   shed       calls in flight over all providers; one more is refused at once, before a body is read
//!    admit     http::Request -> Asked: head, size, media type, JSON
//!     fork         Asked -> TaskCall, or one of the calls over many; back: Reply
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

use crate::layer::admit::{Admit, AdmitLimits};
use crate::layer::fork::Fork;
use crate::layer::hub::{Hub, Pace};
use crate::layer::observe::Observe;
use crate::layer::pursue::Pursue;
use crate::layer::rescue::{Rescue, Spoken};
use crate::layer::resolve::Resolve;
use crate::layer::shed::{Room, Shed};
use crate::layer::spread::Spread;
use crate::layer::translate::Translate;
use crate::layer::validate::Validate;
use crate::layer::{BoxFuture, Exchange, Outbound, Stage};
use crate::model::error::GatewayError;
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
    S: Stage<Request<B>, Done = Spoken, Failed = Infallible>,
    B: Send + 'static,
{
    fn enter(self: Arc<Self>, request: Request<B>) -> BoxFuture<Response<Full<Bytes>>, Infallible> {
        // The one box of a request on the way down: the stages below are one future.
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
}

impl Default for StackLimits {
    fn default() -> Self {
        Self {
            in_flight: DEFAULT_IN_FLIGHT,
            deadline: DEFAULT_DEADLINE,
            admit: AdmitLimits::default(),
            pace: Pace::default(),
        }
    }
}

/// What all stacks of a process share, whichever table they read: how many calls are in flight, and who looks at what.
#[derive(Clone, Debug)]
pub struct Frame {
    limits: StackLimits,
    room: Arc<Room>,
    hub: Arc<Hub>,
}

impl Frame {
    /// Once per process.
    #[must_use]
    pub fn new(limits: StackLimits) -> Self {
        Self {
            room: Arc::new(Room::new(limits.in_flight)),
            hub: Arc::new(Hub::new(limits.pace)),
            limits,
        }
    }

    /// Builds the stack of one table over its ways to the vendors.
    pub fn build<U, B>(&self, table: Arc<RouteTable>, upstream: U) -> Gateway<B>
    where
        U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
        U::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { limits, room, hub } = self;
        // Each stage around the one behind it, so this is read from the last line to the first.
        let stages = Translate::new(upstream);
        // All who wait share its hub.
        let stages = Pursue::new(Arc::clone(hub), stages);
        let stages = Validate::new(stages);
        let stages = Resolve::new(Arc::clone(&table), stages);
        // Single calls and those of a batch go the same way from here.
        let tasks = Arc::new(stages);
        let many = Spread::new(Arc::clone(&table), Arc::clone(&tasks));
        let stages = Fork::new(tasks, many);
        let stages = Admit::new(limits.admit.clone(), Arc::clone(&table.passthrough), stages);
        // Before a body is read: a refused call costs next to nothing.
        let stages = Shed::new(Arc::clone(room), stages);
        // Inside observe: a panic is counted and keeps its request id.
        let stages = Rescue::new(stages);
        // Outermost, so that what rescue says is what is counted and logged.
        let stages = Observe::new(limits.deadline, stages);
        Gateway { entry: Arc::new(stages) }
    }
}

/// Builds the stack of a table that is never replaced.
pub fn build<U, B>(table: Arc<RouteTable>, limits: &StackLimits, upstream: U) -> Gateway<B>
where
    U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
    U::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Frame::new(limits.clone()).build(table, upstream)
}

/// A call waits for its vendor most of the time and holds some tens of KiB: a thousand are 50 MiB.
pub const DEFAULT_IN_FLIGHT: usize = 1024;
/// Longer than the longest vendor timeout of the shipped routes (10 s), twice, plus reading the request; shorter than the
/// minute after which balancers give up. A caller's own wait comes on top.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
