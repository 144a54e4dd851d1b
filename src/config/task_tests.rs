//! Faults of `task`, `look`, `settles` and `job`, with their places.

use crate::config::compile::compile;
use crate::config::environment::Environment;
use crate::config::sources::Sources;
use crate::config::tests::condensed;

/// A sound file; `{task}` and `{action}` stand for what a test adds.
const FILE: &str = r#"
version: 1
providers:
  acme:
    title: Acme
    endpoint: http://acme.example
    id: { type: string }
    task:
      schema: look.json
      request: { method: GET, path: /tasks, query: { site: "${scope.site}" } }
      reply: { schema: page.json }
      item: ${body.tasks.filter(task, task.id == id)}
      state: { map: "${item.state}", to: { up: running, down: stopped }, else: unknown }
{task}
    actions:
      stop:
        title: Stop
        schema: stop.json
        request: { method: POST, path: "/tasks/${id}/stop/${scope.site}" }
        reply: { schema: any.json, outcome: [ { status: 200, is: accepted, state: stopping } ] }
{action}
"#;

fn faults(text: &str, variables: &[(&str, &str)]) -> String {
    let request = r#"{ "type": "object", "additionalProperties": false, "required": ["scope"], "properties": {
        "scope": { "type": "object", "additionalProperties": false, "required": ["site"], "properties": { "site": { "type": "string" } } } } }"#;
    let page = r#"{ "type": "object", "required": ["tasks"], "properties": { "tasks": { "type": "array", "items": {
        "type": "object", "required": ["id", "state"], "properties": {
            "id": { "type": "string" }, "state": { "type": "string" }, "made": { "type": "string" } } } } } }"#;
    let sources = Sources::memory([
        ("routes.yaml", text),
        ("look.json", request),
        ("stop.json", request),
        (
            "loose.json",
            &request
                .replace(r#""required": ["site"], "#, "")
                .replace(r#""required": ["scope"], "#, ""),
        ),
        (
            "forced.json",
            &request.replace(r#""properties": {"#, r#""properties": { "force": { "type": "boolean" }, "#),
        ),
        ("page.json", page),
        ("any.json", r#"{ "type": "object" }"#),
    ]);
    let environment: Environment = variables.iter().copied().collect();
    match compile(&sources, "routes.yaml", &environment) {
        Ok(_) => String::new(),
        Err(rejected) => condensed(&rejected.faults.render(&rejected.files)),
    }
}

/// The first fault of the file with these additions; nothing where it is sound.
#[track_caller]
fn check(task: &str, action: &str, expected: &str) {
    let indent = |text: &str, by: usize| text.lines().map(|line| format!("{:by$}{line}\n", "")).collect::<String>();
    let text = FILE.replace("{task}", &indent(task, 6)).replace("{action}", &indent(action, 8));
    let found = faults(&text, &[("ZONE", "Europe/Berlin"), ("WRONG", "Europe/Nowhere")]);
    let first = found.lines().next().unwrap_or_default();
    let first = first.splitn(3, ": ").nth(2).unwrap_or(first);
    assert_eq!(first, expected, "{found}");
}

#[test]
fn what_is_sound() {
    let settles = "settles: { done: [stopped], failed: [failed], failed_when: item.state == 'x' }";
    check("", "", "");
    check(
        "every: 15s\nraw_state: ${item.state}\ncomplete: size(body.tasks) < 100",
        settles,
        "",
    );
    check(
        "created_at: ${?item.made}\ntimes: { format: [rfc3339, epoch-ms, \"%Y-%m-%d %H:%M\"], zone: \"${?env.ZONE}\" }",
        "",
        "",
    );
    check(
        "created_at: ${?item.made}\ntimes: { format: rfc3339, zone: \"${?env.UNSET}\" }",
        "",
        "",
    );
    check("", &format!("{settles}\nlook: {{ before: true, after: [ACTION_FAILED] }}"), "");
    let job = "job: { id: \"${?body.job}\", request: { method: GET, path: \"/jobs/${job}\", credentials: none }, pending: status == 202 }";
    check("", job, "");
}

#[test]
fn faults_of_a_task() {
    check(
        "every: 2m",
        "",
        "providers.acme.task.every: expected a duration above zero and up to 60s, found the text `2m`",
    );
    check("name: ${?item.nam}", "", "providers.acme.task.name: unknown reference `item.nam`");
    check(
        "name: ${item.made}",
        "",
        "providers.acme.task.name: `item.made` may be absent: the schema does not guarantee it",
    );
    check(
        "created_at: ${?item.made}",
        "",
        "providers.acme.task: missing key `times`: how the times are written",
    );
    check(
        "times: { format: \"%H:%M\" }",
        "",
        "providers.acme.task.times.format: this is no format of a time",
    );
    check(
        "times: { format: rfc3339, zone: \"${?env.WRONG}\" }",
        "",
        "providers.acme.task.times.zone: the value is no time zone",
    );
    check(
        "times: { format: rfc3339, zone: \"${scope.site}\" }",
        "",
        "providers.acme.task.times.zone: unknown reference `scope.site`",
    );
    check(
        "complete: body.taks == []",
        "",
        "providers.acme.task.complete: unknown reference `body.taks`",
    );
    check("evry: 10s", "", "providers.acme.task: unknown key `evry`");
}

#[test]
fn faults_of_an_action_that_looks() {
    check(
        "",
        "settles: { done: [unknown] }",
        "providers.acme.actions.stop.settles: a state that is not known settles nothing",
    );
    check(
        "",
        "settles: { done: [stopped, stopped] }",
        "providers.acme.actions.stop.settles: `stopped` stands there twice",
    );
    check(
        "",
        "settles: { done: [stoped] }",
        "providers.acme.actions.stop.settles.done[0]: unknown value `stoped`",
    );
    check(
        "",
        "look: { before: true }",
        "providers.acme.actions.stop.look: `look` without `settles`",
    );
    let look = "settles: { done: [stopped] }\nlook: { after: [VENDOR_TIMEOUT] }";
    check(
        "",
        look,
        "providers.acme.actions.stop.look.after: `VENDOR_TIMEOUT` leaves open what happened",
    );
    check(
        "",
        "settles: { done: [stopped] }\nlook: { before: maybe }",
        "providers.acme.actions.stop.look.before: expected `true` or `false`, found the text `maybe`",
    );
}

#[track_caller]
fn check_text(text: &str, expected: &str) {
    let found = faults(text, &[]);
    assert!(found.lines().any(|line| line.ends_with(expected)), "{found}");
}

#[test]
fn faults_between_a_task_and_its_actions() {
    let whole = FILE
        .replace("{task}", "")
        .replace("{action}", "        settles: { done: [stopped] }");
    let start = whole.find("    task:").unwrap();
    let end = whole.find("    actions:").unwrap();
    let without_task = format!("{}{}", whole.get(..start).unwrap(), whole.get(end..).unwrap());
    check_text(
        &without_task,
        "providers.acme.actions.stop.settles: `settles` without a `task` of the provider",
    );
    let loose = whole
        .replace("schema: stop.json", "schema: loose.json")
        .replace("/stop/${scope.site}", "/stop/${?scope.site}");
    check_text(
        &loose,
        "providers.acme.actions.stop: a look needs `scope.site`, which this action does not require",
    );
    let forced = whole.replace("schema: look.json", "schema: forced.json");
    check_text(&forced, "a look needs `scope` only, `forced.json` has more");
    let verb = whole.replace("      stop:\n", "      look:\n");
    check_text(&verb, "providers.acme.actions.look: `look` is no verb of an action");
    let uuid = whole.replace("\"${scope.site}\" }", "\"${scope.site}\", call: \"${call.uuid}\" }");
    check_text(&uuid, "providers.acme.task.request.query.call: unknown reference `call.uuid`");
    let success = whole.replace(
        "reply: { schema: page.json }",
        "reply: { schema: page.json, outcome: [ { is: done, state: stopped } ] }",
    );
    check_text(
        &success,
        "providers.acme.task.reply.outcome[0]: the rules of a look are faults only",
    );
}

/// What an action has said of its scope is enough for a look only where the schemas of both say the same of it.
#[test]
fn whether_a_look_is_always_possible_is_known() {
    let schema = |site: &str, required: &str| {
        format!(
            r#"{{ "type": "object", "additionalProperties": false, "required": [{required}], "properties": {{
                "scope": {{ "type": "object", "additionalProperties": false, "required": ["site"], "properties": {{ "site": {site} }} }} }} }}"#
        )
    };
    let same = schema(r#"{ "type": "string" }"#, r#""scope""#);
    for (stop, look, expected) in [
        (same.clone(), same.clone(), true),
        (same.clone(), schema(r#"{ "type": "string", "maxLength": 3 }"#, r#""scope""#), false),
        (schema(r#"{ "type": "string", "maxLength": 3 }"#, r#""scope""#), same.clone(), false),
        (
            same.clone(),
            same.replace(r#""type": "object","#, r#""type": "object", "minProperties": 1,"#),
            false,
        ),
        (schema(r#"{ "type": "string" }"#, ""), same.clone(), false),
        (schema(r#"{ "type": "string" }"#, ""), schema(r#"{ "type": "string" }"#, ""), false),
    ] {
        let page = r#"{ "type": "object", "required": ["tasks"], "properties": { "tasks": { "type": "array", "items": {
            "type": "object", "required": ["id", "state"], "properties": { "id": { "type": "string" }, "state": { "type": "string" } } } } } }"#;
        let file = FILE
            .replace("/${scope.site}\" }", "\", query: { site: \"${scope.site}\" } }")
            .replace("${scope.site}", "${?scope.site}")
            .replace("{task}", "")
            .replace("{action}", "        settles: { done: [stopped] }\n");
        let sources = Sources::memory([
            ("routes.yaml", file.as_str()),
            ("look.json", look.as_str()),
            ("stop.json", stop.as_str()),
            ("page.json", page),
            ("any.json", r#"{ "type": "object" }"#),
        ]);
        let compiled = match compile(&sources, "routes.yaml", &Environment::default()) {
            Ok(compiled) => compiled,
            Err(rejected) => panic!("{}", condensed(&rejected.faults.render(&rejected.files))),
        };
        let route = &compiled.table.providers["acme"].actions["stop"];
        assert_eq!(route.pursuit.always_seen, expected, "{stop}\n{look}");
    }
}
