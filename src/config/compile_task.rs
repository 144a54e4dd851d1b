//! Looking and following, compiled: a provider's `task`, an action's `look`, `settles` and `job`.
//!
//! **Errors**: besides those of the templates: a zone or a format of times that does not exist, a look without a `task`, a refusal
//! that leaves the effect open, an action whose `scope` lacks what a look needs.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::compile::reason;
use super::compile_route::RouteCompiler;
use super::file::{Action, Job, Look, Settles as FileSettles, Task as FileTask, Times as FileTimes};
use super::names::{Names, kind};
use super::place::{Path, Spanned};
use super::placeholder::{Piece, pieces};
use super::template::{Position, TemplateCompiler};
use super::variables::Variables;
use super::yaml::Node;
use crate::mapping::expression::{Expression, Reference};
use crate::mapping::fault::FaultTable;
use crate::mapping::job::JobRules;
use crate::mapping::look::{Settles, TaskRules};
use crate::mapping::moment::{TimeFormat, Times};
use crate::mapping::template::{Placeholder, Template};
use crate::model::answer::{Outcome, TaskState};
use crate::route::{Allowance, LOOK, Pursuit, Repeat, Route, Task};

impl RouteCompiler<'_, '_> {
    /// Compiles a provider's `task`; `None` where it has faults, which have been noted.
    pub(super) fn task(
        &mut self,
        task: &FileTask,
        faults: Arc<FaultTable>,
        allowances: Vec<Arc<Allowance>>,
        environment: &Variables<'_>,
    ) -> Option<Task> {
        let path = &task.place.path;
        let times = task
            .times
            .as_ref()
            .map_or_else(|| Some(Times::default()), |times| self.times(times, environment));
        let name = task.schema.as_ref()?;
        let document = self.schemas.load(name, &path.key("schema"), self.files, self.faults);
        let schema = document.and_then(|document| self.request_schema(name, document, &path.key("schema")));
        let only_scope = schema.as_ref().is_none_or(|schema| {
            let members = schema.document.get("properties").and_then(Value::as_object);
            members.is_none_or(|members| members.keys().all(|member| member == "scope"))
        });
        if !only_scope {
            self.faults
                .fault(
                    name.span,
                    &path.key("schema"),
                    format!("a look needs `scope` only, `{}` has more", name.value),
                )
                .hint("members of `scope` are the query parameters of a GET");
            return None;
        }
        let mut names = schema.as_ref().map(|schema| self.call_names(&schema.document)).unwrap_or_default();
        // What is fresh for each call has no place in a look that is the same for all.
        names.remove("call");
        let request = match (&task.request, &schema) {
            (Some(request), Some(schema)) => self.request(request, &names, schema, name, None),
            _ => None,
        };
        let (reply, names) = task.reply.as_ref().and_then(|reply| self.reply(reply, names, faults))?;
        let rules = self.task_rules(task, &names, times);
        Some(Task {
            route: Arc::new(Route {
                provider: self.provider.to_owned(),
                action: LOOK.to_owned(),
                title: "Looks at the task".to_owned(),
                schema: schema?,
                repeat: Repeat::Safe,
                // A look that is refused for limits is the business of those who pace the looks.
                limited_before_acting: false,
                batch: None,
                request: request?,
                reply,
                settings: Arc::clone(&self.settings),
                // A look has no such name.
                reads_call: false,
                allowances,
                trace: self.trace,
                pursuit: Pursuit::default(),
            }),
            rules: rules?,
            every: task.every.as_ref().map_or(DEFAULT_LOOK_EVERY, |every| every.value),
        })
    }

    fn task_rules(&mut self, task: &FileTask, names: &Names, times: Option<Times>) -> Option<TaskRules> {
        let path = &task.place.path;
        let mut compiler = TemplateCompiler::new(self.faults, true);
        let item = compiler.placeholder(&task.item, &path.key("item"), names);
        let complete = match &task.complete {
            Some(complete) => Some(compiler.condition(&complete.value, complete.span, &path.key("complete"), names)?),
            None => None,
        };
        let inside = with_item(names, item.as_ref());
        let state = compiler.compile(&task.state, &path.key("state"), &inside, Position::Scalar);
        let mut template = |node: &Option<Node>, key: &str| match node {
            Some(node) => compiler.compile(node, &path.key(key), &inside, Position::Scalar).map(Some),
            None => Some(None),
        };
        let (raw_state, name, created_at, updated_at) = (
            template(&task.raw_state, "raw_state"),
            template(&task.name, "name"),
            template(&task.created_at, "created_at"),
            template(&task.updated_at, "updated_at"),
        );
        if task.times.is_none()
            && let Some(node) = task.created_at.as_ref().or(task.updated_at.as_ref())
        {
            self.faults
                .fault(node.span, path, "missing key `times`: how the times are written")
                .hint("such as `times: { format: rfc3339 }`");
            return None;
        }
        let state = state?;
        self.states(&state, &task.state, &path.key("state"))?;
        Some(TaskRules {
            item: item?,
            complete,
            state,
            raw_state: raw_state?,
            name: name?,
            created_at: created_at?,
            updated_at: updated_at?,
            times: times?,
        })
    }

    fn times(&mut self, times: &FileTimes, environment: &Variables<'_>) -> Option<Times> {
        let path = &times.place.path;
        let mut formats = Vec::new();
        for node in &times.format {
            match node.as_text().and_then(TimeFormat::parse) {
                Some(format) => formats.push(format),
                None if node.is_refused() => {}
                None => {
                    self.faults
                        .fault(node.span, &path.key("format"), "this is no format of a time")
                        .hint("`rfc3339`, `epoch-ms`, or a format of strftime with a whole date and time, such as `%Y-%m-%d %H:%M:%S`");
                }
            }
        }
        let zone = match &times.zone {
            Some(node) => self.zone(node, &path.key("zone"), environment)?,
            None => None,
        };
        (formats.len() == times.format.len()).then_some(Times { formats, zone })
    }

    /// The time zone; nothing inside where a variable is not set, nothing at all after a fault.
    #[expect(
        clippy::option_option,
        reason = "the outer one is the fault, the inner one the zone that is not given"
    )]
    fn zone(&mut self, node: &Node, path: &Path, environment: &Variables<'_>) -> Option<Option<TimeZone>> {
        let parts = node.as_text().and_then(|text| pieces(text).ok()).unwrap_or_default();
        let mut name = String::new();
        for part in &parts {
            match part {
                Piece::Literal(text) => name.push_str(text),
                Piece::Placeholder { source, .. } => match source.strip_prefix("env.") {
                    Some(variable) => match environment.value(variable) {
                        Some(value) => name.push_str(&value),
                        // Without a zone the times are left out: that is no fault of the provider.
                        None => return Some(None),
                    },
                    None => {
                        self.faults
                            .fault(node.span, path, format!("unknown reference `{source}`"))
                            .focus(source.as_str())
                            .hint("only `env.NAME` can stand here");
                        return None;
                    }
                },
            }
        }
        match TimeZone::get(&name) {
            Ok(zone) => Some(Some(zone)),
            Err(_) => {
                self.faults
                    .fault(node.span, path, "the value is no time zone")
                    .hint("write a name of the IANA database, such as `Europe/Berlin` or `UTC`");
                None
            }
        }
    }

    /// Compiles what an action does beside sending its request, but for the job's id; `None` after a fault.
    pub(super) fn pursuit(&mut self, action: &Action, names: Option<&Names>, schema: Option<&Value>) -> Option<Pursuit> {
        let path = &action.place.path;
        let sound = self.looks_are_possible(action, schema);
        let look = action.look.as_ref();
        let after = look.map_or_else(|| Some(Vec::new()), |look| self.look_after(look));
        let settles = match &action.settles {
            Some(settles) => self.settles(settles).map(Some),
            None => Some(None),
        };
        let job = match (&action.job, names) {
            (Some(job), Some(names)) => self.job(job, names, &path.key("job")).map(Some),
            (Some(_), None) => None,
            (None, _) => Some(None),
        };
        Some(Pursuit {
            look_before: look.is_some_and(|look| look.before),
            look_after: after?,
            settles: settles?,
            always_seen: schema.is_some_and(|schema| self.suffices_always(schema)),
            job: job?,
        })
        .filter(|_| sound)
    }

    /// A look needs a task to look at, states that mean something, and the scope that it takes.
    fn looks_are_possible(&mut self, action: &Action, schema: Option<&Value>) -> bool {
        let look = action.look.as_ref().map(|look| (&look.place, "look"));
        let settles = action.settles.as_ref().map(|settles| (&settles.place, "settles"));
        if let (Some((place, key)), false) = (look.or(settles), self.has_task) {
            self.faults
                .fault(place.span, &place.path, format!("`{key}` without a `task` of the provider"))
                .hint("`task` says how to look");
            return false;
        }
        if let (Some((place, _)), None) = (look, settles) {
            self.faults
                .fault(place.span, &place.path, "`look` without `settles`")
                .hint("`settles` says which states mean that the task has ended already");
            return false;
        }
        self.scope_suffices(action, schema)
    }

    fn scope_suffices(&mut self, action: &Action, schema: Option<&Value>) -> bool {
        let (Some(task), Some(schema), true) = (&self.task, schema, action.settles.is_some()) else {
            return true;
        };
        let listed = |document: &Value, pointer: &str| -> Vec<String> {
            let list = document.pointer(pointer).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let needed = listed(&task.route.schema.document, "/properties/scope/required");
        let given = listed(schema, "/properties/scope/required");
        let lacks: Vec<&String> = needed
            .iter()
            .filter(|member| !given.contains(member) && !self.scope.iter().any(|(key, _)| key.text == **member))
            .collect();
        for member in &lacks {
            self.faults
                .fault(
                    action.place.span,
                    &action.place.path,
                    format!("a look needs `scope.{member}`, which this action does not require"),
                )
                .hint("require it in the action's schema, or give it a default under the provider's `scope`");
        }
        lacks.is_empty()
    }

    /// Is it certain that what fits an action's schema has a `scope` that fits the look's? So it is where both say the same of each member.
    fn suffices_always(&self, action: &Value) -> bool {
        const PLAIN: [&str; 8] = [
            "$schema",
            "additionalProperties",
            "description",
            "examples",
            "properties",
            "required",
            "title",
            "type",
        ];
        let Some(task) = &self.task else { return false };
        let look = &task.route.schema.document;
        let is_plain = |schema: &Value| {
            schema
                .as_object()
                .is_some_and(|schema| schema.keys().all(|key| PLAIN.contains(&key.as_str())))
        };
        let requires = |schema: &Value, member: &str| {
            let required = schema.get("required").and_then(Value::as_array);
            required.is_some_and(|required| required.iter().any(|name| name == member))
        };
        let (Some(seen), Some(given)) = (look.pointer("/properties/scope"), action.pointer("/properties/scope")) else {
            return false;
        };
        let members = seen.get("properties").and_then(Value::as_object);
        let needed = seen.get("required").and_then(Value::as_array);
        let has_default = |member: &Value| self.scope.iter().any(|(key, _)| member == key.text.as_str());
        is_plain(look)
            && is_plain(seen)
            && (requires(action, "scope") || !self.scope.is_empty() || !requires(look, "scope"))
            && members
                .into_iter()
                .flatten()
                .all(|(name, schema)| given.get("properties").and_then(|given| given.get(name)) == Some(schema))
            && needed.into_iter().flatten().all(|member| {
                has_default(member)
                    || member
                        .as_str()
                        .is_some_and(|name| requires(given, name) && requires(action, "scope"))
            })
    }

    fn look_after(&mut self, look: &Look) -> Option<Vec<crate::model::reason::Reason>> {
        let mut sound = true;
        for word in &look.after {
            if reason(word).facts().outcome != Outcome::NotDone {
                self.faults
                    .fault(
                        word.span,
                        &look.place.path.key("after"),
                        format!("`{}` leaves open what happened", word.value),
                    )
                    .hint("a look follows refusals only: it cannot tell what became of a request whose answer is lost");
                sound = false;
            }
        }
        sound.then(|| look.after.iter().map(reason).collect())
    }

    fn settles(&mut self, settles: &FileSettles) -> Option<Settles> {
        let states = |words: &[Spanned<String>]| words.iter().filter_map(|word| TaskState::parse(&word.value)).collect();
        let failed_when = match &settles.failed_when {
            Some(condition) => {
                let names = Names::default().with("item", None, true);
                let mut compiler = TemplateCompiler::new(self.faults, false);
                Some(compiler.condition(&condition.value, condition.span, &settles.place.path.key("failed_when"), &names)?)
            }
            None => None,
        };
        Some(Settles {
            done: states(&settles.done),
            failed: states(&settles.failed),
            failed_when,
        })
    }

    fn job(&mut self, job: &Job, names: &Names, path: &Path) -> Option<JobRules> {
        // The answer of a job follows no schema of the action.
        let answers = names
            .clone()
            .with("status", Some(json!({ "type": "integer" })), true)
            .with("headers", None, true)
            .with("text", Some(json!({ "type": "string" })), true)
            .with("body", None, true);
        let mut compiler = TemplateCompiler::new(self.faults, false);
        let pending = compiler.condition(&job.pending.value, job.pending.span, &path.key("pending"), &answers);
        let expired = match &job.expired {
            Some(expired) => Some(compiler.condition(&expired.value, expired.span, &path.key("expired"), &answers)?),
            None => None,
        };
        let names = names.clone().with("job", Some(json!({ "type": "string" })), true);
        let request = job.request.as_ref().and_then(|request| self.request_template(request, &names));
        Some(JobRules {
            request: request?.0,
            pending: pending?,
            expired,
            every: job.every.as_ref().map_or(DEFAULT_JOB_EVERY, |every| every.value),
        })
    }

    /// Compiles the template of a job's id over the names of the action's answer.
    pub(super) fn job_id(&mut self, job: &Job, names: &Names) -> Option<Template> {
        let mut compiler = TemplateCompiler::new(self.faults, true);
        compiler.compile(&job.id, &job.place.path.key("id"), names, Position::Scalar)
    }
}

/// The names with `item`: an entry of the first list that the expression reads, or what it refers to.
fn with_item(names: &Names, item: Option<&Placeholder>) -> Names {
    let references: Vec<Reference> = item
        .map(|item| item.expression.uses().into_iter().map(|used| used.reference).collect())
        .unwrap_or_default();
    let list = references.iter().find(|reference| {
        let schema = names.schema_of(reference);
        schema.as_ref().and_then(kind) == Some("array")
    });
    match (list, item.map(|item| &item.expression)) {
        (Some(list), _) => names.with_item("item", Some(list)),
        (None, Some(Expression::Reference(reference))) => {
            let schema = names.schema_of(reference);
            names.clone().with("item", schema, true)
        }
        (None, _) => names.with_item("item", None),
    }
}

/// Vendors take seconds to stop something; more often than this tells nobody more.
const DEFAULT_LOOK_EVERY: Duration = Duration::from_secs(10);
/// A job that has just been made mostly ends within a second or two.
const DEFAULT_JOB_EVERY: Duration = Duration::from_secs(2);
