//! Resolve: [`TaskCall`] -> [`RoutedCall`]: finds the provider and its route.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{CallContext, Completed, Failed, Many, RoutedCall, Stage, Trail, caller_reason};
use crate::model::call::{BatchCall, TaskCall};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::path;
use crate::route::{Provider, Route, RouteTable};
use crate::telemetry::metrics::{NONE, RequestMeter};

/// The stage.
#[derive(Debug)]
pub struct Resolve<S> {
    inner: S,
    table: Arc<RouteTable>,
    meters: Arc<Meters>,
}

/// What requests are counted with.
#[derive(Debug)]
pub struct Meters {
    /// By the route's address: the table keeps them where they are.
    routes: BTreeMap<usize, Arc<RequestMeter>>,
    /// For questions about accepted actions, by provider.
    operations: HashMap<String, Arc<RequestMeter>>,
    /// For batches, by provider and action.
    many: HashMap<(Option<String>, String), Arc<RequestMeter>>,
}

impl Meters {
    /// Those of this table.
    #[must_use]
    pub fn new(table: &RouteTable) -> Self {
        let looks = table
            .providers
            .values()
            .filter_map(|provider| provider.task.as_ref().map(|task| &task.route));
        let routes = table.providers.values().flat_map(|provider| provider.actions.values()).chain(looks);
        let routes = routes.map(|route| (address(route), Arc::new(RequestMeter::new(&route.provider, &route.action))));
        let providers = table.providers.keys();
        let operations = providers.map(|name| (name.clone(), Arc::new(RequestMeter::new(name, OPERATION))));
        let of_one = table
            .providers
            .values()
            .flat_map(|provider| provider.actions.keys().map(|verb| (Some(provider.name.as_str()), verb)));
        let of_any = table.verbs.iter().map(|verb| (None, verb));
        let many = of_one.chain(of_any).map(|(provider, verb)| {
            let meter = RequestMeter::new(provider.unwrap_or(NONE), &path::verb_for_many(verb));
            ((provider.map(str::to_owned), verb.clone()), Arc::new(meter))
        });
        Self {
            routes: routes.collect(),
            operations: operations.collect(),
            many: many.collect(),
        }
    }

    /// That of the calls of a route.
    #[must_use]
    pub fn of(&self, route: &Arc<Route>) -> Option<Arc<RequestMeter>> {
        self.routes.get(&address(route)).cloned()
    }

    /// That of the questions about what was accepted by this route.
    #[must_use]
    pub fn of_operations(&self, route: &Route) -> Option<Arc<RequestMeter>> {
        self.operations.get(&route.provider).cloned()
    }

    /// What a batch is counted and logged as, whatever comes of it.
    #[must_use]
    pub fn trail_of_many(&self, batch: &BatchCall) -> Trail {
        let mut trail = Trail {
            caller_reason: caller_reason(&batch.body),
            ..Trail::default()
        };
        // Only names of the table get into the log and the metrics as such.
        let key = (batch.provider.clone(), batch.action.clone());
        if let Some(meter) = self.many.get(&key) {
            trail.meter = Some(Arc::clone(meter));
            trail.many = Some(Many {
                provider: key.0,
                action: path::verb_for_many(&key.1),
                traced: false,
            });
        }
        trail
    }
}

impl<S> Resolve<S> {
    /// Resolves by this table.
    #[must_use]
    pub fn new(table: Arc<RouteTable>, meters: Arc<Meters>, inner: S) -> Self {
        Self { inner, table, meters }
    }
}

/// What is noted of a call on its way back.
struct Called {
    meter: Option<Arc<RequestMeter>>,
    route: Arc<Route>,
    id: String,
    reason: Option<String>,
    resumed: bool,
}

impl Called {
    fn note(self, trail: &mut Trail) {
        trail.meter = self.meter;
        trail.route = Some(self.route);
        trail.id = Some(self.id);
        trail.caller_reason = self.reason;
        trail.resumed = self.resumed;
    }
}

impl<S> Stage<TaskCall> for Resolve<S>
where
    S: Stage<RoutedCall, Done = Box<Completed>, Failed = Box<Failed>>,
{
    type Done = Box<Completed>;
    type Failed = Box<Failed>;

    fn run<'a>(
        &'a self,
        context: &'a Arc<CallContext>,
        call: TaskCall,
    ) -> impl Future<Output = Result<Box<Completed>, Box<Failed>>> + Send {
        // At once, down to where something is waited for: the future need not hold the call in any of its forms.
        let begun = resolve(&self.table, call).map(|routed| {
            let resumed = routed.call.resumed.is_some();
            let called = Called {
                meter: match resumed {
                    true => self.meters.of_operations(&routed.route),
                    false => self.meters.of(&routed.route),
                },
                resumed,
                route: Arc::clone(&routed.route),
                id: routed.call.id.clone(),
                reason: caller_reason(&routed.call.body),
            };
            let below = configured(&routed.provider).map(|()| self.inner.run(context, routed));
            (called, below)
        });
        async move {
            let (called, below) = begun?;
            let mut result = match below {
                Ok(below) => below.await,
                Err(error) => Err(error.into()),
            };
            // The way back notes what was called: log line and metrics need it whatever happened below.
            called.note(match &mut result {
                Ok(completed) => &mut completed.trail,
                Err(failed) => &mut failed.trail,
            });
            result
        }
    }
}

fn address(route: &Arc<Route>) -> usize {
    Arc::as_ptr(route).addr()
}

/// Finds provider and route.
///
/// # Errors
/// `UNKNOWN_PROVIDER`, `UNKNOWN_ACTION` (no provider has the verb), `OPERATION_NOT_SUPPORTED` (this one has not).
pub fn resolve(table: &RouteTable, call: TaskCall) -> Result<RoutedCall, GatewayError> {
    let Some(provider) = table.providers.get(&call.provider) else {
        let names: Vec<&str> = table.providers.keys().map(String::as_str).collect();
        let detail = format!("there is no such provider; there are {}", names.join(", "));
        return Err(GatewayError::new(Reason::UnknownProvider, detail).with_metadata("providers", names));
    };
    let route = match &call.action {
        Some(action) => action_of(table, provider, action)?,
        None => look_of(provider)?,
    };
    Ok(RoutedCall {
        provider: Arc::clone(provider),
        route: Arc::clone(route),
        call,
    })
}

/// Is it known where and as whom the provider is called?
///
/// # Errors
/// `PROVIDER_NOT_CONFIGURED` with the variables that are missing.
pub fn configured(provider: &Provider) -> Result<(), GatewayError> {
    let Err(missing) = &provider.connection else { return Ok(()) };
    let mut detail = format!(
        "`{}` is not configured here: {} must be set where taskgate runs",
        provider.name,
        missing.join(", ")
    );
    let mut error = GatewayError::new(Reason::ProviderNotConfigured, "").with_metadata("missing", missing.clone());
    if !provider.alternatives.is_empty() {
        let sets: Vec<String> = provider.alternatives.iter().map(|set| set.join(", ")).collect();
        detail.push_str(&format!("; for the credentials one of these sets is enough: {}", sets.join(" | ")));
        error = error.with_metadata("alternatives", provider.alternatives.clone());
    }
    error.detail = detail;
    Err(error)
}

fn action_of<'a>(table: &RouteTable, provider: &'a Provider, action: &str) -> Result<&'a Arc<Route>, GatewayError> {
    provider.actions.get(action).ok_or_else(|| {
        if !table.verbs.contains(action) {
            let verbs: Vec<&str> = table.verbs.iter().map(String::as_str).collect();
            let detail = format!("there is no such action; there are {}", verbs.join(", "));
            return GatewayError::new(Reason::UnknownAction, detail).with_metadata("actions", verbs);
        }
        let verbs: Vec<&str> = provider.actions.keys().map(String::as_str).collect();
        let detail = format!("`{}` does not offer `{action}`; it offers {}", provider.name, verbs.join(", "));
        GatewayError::new(Reason::OperationNotSupported, detail).with_metadata("actions", verbs)
    })
}

/// What following an accepted action is called where an action has its verb: in metrics and in the log. No verb is called so.
pub const OPERATION: &str = "operation";

fn look_of(provider: &Provider) -> Result<&Arc<Route>, GatewayError> {
    provider.task.as_ref().map(|task| &task.route).ok_or_else(|| {
        let detail = format!("the tasks of `{}` cannot be looked at", provider.name);
        GatewayError::new(Reason::OperationNotSupported, detail)
    })
}
