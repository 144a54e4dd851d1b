//! Cases: what a caller asks, what the vendor gets and says, and what the caller is told. One file, one case.
//!
//! **Shape**: `cases/prime/stop/ok.yaml` -> `Case { provider: "prime", action: "stop", name: "ok", .. }`; those of the action `look`
//! are a GET of the task.
//!
//! **Errors**: a file that is no case is a fault with its place, like any other fault of the configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::environment::Environment;
use super::files::FileSet;
use super::place::Path;
use super::sources::Sources;
use super::yaml;
use crate::catalog::example::Example;

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The provider, from the folder.
    pub provider: String,
    /// The verb, from the folder.
    pub action: String,
    /// The file's name without its ending.
    pub name: String,
    /// The file.
    pub path: String,
    /// What it says.
    pub content: Content,
}

/// What a case file says.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// One line for people.
    pub title: String,
    /// Where the facts come from.
    #[serde(default)]
    pub source: Option<String>,
    /// Variables beside those of the provider's `environment.yaml`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What the caller asks.
    pub call: Call,
    /// What the vendor gets and says, in order.
    #[serde(default)]
    pub vendor: Vec<VendorTurn>,
    /// What the caller is told.
    pub answer: ExpectedAnswer,
}

/// What the caller asks.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The id, as it is meant; percent-encoded for the path when it is sent. Empty in a batch.
    #[serde(default)]
    pub id: String,
    /// The ids of a batch.
    #[serde(default)]
    pub ids: Option<Vec<Value>>,
    /// The body; none when left out.
    #[serde(default)]
    pub body: Option<Value>,
    /// The query parameters of a look.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// The header `Prefer`.
    #[serde(default)]
    pub prefer: Option<String>,
}

/// One exchange with the vendor.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct VendorTurn {
    /// What the vendor must get.
    pub request: ExpectedRequest,
    /// What it says.
    pub reply: CaseReply,
}

/// What the vendor must get.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers that must be there; `*` is any value.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A JSON body.
    #[serde(default)]
    pub json: Option<Value>,
    /// An XML body.
    #[serde(default)]
    pub xml: Option<String>,
    /// The body of a form, as it is sent.
    #[serde(default)]
    pub form: Option<String>,
    /// No body.
    #[serde(default)]
    pub empty: bool,
}

/// What the vendor says.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct CaseReply {
    /// The status; not with `fault`.
    #[serde(default)]
    pub status: Option<u16>,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A JSON body.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Value>,
    /// A body as it stands.
    #[serde(default)]
    pub text: Option<String>,
    /// An XML body.
    #[serde(default)]
    pub xml: Option<String>,
    /// No body.
    #[serde(default)]
    pub empty: bool,
    /// No reply at all.
    #[serde(default)]
    pub fault: Option<Fault>,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The connection broke after the request was sent.
    ConnectionLost,
    /// The vendor did not answer in time.
    Timeout,
    /// The answer ended before it was complete.
    Truncated,
    /// No connection could be made.
    Unreachable,
}

/// What the caller is told.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ExpectedAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Members that the answer must have.
    #[serde(default)]
    pub body: Map<String, Value>,
}

/// `json: null` is a body, too.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl CaseReply {
    /// The bytes of the body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        match (&self.json, &self.xml, &self.text) {
            (Some(json), ..) => json.to_string().into_bytes(),
            (None, Some(text), _) | (None, None, Some(text)) => text.clone().into_bytes(),
            (None, None, None) => Vec::new(),
        }
    }
}

/// Reads every case of a tree, in the order of their paths.
pub fn read_all(sources: &Sources, files: &mut FileSet, faults: &mut Diagnostics) -> Vec<Case> {
    sources
        .list(CASES_FOLDER)
        .iter()
        .filter_map(|path| read(sources, path, files, faults))
        .collect()
}

/// What the documents show: calls and answers of cases. One that cannot be read is left out; `taskgate check` says what is wrong with it.
#[must_use]
pub fn examples(sources: &Sources) -> Vec<Example> {
    let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
    let cases = read_all(sources, &mut files, &mut faults);
    cases.into_iter().map(Case::into_example).collect()
}

impl Case {
    fn into_example(self) -> Example {
        let Content {
            title,
            call,
            vendor,
            answer,
            ..
        } = self.content;
        Example {
            provider: self.provider,
            action: self.action,
            name: self.name,
            title,
            id: call.id,
            ids: call.ids.unwrap_or_default(),
            body: call.body,
            query: call.query.into_iter().collect(),
            status: answer.status,
            answer: answer.body,
            vendor_status: vendor.last().and_then(|turn| turn.reply.status),
        }
    }
}

fn read(sources: &Sources, path: &str, files: &mut FileSet, faults: &mut Diagnostics) -> Option<Case> {
    let (provider, action, name) = match path.split('/').collect::<Vec<_>>().as_slice() {
        [CASES_FOLDER, _, ENVIRONMENT_FILE] => return None,
        [CASES_FOLDER, provider, action, file] if file.ends_with(".yaml") => (
            (*provider).to_owned(),
            (*action).to_owned(),
            file.trim_end_matches(".yaml").to_owned(),
        ),
        _ => {
            let expected = "a case is `cases/<provider>/<action>/<name>.yaml`";
            faults
                .push(Diagnostic::without_place(format!("{path}: this file is no case")))
                .hint(expected);
            return None;
        }
    };
    let content: Content = read_as(sources, path, files, faults)?;
    if content.call.id.is_empty() == content.call.ids.is_none() {
        faults
            .push(Diagnostic::without_place(format!(
                "{path}: this is no case: a call has an `id`, or `ids`"
            )))
            .hint("`ids` is a list, and the call a batch");
        return None;
    }
    Some(Case {
        provider,
        action,
        name,
        path: path.to_owned(),
        content,
    })
}

/// The environment under which a provider's cases run; empty where the provider has none.
pub fn environment(sources: &Sources, provider: &str, files: &mut FileSet, faults: &mut Diagnostics) -> Environment {
    let path = format!("{CASES_FOLDER}/{provider}/{ENVIRONMENT_FILE}");
    if !sources.list(CASES_FOLDER).contains(&path) {
        return Environment::default();
    }
    read_as::<BTreeMap<String, String>>(sources, &path, files, faults)
        .unwrap_or_default()
        .into_iter()
        .collect()
}

fn read_as<T: serde::de::DeserializeOwned>(sources: &Sources, path: &str, files: &mut FileSet, faults: &mut Diagnostics) -> Option<T> {
    let id = match sources.open(path, files) {
        Ok(id) => id,
        Err(error) => {
            faults.push(Diagnostic::without_place(format!("{path}: {error}")));
            return None;
        }
    };
    let text = files.text(id).to_owned();
    let node = yaml::parse(&text, id, faults)?;
    match serde_json::from_value(node.to_json()) {
        Ok(value) => Some(value),
        Err(error) => {
            faults
                .fault(node.span, &Path::default(), format!("this is no case: {error}"))
                .hint("docs/routes.md, section Cases, lists the keys");
            None
        }
    }
}

/// The cases that every action has. What is missing is a fault of the tree.
pub fn missing<'a>(actions: impl IntoIterator<Item = (&'a str, &'a str)>, cases: &[Case]) -> Vec<String> {
    let present: BTreeSet<(&str, &str, &str)> = cases
        .iter()
        .map(|case| (case.provider.as_str(), case.action.as_str(), case.name.as_str()))
        .collect();
    actions
        .into_iter()
        .flat_map(|(provider, action)| REQUIRED.map(|name| (provider, action, name)))
        .filter(|case| !present.contains(case))
        .map(|(provider, action, name)| format!("{CASES_FOLDER}/{provider}/{action}/{name}.yaml"))
        .collect()
}

/// A success, an error in the vendor's words, an error of something on the way, and nonsense.
pub const REQUIRED: [&str; 4] = ["ok", "vendor_error", "http_error", "malformed"];
/// Where cases live.
pub const CASES_FOLDER: &str = "cases";
const ENVIRONMENT_FILE: &str = "environment.yaml";
