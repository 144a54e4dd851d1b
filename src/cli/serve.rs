//! `taskgate serve`: the gateway until a signal ends it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use super::reload::{Reloader, Watch, parse_watch};
use super::{CliError, LogArgs, RoutesArgs, Stop, StopSignals, check_listen, parse_duration, print};
use crate::config::compile::Compiled;
use crate::gateway::{GatewayOptions, RunningGateway};
use crate::idempotency::{DEFAULT_RETENTION, MemoryLimits};
use crate::layer::admit::{AdmitLimits, DEFAULT_BODY, DEFAULT_VIA};
use crate::layer::resume::Operations;
use crate::operation::{DEFAULT_LIFETIME, OperationKeys};
use crate::server::{DEFAULT_CONNECTIONS, DEFAULT_HEAD, DEFAULT_IDLE, DEFAULT_WRITE, ServerLimits};
use crate::stack::{DEFAULT_DEADLINE, DEFAULT_IN_FLIGHT, StackLimits};
use crate::telemetry::metrics;

/// What `serve` takes.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    routes: RoutesArgs,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// How often files are looked at for changes: routes, schemas, certificates, secrets; `off` for SIGHUP only
    #[arg(long, env = "TASKGATE_WATCH", value_name = "TIME", default_value = "5s", value_parser = parse_watch)]
    watch: Watch,
    /// How long callers are still served after SIGTERM, until the balancer has seen /readyz
    #[arg(long, env = "TASKGATE_DRAIN_DELAY", value_name = "TIME", default_value = "7s", value_parser = parse_duration)]
    drain_delay: Duration,
    #[command(flatten)]
    log: LogArgs,
}

/// What `serve` and `demo` have in common.
#[derive(Args, Debug)]
pub(super) struct GatewayArgs {
    /// Where callers come in; port 0 takes a free one, which is printed
    #[arg(long, env = "TASKGATE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Where operators look: /livez /readyz /metrics /status
    #[arg(long, env = "TASKGATE_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(super) admin_listen: SocketAddr,
    /// Listen beyond loopback although taskgate does not authenticate callers: something in front of it does
    #[arg(long, env = "TASKGATE_ALLOW_UNAUTHENTICATED")]
    allow_unauthenticated: bool,
    /// Calls in flight over all providers; more are refused at once
    #[arg(long, env = "TASKGATE_MAX_IN_FLIGHT", value_name = "N", default_value_t = DEFAULT_IN_FLIGHT, value_parser = parse_in_flight)]
    max_in_flight: usize,
    /// When an answer is due, whatever the vendor does
    #[arg(long, env = "TASKGATE_DEADLINE", value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    deadline: Duration,
    /// Connections at once; one more is turned away
    #[arg(long, env = "TASKGATE_MAX_CONNECTIONS", value_name = "N", default_value_t = DEFAULT_CONNECTIONS, value_parser = parse_in_flight)]
    max_connections: usize,
    /// For the head of a request to arrive, from its first byte
    #[arg(long, env = "TASKGATE_HEAD_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    head_timeout: Duration,
    /// For the body of a request to arrive, from the end of its head
    #[arg(long, env = "TASKGATE_BODY_TIMEOUT", value_name = "TIME", default_value = "15s", value_parser = parse_timeout)]
    body_timeout: Duration,
    /// How long a connection may stay without a request
    #[arg(long, env = "TASKGATE_IDLE_TIMEOUT", value_name = "TIME", default_value = "75s", value_parser = parse_timeout)]
    idle_timeout: Duration,
    /// For a caller to take the next part of an answer
    #[arg(long, env = "TASKGATE_WRITE_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    write_timeout: Duration,
    /// How long calls under way may take to end after a stop signal
    #[arg(long, env = "TASKGATE_DRAIN", value_name = "TIME", default_value = "35s", value_parser = parse_duration)]
    drain: Duration,
    /// How long an accepted action can be asked for by its operation
    #[arg(long, env = "TASKGATE_OPERATION_LIFETIME", value_name = "TIME", default_value = "24h", value_parser = parse_long)]
    operation_lifetime: Duration,
    /// How long the answer to a call with an idempotency key is said again
    #[arg(long, env = "TASKGATE_IDEMPOTENCY_RETENTION", value_name = "TIME", default_value = "24h", value_parser = parse_long)]
    idempotency_retention: Duration,
    /// Threads that serve [default: as many as there are processors]
    #[arg(long, env = "TASKGATE_WORKERS", value_name = "N", value_parser = parse_workers)]
    workers: Option<usize>,
    /// This gateway's name in `Via`, the same for a whole fleet: a request that carries it is a loop
    #[arg(long, env = "TASKGATE_VIA", value_name = "NAME", default_value = DEFAULT_VIA)]
    via: String,
}

impl ServeArgs {
    /// How many threads serve, where that is said.
    pub(super) fn workers(&self) -> Option<usize> {
        self.gateway.workers()
    }
}

impl GatewayArgs {
    /// How many threads serve, where that is said.
    pub(super) fn workers(&self) -> Option<usize> {
        self.workers
    }

    /// Binds and starts, after the last checks.
    pub(super) async fn start(&self, compiled: &Compiled) -> Result<RunningGateway, CliError> {
        check_listen(self.listen, "--listen", self.allow_unauthenticated)?;
        check_listen(self.admin_listen, "--admin-listen", self.allow_unauthenticated)?;
        let options = GatewayOptions {
            listen: self.listen,
            admin_listen: Some(self.admin_listen),
            stack: StackLimits {
                in_flight: self.max_in_flight,
                deadline: self.deadline,
                admit: AdmitLimits {
                    body: self.body_timeout,
                    via: self.via.clone(),
                    ..AdmitLimits::default()
                },
                operations: self.operations(compiled)?,
                idempotency: MemoryLimits {
                    retention: self.idempotency_retention,
                    ..MemoryLimits::default()
                },
                ..StackLimits::default()
            },
            server: ServerLimits {
                connections: self.max_connections,
                head: self.head_timeout,
                idle: self.idle_timeout,
                write: self.write_timeout,
                ..ServerLimits::default()
            },
            drain: self.drain,
            config_hash: compiled.hash.clone(),
        };
        let metrics = metrics::install().map_err(|error| CliError::system("the metrics cannot be set up", error))?;
        let started = RunningGateway::start(Arc::clone(&compiled.table), options, metrics).await;
        started.map_err(|error| CliError::system("the gateway does not start", error))
    }

    /// Operations are named with the keys of the environment, or with one that this process makes up.
    fn operations(&self, compiled: &Compiled) -> Result<Operations, CliError> {
        let keys = match &compiled.operation_keys {
            Some(keys) => Arc::clone(keys),
            None => {
                tracing::info!(
                    "operations are named with a key of this process: no other instance answers for them, and none after a restart; \
                     TASKGATE_OPERATION_KEYS changes that"
                );
                let random = OperationKeys::random();
                Arc::new(random.map_err(|error| CliError::system("there is no key for operations", error))?)
            }
        };
        let lifetime = SignedDuration::try_from(self.operation_lifetime).unwrap_or(SignedDuration::MAX);
        Ok(Operations {
            keys: Some(keys),
            lifetime,
        })
    }
}

/// Runs until a signal ends it.
pub(super) async fn run(args: ServeArgs) -> Result<ExitCode, CliError> {
    let log = args.log.install()?;
    let ended = serve(args).await;
    log.finish().await;
    ended
}

async fn serve(args: ServeArgs) -> Result<ExitCode, CliError> {
    let (mut reloader, compiled) = Reloader::open(&args.routes, args.watch)?;
    let mut signals = StopSignals::catch()?;
    let mut gateway = args.gateway.start(&compiled).await?;
    announce(&gateway, &compiled)?;
    drop(compiled);
    let stop = tokio::select! {
        stop = signals.next() => stop,
        never = reloader.run(&mut gateway) => match never {},
    };
    let delay = match stop {
        Stop::Interrupt => Duration::ZERO,
        Stop::Terminate => args.drain_delay,
    };
    finish(gateway, signals, delay).await
}

/// Says where it listens and which providers are not configured.
pub(super) fn announce(gateway: &RunningGateway, compiled: &Compiled) -> Result<(), CliError> {
    let mut text = format!("listening on http://{}\n", gateway.address());
    if let Some(address) = gateway.admin_address() {
        text.push_str(&format!("admin on http://{address}\n"));
    }
    for provider in compiled.table.providers.values() {
        if let Err(missing) = &provider.connection {
            text.push_str(&format!("not configured: {} (missing {}", provider.name, missing.join(", ")));
            if !provider.alternatives.is_empty() {
                let sets: Vec<String> = provider.alternatives.iter().map(|set| set.join(", ")).collect();
                text.push_str(&format!("; credentials are one of {}", sets.join(" | ")));
            }
            text.push_str(")\n");
        }
    }
    print(&text)
}

/// Serves on for `delay`, then waits for calls under way; a second signal does not wait.
pub(super) async fn finish(gateway: RunningGateway, mut signals: StopSignals, delay: Duration) -> Result<ExitCode, CliError> {
    tracing::info!(delay_s = delay.as_secs_f64(), "stopping: calls under way are finished");
    let end = async {
        gateway.leave(delay).await;
        gateway.stop().await;
    };
    tokio::select! {
        () = end => Ok(ExitCode::SUCCESS),
        again = signals.next() => {
            tracing::warn!("stopped by a second signal: calls under way were given up");
            Ok(again.code())
        }
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("expected more than no time".to_owned()),
        timeout => Ok(timeout),
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1024).contains(&number) => Ok(number),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

fn parse_long(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        long if (Duration::from_secs(1)..=LONGEST).contains(&long) => Ok(long),
        _ => Err("expected a time from `1s` to `720h`".to_owned()),
    }
}

fn parse_in_flight(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("expected a number from 1 to 1000000".to_owned()),
    }
}

/// Thirty days: what is asked for later than that is in no vendor's list any more.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const _: () = assert!(
    DEFAULT_LIFETIME.as_hours() == 24 && DEFAULT_RETENTION.as_secs() == 24 * 60 * 60,
    "the help names these"
);
const _: () = assert!(DEFAULT_DEADLINE.as_secs() == 30, "the help of --deadline names the default");
const _: () = assert!(
    DEFAULT_HEAD.as_secs() == 10 && DEFAULT_BODY.as_secs() == 15,
    "so does that of the others"
);
const _: () = assert!(DEFAULT_IDLE.as_secs() == 75 && DEFAULT_WRITE.as_secs() == 30, "and of these");
