//! The shipped cases as inputs of the benches: a provider that is added with its cases is benched without code.
//!
//! **Shape**: `cases/prime/stop/ok.yaml` -> `Fed { name: "prime/stop/ok", call, values, reply, .. }`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench without its input has nothing to say")]

use std::sync::Arc;

use serde_json::Map;
use taskgate::cli::rehearsal::to_exchange;
use taskgate::config::case::{self, Case};
use taskgate::config::compile::compile;
use taskgate::config::diagnostic::Diagnostics;
use taskgate::config::files::FileSet;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::layer::Exchange;
use taskgate::mapping::request::CallValues;
use taskgate::mapping::validate::validate;
use taskgate::model::call::TaskCall;
use taskgate::route::{LOOK, Provider, Route, RouteTable};

/// One case, ready to be benched.
pub(crate) struct Fed {
    /// `prime/stop/ok`.
    pub(crate) name: String,
    /// The routes under the environment of the case's provider.
    pub(crate) table: Arc<RouteTable>,
    /// Its provider.
    pub(crate) provider: Arc<Provider>,
    /// Its route.
    pub(crate) route: Arc<Route>,
    /// What the caller asks.
    pub(crate) call: TaskCall,
    /// The same after validation.
    pub(crate) values: CallValues,
    /// What the vendor says.
    pub(crate) exchange: Exchange,
    /// The case itself.
    pub(crate) case: Case,
}

/// The cases with these names, of every provider and action.
pub(crate) fn cases(names: &[&str]) -> Vec<Fed> {
    let sources = shipped::sources();
    let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
    let mut fed = Vec::new();
    for case in case::read_all(&sources, &mut files, &mut faults) {
        // A look is another kind of call: what is measured here is acting.
        if case.action == LOOK || !names.contains(&case.name.as_str()) {
            continue;
        }
        let environment = case::environment(&sources, &case.provider, &mut files, &mut faults);
        let table = compile(&sources, ROUTES_FILE, &environment).unwrap().table;
        let provider = Arc::clone(&table.providers[&case.provider]);
        let route = Arc::clone(&provider.actions[&case.action]);
        let body = case.content.call.body.as_ref().and_then(|body| body.as_object().cloned());
        let call = TaskCall {
            provider: case.provider.clone(),
            id: case.content.call.id.clone(),
            action: Some(case.action.clone()),
            body: body.unwrap_or_else(Map::new),
            ..TaskCall::default()
        };
        let values = validate(&call, &provider, &route, UUID).unwrap_or_else(|error| panic!("{}: {}", case.path, error.detail));
        // The turn of the action itself; looks may stand before and after it.
        let target = route.render(&values).unwrap().target;
        let turn = case.content.vendor.iter().find(|turn| turn.request.target == target);
        let turn = turn.unwrap_or_else(|| panic!("{}: no vendor", case.path));
        let exchange = to_exchange(&turn.reply).unwrap_or_else(|error| panic!("{}: {}", case.path, error.detail));
        fed.push(Fed {
            name: format!("{}/{}/{}", case.provider, case.action, case.name),
            table,
            provider,
            route,
            call,
            values,
            exchange,
            case,
        });
    }
    assert!(faults.is_empty(), "{}", faults.render(&files));
    fed
}

/// The success of every action.
pub(crate) const OK: &[&str] = &["ok"];
/// The success of every action, and an error in the vendor's words.
pub(crate) const OK_AND_ERROR: &[&str] = &["ok", "vendor_error"];
/// Stands for the fresh id of a call.
pub(crate) const UUID: &str = "00000000000040008000000000000000";
