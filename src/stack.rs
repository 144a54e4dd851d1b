//! The stack: the only place where the order of the stages is decided.
//!
//! ```text
//! page         the documents of the catalog, where the path is one of theirs; everything else goes on
//! observe      request id, deadline, log line, metrics; sees every final answer
//!  rescue      errors, foreign errors and panics become answers; below: fails, above: never
//!   load_shed  refuse at once instead of queueing, before a body is read
//!    limit     calls in flight over all providers
//!     admit    http::Request -> TaskCall: head, size, media type, JSON
//!      resolve     TaskCall -> RoutedCall: provider and route
//!       validate   RoutedCall -> ValidCall: id, defaults, schema
//!        pursue   ValidCall -> errands, one after the other: look, act, follow; back: Completed
//!         translate Errand -> Outbound; back: Exchange -> its report
//!          dispatch Outbound -> the provider's own way
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder};

use crate::catalog::Catalog;
use crate::layer::admit::{AdmitLayer, AdmitLimits};
use crate::layer::hub::Pace;
use crate::layer::observe::ObserveLayer;
use crate::layer::page::PageLayer;
use crate::layer::pursue::PursueLayer;
use crate::layer::rescue::RescueLayer;
use crate::layer::resolve::ResolveLayer;
use crate::layer::translate::TranslateLayer;
use crate::layer::validate::ValidateLayer;
use crate::layer::{Exchange, Outbound};
use crate::model::error::GatewayError;
use crate::route::RouteTable;

/// The whole gateway as one service: never fails, cheap to clone, one clone per connection.
pub type Gateway<B> = BoxCloneSyncService<Request<B>, Response<Full<Bytes>>, Infallible>;

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
    room: GlobalConcurrencyLimitLayer,
    pursue: PursueLayer,
}

impl Frame {
    /// Once per process.
    #[must_use]
    pub fn new(limits: StackLimits) -> Self {
        Self {
            room: GlobalConcurrencyLimitLayer::new(limits.in_flight),
            pursue: PursueLayer::new(limits.pace),
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
        let limits = &self.limits;
        let service = ServiceBuilder::new()
            // Outermost, so that what rescue says is what is counted and logged.
            .layer(ObserveLayer::new(limits.deadline))
            // Inside observe: a panic is counted and keeps its request id.
            .layer(RescueLayer)
            // Shed before a body is read: a refused call costs next to nothing.
            .layer(LoadShedLayer::new())
            .layer(self.room.clone())
            .layer(AdmitLayer::new(limits.admit.clone(), Arc::clone(&table.passthrough)))
            .layer(ResolveLayer::new(table))
            .layer(ValidateLayer)
            // All who wait share its hub.
            .layer(self.pursue.clone())
            .layer(TranslateLayer)
            .service(upstream);
        BoxCloneSyncService::new(service)
    }
}

impl Frame {
    /// The stack with the pages of a catalog in front: they call no vendor and take no place among the calls, so they are there whatever
    /// else goes on.
    pub fn with_pages<B>(&self, catalog: Catalog, gateway: Gateway<B>) -> Gateway<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
    {
        let pages = PageLayer::new(Arc::new(catalog), self.limits.admit.clone());
        BoxCloneSyncService::new(ServiceBuilder::new().layer(pages).service(gateway))
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
