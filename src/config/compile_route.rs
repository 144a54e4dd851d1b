//! One action of routes.yaml, compiled against its two schemas.
//!
//! **Errors**: besides those of the templates: a schema without an object at its top, a canonical member that the route
//! ignores, a rule that can never match, a state that does not exist.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::compile::{call_schema, reason};
use super::compile_request;
use super::diagnostic::Diagnostics;
use super::file::{Action, OutcomeRule as FileRule, Reply, ReplyBody as FileBody, Request, RuleKind};
use super::files::FileSet;
use super::names::{Names, leaves};
use super::place::{Path, Spanned};
use super::schemas::Schemas;
use super::template::{Position, TemplateCompiler};
use super::yaml::{Key, Node};
use crate::codec::shape::Shape;
use crate::mapping::fault::{FaultTable, StatusPattern};
use crate::mapping::reply::{Items, OutcomeRule, ReplyBody, ReplyRules, SuccessRule, Verdict};
use crate::mapping::request::RequestTemplate;
use crate::mapping::template::Template;
use crate::model::answer::{Success, TaskState};
use crate::model::reason::Reason;
use crate::route::{Allowance, IDS, Repeat, Route};
use crate::schema::{RequestSchema, Schema};

/// Compiles the actions of one provider.
pub(super) struct RouteCompiler<'a, 's> {
    /// The provider's name.
    pub(super) provider: &'a str,
    /// How to look at its tasks; nothing without a `task`, or after a fault in it.
    pub(super) task: Option<Arc<crate::route::Task>>,
    /// Is there a `task`, be it with faults?
    pub(super) has_task: bool,
    /// The schema of its ids.
    pub(super) id_schema: &'a Value,
    /// Is the vendor told of traces?
    pub(super) trace: bool,
    /// The members of `scope` that the provider gives by default.
    pub(super) scope: &'a [(Key, Node)],
    /// The values of the settings.
    pub(super) settings: Arc<Value>,
    /// Their schema.
    pub(super) setting_names: &'a Value,
    /// Where schemas come from.
    pub(super) schemas: &'a mut Schemas<'s>,
    /// The texts that faults are about.
    pub(super) files: &'a mut FileSet,
    /// Where faults go.
    pub(super) faults: &'a mut Diagnostics,
}

impl RouteCompiler<'_, '_> {
    /// Compiles an action; `None` where it has faults, which have been noted.
    pub(super) fn route(&mut self, action: &Action, faults: Arc<FaultTable>, allowances: Vec<Arc<Allowance>>) -> Option<Route> {
        let path = &action.place.path;
        let document = action
            .schema
            .as_ref()
            .and_then(|schema| self.schemas.load(schema, &path.key("schema"), self.files, self.faults));
        let schema = match (&action.schema, document) {
            (Some(name), Some(document)) => self.request_schema(name, document, &path.key("schema")),
            _ => None,
        };
        // Without its schema a request cannot be judged; what the answers mean still can.
        let names = schema.as_ref().map(|schema| self.call_names(&schema.document));
        let asked = names.clone().map(|names| match &action.batch {
            Some(_) => names.with(IDS, Some(json!({ "type": "array", "items": self.id_schema, "minItems": 1 })), true),
            None => names,
        });
        let request = match (&action.request, &asked, &schema, &action.schema) {
            (Some(request), Some(names), Some(schema), Some(name)) => self.request(request, names, schema, name, Some(action)),
            _ => None,
        };
        self.answers_for_each(action);
        let known = names.clone();
        let pursuit = self.pursuit(action, names.as_ref(), schema.as_ref().map(|schema| &schema.document));
        let reply = action
            .reply
            .as_ref()
            .and_then(|reply| self.reply(reply, names.unwrap_or_default(), Arc::clone(&faults)))
            .and_then(|(reply, names)| {
                let job = match &action.job {
                    Some(job) => Some(self.job_id(job, &names)?),
                    None => None,
                };
                Some(ReplyRules { job, ..reply })
            });
        Some(Route {
            provider: self.provider.to_owned(),
            action: action.name.value.clone(),
            title: action.title.value.clone(),
            schema: schema?,
            repeat: action.repeat.value,
            limited_before_acting: action.limited_before_acting,
            batch: action.batch.as_ref().and_then(|batch| batch.max.as_ref()).map(|max| max.value),
            request: request?,
            reply: reply?,
            settings: Arc::clone(&self.settings),
            reads_call: faults.reads_call || known.is_some_and(|names| names.is_read("call")),
            allowances,
            trace: self.trace,
            pursuit: pursuit?,
        })
    }

    pub(super) fn request_schema(&mut self, name: &Spanned<String>, document: Value, path: &Path) -> Option<RequestSchema> {
        let closed = document.get("additionalProperties") == Some(&Value::Bool(false));
        if document.get("type").and_then(Value::as_str) != Some("object") || !closed {
            let message = format!("the schema of a canonical request (`{}`) is a closed object", name.value);
            self.faults
                .fault(name.span, path, message)
                .hint("`\"type\": \"object\", \"additionalProperties\": false` at its top");
            return None;
        }
        let known = ["force", "parameters", "reason", "scope"];
        for member in document
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys)
        {
            if !known.contains(&member.as_str()) {
                let message = format!("`{member}` of `{}` is no member of a canonical request", name.value);
                self.faults
                    .fault(name.span, path, message)
                    .hint("there are `scope`, `force`, `reason` and `parameters`; what is the provider's own stands under `parameters`");
                return None;
            }
        }
        match RequestSchema::compile(document) {
            Ok(schema) => Some(schema),
            Err(error) => {
                self.faults.fault(name.span, path, error.to_string());
                None
            }
        }
    }

    /// The names of a request, with what the schema and the provider's defaults guarantee.
    pub(super) fn call_names(&self, document: &Value) -> Names {
        let property = |name: &str| document.pointer(&format!("/properties/{name}")).cloned();
        let required = |name: &str| {
            let listed = document
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|list| list.iter().any(|item| item == name));
            listed || property(name).is_some_and(|schema| schema.get("default").is_some())
        };
        let mut names = Names::default()
            .with("id", Some(self.id_schema.clone()), true)
            .with("call", Some(call_schema()), true)
            .with("settings", Some(self.setting_names.clone()), true);
        for member in ["force", "parameters"] {
            if let Some(schema) = property(member) {
                names = names.with(member, Some(schema), required(member));
            }
        }
        if let Some(mut scope) = property("scope") {
            if let Some(members) = scope.as_object_mut() {
                let given = members.entry("required").or_insert_with(|| json!([]));
                if let Some(list) = given.as_array_mut() {
                    list.extend(self.scope.iter().map(|(key, _)| Value::from(key.text.clone())));
                }
            }
            names = names.with("scope", Some(scope), required("scope") || !self.scope.is_empty());
        }
        names
    }

    /// A request that must use all that its schema allows, and have the key that its action speaks of.
    pub(super) fn request(
        &mut self,
        request: &Request,
        names: &Names,
        schema: &RequestSchema,
        name: &Spanned<String>,
        action: Option<&Action>,
    ) -> Option<RequestTemplate> {
        // After a fault in a template the list of what is used is not complete, and would accuse in vain.
        let (template, used) = self.request_template(request, names)?;
        let uses = |name: &str| used.iter().any(|path| path.first().is_some_and(|first| first == name));
        if let Some(action) = action {
            self.names_the_list(action, request, uses(IDS), uses("id"));
        }
        if let Some(action) = action.filter(|action| action.repeat.value == Repeat::SameKey && !uses("call")) {
            self.faults
                .fault(
                    action.repeat.span,
                    &action.place.path.key("repeat"),
                    "`same-key`, but the request has no key",
                )
                .hint("the key is `${call.uuid}`: it is the same each time the request of a call is sent");
        }
        self.ignored(&used, &schema.document, request, name);
        Some(template)
    }

    /// A request for many tasks names all of them, and none of them alone.
    fn names_the_list(&mut self, action: &Action, request: &Request, names_all: bool, names_one: bool) {
        let Some(batch) = &action.batch else { return };
        if !names_all {
            self.faults
                .fault(batch.place.span, &batch.place.path, "`batch`, but the request has no list of ids")
                .hint("`${ids}` is the list; a call of one task is a list of one");
        } else if names_one {
            self.faults
                .fault(
                    request.place.span,
                    &request.place.path,
                    "the request of a `batch` names one task by `id`",
                )
                .hint("`${ids}` is the list; a call of one task is a list of one");
        }
    }

    /// The answer to a request for many tasks says what became of each.
    fn answers_for_each(&mut self, action: &Action) {
        let Some(batch) = &action.batch else { return };
        let rules = action.reply.iter().flat_map(|reply| &reply.outcome);
        for rule in rules.filter(|rule| rule.is.value != RuleKind::Fault && rule.items.is_none()) {
            self.faults
                .fault(
                    rule.place.span,
                    &rule.place.path,
                    "missing key `items`: with `batch` the answer tells of each task",
                )
                .note(batch.place.span, "`batch` is here");
        }
        if let Some(job) = &action.job {
            self.faults
                .fault(
                    job.place.span,
                    &job.place.path,
                    "a `job` does not go with `batch`: it would be that of many tasks",
                )
                .note(batch.place.span, "`batch` is here");
        }
    }

    /// A request, and what it uses.
    pub(super) fn request_template(&mut self, request: &Request, names: &Names) -> Option<(RequestTemplate, BTreeSet<Vec<String>>)> {
        let mut compiler = TemplateCompiler::new(self.faults, true);
        let template = compile_request::request(&mut compiler, request, names)?;
        let used = std::mem::take(&mut compiler.used);
        Some((template, used))
    }

    /// Nothing that a caller may say is ignored in silence.
    fn ignored(&mut self, used: &BTreeSet<Vec<String>>, document: &Value, request: &Request, name: &Spanned<String>) {
        for leaf in leaves(document) {
            let is_log_only = leaf.first().is_some_and(|member| member == "reason");
            let is_used = used.iter().any(|path| leaf.starts_with(path) || path.starts_with(&leaf));
            if !is_log_only && !is_used {
                let member = leaf.join(".").replace(".[]", "[]");
                let message = format!("the request ignores `{member}`, which `{}` allows", name.value);
                self.faults
                    .fault(request.place.span, &request.place.path, message)
                    .hint("use it in the request, or take it out of the schema");
            }
        }
    }

    /// The rules of a reply, and the names that are known in it.
    pub(super) fn reply(&mut self, reply: &Reply, names: Names, faults: Arc<FaultTable>) -> Option<(ReplyRules, Names)> {
        let path = &reply.place.path;
        let document = match &reply.schema {
            Some(name) => Some(self.schemas.load(name, &path.key("schema"), self.files, self.faults)?),
            None => None,
        };
        let schema = match (&document, &reply.schema) {
            (Some(document), Some(name)) => match Schema::compile(document) {
                Ok(schema) => Some(schema),
                Err(error) => {
                    self.faults.fault(name.span, &path.key("schema"), error.to_string());
                    return None;
                }
            },
            _ => None,
        };
        let body = match (reply.body, &document) {
            (FileBody::Empty, _) => ReplyBody::Empty,
            (FileBody::Json, _) => ReplyBody::Json,
            (FileBody::Xml, document) => match Shape::compile(document.as_ref().unwrap_or(&Value::Bool(true))) {
                Ok(shape) => ReplyBody::Xml(Box::new(shape)),
                Err(error) => {
                    let span = reply.schema.as_ref().map_or(reply.place.span, |name| name.span);
                    self.faults.fault(
                        span,
                        &path.key("schema"),
                        format!("the schema cannot steer the reading of XML: {error}"),
                    );
                    return None;
                }
            },
        };
        let names = names
            .with("status", Some(json!({ "type": "integer" })), true)
            .with("headers", None, true)
            .with("text", Some(json!({ "type": "string" })), true)
            .with("body", document, true);
        self.unreachable(reply);
        let outcome: Vec<_> = reply.outcome.iter().map(|rule| self.rule(rule, &names)).collect();
        let rules = ReplyRules {
            body,
            schema,
            outcome: outcome.into_iter().collect::<Option<_>>()?,
            faults,
            job: None,
        };
        Some((rules, names))
    }

    /// A rule behind one that matches all it could match.
    fn unreachable(&mut self, reply: &Reply) {
        let covers = |rule: &FileRule, status: u16| rule.status.as_ref().is_none_or(|pattern| pattern.value.matches(status));
        for (at, rule) in reply.outcome.iter().enumerate() {
            let earlier = reply
                .outcome
                .get(..at)
                .unwrap_or_default()
                .iter()
                .filter(|earlier| earlier.when.is_none());
            let dead = (100..600)
                .filter(|status| covers(rule, *status))
                .all(|status| earlier.clone().any(|earlier| covers(earlier, status)));
            if dead {
                self.faults.fault(
                    rule.place.span,
                    &rule.place.path,
                    "this rule is never reached: earlier rules without `when` take all its statuses",
                );
            }
        }
    }

    fn rule(&mut self, rule: &FileRule, names: &Names) -> Option<OutcomeRule> {
        let path = &rule.place.path;
        let is_fault = rule.is.value == RuleKind::Fault;
        if !is_fault
            && rule
                .status
                .as_ref()
                .is_some_and(|pattern| (0..200).chain(300..600).any(|status| pattern.value.matches(status)))
        {
            self.faults
                .fault(
                    rule.place.span,
                    &path.key("status"),
                    "only a status from 200 to 299 can be a success",
                )
                .hint("an error status is a `fault`");
            return None;
        }
        let mut compiler = TemplateCompiler::new(self.faults, !is_fault);
        let when = match &rule.when {
            Some(when) => Some(compiler.condition(&when.value, when.span, &path.key("when"), names)?),
            None => None,
        };
        let mut template = |node: &Option<Node>, key: &str| match node {
            Some(node) => compiler.compile(node, &path.key(key), names, Position::Scalar).map(Some),
            None => Some(None),
        };
        let (state, name, message, code) = (
            template(&rule.state, "state"),
            template(&rule.name, "name"),
            template(&rule.message, "message"),
            template(&rule.code, "code"),
        );
        let verdict = match rule.is.value {
            RuleKind::Fault => Verdict::Fault {
                reason: rule.reason.as_ref().map(reason),
                code: code?,
                message: message?,
            },
            RuleKind::Accepted | RuleKind::Done => {
                let items = match &rule.items {
                    Some(items) => Some(self.items(items, names)?),
                    None => None,
                };
                let state = state?.unwrap_or_else(|| Template::Literal(Value::from(TaskState::Unknown.as_str())));
                if let Some(node) = &rule.state {
                    self.states(&state, node, &path.key("state"))?;
                }
                Verdict::Success(Box::new(SuccessRule {
                    success: if rule.is.value == RuleKind::Done {
                        Success::Done
                    } else {
                        Success::Accepted
                    },
                    state,
                    name: name?,
                    message: message?,
                    items,
                }))
            }
        };
        // Without a `status` a success is one of the 2xx: nothing else can be.
        let status = match &rule.status {
            Some(status) => status.value.clone(),
            None if is_fault => StatusPattern::any(),
            None => StatusPattern { ranges: vec![(200, 299)] },
        };
        Some(OutcomeRule { status, when, verdict })
    }

    fn items(&mut self, items: &super::file::Items, names: &Names) -> Option<Items> {
        let path = &items.place.path;
        let mut compiler = TemplateCompiler::new(self.faults, true);
        let done = compiler.placeholder(&items.done, &path.key("done"), names);
        let failed = compiler.placeholder(&items.failed, &path.key("failed"), names);
        let inside = match done.as_ref().map(|list| &list.expression) {
            Some(crate::mapping::expression::Expression::Reference(reference)) => names.with_item("item", Some(reference)),
            _ => names.with_item("item", None),
        };
        let id = compiler.compile(&items.id, &path.key("id"), &inside, Position::Scalar);
        let message = match &items.message {
            Some(node) => Some(compiler.compile(node, &path.key("message"), &inside, Position::Scalar)?),
            None => None,
        };
        let of_the_reply = ["body", "headers", "item", "status", "text"];
        let reads_call = compiler
            .used
            .iter()
            .any(|path| path.first().is_none_or(|name| !of_the_reply.contains(&name.as_str())));
        Some(Items {
            reads_call,
            done: done?,
            failed: failed?,
            id: id?,
            message,
            reason: items.reason.as_ref().map_or(Reason::ActionFailed, reason),
        })
    }

    /// Every text that a state template may become is a state.
    pub(super) fn states(&mut self, state: &Template, node: &Node, path: &Path) -> Option<()> {
        let words: Vec<&str> = TaskState::ALL.into_iter().map(TaskState::as_str).collect();
        match state {
            Template::Literal(Value::String(word)) if TaskState::parse(word).is_some() => Some(()),
            Template::Map { to, otherwise, .. } => to
                .iter()
                .map(|(_, target)| target)
                .chain(otherwise.as_deref())
                .try_for_each(|target| self.states(target, node, path)),
            Template::When { then, otherwise, .. } => std::iter::once(then.as_ref())
                .chain(otherwise.as_deref())
                .try_for_each(|target| self.states(target, node, path)),
            // The decoder has said already what is wrong with a word.
            _ if !self.faults.is_empty() => None,
            _ => {
                let fault = self.faults.fault(node.span, path, "expected a state, or a `map` to states");
                fault.hint(format!("the states are {}", words.join(", ")));
                None
            }
        }
    }
}
