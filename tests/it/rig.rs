//! What tests of the whole gateway run on: the shipped routes under an environment, simulated vendors, and the gateway between
//! them and a caller.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use taskgate::config::case::{self, Case};
use taskgate::config::compile::{Compiled, compile};
use taskgate::config::diagnostic::Diagnostics;
use taskgate::config::environment::Environment;
use taskgate::config::files::FileSet;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::config::sources::Sources;
use taskgate::gateway::{GatewayOptions, RunningGateway};
use taskgate::layer::resume::Operations;
use taskgate::operation::OperationKeys;
use taskgate::server::ServerLimits;
use taskgate::simulate::{CFW_FIREWALL, CFW_TASK, DBSS_INSTANCE, HSS_TASK, SimulatorOptions, Simulators, ZSTACK_TASK};
use taskgate::stack::StackLimits;
use taskgate::telemetry::metrics;

use super::caller::Caller;
use super::overheard;

/// Compiles routes that have no faults; the test ends with the faults when they have.
#[track_caller]
pub(crate) fn compiled(sources: &Sources, environment: &Environment) -> Compiled {
    overheard::listen();
    match compile(sources, ROUTES_FILE, environment) {
        Ok(compiled) => compiled,
        Err(rejected) => panic!("{}", rejected.faults.render(&rejected.files)),
    }
}

/// The shipped routes, changed: each text is there and is replaced wherever it is. Schemas come along, cases do not.
#[track_caller]
pub(crate) fn shipped_with(changes: &[(&str, &str)]) -> Sources {
    let shipped = shipped::sources();
    let mut routes = shipped.read(ROUTES_FILE).unwrap();
    for (from, to) in changes {
        assert!(routes.contains(from), "`{from}` is not there");
        routes = routes.replace(from, to);
    }
    let schemas = shipped.list("schemas");
    let schemas = schemas.iter().map(|path| (path.clone(), shipped.read(path).unwrap()));
    Sources::memory(schemas.chain([(ROUTES_FILE.to_owned(), routes)]))
}

/// The shipped cases of this name: reading all of them takes a while.
pub(crate) fn only_cases_named(name: &str) -> Sources {
    let shipped = shipped::sources();
    let end = format!("/{name}.yaml");
    let paths = shipped.list("cases").into_iter().filter(|path| path.ends_with(&end));
    Sources::memory(paths.map(|path| (path.clone(), shipped.read(&path).unwrap())))
}

/// Every case of a tree.
#[track_caller]
pub(crate) fn cases(sources: &Sources) -> Vec<Case> {
    let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
    let cases = case::read_all(sources, &mut files, &mut faults);
    assert!(faults.is_empty(), "{}", faults.render(&files));
    cases
}

/// The variables under which the cases of all these providers run.
#[track_caller]
pub(crate) fn case_environment(sources: &Sources, providers: &[&str]) -> Environment {
    let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
    let mut environment = Environment::default();
    for provider in providers {
        let own = case::environment(sources, provider, &mut files, &mut faults);
        let pairs: Vec<_> = own
            .names()
            .map(|name| (name.to_owned(), own.value(name).unwrap_or_default().to_owned()))
            .collect();
        environment = environment.with(pairs);
    }
    assert!(faults.is_empty(), "{}", faults.render(&files));
    environment
}

/// A gateway on free ports of loopback, which names operations with a key of its own, as `serve` does.
pub(crate) async fn start_gateway(compiled: &Compiled) -> RunningGateway {
    let limits = StackLimits {
        operations: Operations {
            keys: Some(Arc::new(OperationKeys::random().unwrap())),
            ..Operations::default()
        },
        ..StackLimits::default()
    };
    start_gateway_within(compiled, limits).await
}

/// A gateway on free ports of loopback, within these limits.
pub(crate) async fn start_gateway_within(compiled: &Compiled, stack: StackLimits) -> RunningGateway {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = GatewayOptions {
        listen: any,
        admin_listen: Some(any),
        stack,
        server: ServerLimits::default(),
        drain: Duration::from_secs(10),
        config_hash: compiled.hash.clone(),
    };
    RunningGateway::start(Arc::clone(&compiled.table), options, process_metrics())
        .await
        .unwrap()
}

/// Simulated vendors and a gateway that calls them.
pub(crate) struct Rig {
    pub(crate) simulators: Simulators,
    pub(crate) gateway: RunningGateway,
    pub(crate) caller: Caller,
}

impl Rig {
    /// All shipped vendors behind the shipped routes.
    pub(crate) async fn shipped() -> Self {
        Self::start(SimulatorOptions::default(), &shipped::sources(), Environment::default()).await
    }

    /// All shipped vendors behind the shipped routes, which keep nothing back.
    pub(crate) async fn unhindered() -> Self {
        Self::start(SimulatorOptions::default(), &shipped_with(&UNHINDERED), Environment::default()).await
    }

    /// These vendors behind these routes; `environment` stands behind the variables that the simulators name.
    pub(crate) async fn start(options: SimulatorOptions, sources: &Sources, environment: Environment) -> Self {
        let simulators = Simulators::start(options).await.unwrap();
        let environment = environment.with(simulators.environment());
        let gateway = start_gateway(&compiled(sources, &environment)).await;
        let caller = Caller::new(gateway.address());
        Self {
            simulators,
            gateway,
            caller,
        }
    }

    /// Ends everything; nothing runs afterwards.
    pub(crate) async fn stop(self) {
        drop(self.caller);
        self.gateway.stop().await;
        self.simulators.shutdown().await;
    }
}

/// The recorder of this process, installed once.
pub(crate) fn process_metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| metrics::install().unwrap()).clone()
}

/// The everyday call of a provider: what the demo prints.
#[derive(Clone, Debug)]
pub(crate) struct Everyday {
    pub(crate) provider: &'static str,
    pub(crate) id: &'static str,
    pub(crate) action: &'static str,
    pub(crate) body: String,
    /// Status and outcome of its success.
    pub(crate) answer: &'static str,
    pub(crate) state: &'static str,
}

impl Everyday {
    /// What stands behind `/tasks/`.
    pub(crate) fn task(&self) -> String {
        format!("{}/{}:{}", self.provider, self.id, self.action)
    }
}

pub(crate) fn everyday() -> [Everyday; 5] {
    let call = |provider, id, action, body: &str, state| Everyday {
        provider,
        id,
        action,
        body: body.to_owned(),
        answer: "202 accepted",
        state,
    };
    [
        call(
            "cfw",
            CFW_TASK,
            "stop",
            &format!(r#"{{"scope":{{"instance":"{CFW_FIREWALL}"}}}}"#),
            "stopping",
        ),
        call("dbss", DBSS_INSTANCE, "stop", "", "stopping"),
        call(
            "hss",
            HSS_TASK,
            "retry",
            r#"{"parameters":{"task_type":"cluster_scan","range":"all_failed"}}"#,
            "running",
        ),
        call("prime", "15", "stop", "", "stopping"),
        call("zstack", ZSTACK_TASK, "stop", "", "stopping"),
    ]
}

/// The shipped providers.
pub(crate) const PROVIDERS: [&str; 9] = [
    "cfw",
    "dbss",
    "dbss-encrypt",
    "dbss-om",
    "hss",
    "hss-image",
    "prime",
    "zstack",
    "zstack-cdp",
];

/// The providers that stand for a vendor each; the others are siblings, which share endpoint and simulator with one of these.
pub(crate) const VENDORS: [&str; 5] = ["cfw", "dbss", "hss", "prime", "zstack"];

/// A change to the shipped routes: the one provider that has limits already gets a short time as well.
pub(crate) const PRIME_IN_A_HURRY: (&str, &str) = ("      in_flight: 5\n", "      in_flight: 5\n      timeout: 700ms\n");

/// Changes to the shipped routes after which nothing but a vendor keeps the many calls of a test back: the quotas are wide open, and no
/// provider is ever left alone.
pub(crate) const UNHINDERED: [(&str, &str); 5] = [
    ("{ rate: 4/m, burst: 2 }", "{ rate: 1000/s, burst: 1000 }"),
    ("{ rate: 3/m, burst: 3 }", "{ rate: 1000/s, burst: 1000 }"),
    (
        "    credentials: huawei\n",
        "    credentials: huawei\n    limits: { breaker: none }\n",
    ),
    (
        "    limits: { breaker: { status: [500, 502, 504] } }\n",
        "    limits: { breaker: none }\n",
    ),
    ("      breaker: { status: [500, 502, 504] }\n", "      breaker: none\n"),
];
