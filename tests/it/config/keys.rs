//! Faults of keys, words and names in routes.yaml: each row breaks the routes in one place, and shows all that is printed.

use taskgate::config::environment::Environment;

use super::{broken, check, faults, headlines, sources};

#[test]
fn keys_and_words() {
    check(
        &[("    title: ACME jobs", "    titel: ACME jobs")],
        r#"error: routes.yaml:13:5: providers.acme: unknown key `titel`
   |
13 |     titel: ACME jobs
   |     ^^^^^
   |
   = hint: did you mean `title`?
"#,
    );
    check(
        &[("title: ACME jobs\n", "title: ACME jobs\n    title: ACME jobs again\n")],
        r#"error: routes.yaml:14:5: providers.acme: duplicate key `title`
   |
14 |     title: ACME jobs again
   |     ^^^^^
   |
   = note: routes.yaml:13:5: the first is here
"#,
    );
    check(
        &[("method: POST", "method: post")],
        r#"error: routes.yaml:24:19: providers.acme.actions.stop.request.method: unknown value `post`
   |
24 |           method: post
   |                   ^^^^
   |
   = hint: did you mean `POST`?
"#,
    );
    check(
        &[("        request:\n", "        repeat: same-key\n        request:\n")],
        r#"error: routes.yaml:23:17: providers.acme.actions.stop.repeat: `same-key`, but the request has no key
   |
23 |         repeat: same-key
   |                 ^^^^^^^^
   |
   = hint: the key is `${call.uuid}`: it is the same each time the request of a call is sent
"#,
    );
    check(
        &[("        request:\n", "        limited_before_acting: maybe\n        request:\n")],
        r#"error: routes.yaml:23:32: providers.acme.actions.stop.limited_before_acting: expected `true` or `false`, found the text `maybe`
   |
23 |         limited_before_acting: maybe
   |                                ^^^^^
"#,
    );
    check(
        &[("    title: ACME jobs\n", "    title: ACME jobs\n    trace: always\n")],
        r#"error: routes.yaml:14:12: providers.acme.trace: expected `true` or `false`, found the text `always`
   |
14 |     trace: always
   |            ^^^^^^
"#,
    );
    check(
        &[("state: stopping", "state: halting")],
        r#"error: routes.yaml:35:51: providers.acme.actions.stop.reply.outcome[1].state: unknown value `halting`
   |
35 |             - { status: 200, is: accepted, state: halting, name: "${?body.name}" }
   |                                                   ^^^^^^^
   |
   = hint: expected `failed`, `pending`, `running`, `stopped`, `stopping`, `succeeded` or `unknown`
"#,
    );
    check(
        &[("reason: ACTION_FAILED", "reason: ACTION_FALED")],
        r#"error: routes.yaml:34:82: providers.acme.actions.stop.reply.outcome[0].reason: unknown value `ACTION_FALED`
   |
34 |             - { status: 200, when: "body.result == 'failed'", is: fault, reason: ACTION_FALED }
   |                                                                                  ^^^^^^^^^^^^
   |
   = hint: did you mean `ACTION_FAILED`?
"#,
    );
    check(
        &[("codes: { \"17\": TASK_NOT_FOUND }", "codes: { \"17\": INVALID_REQUEST }")],
        r#"error: routes.yaml:10:20: faults.acme.codes.17: unknown value `INVALID_REQUEST`
   |
10 |     codes: { "17": INVALID_REQUEST }
   |                    ^^^^^^^^^^^^^^^
   |
   = hint: expected `ACTION_FAILED`, `BAD_VENDOR_RESPONSE`, `TASK_NOT_FOUND`, `TASK_STATE_CONFLICT`, `VENDOR_AUTH`, `VENDOR_CONNECTION_LOST`, `VENDOR_ERROR`, `VENDOR_PERMISSION_DENIED`, `VENDOR_QUOTA_EXCEEDED`, `VENDOR_RATE_LIMITED`, `VENDOR_REJECTED`, `VENDOR_TIMEOUT`, `VENDOR_TLS_FAILED`, `VENDOR_UNAVAILABLE` or `VENDOR_UNREACHABLE`
"#,
    );
    check(
        &[("default: old", "default: older")],
        r#"error: routes.yaml:3:44: settings.acme_api.default: unknown value `older`
  |
3 |   acme_api: { one_of: [old, new], default: older, env: ACME_API }
  |                                            ^^^^^
  |
  = hint: expected `old` or `new`
"#,
    );
    check(
        &[("version: 1\n", "")],
        r#"error: routes.yaml:1:1: missing key `version`
  |
1 | settings:
  | ^
"#,
    );
    check(
        &[("    id: { type: string, pattern: \"^[0-9]+$\" }\n", "")],
        r#"error: routes.yaml:12:3: providers.acme: missing key `id`
   |
12 |   acme:
   |   ^^^^
"#,
    );
    check(
        &[("is: accepted, state: stopping", "is: accepted")],
        r#"error: routes.yaml:35:15: providers.acme.actions.stop.reply.outcome[1]: missing key `state`
   |
35 |             - { status: 200, is: accepted, name: "${?body.name}" }
   |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: write `state: unknown` when the answer does not tell it
"#,
    );
    check(
        &[("pattern: \"^[0-9]+$\"", "pattern: \"^(?=x)\"")],
        r#"error: routes.yaml:18:34: providers.acme.id.pattern: the pattern needs look-around or a back-reference
   |
18 |     id: { type: string, pattern: "^(?=x)" }
   |                                  ^^^^^^^^
   |
   = hint: patterns run in linear time: no look-around, no back-references (https://docs.rs/regex/latest/regex/#syntax)
"#,
    );
    check(
        &[("providers:\n", "providers: []\nxproviders:\n")],
        r#"error: routes.yaml:11:12: providers: expected a mapping, found a list
   |
11 | providers: []
   |            ^^

error: routes.yaml:12:1: unknown key `xproviders`
   |
12 | xproviders:
   | ^^^^^^^^^^
   |
   = hint: the file has the keys `version`, `providers`, `settings`, `credentials`, `faults` and `quotas`
"#,
    );
    check(
        &[("json:\n", "xml:\n")],
        r#"error: routes.yaml:28:11: providers.acme.actions.stop.request.xml: XML has one root element, found 2
   |
28 |           xml:
   |           ^^^
"#,
    );
}

#[test]
fn headers_have_names_and_owners() {
    check(
        &[("X-Acme-Api:", "X Acme:")],
        r#"error: routes.yaml:27:22: providers.acme.actions.stop.request.headers["X Acme"]: `X Acme` is no header name
   |
27 |           headers: { X Acme: "${settings.acme_api}" }
   |                      ^^^^^^
   |
   = hint: a header's name has letters, digits and `-`, no spaces and no `:`
"#,
    );
    check(
        &[("X-Acme-Api:", "Content-Length:")],
        r#"error: routes.yaml:27:22: providers.acme.actions.stop.request.headers.Content-Length: taskgate sets the header `Content-Length` itself
   |
27 |           headers: { Content-Length: "${settings.acme_api}" }
   |                      ^^^^^^^^^^^^^^
"#,
    );
    check(
        &[("X-Acme-Api:", "X-Acme-Key:")],
        r#"error: routes.yaml:27:22: providers.acme.actions.stop.request.headers.x-acme-key: the header `x-acme-key` is placed by the credentials `acme`
   |
27 |           headers: { X-Acme-Key: "${settings.acme_api}" }
   |                      ^^^^^^^^^^
   |
   = note: routes.yaml:5:35: they name it here
"#,
    );
}

#[test]
fn names_lead_to_blocks_and_files() {
    check(
        &[("    credentials: acme\n", "    credentials: acmee\n")],
        r#"error: routes.yaml:15:18: providers.acme.credentials: unknown credentials `acmee`
   |
15 |     credentials: acmee
   |                  ^^^^^
   |
   = hint: did you mean `acme`?
"#,
    );
    check(
        &[("    faults: acme\n", "    faults: acmee\n")],
        r#"error: routes.yaml:16:13: providers.acme.faults: unknown fault table `acmee`
   |
16 |     faults: acmee
   |             ^^^^^
   |
   = hint: did you mean `acme`?
"#,
    );
    check(
        &[("    faults: acme\n", "")],
        r#"error: routes.yaml:7:3: faults.acme: no provider uses this table
  |
7 |   acme:
  |   ^^^^
  |
  = hint: remove it, or name it under `faults:` of a provider
"#,
    );
    check(
        &[("schema: schemas/stop.reply.json", "schema: schemas/stop.replay.json")],
        r#"error: routes.yaml:32:19: providers.acme.actions.stop.reply.schema: schema file `schemas/stop.replay.json`: there is no such file
   |
32 |           schema: schemas/stop.replay.json
   |                   ^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: did you mean `schemas/stop.reply.json`?
"#,
    );
}

#[test]
fn a_secret_does_not_stand_in_the_file_and_is_not_shown() {
    check(
        &[("\"key ${env.ACME_KEY}\"", "hunter2-in-the-file")],
        r#"error: routes.yaml:5:54: credentials.acme.value: a secret does not stand in this file
 |
 = hint: take it from the environment: `"${env.NAME}"`
"#,
    );
}

#[test]
fn aliases_are_refused_before_they_grow() {
    check(
        &[("version: 1\n", "version: 1\na: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n")],
        r#"error: routes.yaml:2:1: unknown key `a`
  |
2 | a: &a [x, x, x]
  | ^
  |
  = hint: the file has the keys `version`, `providers`, `settings`, `credentials`, `faults` and `quotas`

error: routes.yaml:2:4: a[0]: anchor `&a`
  |
2 | a: &a [x, x, x]
  |    ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:3:1: unknown key `b`
  |
3 | b: &b [*a, *a, *a]
  | ^
  |
  = hint: the file has the keys `version`, `providers`, `settings`, `credentials`, `faults` and `quotas`

error: routes.yaml:3:4: b[0]: anchor `&b`
  |
3 | b: &b [*a, *a, *a]
  |    ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:3:8: b[0]: alias `*a`
  |
3 | b: &b [*a, *a, *a]
  |        ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:3:12: b[1]: alias `*a`
  |
3 | b: &b [*a, *a, *a]
  |            ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:3:16: b[2]: alias `*a`
  |
3 | b: &b [*a, *a, *a]
  |                ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:4:1: unknown key `c`
  |
4 | c: [*b, *b, *b]
  | ^
  |
  = hint: the file has the keys `version`, `providers`, `settings`, `credentials`, `faults` and `quotas`

error: routes.yaml:4:5: c[0]: alias `*b`
  |
4 | c: [*b, *b, *b]
  |     ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:4:9: c[1]: alias `*b`
  |
4 | c: [*b, *b, *b]
  |         ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:4:13: c[2]: alias `*b`
  |
4 | c: [*b, *b, *b]
  |             ^^
  |
  = hint: anchors and aliases are not allowed: repeat the value
"#,
    );
}

/// What makes a list of the request of [`super::ROUTES`].
const BATCH: (&str, &str) = ("        request:\n", "        batch: { max: 10 }\n        request:\n");
const NO_ID: (&str, &str) = ("jobs/${id}/stop", "jobs/stop");
const IDS: (&str, &str) = ("          json:\n", "          json:\n            ids: ${ids}\n");
const ITEMS: (&str, &str) = (
    "name: \"${?body.name}\" }",
    "items: { done: \"${?body.name}\", failed: \"${?body.name}\", id: \"${item}\" } }",
);

/// Compares the headlines of all faults.
#[track_caller]
fn check_headlines(changes: &[(&str, &str)], expected: &[&str]) {
    let printed = faults(&sources(&broken(changes)), &Environment::default());
    assert_eq!(headlines(&printed, "routes.yaml"), expected, "{printed}");
}

#[test]
fn requests_for_many_tasks() {
    check_headlines(&[BATCH, NO_ID, IDS, ITEMS], &[]);
    check(
        &[("      stop:\n", "      batchStop:\n")],
        r#"error: routes.yaml:20:7: providers.acme.actions.batchStop: `batchStop` is no verb of an action
   |
20 |       batchStop:
   |       ^^^^^^^^^
   |
   = hint: every action `stop` has its `batchStop`; `batch: { max: 100 }` in it says that the vendor takes lists
"#,
    );
    check(
        &[BATCH, NO_ID, ITEMS],
        r#"error: routes.yaml:23:9: providers.acme.actions.stop.batch: `batch`, but the request has no list of ids
   |
23 |         batch: { max: 10 }
   |         ^^^^^
   |
   = hint: `${ids}` is the list; a call of one task is a list of one
"#,
    );
    check(
        &[NO_ID, IDS],
        r#"error: routes.yaml:29:20: providers.acme.actions.stop.request.json.ids: unknown reference `ids`
   |
29 |             ids: ${ids}
   |                    ^^^
   |
   = hint: `ids` stands in the request of an action with `batch: { max: … }` only
"#,
    );
    check_headlines(
        &[BATCH, IDS, ITEMS],
        &["24:9: providers.acme.actions.stop.request: the request of a `batch` names one task by `id`"],
    );
    check_headlines(
        &[BATCH, NO_ID, IDS],
        &["37:15: providers.acme.actions.stop.reply.outcome[1]: missing key `items`: with `batch` the answer tells of each task"],
    );
    check_headlines(
        &[
            ("        request:\n", "        batch: { max: 1 }\n        request:\n"),
            NO_ID,
            IDS,
            ITEMS,
        ],
        &["23:23: providers.acme.actions.stop.batch.max: expected a number from 2 to 1000, found 1"],
    );
    check_headlines(
        &[
            ("        request:\n", "        batch: { most: 5 }\n        request:\n"),
            NO_ID,
            IDS,
            ITEMS,
        ],
        &[
            "23:9: providers.acme.actions.stop.batch: missing key `max`",
            "23:18: providers.acme.actions.stop.batch: unknown key `most`",
        ],
    );
    let job = (
        "        reply:\n",
        "        job: { id: \"${?body.name}\", request: { method: GET, path: /j }, pending: status == 202 }\n        reply:\n",
    );
    check_headlines(
        &[BATCH, NO_ID, IDS, ITEMS, job],
        &["33:9: providers.acme.actions.stop.job: a `job` does not go with `batch`: it would be that of many tasks"],
    );
}
