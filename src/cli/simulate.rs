//! `taskgate simulate`: the vendor simulators alone, for tests of one's own.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use http::StatusCode;

use super::{CliError, RoutesArgs, StopSignals, print, rejected_text};
use crate::config::case::{self, Case, ExpectedRequest};
use crate::config::compile::{Rejected, compile};
use crate::config::diagnostic::Diagnostics;
use crate::config::environment::Environment;
use crate::config::files::FileSet;
use crate::config::sources::Sources;
use crate::simulate::{Exchange, ExpectedBody, FaultRule, SimulatorOptions, Simulators, StubReply, StubVendor, Vendor};

/// What `simulate` takes.
#[derive(Args, Debug)]
pub(super) struct SimulateArgs {
    #[command(flatten)]
    routes: RoutesArgs,
    /// Only these vendors; all without it
    #[arg(value_name = "VENDOR")]
    vendors: Vec<String>,
    /// Where a vendor listens, such as `prime=127.0.0.1:9001` [default: free ports of 127.0.0.1]
    #[arg(long, value_name = "VENDOR=ADDRESS", value_parser = parse_listen)]
    listen: Vec<(String, SocketAddr)>,
    /// A fault from the start, such as `prime=latency:500ms`
    #[arg(long = "fault", value_name = "VENDOR=FAULT")]
    faults: Vec<FaultRule>,
}

/// Runs until a signal ends it.
pub(super) async fn run(args: SimulateArgs) -> Result<ExitCode, CliError> {
    let (mut options, mut environment) = (SimulatorOptions::default(), Vec::new());
    let shipped = options.names();
    if args.routes.routes.is_some() {
        let (sources, routes) = args.routes.sources()?;
        for stub in stubs(&sources, &routes, &shipped)? {
            environment.push((stub.vendor.name().to_owned(), stub.environment, stub.endpoint_variable));
            options = options.vendor(stub.vendor);
        }
    }
    if !args.vendors.is_empty() {
        options = options.only(&args.vendors).map_err(|error| CliError::Refused(error.to_string()))?;
    }
    options = args
        .listen
        .into_iter()
        .fold(options, |options, (vendor, address)| options.listen(vendor, address));
    options = args.faults.into_iter().fold(options, SimulatorOptions::fault);
    let mut signals = StopSignals::catch()?;
    let simulators = Simulators::start(options)
        .await
        .map_err(|error| CliError::system("the simulators do not start", error))?;
    print(&announcement(&simulators, &environment))?;
    signals.next().await;
    simulators.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// A stub of a provider, and the environment that makes a gateway call it.
struct Stub {
    /// The stub.
    vendor: StubVendor,
    /// The variables of its cases.
    environment: Environment,
    /// The one that holds its endpoint.
    endpoint_variable: Option<String>,
}

/// Stubs of all providers that have no simulator of their own, made of their cases.
fn stubs(sources: &Sources, routes: &str, shipped: &[String]) -> Result<Vec<Stub>, CliError> {
    let mut files = FileSet::default();
    let mut faults = Diagnostics::default();
    let mut cases = case::read_all(sources, &mut files, &mut faults);
    // The same request stands in many cases, each with another answer, and the first one that fits is played: good news first.
    cases.sort_by_key(|case| (case.name != "ok", case.content.answer.status >= 400));
    let table = compile(sources, routes, &Environment::default())
        .map_err(|rejected| rejected_text(&rejected))?
        .table;
    let mut stubs = Vec::new();
    for name in table.providers.keys().filter(|name| !shipped.contains(name)) {
        let environment = case::environment(sources, name, &mut files, &mut faults);
        let exchanges = cases.iter().filter(|case| case.provider == *name).flat_map(exchanges).collect();
        let vendor =
            StubVendor::new(name, exchanges).map_err(|error| CliError::Refused(format!("no stub of `{name}` can be made: {error}")))?;
        // The endpoint's variable is the one whose value is the endpoint that the compiler made of it.
        let compiled = compile(sources, routes, &environment)
            .map_err(|rejected| rejected_text(&rejected))?
            .table;
        let endpoint = compiled
            .providers
            .get(name)
            .and_then(|provider| provider.connection.as_ref().ok())
            .map(|c| c.endpoint.authority.to_string());
        let endpoint_variable = endpoint.and_then(|endpoint| {
            let named = environment
                .names()
                .find(|variable| environment.value(variable).is_some_and(|value| value.contains(&endpoint)));
            named.map(str::to_owned)
        });
        stubs.push(Stub {
            vendor,
            environment,
            endpoint_variable,
        });
    }
    if faults.is_empty() {
        Ok(stubs)
    } else {
        Err(rejected_text(&Rejected { faults, files }))
    }
}

/// The vendor's side of a case as exchanges of a stub; turns without a reply cannot be played.
fn exchanges(case: &Case) -> Vec<Exchange> {
    case.content
        .vendor
        .iter()
        .filter(|turn| turn.reply.fault.is_none())
        .map(|turn| Exchange {
            method: turn.request.method.clone(),
            target: turn.request.target.clone(),
            body: expected_body(&turn.request),
            reply: StubReply {
                status: StatusCode::from_u16(turn.reply.status.unwrap_or(200)).unwrap_or_default(),
                headers: turn.reply.headers.clone().into_iter().collect(),
                body: turn.reply.body().into(),
            },
        })
        .collect()
}

fn expected_body(request: &ExpectedRequest) -> Option<ExpectedBody> {
    match (&request.json, &request.xml) {
        (Some(json), _) => Some(ExpectedBody::Json(json.clone())),
        (None, Some(xml)) => Some(ExpectedBody::Xml(xml.clone())),
        (None, None) => None,
    }
}

/// Lines that a shell can read: `export NAME=value`.
fn announcement(simulators: &Simulators, stubs: &[(String, Environment, Option<String>)]) -> String {
    let endpoints = simulators.endpoints();
    let mut variables = simulators.environment();
    for (name, environment, endpoint_variable) in stubs {
        let Some(endpoint) = endpoints.get(name) else { continue };
        for variable in environment.names() {
            let value = if Some(variable) == endpoint_variable.as_deref() {
                endpoint
            } else {
                environment.value(variable).unwrap_or_default()
            };
            variables.insert(variable.to_owned(), value.to_owned());
        }
    }
    let mut text = String::new();
    for (name, value) in &variables {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', "'\\''"));
    }
    text.push_str("# the simulators run; Ctrl-C ends them\n");
    text
}

fn parse_listen(text: &str) -> Result<(String, SocketAddr), String> {
    let (vendor, address) = text
        .split_once('=')
        .ok_or("expected VENDOR=ADDRESS, such as `acme=127.0.0.1:9001`")?;
    let address = address
        .parse()
        .map_err(|_| format!("`{address}` is no address such as `127.0.0.1:9001`"))?;
    Ok((vendor.to_owned(), address))
}
