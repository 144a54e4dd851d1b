//! routes.yaml and its schemas -> [`RouteTable`]. The last step of the compiler: what comes out can be run.
//!
//! **Shape**: `Sources` + `Environment` -> [`Compiled`], or [`Rejected`] with every fault and its place.
//!
//! **Invariants**: no I/O but through [`Sources`]; the process environment is a parameter. A variable that is not set leaves a
//! provider unconfigured, it is not a fault; everything else that is wrong is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::compile_credentials::{self, CompiledCredential};
use super::compile_limits::{self, Quotas};
use super::compile_route::RouteCompiler;
use super::deployment::Deployment;
use super::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use super::environment::Environment;
use super::file::{self, File, Words};
use super::files::FileSet;
use super::names::Names;
use super::operation::operation_keys;
use super::place::{Path, Spanned};
use super::schemas::Schemas;
use super::sources::Sources;
use super::template::TemplateCompiler;
use super::variables::Variables;
use super::yaml;
use crate::catalog::example::Examples;
use crate::crypto::sha256_hex;
use crate::mapping::fault::{CodeFamily, FaultRule, FaultTable, StatusPattern};
use crate::mapping::template::Placeholder;
use crate::model::answer::TaskState;
use crate::model::reason::Reason;
use crate::operation::OperationKeys;
use crate::route::{IdKind, IdRule, Provider, RouteTable};
use crate::schema::Schema;

/// A routes file that can be run.
#[derive(Debug)]
pub struct Compiled {
    /// The table.
    pub table: Arc<RouteTable>,
    /// A hash over all files that were read and all values that are no secret, 16 hex digits: two instances with the same one run
    /// the same routes against the same vendors. Of secrets it knows whether they are set.
    pub hash: String,
    /// What seals and opens the tokens of operations, where the environment gives keys for it.
    pub operation_keys: Option<Arc<OperationKeys>>,
}

impl Compiled {
    /// The same, with the cases of its tree as examples for the documents; they are read when somebody reads those.
    #[must_use]
    pub fn with_examples(mut self, sources: &Sources) -> Self {
        // Nobody else has the table yet; if somebody had, the documents would be without examples.
        if let Some(table) = Arc::get_mut(&mut self.table) {
            let sources = sources.unread();
            table.examples = Examples::read_by(move || super::case::examples(&sources));
        }
        self
    }
}

/// A routes file that cannot be run.
#[derive(Debug)]
pub struct Rejected {
    /// Every fault.
    pub faults: Diagnostics,
    /// The texts that they are about.
    pub files: FileSet,
}

/// Compiles `routes.yaml` (by the given name) of the sources.
///
/// # Errors
/// [`Rejected`] with all faults.
pub fn compile(sources: &Sources, routes: &str, environment: &Environment) -> Result<Compiled, Box<Rejected>> {
    let mut files = FileSet::default();
    let mut faults = Diagnostics::default();
    let variables = Variables::new(environment, sources);
    let table = read(sources, routes, &variables, &mut files, &mut faults);
    let operation_keys = operation_keys(&variables, &mut faults);
    variables.tell(&mut faults);
    match table {
        Some(table) if faults.is_empty() => Ok(Compiled {
            table: Arc::new(table),
            hash: hash(&files, &variables),
            operation_keys,
        }),
        _ => Err(Box::new(Rejected { faults, files })),
    }
}

fn hash(files: &FileSet, variables: &Variables<'_>) -> String {
    let mut text = files.hash();
    text.push('\n');
    variables.hash_into(&mut text);
    let mut hash = sha256_hex(text.as_bytes());
    hash.truncate(HASH_DIGITS);
    hash
}

fn read<'a>(
    sources: &'a Sources,
    routes: &str,
    environment: &'a Variables<'a>,
    files: &mut FileSet,
    faults: &mut Diagnostics,
) -> Option<RouteTable> {
    let id = match sources.open(routes, files) {
        Ok(id) => id,
        Err(error) => {
            faults
                .push(Diagnostic::without_place(format!("{routes}: {error}")))
                .hint("`taskgate init` writes the shipped routes to a folder");
            return None;
        }
    };
    let root = yaml::parse(files.text(id), id, faults)?;
    let reasons: Vec<&str> = Reason::ALL
        .into_iter()
        .filter(|reason| reason.is_vendor_verdict())
        .map(Reason::code)
        .collect();
    let states: Vec<&str> = TaskState::ALL.into_iter().map(TaskState::as_str).collect();
    let file = File::decode(
        root,
        Words {
            reasons: &reasons,
            states: &states,
        },
        faults,
    );
    let mut compiler = Compiler {
        file: &file,
        environment,
        sources,
        schemas: Schemas::new(sources),
        files,
        faults,
    };
    Some(compiler.table())
}

/// What every part of the compilation needs.
struct Compiler<'a> {
    file: &'a File,
    environment: &'a Variables<'a>,
    sources: &'a Sources,
    schemas: Schemas<'a>,
    files: &'a mut FileSet,
    faults: &'a mut Diagnostics,
}

impl Compiler<'_> {
    fn table(&mut self) -> RouteTable {
        let settings = Arc::new(self.settings());
        let setting_names = self.setting_names();
        let tables = self.fault_tables(&setting_names);
        self.unused();
        let credentials = self.credentials();
        let quotas = compile_limits::quotas(self.file);
        let mut providers = BTreeMap::new();
        let mut verbs = BTreeSet::new();
        for provider in &self.file.providers {
            if let Some(compiled) = self.provider(provider, &tables, &credentials, &quotas, (&settings, &setting_names)) {
                verbs.extend(compiled.actions.keys().cloned());
                providers.insert(compiled.name.clone(), Arc::new(compiled));
            }
        }
        RouteTable {
            providers,
            verbs,
            passthrough: Arc::new(compile_credentials::passthrough(credentials.values())),
            examples: Examples::default(),
        }
    }

    fn credentials(&mut self) -> HashMap<String, CompiledCredential> {
        let file = self.file;
        file.credentials
            .iter()
            .map(|one| {
                let compiled = compile_credentials::credential(one, self.environment, self.faults);
                (one.name.value.clone(), compiled)
            })
            .collect()
    }

    /// The values of the settings, environment applied.
    fn settings(&mut self) -> Value {
        let mut values = Map::new();
        for setting in &self.file.settings {
            let variable = setting.env.as_ref();
            let value = match variable.and_then(|variable| self.environment.value(&variable.value)).as_deref() {
                Some(value) => {
                    if !setting.one_of.iter().any(|known| known.value == value) {
                        let known: Vec<&str> = setting.one_of.iter().map(|word| word.value.as_str()).collect();
                        let name = variable.map_or("", |variable| variable.value.as_str());
                        let message = format!("the environment variable {name} has a value that the setting does not know");
                        let span = variable.map_or(setting.place.span, |variable| variable.span);
                        self.faults
                            .fault(span, &setting.place.path, message)
                            .hint(format!("it is one of {}", known.join(", ")));
                    }
                    value.to_owned()
                }
                None => setting.default.value.clone(),
            };
            values.insert(setting.name.value.clone(), Value::from(value));
        }
        Value::Object(values)
    }

    /// The schema of `settings`: each is there and one of its values.
    fn setting_names(&self) -> Value {
        let properties: Map<String, Value> = self
            .file
            .settings
            .iter()
            .map(|setting| {
                let words: Vec<&str> = setting.one_of.iter().map(|word| word.value.as_str()).collect();
                (setting.name.value.clone(), serde_json::json!({ "type": "string", "enum": words }))
            })
            .collect();
        let required: Vec<&String> = properties.keys().collect();
        serde_json::json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
    }

    fn fault_tables(&mut self, settings: &Value) -> HashMap<String, Arc<FaultTable>> {
        // Error answers follow no schema of a route, so anything may be below `body`; nothing of the call is sure to be there
        // but what every call has.
        let names = Names::default()
            .with("status", Some(serde_json::json!({ "type": "integer" })), true)
            .with("headers", None, true)
            .with("body", None, true)
            .with("text", Some(serde_json::json!({ "type": "string" })), true)
            .with("id", None, true)
            .with("call", Some(call_schema()), true)
            .with("settings", Some(settings.clone()), true);
        let file = self.file;
        file.faults
            .iter()
            .map(|table| (table.name.value.clone(), Arc::new(self.fault_table(table, &names))))
            .collect()
    }

    fn fault_table(&mut self, table: &file::FaultTable, names: &Names) -> FaultTable {
        let path = &table.place.path;
        let mut compiler = TemplateCompiler::new(self.faults, false);
        let mut places = |nodes: &[yaml::Node], key: &str| -> Vec<Placeholder> {
            nodes
                .iter()
                .filter_map(|node| compiler.placeholder(node, &path.key(key), names))
                .collect()
        };
        let (code, message, request_id) = (
            places(&table.code, "code"),
            places(&table.message, "message"),
            places(&table.request_id, "request_id"),
        );
        let rules = table
            .rules
            .iter()
            .map(|rule| FaultRule {
                status: rule.status.as_ref().map_or_else(StatusPattern::any, |status| status.value.clone()),
                when: rule
                    .when
                    .as_ref()
                    .and_then(|when| compiler.condition(&when.value, when.span, &rule.place.path.key("when"), names)),
                reason: reason(&rule.reason),
            })
            .collect();
        let codes = |codes: &[(yaml::Key, Spanned<String>)]| codes.iter().map(|(code, word)| (code.text.clone(), reason(word))).collect();
        let reads = |name: &str| compiler.used.iter().any(|used| used.first().is_some_and(|root| root == name));
        FaultTable {
            reads_text: reads("text"),
            reads_call: reads("call"),
            code,
            message,
            request_id,
            cut_after: table.cut_after.iter().map(|text| text.value.clone()).collect(),
            rules,
            codes: codes(&table.codes),
            families: table
                .families
                .iter()
                .map(|family| CodeFamily {
                    prefixes: family.prefixes.iter().map(|prefix| prefix.value.clone()).collect(),
                    codes: codes(&family.codes),
                })
                .collect(),
        }
    }

    /// Blocks that nothing refers to are leftovers or typing errors. Not said while a provider names one that does not exist, or
    /// has a fault among its keys: one slip is one fault.
    fn unused(&mut self) {
        let file = self.file;
        let leads_nowhere = |provider: &file::Provider| {
            let table = provider.faults.as_ref();
            let credential = provider.credentials.as_ref().filter(|name| name.value != "none");
            self.faults.iter().any(|fault| fault.path == provider.place.path)
                || table.is_some_and(|name| !file.faults.iter().any(|one| one.name.value == name.value))
                || credential.is_some_and(|name| file.credential(&name.value).is_none())
                || compile_limits::leads_nowhere(file, provider)
        };
        if file.providers.is_empty() || file.providers.iter().any(leads_nowhere) {
            return;
        }
        let named = |name: &str, of: fn(&file::Provider) -> Option<&Spanned<String>>| {
            file.providers
                .iter()
                .any(|provider| of(provider).is_some_and(|word| word.value == name))
        };
        for table in file
            .faults
            .iter()
            .filter(|table| !named(&table.name.value, |provider| provider.faults.as_ref()))
        {
            self.faults
                .fault(table.place.span, &table.place.path, "no provider uses this table")
                .hint("remove it, or name it under `faults:` of a provider");
        }
        for credential in file
            .credentials
            .iter()
            .filter(|one| !named(&one.name.value, |provider| provider.credentials.as_ref()))
        {
            self.faults
                .fault(credential.place.span, &credential.place.path, "no provider uses these credentials")
                .hint("remove them, or name them under `credentials:` of a provider");
        }
        compile_limits::unused(file, self.faults);
    }

    fn provider(
        &mut self,
        provider: &file::Provider,
        tables: &HashMap<String, Arc<FaultTable>>,
        credentials: &HashMap<String, CompiledCredential>,
        quotas: &Quotas,
        (settings, setting_names): (&Arc<Value>, &Value),
    ) -> Option<Provider> {
        let path = &provider.place.path;
        let faults = match &provider.faults {
            None => Some(Arc::new(FaultTable::default())),
            Some(name) => {
                let known = tables.get(&name.value).cloned();
                if known.is_none() {
                    self.unknown_name(
                        name,
                        &path.key("faults"),
                        "fault table",
                        &tables.keys().map(String::as_str).collect::<Vec<_>>(),
                    );
                }
                known
            }
        };
        let credential = match &provider.credentials {
            None => None,
            Some(name) => {
                let known = credentials.get(&name.value);
                if known.is_none() && name.value != "none" {
                    let names: Vec<&str> = self.file.credentials.iter().map(|one| one.name.value.as_str()).collect();
                    self.unknown_name(name, &path.key("credentials"), "credentials", &names);
                }
                known
            }
        };
        if let Some(name) = &provider.credentials
            && let Some(named) = self.file.credential(&name.value)
        {
            self.placed_twice(provider, named);
        }
        let deployment = Deployment::read(provider, credential, self.environment, self.sources, self.faults);
        let id_schema = provider.id.to_schema();
        let id = self.id_rule(provider, &id_schema);
        let limits = compile_limits::provider(provider, quotas, self.faults);
        let mut actions = BTreeMap::new();
        let environment = self.environment;
        let mut routes = RouteCompiler {
            provider: &provider.name.value,
            task: None,
            has_task: provider.task.is_some(),
            id_schema: &id_schema,
            scope: &provider.scope,
            trace: provider.trace,
            settings: Arc::clone(settings),
            setting_names,
            schemas: &mut self.schemas,
            files: self.files,
            faults: self.faults,
        };
        let faults = faults?;
        let looks = compile_limits::task(provider, quotas, routes.faults);
        if let Some(task) = &provider.task {
            routes.task = routes.task(task, Arc::clone(&faults), looks, environment).map(Arc::new);
        }
        for action in &provider.actions {
            let allowances = compile_limits::action(provider, action, quotas, routes.faults);
            if let Some(route) = routes.route(action, Arc::clone(&faults), allowances) {
                actions.insert(route.action.clone(), Arc::new(route));
            }
        }
        let task = routes.task;
        Some(Provider {
            name: provider.name.value.clone(),
            actions_of: provider
                .like
                .as_ref()
                .filter(|_| provider.borrowed_actions)
                .map(|like| like.value.clone()),
            title: provider.title.value.clone(),
            connection: deployment.connection,
            alternatives: deployment.alternatives,
            id: id?,
            limits,
            scope: deployment.scope,
            actions,
            task,
        })
    }

    /// The header of the credentials is theirs alone: the client refuses to send a route's in its place.
    fn placed_twice(&mut self, provider: &file::Provider, credential: &file::Credential) {
        for header in credential.alternatives.iter().filter_map(|one| one.scheme.as_header()) {
            for request in provider.actions.iter().filter_map(|action| action.request.as_ref()) {
                for (name, _) in request.headers.iter().filter(|(name, _)| name.value == header.value) {
                    let message = format!(
                        "the header `{}` is placed by the credentials `{}`",
                        name.value, credential.name.value
                    );
                    self.faults
                        .fault(name.span, &request.place.path.key("headers").key(name.value.as_str()), message)
                        .note(header.span, "they name it here");
                }
            }
        }
    }

    fn id_rule(&mut self, provider: &file::Provider, schema: &Value) -> Option<IdRule> {
        let description = match provider.id.kind {
            IdKind::Integer => {
                let at_most = provider.id.maximum.as_ref().map_or(i64::MAX, |bound| bound.value);
                format!(
                    "an integer from {} to {at_most}, without sign or leading zero",
                    provider.id.minimum.as_ref().map_or(0, |bound| bound.value)
                )
            }
            IdKind::String => match (&provider.id.pattern, &provider.id.max_length) {
                (Some(pattern), _) => format!("a text that matches {}", pattern.value),
                (None, Some(length)) => format!("a text of at most {} characters", length.value),
                (None, None) => "a text".to_owned(),
            },
        };
        match Schema::compile(schema) {
            Ok(compiled) => Some(IdRule {
                kind: provider.id.kind,
                schema: compiled,
                document: schema.clone(),
                description,
            }),
            // The decoder has said already what is wrong with a pattern.
            Err(_) if !self.faults.is_empty() => None,
            Err(error) => {
                self.faults
                    .fault(provider.id.place.span, &provider.id.place.path, error.to_string());
                None
            }
        }
    }

    fn unknown_name(&mut self, name: &Spanned<String>, path: &Path, what: &str, known: &[&str]) {
        let near = did_you_mean(&name.value, known.iter().copied());
        let all = (!known.is_empty()).then(|| format!("there are {}", known.join(", ")));
        self.faults
            .fault(name.span, path, format!("unknown {what} `{}`", name.value))
            .maybe_hint(near.or(all));
    }
}

/// 64 bits tell one configuration from another; more would only be longer to compare by eye.
const HASH_DIGITS: usize = 16;

/// The reason with this code. The decoder has refused any other word, so the fallback is never run.
pub(super) fn reason(word: &Spanned<String>) -> Reason {
    Reason::parse(&word.value).unwrap_or(Reason::BadVendorResponse)
}

/// What every call has: `call.uuid`.
pub(super) fn call_schema() -> Value {
    serde_json::json!({ "type": "object", "required": ["uuid"], "properties": { "uuid": { "type": "string" } }, "additionalProperties": false })
}
