//! `taskgate demo`: gateway and simulators of all shipped vendors in one process, and what to try.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::serve::{self, GatewayArgs};
use super::{CliError, LogArgs, StopSignals, print};
use crate::config::compile::compile;
use crate::config::environment::Environment;
use crate::config::shipped::{self, ROUTES_FILE};
use crate::simulate::{CFW_FIREWALL, CFW_TASK, DBSS_INSTANCE, FaultRule, HSS_TASK, PRIME_RUNS, SimulatorOptions, Simulators, ZSTACK_TASK};

/// What `demo` takes.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    log: LogArgs,
    /// A fault of a simulated vendor, such as `prime=latency:500ms`; see `taskgate simulate --help`
    #[arg(long = "fault", value_name = "VENDOR=FAULT")]
    faults: Vec<FaultRule>,
}

impl DemoArgs {
    /// How many threads serve, where that is said.
    pub(super) fn workers(&self) -> Option<usize> {
        self.gateway.workers()
    }
}

/// Runs until a signal ends it.
pub(super) async fn run(args: DemoArgs) -> Result<ExitCode, CliError> {
    let log = args.log.install()?;
    let ended = demo(args).await;
    log.finish().await;
    ended
}

async fn demo(args: DemoArgs) -> Result<ExitCode, CliError> {
    // What was stopped is shown as stopped at the first look: whoever tries the same call twice sees how that is said.
    let options = args
        .faults
        .into_iter()
        .fold(SimulatorOptions::default().settling_at_once(), SimulatorOptions::fault);
    let simulators = Simulators::start(options)
        .await
        .map_err(|error| CliError::system("the simulators do not start", error))?;
    let environment: Environment = simulators.environment().into_iter().collect();
    let sources = shipped::sources();
    let compiled = compile(&sources, ROUTES_FILE, &environment).map_err(|rejected| super::rejected_text(&rejected))?;
    let compiled = compiled.with_examples(&sources);
    let mut signals = StopSignals::catch()?;
    let gateway = args.gateway.start(&compiled).await?;
    serve::announce(&gateway, &compiled)?;
    print(&what_to_try(&gateway.address().to_string()))?;
    signals.next().await;
    // There is no balancer that would have to notice.
    let code = serve::finish(gateway, signals, Duration::ZERO).await;
    simulators.shutdown().await;
    code
}

fn what_to_try(address: &str) -> String {
    let [run, other_run] = PRIME_RUNS;
    format!(
        r#"
Simulators of five vendors run in this process. Try, in another terminal:

  curl -X POST http://{address}/tasks/prime/{run}:stop
  curl -X POST http://{address}/tasks/dbss/{DBSS_INSTANCE}:stop
  curl -X POST http://{address}/tasks/zstack/{ZSTACK_TASK}:stop
  curl -X POST http://{address}/tasks/cfw/{CFW_TASK}:stop -H 'content-type: application/json' \
       -d '{{"scope":{{"instance":"{CFW_FIREWALL}"}}}}'
  curl -X POST http://{address}/tasks/hss/{HSS_TASK}:retry -H 'content-type: application/json' \
       -d '{{"parameters":{{"task_type":"cluster_scan","range":"all_failed"}}}}'
  curl -X POST http://{address}/tasks/prime:batchStop -H 'content-type: application/json' -d '{{"ids":[{run},{other_run},99]}}'

Wait for the effect with -H 'Prefer: wait=20', or look: curl http://{address}/tasks/prime/{other_run}

The same call twice says that nothing was left to do. What goes wrong: /tasks/prime/99:stop, /tasks/prime/{other_run}:halt, a body that does not fit.
Ctrl-C ends it.

"#
    )
}
