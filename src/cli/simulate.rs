//! `taskgate simulate`: the vendor simulators alone, for tests of one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
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
    /// What can be set at a vendor, such as `iam.lifetime=30s`
    #[arg(long = "set", value_name = "VENDOR.NAME=VALUE", value_parser = parse_setting)]
    settings: Vec<Setting>,
    /// How a gateway is to log in: with secrets that need no login, with names and passwords, or by signing its requests
    #[arg(long, value_enum, default_value_t = Auth::Static)]
    auth: Auth,
}

/// Which variables are exported; those of the other ways are printed as comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Secrets that need no login
    Static,
    /// Names and passwords
    Login,
    /// Access keys
    Signature,
}

/// A setting of one vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    vendor: String,
    name: String,
    value: String,
}

/// Runs until a signal ends it.
pub(super) async fn run(args: SimulateArgs) -> Result<ExitCode, CliError> {
    let (mut options, mut environment) = (SimulatorOptions::default(), Vec::new());
    let (shipped, variables) = (options.names(), options.variables());
    if args.routes.routes.is_some() {
        let (sources, routes) = args.routes.sources()?;
        for stub in stubs(&sources, &routes, &shipped, &variables)? {
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
    options = args
        .settings
        .into_iter()
        .fold(options, |options, set| options.set(set.vendor, set.name, set.value));
    let mut signals = StopSignals::catch()?;
    let simulators = Simulators::start(options)
        .await
        .map_err(|error| CliError::system("the simulators do not start", error))?;
    print(&announcement(&simulators, args.auth, &environment))?;
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

/// Stubs of all providers that have no simulator of their own, made of their cases; a provider whose endpoint is that of a simulator needs
/// none.
fn stubs(sources: &Sources, routes: &str, shipped: &[String], variables: &BTreeSet<String>) -> Result<Vec<Stub>, CliError> {
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
        if endpoint_variable.as_ref().is_some_and(|variable| variables.contains(variable)) {
            continue;
        }
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
    match (&request.json, &request.xml, &request.form) {
        (Some(json), ..) => Some(ExpectedBody::Json(json.clone())),
        (None, Some(xml), _) => Some(ExpectedBody::Xml(xml.clone())),
        (None, None, Some(form)) => Some(ExpectedBody::Text(form.clone())),
        (None, None, None) => None,
    }
}

/// Lines that a shell can read: `export NAME=value`; what the other ways to log in need is a comment.
fn announcement(simulators: &Simulators, auth: Auth, stubs: &[(String, Environment, Option<String>)]) -> String {
    let endpoints = simulators.endpoints();
    let of = |auth| match auth {
        Auth::Static => simulators.environment(),
        Auth::Login => simulators.login_environment(),
        Auth::Signature => simulators.signature_environment(),
    };
    let mut variables = of(auth);
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
    let mut text = exports("", &variables);
    for other in Auth::value_variants().iter().copied().filter(|other| *other != auth) {
        let more: BTreeMap<String, String> = of(other).into_iter().filter(|(name, _)| !variables.contains_key(name)).collect();
        if !more.is_empty() {
            let word = other
                .to_possible_value()
                .map_or_else(String::new, |word| word.get_name().to_owned());
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# with --auth {word}:");
            text.push_str(&exports("# ", &more));
        }
    }
    text.push_str("# the simulators run; Ctrl-C ends them\n");
    text
}

fn exports(prefix: &str, variables: &BTreeMap<String, String>) -> String {
    let line = |(name, value): (&String, &String)| format!("{prefix}export {name}='{}'\n", value.replace('\'', "'\\''"));
    variables.iter().map(line).collect()
}

fn parse_setting(text: &str) -> Result<Setting, String> {
    let parsed = text
        .split_once('=')
        .and_then(|(place, value)| Some((place.split_once('.')?, value)));
    let ((vendor, name), value) = parsed.ok_or("expected VENDOR.NAME=VALUE, such as `iam.lifetime=30s`")?;
    Ok(Setting {
        vendor: vendor.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_way_to_log_in_is_exported_and_the_others_are_comments() {
        let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
        let all = [
            (Auth::Static, simulators.environment()),
            (Auth::Login, simulators.login_environment()),
            (Auth::Signature, simulators.signature_environment()),
        ];
        for (auth, exported) in &all {
            let text = announcement(&simulators, *auth, &[]);
            let lines: Vec<&str> = text.lines().collect();
            for (name, value) in all.iter().flat_map(|(_, environment)| environment) {
                let export = format!("export {name}='{value}'");
                let line = if exported.contains_key(name) {
                    export
                } else {
                    format!("# {export}")
                };
                assert!(lines.contains(&line.as_str()), "{auth:?} without {line}: {text}");
            }
            assert_eq!(text.lines().filter(|line| line.starts_with("export ")).count(), exported.len());
        }
        simulators.shutdown().await;
    }

    #[test]
    fn settings_have_a_vendor_a_name_and_a_value() {
        let setting = parse_setting("acme.word=a.b=c").unwrap();
        assert_eq!(
            (setting.vendor.as_str(), setting.name.as_str(), setting.value.as_str()),
            ("acme", "word", "a.b=c")
        );
        for text in ["", "acme", "acme.word", "acme=word"] {
            assert!(parse_setting(text).is_err(), "{text}");
        }
    }
}
