//! `taskgate explain`: the request that a vendor would get, secrets masked. Nothing is sent.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::{CliError, RoutesArgs, print, rejected_text};
use crate::codec::{Limits, json};
use crate::config::case;
use crate::config::compile::compile;
use crate::config::diagnostic::Diagnostics;
use crate::config::environment::Environment;
use crate::config::files::FileSet;
use crate::config::sources::Sources;
use crate::layer::preview::Shown;
use crate::layer::resolve::{configured, resolve};
use crate::mapping::request::RequestError;
use crate::mapping::template::to_text;
use crate::mapping::validate::validate;
use crate::model::call::{TaskCall, UpstreamRequest};
use crate::model::error::GatewayError;
use crate::route::{LOOK, Provider, Route};
use crate::upstream::credentials;

/// What `explain` takes.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The provider
    provider: String,
    /// The task's id
    id: String,
    /// The action, such as `stop`; `look` for the request that looks at the task
    action: String,
    /// The canonical request, a JSON object
    #[arg(long, short, value_name = "JSON")]
    data: Option<String>,
    #[command(flatten)]
    routes: RoutesArgs,
}

/// A vendor request in words, and what was assumed to make it.
#[derive(Debug, PartialEq, Eq)]
pub struct Explained {
    /// The request as it would be sent, secrets masked.
    pub text: String,
    /// What was not given and taken from elsewhere.
    pub notes: Vec<String>,
}

pub(super) fn run(args: ExplainArgs) -> Result<ExitCode, CliError> {
    let (sources, routes) = args.routes.sources()?;
    let explained = explain(&sources, &routes, &Environment::from_process(), &args)?;
    let mut stderr = std::io::stderr().lock();
    for note in &explained.notes {
        // Notes are a courtesy: the request is what was asked for.
        let _ = writeln!(stderr, "note: {note}");
    }
    print(&explained.text)?;
    Ok(ExitCode::SUCCESS)
}

impl ExplainArgs {
    /// The arguments as another program gives them.
    #[must_use]
    pub fn new(provider: &str, id: &str, action: &str, data: Option<&str>) -> Self {
        let routes = RoutesArgs { routes: None };
        Self {
            provider: provider.to_owned(),
            id: id.to_owned(),
            action: action.to_owned(),
            data: data.map(str::to_owned),
            routes,
        }
    }
}

/// Makes the vendor request.
///
/// # Errors
/// [`CliError`] where the routes have faults, a variable is missing, or the request does not fit: the text says which.
pub fn explain(sources: &Sources, routes: &str, environment: &Environment, args: &ExplainArgs) -> Result<Explained, CliError> {
    let mut notes = Vec::new();
    let mut compiled = compile(sources, routes, environment).map_err(|rejected| rejected_text(&rejected))?;
    let unconfigured = compiled.table.providers.get(&args.provider).and_then(|provider| {
        let missing = provider.connection.as_ref().err()?;
        // The samples may be those of another alternative of the credentials than the first.
        Some(
            missing
                .iter()
                .chain(provider.alternatives.iter().flatten())
                .cloned()
                .collect::<BTreeSet<_>>(),
        )
    });
    if let Some(missing) = unconfigured {
        let samples = case::environment(sources, &args.provider, &mut FileSet::default(), &mut Diagnostics::default());
        let filled: Vec<(String, String)> = missing
            .iter()
            .filter(|name| !environment.is_given(name))
            .filter_map(|name| Some((name.clone(), samples.value(name)?.to_owned())))
            .collect();
        let names: Vec<String> = filled.iter().map(|(name, _)| name.clone()).collect();
        let environment = environment.clone().with(filled);
        compiled = compile(sources, routes, &environment).map_err(|rejected| rejected_text(&rejected))?;
        notes.push(format!(
            "{} not set: values of cases/{}/environment.yaml are shown",
            names.join(", "),
            args.provider
        ));
    }
    let body = match &args.data {
        None => Map::new(),
        Some(text) => match json::decode(text.as_bytes(), &Limits::REQUEST) {
            Ok(Value::Object(members)) => members,
            Ok(_) => return Err(CliError::Refused("--data is a JSON object".to_owned())),
            Err(error) => return Err(CliError::Refused(format!("--data cannot be read: {error}"))),
        },
    };
    let call = task_call(args, body, Vec::new());
    let routed = resolve(&compiled.table, call).map_err(|error| refused(&error))?;
    configured(&routed.provider).map_err(|error| refused(&error))?;
    let (provider, route) = (&routed.provider, &routed.route);
    let request = match render(&routed.call, provider, route) {
        Err(error) if args.data.is_none() && !error.violations.is_empty() => {
            // It does not do without what the caller says: show it with what its own example says.
            let Some(call) = example(sources, args) else {
                return Err(refused(&error));
            };
            notes.push(format!(
                "the {} is that of cases/{}/{}/ok.yaml; give your own with --data",
                if call.action.is_none() { "query" } else { "body" },
                args.provider,
                args.action
            ));
            render(&call, provider, route)
        }
        request => request,
    };
    let request = request.map_err(|error| refused(&error))?;
    Ok(Explained {
        text: write(provider, route, request)?,
        notes,
    })
}

/// The call that the arguments mean; the members of `scope` are the query of a look.
fn task_call(args: &ExplainArgs, body: Map<String, Value>, mut query: Vec<(String, String)>) -> TaskCall {
    let is_look = args.action == LOOK;
    if is_look && let Some(Value::Object(scope)) = body.get("scope") {
        let text = |value: &Value| to_text(value).map(std::borrow::Cow::into_owned);
        query.extend(scope.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))));
    }
    TaskCall {
        provider: args.provider.clone(),
        id: args.id.clone(),
        action: (!is_look).then(|| args.action.clone()),
        body,
        query,
        wait: None,
        resumed: None,
    }
}

fn render(call: &TaskCall, provider: &Provider, route: &Route) -> Result<UpstreamRequest, GatewayError> {
    let uuid = uuid::Uuid::new_v4().simple().to_string();
    let values = validate(call, provider, route, &uuid)?;
    route.render(&values).map_err(RequestError::into_gateway_error)
}

fn example(sources: &Sources, args: &ExplainArgs) -> Option<TaskCall> {
    let cases = case::read_all(sources, &mut FileSet::default(), &mut Diagnostics::default());
    let case = cases
        .into_iter()
        .find(|case| case.provider == args.provider && case.action == args.action && case.name == "ok")?;
    let call = case.content.call;
    let body = call.body.as_ref().and_then(Value::as_object).cloned();
    Some(task_call(args, body.unwrap_or_default(), call.query.into_iter().collect()))
}

/// Request line, headers by name, and the body: what goes over the wire, but for the secret.
fn write(provider: &Provider, route: &Route, request: UpstreamRequest) -> Result<String, CliError> {
    let shown = Shown::of(provider, route, request, credentials::preview).map_err(|error| refused(&error))?;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{} {} HTTP/1.1", shown.method, shown.target);
    for (name, value) in shown.headers {
        let _ = writeln!(text, "{name}: {value}");
    }
    if !shown.body.is_empty() {
        let _ = writeln!(text, "\n{}", String::from_utf8_lossy(&shown.body));
    }
    Ok(text)
}

fn refused(error: &GatewayError) -> CliError {
    let mut text = format!("{}: {}", error.reason.code(), error.detail);
    for violation in &error.violations {
        let _ = write!(
            text,
            "\n  at {}: {}",
            if violation.pointer.is_empty() { "/" } else { &violation.pointer },
            violation.detail
        );
    }
    CliError::Refused(text)
}
