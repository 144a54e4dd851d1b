//! The description of the interface, made of the shipped routes and cases: is it whole, closed and true?

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use taskgate::catalog::openapi::{document, print};
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::model::reason::Reason;
use taskgate::route::RouteTable;
use taskgate::schema::Schema;

use super::rig::compiled;

static TABLE: LazyLock<Arc<RouteTable>> = LazyLock::new(|| {
    let sources = shipped::sources();
    compiled(&sources, &Environment::default()).with_examples(&sources).table
});

/// Every value with its pointer.
fn walk<'v>(value: &'v Value, pointer: &str, visit: &mut dyn FnMut(&str, &'v Value)) {
    visit(pointer, value);
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                walk(inner, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), visit);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                walk(inner, &format!("{pointer}/{at}"), visit);
            }
        }
        _ => {}
    }
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    all.collect()
}

#[test]
fn references_lead_somewhere_and_components_are_used() {
    let document = document(&TABLE);
    let mut used = BTreeSet::new();
    walk(&document, "", &mut |at, value| {
        if at.ends_with("/$ref") {
            let target = value.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(target).is_some(), "{at} leads nowhere: {target}");
            used.insert(target.to_owned());
        }
    });
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            assert!(
                used.contains(&format!("/components/{kind}/{name}")),
                "{kind}/{name} is used nowhere"
            );
        }
    }
}

#[test]
fn operations_have_ids_of_their_own_and_all_that_is_wanted() {
    let document = document(&TABLE);
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{path}");
        assert!(operation["summary"].is_string() && operation["description"].is_string(), "{path}");
        assert!(operation["responses"].get("200").is_some(), "{method} {path}");
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let declared = operation["parameters"].as_array().unwrap().iter().any(|parameter| {
                let parameter = parameter["$ref"]
                    .as_str()
                    .map_or(parameter, |reference| document.pointer(&reference[1..]).unwrap());
                parameter["in"] == "path" && parameter["name"] == name && parameter["required"] == true
            });
            assert!(declared, "{path}: {name}");
        }
    }
    for wanted in ["StopPrimeTask", "RetryHssTask", "GetPrimeTask", "ListProviders", "GetProblem"] {
        assert!(ids.contains(wanted), "{wanted}");
    }
}

/// Schemas of everything that is told or taken, by the rules that the public ruleset of OWASP has for them.
#[test]
fn every_text_list_and_number_is_bounded() {
    let document = document(&TABLE);
    let mut seen = 0;
    walk(&document["components"], "/components", &mut |at, value| {
        if at.contains("/example") {
            return;
        }
        let is = |kind: &str| match value.get("type") {
            Some(Value::String(one)) => one == kind,
            Some(Value::Array(several)) => several.iter().any(|one| one == kind),
            _ => false,
        };
        let says = |words: &[&str]| words.iter().all(|word| value.get(word).is_some());
        if is("string") {
            seen += 1;
            assert!(
                says(&["enum"]) || says(&["const"]) || says(&["maxLength", "pattern"]),
                "{at}: {value}"
            );
        }
        if is("integer") {
            assert!(says(&["format", "minimum", "maximum"]), "{at}: {value}");
        }
        if is("array") {
            assert!(says(&["maxItems", "items"]), "{at}: {value}");
        }
        if is("object") {
            assert!(value["additionalProperties"] == false || says(&["maxProperties"]), "{at}: {value}");
        }
    });
    assert!(seen > 50, "{seen}");
}

#[test]
fn every_reason_that_an_operation_can_have_is_shown() {
    let text = print(&TABLE);
    for reason in Reason::ALL
        .into_iter()
        .filter(|reason| !matches!(reason, Reason::MethodNotImplemented | Reason::UnknownAction))
    {
        assert!(
            text.contains(&format!("\"{}\": {{", reason.code())),
            "{} is shown nowhere",
            reason.code()
        );
    }
}

#[test]
fn examples_fit_their_schemas() {
    let document = document(&TABLE);
    let schema = |name: &str| {
        // References of one component to another are kept: the whole is compiled with it.
        let whole = json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
        Schema::compile(&whole).unwrap()
    };
    let (answer, problem) = (schema("Answer"), schema("Problem"));
    let (mut answers, mut problems, mut bodies) = (0, 0, 0);
    walk(&document, "", &mut |at, value| {
        if !at.ends_with("/examples") {
            return;
        }
        let Some(examples) = value.as_object() else { return };
        for (name, example) in examples {
            let fits = if at.contains("problem+json") {
                problems += 1;
                problem.violations(&example["value"])
            } else if at.contains("/responses/") {
                answers += 1;
                answer.violations(&example["value"])
            } else {
                bodies += 1;
                let reference = document
                    .pointer(&at.replace("/examples", "/schema/$ref"))
                    .unwrap()
                    .as_str()
                    .unwrap();
                schema(reference.rsplit('/').next().unwrap()).violations(&example["value"])
            };
            assert!(fits.is_empty(), "{at}/{name}: {fits:?}");
        }
    });
    assert!(answers >= 15 && problems >= 80 && bodies >= 10, "{answers} {problems} {bodies}");
}

#[test]
fn all_that_is_offered_is_there() {
    let text = print(&TABLE);
    for word in [
        "/tasks/prime:batchStop",
        "/tasks:batchRetry",
        "/operations/{operation}",
        "Idempotency-Key",
        "Idempotency-Replayed",
        "validate_only",
        "respond-async",
        "traceparent",
        "RateLimit-Policy",
        "\"207\"",
    ] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn the_table_decides() {
    let empty = document(&RouteTable::default());
    assert!(
        empty["paths"].as_object().unwrap().keys().all(|path| !path.starts_with("/tasks")),
        "{}",
        empty["paths"]
    );
    for provider in TABLE.providers.values() {
        for action in provider.actions.keys() {
            let pointer = format!("/paths/~1tasks~1{}~1{{id}}:{action}/post", provider.name);
            assert!(document(&TABLE).pointer(&pointer).is_some(), "{pointer}");
        }
    }
}
