//! Another configuration while the gateway runs: when files are read again, and what is done with what they say.
//!
//! **Shape**: SIGHUP, or a file that has changed -> all files are compiled as at the start -> the gateway takes it over, or goes on
//! as before and the log says why.
//!
//! **Invariants**: what is read again are files: routes, schemas, certificates and those that `NAME_FILE` names. Variables and flags
//! are those of the start. Nothing changes before everything has been compiled without a fault. What is watched is what
//! the last compilation read, by content: links that are swapped (Kubernetes), files that are replaced (editors) and file systems
//! that tell nobody about changes are all the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{CliError, RoutesArgs, parse_duration, rejected_text};
use crate::config::compile::{Compiled, compile};
use crate::config::environment::Environment;
use crate::config::sources::{Seen, Sources};
use crate::gateway::{Reload, RunningGateway};
use crate::mapping::request::causes;

/// How often files are looked at; nothing where they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch(Option<Duration>);

/// Compiles the configuration again when it is asked to.
pub(super) struct Reloader {
    sources: Sources,
    routes: String,
    environment: Arc<Environment>,
    watch: Watch,
    /// What the last compilation read.
    seen: Seen,
    hangups: Signal,
}

impl Reloader {
    /// Compiles the first configuration. SIGHUP is caught from here on.
    ///
    /// # Errors
    /// [`CliError`] where it has faults.
    pub(super) fn open(routes: &RoutesArgs, watch: Watch) -> Result<(Self, Compiled), CliError> {
        let hangups = signal(SignalKind::hangup()).map_err(|error| CliError::system("signals cannot be received", error))?;
        let (sources, routes) = routes.sources()?;
        let environment = Arc::new(Environment::from_process());
        let compiled = compile(&sources, &routes, &environment).map_err(|rejected| rejected_text(&rejected))?;
        let compiled = compiled.with_examples(&sources);
        let reloader = Self {
            seen: sources.seen(),
            sources,
            routes,
            environment,
            watch,
            hangups,
        };
        Ok((reloader, compiled))
    }

    /// Reloads whenever there is a reason; ends by being dropped.
    pub(super) async fn run(&mut self, gateway: &mut RunningGateway) -> Infallible {
        loop {
            let why = tokio::select! {
                _ = self.hangups.recv() => "signal",
                () = changed(self.watch, self.seen.clone()) => "change",
            };
            let (sources, routes, environment) = (self.sources.unread(), self.routes.clone(), Arc::clone(&self.environment));
            // Files may hang, and a hundred schemas take a while: nobody waits for that.
            let compiled = spawn_blocking(move || {
                let compiled = compile(&sources, &routes, &environment)
                    .map(|compiled| compiled.with_examples(&sources))
                    .map_err(|rejected| rejected.faults.render(&rejected.files));
                (compiled, sources.seen())
            });
            match compiled.await {
                Ok((compiled, seen)) => {
                    self.seen = seen;
                    put_to_work(gateway, compiled, why);
                }
                Err(broken) => put_to_work(gateway, Err(broken.to_string()), why),
            }
        }
    }
}

fn put_to_work(gateway: &mut RunningGateway, compiled: Result<Compiled, String>, why: &str) {
    match compiled {
        Ok(Compiled {
            table,
            hash,
            operation_keys,
        }) => {
            if let Some(keys) = operation_keys {
                gateway.rekey(keys);
            }
            let unconfigured = table.providers.values().filter(|provider| provider.connection.is_err());
            let not_configured = unconfigured.map(|provider| provider.name.as_str()).collect::<Vec<_>>().join(" ");
            match gateway.replace(Arc::clone(&table), hash.clone()) {
                Ok(Reload::Applied(changed)) => {
                    let changed = changed.join(" ");
                    tracing::info!(why, config = hash, changed, not_configured, "another configuration runs");
                }
                Ok(Reload::Failed | Reload::Rejected | Reload::Unchanged) => {
                    tracing::info!(why, config = hash, "the configuration is the same as before");
                }
                Err(error) => {
                    tracing::error!(
                        why,
                        error = causes(&error),
                        "another configuration cannot be put to work; the one before goes on"
                    );
                }
            }
        }
        Err(faults) => {
            gateway.keep();
            tracing::error!(why, faults, "another configuration has faults; the one before goes on");
        }
    }
}

/// Waits until what was read is different on disk, and has stopped to become different.
async fn changed(Watch(every): Watch, seen: Seen) {
    let Some(every) = every.filter(|_| !seen.is_empty()) else {
        return std::future::pending().await;
    };
    let look = |seen: &Seen| {
        let seen = seen.clone();
        async { spawn_blocking(move || seen.again()).await.ok() }
    };
    loop {
        sleep(every).await;
        let Some(mut now) = look(&seen).await.filter(|now| *now != seen) else {
            continue;
        };
        loop {
            sleep(every.min(SETTLE)).await;
            match look(&seen).await {
                Some(again) if again == now => return,
                Some(again) => now = again,
                None => {}
            }
        }
    }
}

/// `off`, or how often.
pub(super) fn parse_watch(text: &str) -> Result<Watch, String> {
    if text == "off" {
        return Ok(Watch(None));
    }
    match parse_duration(text) {
        Ok(every) if !every.is_zero() => Ok(Watch(Some(every))),
        _ => Err("expected `off`, or a duration such as `5s`".to_owned()),
    }
}

/// Somebody who copies a folder, or an editor that saves two files, is done between two looks.
const SETTLE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watching_can_be_switched_off() {
        assert_eq!(parse_watch("off"), Ok(Watch(None)));
        assert_eq!(parse_watch("5s"), Ok(Watch(Some(Duration::from_secs(5)))));
        for text in ["", "0s", "on", "5"] {
            assert!(parse_watch(text).is_err(), "{text}");
        }
    }
}
