//! Faults of the environment and of the schemas: what is printed names the variable or the file, and never shows a value of
//! the environment.

use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;

use super::{REPLY_SCHEMA, REQUEST_SCHEMA, ROUTES, check_text, faults, sources};

/// Compiles the sound routes where one variable has this value.
#[track_caller]
fn check_variable(name: &str, value: &str, expected: &str) {
    let printed = faults(&sources(ROUTES), &[(name, value)].into_iter().collect());
    check_text(&printed, expected);
    assert!(!printed.contains(value), "{printed}");
}

#[test]
fn values_of_the_environment() {
    check_variable(
        "ACME_ENDPOINT",
        "ftp://user:hunter2@host",
        r#"error: routes.yaml:14:15: providers.acme.endpoint: the value is not an endpoint: it must start with `http://` or `https://`
   |
14 |     endpoint: ${env.ACME_ENDPOINT}
   |               ^^^^^^^^^^^^^^^^^^^^
   |
   = hint: such as `https://vendor.example.com` or `http://10.1.2.3:8080`
"#,
    );
    check_variable(
        "ACME_ENDPOINT",
        "http://user:hunter2@host",
        r#"error: routes.yaml:14:15: providers.acme.endpoint: the value is not an endpoint: user and password belong under `credentials`
   |
14 |     endpoint: ${env.ACME_ENDPOINT}
   |               ^^^^^^^^^^^^^^^^^^^^
   |
   = hint: such as `https://vendor.example.com` or `http://10.1.2.3:8080`
"#,
    );
    // An address that is written out is not shown: it may have a password in it.
    let written_out = ROUTES.replace("${env.ACME_ENDPOINT}", "http://user:hunter2@host");
    check_text(
        &faults(&sources(&written_out), &Environment::default()),
        r#"error: routes.yaml:14:15: providers.acme.endpoint: the value is not an endpoint: user and password belong under `credentials`
 |
 = hint: such as `https://vendor.example.com` or `http://10.1.2.3:8080`
"#,
    );
    check_variable(
        "ACME_KEY",
        "hunter2-that-opens-nothing\nx",
        r#"error: routes.yaml:5:3: credentials.acme: the value holds characters that a header cannot carry
  |
5 |   acme: { scheme: header, header: X-Acme-Key, value: "key ${env.ACME_KEY}" }
  |   ^^^^
  |
  = hint: a line break at the end of the variable, perhaps?
"#,
    );
    check_variable(
        "ACME_API",
        "newest",
        r#"error: routes.yaml:3:54: settings.acme_api: the environment variable ACME_API has a value that the setting does not know
  |
3 |   acme_api: { one_of: [old, new], default: old, env: ACME_API }
  |                                                      ^^^^^^^^
  |
  = hint: it is one of old, new
"#,
    );
}

/// Compiles the sound routes with a schema of the request in which `from` is replaced.
#[track_caller]
fn check_schema(from: &str, to: &str, expected: &str) {
    assert_eq!(REQUEST_SCHEMA.matches(from).count(), 1, "`{from}` stands there once");
    let sources = Sources::memory([
        ("routes.yaml", ROUTES),
        ("schemas/stop.request.json", &REQUEST_SCHEMA.replacen(from, to, 1)),
        ("schemas/stop.reply.json", REPLY_SCHEMA),
    ]);
    check_text(&faults(&sources, &Environment::default()), expected);
}

#[test]
fn references_stay_inside_the_tree() {
    check_schema(
        r#""project": { "type": "string" }"#,
        r##""project": { "$ref": "https://schemas.example/project.json" }"##,
        r##"error: schemas/stop.request.json:10:30: properties.scope.properties.project.$ref: remote `$ref`: `https://schemas.example/project.json`
   |
10 |         "project": { "$ref": "https://schemas.example/project.json" },
   |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path
"##,
    );
    check_schema(
        r#""project": { "type": "string" }"#,
        r##""project": { "$ref": "../../etc/passwd" }"##,
        r##"error: schemas/stop.request.json:10:30: properties.scope.properties.project.$ref: `$ref` that leads out of the folder: `../../etc/passwd`
   |
10 |         "project": { "$ref": "../../etc/passwd" },
   |                              ^^^^^^^^^^^^^^^^^^
   |
   = hint: nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path
"##,
    );
    check_schema(
        r#""project": { "type": "string" }"#,
        r##""project": { "$ref": "file:///etc/passwd" }"##,
        r##"error: schemas/stop.request.json:10:30: properties.scope.properties.project.$ref: remote `$ref`: `file:///etc/passwd`
   |
10 |         "project": { "$ref": "file:///etc/passwd" },
   |                              ^^^^^^^^^^^^^^^^^^^^
   |
   = hint: nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path
"##,
    );
    check_schema(
        r#""project": { "type": "string" }"#,
        r##""project": { "$ref": "#/$defs/project" }"##,
        r##"error: schemas/stop.request.json:10:30: properties.scope.properties.project.$ref: `$ref` leads nowhere: `#/$defs/project`
   |
10 |         "project": { "$ref": "#/$defs/project" },
   |                              ^^^^^^^^^^^^^^^^^
   |
   = hint: there is no `#/$defs/project` in schemas/stop.request.json
"##,
    );
}

#[test]
fn what_a_schema_says_is_understood() {
    check_schema(
        r#""project": { "type": "string" }"#,
        r##""project": { "typ": "string" }"##,
        r##"error: schemas/stop.request.json:10:22: properties.scope.properties.project: unknown keyword `typ`
   |
10 |         "project": { "typ": "string" },
   |                      ^^^^^
   |
   = hint: did you mean `type`?
"##,
    );
    check_schema(
        r#""project": { "type": "string" }"#,
        r##""project": { "type": "strin" }"##,
        r##"error: schemas/stop.request.json:10:30: properties.scope.properties.project.type: unknown type `strin`
   |
10 |         "project": { "type": "strin" },
   |                              ^^^^^^^
   |
   = hint: did you mean `string`?
"##,
    );
    check_schema(
        r#""project": { "type": "string" }"#,
        r##""project": { "type": "string", "pattern": "(a)\\1" }"##,
        r##"error: schemas/stop.request.json:10:51: properties.scope.properties.project.pattern: the pattern needs look-around or a back-reference
   |
10 |         "project": { "type": "string", "pattern": "(a)\\1" },
   |                                                   ^^^^^^^^
   |
   = hint: patterns run in linear time: no look-around, no back-references (https://docs.rs/regex/latest/regex/#syntax)
"##,
    );
    check_schema(
        r#""reason": { "type": "string" }"#,
        r##""reason": { "type": "string" },
    "reason": {}"##,
        r##"error: schemas/stop.request.json:24:5: properties: duplicate key `reason`
   |
24 |     "reason": {}
   |     ^^^^^^^^
   |
   = note: schemas/stop.request.json:23:5: the first is here
"##,
    );
    check_schema(
        r#""reason": { "type": "string" }"#,
        r##""reason": { "type": "string" }}"##,
        r##"error: schemas/stop.request.json:25:1: invalid JSON: trailing characters
   |
25 | }
   | ^
"##,
    );
}

#[test]
fn a_canonical_request_is_a_closed_object_of_known_members() {
    check_schema(
        r#"  "required": ["parameters"],
  "additionalProperties": false,"#,
        r##"  "required": ["parameters"],"##,
        r##"error: routes.yaml:22:17: providers.acme.actions.stop.schema: the schema of a canonical request (`schemas/stop.request.json`) is a closed object
   |
22 |         schema: schemas/stop.request.json
   |                 ^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: `"type": "object", "additionalProperties": false` at its top
"##,
    );
    check_schema(
        r#""reason":"#,
        r##""because":"##,
        r##"error: routes.yaml:22:17: providers.acme.actions.stop.schema: `because` of `schemas/stop.request.json` is no member of a canonical request
   |
22 |         schema: schemas/stop.request.json
   |                 ^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: there are `scope`, `force`, `reason` and `parameters`; what is the provider's own stands under `parameters`
"##,
    );
}
