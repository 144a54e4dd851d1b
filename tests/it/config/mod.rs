//! Bad routes and the exact text of their faults, as a person sees them.

mod keys;
mod limits;
mod places;
mod templates;

use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;

/// A small sound provider with one of everything. Each test breaks it.
pub(crate) const ROUTES: &str = r#"version: 1
settings:
  acme_api: { one_of: [old, new], default: old, env: ACME_API }
credentials:
  acme: { scheme: header, header: X-Acme-Key, value: "key ${env.ACME_KEY}" }
faults:
  acme:
    code: ${?body.code}
    message: ${?body.message}
    codes: { "17": TASK_NOT_FOUND }
providers:
  acme:
    title: ACME jobs
    endpoint: ${env.ACME_ENDPOINT}
    credentials: acme
    faults: acme
    scope: { project: "${env.ACME_PROJECT}" }
    id: { type: string, pattern: "^[0-9]+$" }
    actions:
      stop:
        title: Stops a job
        schema: schemas/stop.request.json
        request:
          method: POST
          path: /v1/${scope.project}/jobs/${id}/stop
          query: { site: "${?scope.instance}" }
          headers: { X-Acme-Api: "${settings.acme_api}" }
          json:
            mode: { map: "${parameters.mode}", to: { soft: SOFT, hard: HARD } }
            labels: { each: "${?parameters.labels}", as: label, do: "${label.text}" }
        reply:
          schema: schemas/stop.reply.json
          outcome:
            - { status: 200, when: "body.result == 'failed'", is: fault, reason: ACTION_FAILED }
            - { status: 200, is: accepted, state: stopping, name: "${?body.name}" }
"#;

const REQUEST_SCHEMA: &str = r#"{
  "type": "object",
  "required": ["parameters"],
  "additionalProperties": false,
  "properties": {
    "scope": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "project": { "type": "string" },
        "instance": { "type": "string" }
      }
    },
    "parameters": {
      "type": "object",
      "required": ["mode"],
      "additionalProperties": false,
      "properties": {
        "mode": { "enum": ["soft", "hard"] },
        "labels": { "type": "array", "items": { "type": "object", "required": ["text"], "properties": { "text": { "type": "string" } } } }
      }
    },
    "reason": { "type": "string" }
  }
}
"#;

const REPLY_SCHEMA: &str = r#"{
  "type": "object",
  "required": ["result"],
  "properties": {
    "result": { "enum": ["ok", "failed"] },
    "name": { "type": "string" }
  }
}
"#;

/// Routes with the two schemas of [`ROUTES`].
pub(crate) fn sources(routes: &str) -> Sources {
    Sources::memory([
        ("routes.yaml", routes),
        ("schemas/stop.request.json", REQUEST_SCHEMA),
        ("schemas/stop.reply.json", REPLY_SCHEMA),
    ])
}

/// A case of [`ROUTES`] that succeeds.
pub(crate) const OK_CASE: &str = r#"title: stops a job
call: { id: "7", body: { parameters: { mode: hard, labels: [{ text: a }] } } }
vendor:
  - request:
      method: POST
      target: /v1/p/jobs/7/stop
      headers: { x-acme-key: key k, x-acme-api: old, content-type: application/json }
      json: { mode: HARD, labels: [a] }
    reply: { status: 200, headers: { content-type: application/json }, json: { result: ok } }
answer: { status: 202, body: { outcome: accepted, state: stopping } }
"#;

/// [`ROUTES`] with schemas and the cases that every action must have: a whole tree.
pub(crate) fn complete() -> Vec<(&'static str, String)> {
    let ok_reply = "{ status: 200, headers: { content-type: application/json }, json: { result: ok } }";
    let case = |reply: &str, status: &str, reason: &str| {
        let answer = "{ status: 202, body: { outcome: accepted, state: stopping } }";
        assert!(OK_CASE.contains(ok_reply) && OK_CASE.contains(answer));
        OK_CASE
            .replace(ok_reply, reply)
            .replace(answer, &format!("{{ status: {status}, body: {{ reason: {reason} }} }}"))
    };
    vec![
        ("routes.yaml", ROUTES.to_owned()),
        ("schemas/stop.request.json", REQUEST_SCHEMA.to_owned()),
        ("schemas/stop.reply.json", REPLY_SCHEMA.to_owned()),
        (
            "cases/acme/environment.yaml",
            "ACME_ENDPOINT: http://acme.invalid\nACME_KEY: k\nACME_PROJECT: p\n".to_owned(),
        ),
        ("cases/acme/stop/ok.yaml", OK_CASE.to_owned()),
        (
            "cases/acme/stop/vendor_error.yaml",
            case("{ status: 404, json: { code: 17 } }", "404", "TASK_NOT_FOUND"),
        ),
        (
            "cases/acme/stop/http_error.yaml",
            case("{ status: 502, text: <html></html> }", "502", "BAD_VENDOR_RESPONSE"),
        ),
        (
            "cases/acme/stop/malformed.yaml",
            case("{ status: 200, json: [] }", "502", "BAD_VENDOR_RESPONSE"),
        ),
    ]
}

/// [`ROUTES`] with these texts replaced; each is there, once.
#[track_caller]
pub(crate) fn broken(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(ROUTES.to_owned(), |routes, (from, to)| {
        assert_eq!(routes.matches(from).count(), 1, "`{from}` stands there once");
        routes.replacen(from, to, 1)
    })
}

/// Breaks [`ROUTES`] and compares all faults, as they are printed without colours, but for their number.
#[track_caller]
fn check(changes: &[(&str, &str)], expected: &str) {
    check_text(&faults(&sources(&broken(changes)), &Environment::default()), expected);
}

/// Compares printed faults, and their number in the last line with the number that there are.
#[track_caller]
fn check_text(found: &str, expected: &str) {
    let count = match expected.lines().filter(|line| line.starts_with("error: ")).count() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    let expected = format!("{expected}\n{count}\n");
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
}

/// All faults of a tree, as they are printed without colours; empty when it is sound.
fn faults(sources: &Sources, environment: &Environment) -> String {
    match compile(sources, "routes.yaml", environment) {
        Ok(_) => String::new(),
        Err(rejected) => rejected.faults.render(&rejected.files),
    }
}

#[test]
fn the_routes_that_are_broken_here_are_sound() {
    assert_eq!(faults(&sources(ROUTES), &Environment::default()), "");
}

/// Eight slips of eight kinds, found by four steps of the compiler.
const EIGHT: [(&str, &str); 8] = [
    ("    title: ACME jobs\n", "    title: ACME jobs\n    title: ACME tasks\n"),
    ("    credentials: acme\n", "    credentails: acme\n"),
    ("${scope.project}/jobs", "${scope.projet}/jobs"),
    ("\"${?scope.instance}\"", "\"${scope.instance}\""),
    ("X-Acme-Api:", "X Acme Api:"),
    ("to: { soft: SOFT, hard: HARD }", "to: { soft: SOFT }"),
    ("schema: schemas/stop.reply.json", "schema: schemas/stop.replay.json"),
    ("reason: ACTION_FAILED", "reason: ACTION_FALED"),
];

/// The headlines of the faults that [`EIGHT`] makes, in the order of their lines.
pub(crate) const EIGHT_HEADLINES: [&str; 8] = [
    "14:5: providers.acme: duplicate key `title`",
    "16:5: providers.acme: unknown key `credentails`",
    "26:29: providers.acme.actions.stop.request.path: unknown reference `scope.projet`",
    "27:29: providers.acme.actions.stop.request.query.site: `scope.instance` may be absent: the schema does not guarantee it",
    "28:22: providers.acme.actions.stop.request.headers[\"X Acme Api\"]: `X Acme Api` is no header name",
    "30:52: providers.acme.actions.stop.request.json.mode.to: the table has no entry for `hard`",
    "33:19: providers.acme.actions.stop.reply.schema: schema file `schemas/stop.replay.json`: there is no such file",
    "35:82: providers.acme.actions.stop.reply.outcome[0].reason: unknown value `ACTION_FALED`",
];

/// Routes with eight different faults.
pub(crate) fn eight_faults() -> String {
    broken(&EIGHT)
}

/// The headlines among printed faults, without the name of the file.
pub(crate) fn headlines<'a>(printed: &'a str, file: &str) -> Vec<&'a str> {
    let start = format!("error: {file}:");
    printed.lines().filter_map(|line| line.strip_prefix(start.as_str())).collect()
}

#[test]
fn eight_faults_are_told_at_once() {
    let printed = faults(&sources(&eight_faults()), &Environment::default());
    assert_eq!(headlines(&printed, "routes.yaml"), EIGHT_HEADLINES, "{printed}");
    assert!(printed.ends_with("\n8 errors\n"), "{printed}");
}
