//! The command line: what people type, and the only part that sees the process environment and `config`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::compile::Rejected;
use crate::config::shipped::{self, ROUTES_FILE};
use crate::config::sources::Sources;
use crate::telemetry::log;

pub mod check;
mod client;
mod demo;
pub mod explain;
mod init;
mod man;
mod openapi;
pub mod rehearsal;
mod reload;
mod serve;
mod simulate;

/// One endpoint that stops or retries a task at any vendor, and says truthfully what happened.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    #[command(after_help = SERVE_HELP)]
    Serve(serve::ServeArgs),
    /// Run the gateway against built-in simulators of all shipped vendors; nothing to configure
    Demo(demo::DemoArgs),
    /// Run the vendor simulators alone, for tests of your own
    #[command(after_help = SIMULATE_HELP)]
    Simulate(simulate::SimulateArgs),
    /// Check routes.yaml and its schemas, and play every case
    #[command(after_help = CHECK_HELP)]
    Check(check::CheckArgs),
    /// Print the request that a vendor would get, secrets masked; nothing is sent
    #[command(after_help = EXPLAIN_HELP)]
    Explain(explain::ExplainArgs),
    /// Print the description of the API as OpenAPI 3.1, made of the routes, their schemas and cases
    #[command(after_help = OPENAPI_HELP)]
    Openapi(openapi::OpenapiArgs),
    /// Stop a task, by a gateway that runs
    #[command(after_help = CLIENT_HELP)]
    Stop(client::act::TaskArgs),
    /// Retry a task, by a gateway that runs
    #[command(after_help = CLIENT_HELP)]
    Retry(client::act::TaskArgs),
    /// Any action on a task, by a gateway that runs
    #[command(after_help = CLIENT_HELP)]
    Act(client::act::ActArgs),
    /// One action on many tasks, by a gateway that runs
    #[command(after_help = CLIENT_HELP)]
    Batch(client::many::BatchArgs),
    /// Show a task, or what became of an action, by a gateway that runs
    #[command(after_help = CLIENT_HELP)]
    Status(client::status::StatusArgs),
    /// Write the shipped routes, schemas and cases to a folder, to be edited
    Init(init::InitArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print or write the manual pages
    Man(man::ManArgs),
}

/// Where the routes come from.
#[derive(Args, Clone, Debug)]
pub struct RoutesArgs {
    /// The routes file; schemas and cases stand beside it [default: the shipped ones]
    #[arg(long, env = "TASKGATE_ROUTES", value_name = "FILE")]
    routes: Option<PathBuf>,
}

/// How the log looks.
#[derive(Args, Clone, Debug)]
struct LogArgs {
    /// What is logged: a level, or directives such as `warn,taskgate=debug`
    #[arg(long, env = "TASKGATE_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// How: `text` for people, `json` for machines, `auto` by whether it is a terminal
    #[arg(long, env = "TASKGATE_LOG_FORMAT", value_name = "FORMAT", default_value = "auto", value_parser = parse_format)]
    log_format: log::Format,
}

impl LogArgs {
    /// Begins to log.
    fn install(&self) -> Result<log::Log, CliError> {
        log::install(self.log_format, &self.log).map_err(|error| CliError::system("the log cannot be set up", error))
    }
}

/// Why a command did not do its work. Printed on standard error, exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was asked for cannot be done; the text is for people.
    #[error("{0}")]
    Refused(String),
    /// The routes have faults; the text lists them.
    #[error("{0}")]
    Rejected(String),
    /// The system did not let us.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// Why it did not work.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CliError {
    fn system(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::System {
            what: what.into(),
            source: source.into(),
        }
    }
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let mut stderr = io::stderr().lock();
            // Nobody is left to tell when standard error is gone.
            let _ = match &error {
                CliError::Rejected(text) => write!(stderr, "{text}"),
                other => writeln!(stderr, "error: {}", crate::mapping::request::causes(other)),
            };
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Serve(args) => block_on(args.workers(), serve::run(args)),
        Command::Demo(args) => block_on(args.workers(), demo::run(args)),
        Command::Simulate(args) => block_on(None, simulate::run(args)),
        Command::Check(args) => block_on(None, check::run(args)),
        Command::Explain(args) => explain::run(args),
        Command::Openapi(args) => openapi::run(args),
        Command::Stop(args) => block_on(Some(1), client::act::run("stop", args)),
        Command::Retry(args) => block_on(Some(1), client::act::run("retry", args)),
        Command::Act(args) => block_on(Some(1), client::act::act(args)),
        Command::Batch(args) => block_on(Some(1), client::many::run(args)),
        Command::Status(args) => block_on(Some(1), client::status::run(args)),
        Command::Init(args) => init::run(args),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "taskgate", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a command on so many threads; on as many as there are processors where nobody says.
fn block_on(workers: Option<usize>, command: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    let workers = workers
        .or_else(|| std::thread::available_parallelism().ok().map(NonZero::get))
        .unwrap_or(1);
    let mut runtime = match workers {
        // One alone has nobody to share its queue with, and is this thread.
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|error| CliError::system("the runtime cannot be started", error))?;
    let ended = runtime.block_on(command);
    // A thread that hangs in a file system, or in a blocked standard error, is not waited for.
    runtime.shutdown_background();
    ended
}

impl RoutesArgs {
    /// The tree with the routes, and the routes file's name in it.
    fn sources(&self) -> Result<(Sources, String), CliError> {
        let Some(path) = &self.routes else {
            return Ok((shipped::sources(), ROUTES_FILE.to_owned()));
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if path.is_file() => Ok((Sources::folder(folder.unwrap_or(std::path::Path::new("."))), name.to_owned())),
            _ => {
                let text = format!(
                    "there is no routes file {}; `taskgate init` writes the shipped one to a folder",
                    path.display()
                );
                Err(CliError::Refused(text))
            }
        }
    }
}

/// Every fault with its place, as it is printed.
fn rejected_text(rejected: &Rejected) -> CliError {
    let coloured = io::IsTerminal::is_terminal(&io::stderr());
    let text = if coloured {
        rejected.faults.render_coloured(&rejected.files)
    } else {
        rejected.faults.render(&rejected.files)
    };
    CliError::Rejected(text)
}

/// Writes to standard output; a reader that went away is no error of ours.
fn print(text: &str) -> Result<(), CliError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::system("standard output cannot be written", error)),
        _ => Ok(()),
    }
}

/// Who asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// SIGINT: somebody at the keyboard.
    Interrupt,
    /// SIGTERM: what runs us.
    Terminate,
}

impl Stop {
    /// The exit code of a process that such a signal has ended, as shells have it: 128 and the number of the signal.
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        })
    }
}

/// SIGINT and SIGTERM from the moment on that this is made, whether somebody waits for them or not. Made before anything listens:
/// a signal that comes right after the start must not find the system's own way, which ends the process under its calls.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn catch() -> Result<Self, CliError> {
        let catch = |kind| signal(kind).map_err(|error| CliError::system("signals cannot be received", error));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

/// Without authentication of callers only this machine may call, unless somebody says that something else guards the way.
fn check_listen(address: SocketAddr, flag: &str, unguarded: bool) -> Result<(), CliError> {
    if address.ip().is_loopback() || unguarded {
        return Ok(());
    }
    let text = format!(
        "{flag} {address} would let everybody who can reach it stop tasks: taskgate does not authenticate callers itself; \
         listen on loopback behind something that does, or say --allow-unauthenticated"
    );
    Err(CliError::Refused(text))
}

fn parse_format(word: &str) -> Result<log::Format, String> {
    match word {
        "auto" => Ok(log::Format::Auto),
        "json" => Ok(log::Format::Json),
        "text" => Ok(log::Format::Text),
        _ => Err("expected `auto`, `json` or `text`".to_owned()),
    }
}

/// `250ms`, `10s`, `2m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| DURATION_RULE.to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(60 * 60))),
        _ => Err(DURATION_RULE.to_owned()),
    }
}

const DURATION_RULE: &str = "expected a duration such as `250ms`, `10s`, `2m` or `24h`";

const AFTER_HELP: &str = "\
Try it, nothing to configure:
  taskgate demo
  curl -X POST http://127.0.0.1:8080/tasks/prime/15:stop -H 'Prefer: wait=20'
  curl http://127.0.0.1:8080/tasks/prime/15
  taskgate stop prime 25 --wait

Make it yours:
  taskgate init ./gate                          the shipped routes, schemas and cases, to be edited
  taskgate check --routes gate/routes.yaml      every fault at once, then every case
  taskgate explain prime 15 stop                what the vendor would get
  taskgate serve --routes gate/routes.yaml";

const SERVE_HELP: &str = "\
Where vendors are and as whom they are called comes from the environment; a provider whose
variables are missing is loaded and answers 503 with their names:
  CFW_ENDPOINT DBSS_ENDPOINT HSS_ENDPOINT HUAWEI_PROJECT_ID, and one of
    HUAWEI_ACCESS_KEY HUAWEI_SECRET_KEY [HUAWEI_SECURITY_TOKEN]
    HUAWEI_IAM_ENDPOINT HUAWEI_DOMAIN HUAWEI_USER HUAWEI_PASSWORD [HUAWEI_PROJECT_NAME]
    HUAWEI_TOKEN
  ZSTACK_ENDPOINT, and one of
    ZSTACK_ACCESS_KEY_ID ZSTACK_ACCESS_KEY_SECRET ZSTACK_TIME_ZONE
    ZSTACK_ACCOUNT ZSTACK_PASSWORD
    ZSTACK_SESSION
  PRIME_ENDPOINT PRIME_USER PRIME_PASSWORD
  DBSS_API=documented|replacement
Times of tasks are handed on where their zone is known:
  CFW_TIME_ZONE DBSS_TIME_ZONE PRIME_TIME_ZONE ZSTACK_TIME_ZONE, such as Europe/Berlin
Left out, the public authorities vouch for the endpoint's host; an appliance needs another word:
  ZSTACK_CA_FILE ZSTACK_PIN_SHA256 ZSTACK_SERVER_NAME
  PRIME_CA_FILE PRIME_PIN_SHA256 PRIME_SERVER_NAME

A secret may stand in a file instead: PRIME_PASSWORD_FILE=/run/secrets/prime in place of
PRIME_PASSWORD, and so for each of these variables.

SIGHUP reads routes, schemas, certificates and secret files again, as does a change of one of them
(--watch); faults change nothing and are logged.
SIGTERM ends it: /readyz says so and callers are still served for --drain-delay, then calls under
way are finished, for --drain at most. Ctrl-C does the same without the delay. A second signal ends
it now, with exit code 143 or 130.";

const SIMULATE_HELP: &str = "\
Faults, by vendor or `all`:
  --fault prime=latency:500ms --fault cfw=status:503,times=2 --fault all=reset
  kinds    latency:<time> drip:<time> status:<n> throttle[:user|all|concurrent] html[:n] failure
           redirect empty reset cut truncated hang garbage
  options  times=<n>, path=<part of the path>,
           effect=applied|none (does the task change before the fault?)
Settings:
  --set iam.lifetime=30s --set zstack.looks=5 --set hss.rate_limit=all --set cfw.others=1500
While it runs, at each endpoint:
  GET /_simulator/state    PUT and DELETE /_simulator/fault    POST /_simulator/reset
  GET /_simulator/settings    PUT /_simulator/settings/<name>    PUT /_simulator/tasks/<id>
  GET /_simulator/logins    POST /_simulator/revoke    POST /_simulator/advance (time, such as 15m)

A provider of your routes that is not one of the shipped ones is played from its cases, without
state.";

const CLIENT_HELP: &str = "\
Examples:
  taskgate stop prime 15 --wait
  taskgate stop cfw 1dcddab3-7d79-4a56-9e67-4aa0962b98ad \\
    --scope instance=ebf891cd-2163-48a0-9963-6309f99dd3c4 --reason INC-4711
  taskgate batch stop prime -f ids.txt
  taskgate status prime 15

The exit code says what is known about the effect:
  0 done    3 accepted, under way    4 not done    5 unknown: it may have happened
1 is a command that could not be run, 2 one that was not understood.";

const CHECK_HELP: &str = "\
No variable and no file that a variable names is read, so it runs without secrets: a fault in
one of those is found by `taskgate explain` and by the start of `taskgate serve`.";

const EXPLAIN_HELP: &str = "\
Examples:
  taskgate explain prime 15 stop
  taskgate explain prime 15 look
  taskgate explain cfw 1dcddab3-7d79-4a56-9e67-4aa0962b98ad stop \\
    --data '{\"scope\":{\"instance\":\"ebf891cd-2163-48a0-9963-6309f99dd3c4\"}}'

Without --data the empty body is used where the action takes it, and the body of the case `ok`
otherwise. Variables that are not set are taken from cases/<provider>/environment.yaml. Both are
said on standard error. A variable may stand in a file: PRIME_USER_FILE names that of PRIME_USER.";

const OPENAPI_HELP: &str = "\
Examples:
  taskgate openapi > openapi.json
  taskgate openapi --routes gate/routes.yaml | jq '.paths | keys'

A running gateway has the same at /openapi.json, and a page to read and try it at /docs. No
variable and no file that a variable names is read.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        for text in ["", "10", "s", "1d", "-1s", "1.5s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_without_authentication() {
        let open: SocketAddr = "0.0.0.0:80".parse().unwrap();
        assert!(check_listen("127.0.0.1:80".parse().unwrap(), "--listen", false).is_ok());
        assert!(check_listen(open, "--listen", false).is_err());
        assert!(check_listen(open, "--listen", true).is_ok());
    }
}
