//! Limits, compiled: defaults filled in, quotas looked up, each rate under the name that it is counted by.
//!
//! **Errors**: a quota that does not exist, one that nothing uses, one that a provider's `limits` count already.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::{Diagnostics, did_you_mean};
use super::file::{self, CallLimits, File, Provider};
use super::place::{Path, Spanned};
use crate::route::{Allowance, BreakerPlan, LOOK, Limits, Queue, Rate};

/// The quotas of a file, by name.
pub(super) type Quotas = HashMap<String, Arc<Allowance>>;

/// Every quota; what has no rate has had a fault.
pub(super) fn quotas(file: &File) -> Quotas {
    let rated = file.quotas.iter().filter_map(|quota| Some((quota, quota.rate?)));
    rated
        .map(|(quota, rate)| {
            let name = quota.name.value.clone();
            (name.clone(), allowance(format!("quotas.{name}"), rate.value))
        })
        .collect()
}

/// Says which quotas nothing uses.
pub(super) fn unused(file: &File, faults: &mut Diagnostics) {
    let used = |name: &str| file.providers.iter().flat_map(all_names).any(|known| known.value == name);
    for quota in file.quotas.iter().filter(|quota| !used(&quota.name.value)) {
        faults
            .fault(quota.place.span, &quota.place.path, "nothing uses this quota")
            .hint("remove it, or name it under `quotas:` of some `limits`");
    }
}

/// Does the provider name a quota that does not exist?
pub(super) fn leads_nowhere(file: &File, provider: &Provider) -> bool {
    all_names(provider).any(|name| !file.quotas.iter().any(|quota| quota.name.value == name.value))
}

fn all_names(provider: &Provider) -> impl Iterator<Item = &Spanned<String>> {
    let task = provider.task.iter().map(|task| &task.limits);
    let actions = provider.actions.iter().map(|action| &action.limits);
    let all = [&provider.limits.calls].into_iter().chain(task).chain(actions);
    all.flat_map(|limits| &limits.quotas)
}

/// The limits of a provider.
pub(super) fn provider(provider: &Provider, quotas: &Quotas, faults: &mut Diagnostics) -> Limits {
    let file = &provider.limits;
    let default = Limits::default();
    let queue = Queue::default();
    let path = provider.place.path.key("limits");
    Limits {
        in_flight: file.in_flight.map_or(default.in_flight, |limit| limit.value),
        queue: Queue {
            length: file.queue.length.map_or(queue.length, |limit| limit.value),
            wait: file.queue.wait.map_or(queue.wait, |limit| limit.value),
        },
        allowances: allowances(
            &file.calls,
            &format!("providers.{}", provider.name.value),
            &path,
            quotas,
            &[],
            faults,
        ),
        breaker: (!file.breaker.none).then(|| breaker(&file.breaker)),
        connect_timeout: file.connect_timeout.map_or(default.connect_timeout, |limit| limit.value),
        timeout: file.timeout.map_or(default.timeout, |limit| limit.value),
        max_reply_bytes: file.max_reply_bytes.map_or(default.max_reply_bytes, |limit| limit.value),
        close: file
            .connection
            .is_some_and(|connection| connection.value == file::Connection::Close),
    }
}

/// What the looks of a provider respect besides the provider's own limits.
pub(super) fn task(provider: &Provider, quotas: &Quotas, faults: &mut Diagnostics) -> Vec<Arc<Allowance>> {
    let Some(task) = &provider.task else { return Vec::new() };
    let name = format!("providers.{}.{LOOK}", provider.name.value);
    let path = task.place.path.key("limits");
    allowances(&task.limits, &name, &path, quotas, &provider.limits.calls.quotas, faults)
}

/// What an action of a provider respects besides the provider's own limits.
pub(super) fn action(provider: &Provider, action: &file::Action, quotas: &Quotas, faults: &mut Diagnostics) -> Vec<Arc<Allowance>> {
    let name = format!("providers.{}.{}", provider.name.value, action.name.value);
    let path = action.place.path.key("limits");
    allowances(&action.limits, &name, &path, quotas, &provider.limits.calls.quotas, faults)
}

fn allowances(
    limits: &CallLimits,
    name: &str,
    path: &Path,
    quotas: &Quotas,
    of_provider: &[Spanned<String>],
    faults: &mut Diagnostics,
) -> Vec<Arc<Allowance>> {
    let own = limits.rate.map(|rate| allowance(name.to_owned(), rate.value));
    let path = path.key("quotas");
    let mut all: Vec<Arc<Allowance>> = own.into_iter().collect();
    for quota in &limits.quotas {
        if let Some(counted) = of_provider.iter().find(|known| known.value == quota.value) {
            faults
                .fault(quota.span, &path, "every call of the provider counts against this quota already")
                .note(counted.span, "by its own `limits`");
            continue;
        }
        match quotas.get(&quota.value) {
            Some(known) => all.push(Arc::clone(known)),
            None => {
                let mut names: Vec<&str> = quotas.keys().map(String::as_str).collect();
                names.sort_unstable();
                let near = did_you_mean(&quota.value, names.iter().copied());
                let there = (!names.is_empty()).then(|| format!("there are {}", names.join(", ")));
                faults
                    .fault(quota.span, &path, format!("unknown quota `{}`", quota.value.escape_debug()))
                    .maybe_hint(near.or(there));
            }
        }
    }
    all
}

fn allowance(name: String, rate: Rate) -> Arc<Allowance> {
    Arc::new(Allowance { name, rate })
}

fn breaker(file: &file::Breaker) -> BreakerPlan {
    let default = BreakerPlan::default();
    let pause = file.pause.map_or(default.pause, |pause| pause.value);
    BreakerPlan {
        consecutive: file.consecutive.map_or(default.consecutive, |limit| limit.value),
        share: file.share.map_or(default.share, |limit| limit.value),
        calls: file.calls.map_or(default.calls, |limit| limit.value),
        window: file.window.map_or(default.window, |window| window.value),
        pause,
        // A first pause above the default longest one is the longest one.
        longest_pause: file.longest_pause.map_or(default.longest_pause.max(pause), |pause| pause.value),
        failures: file.status.as_ref().map_or(default.failures, |status| status.value.clone()),
    }
}
