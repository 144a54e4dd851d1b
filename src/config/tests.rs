//! Bad files and the exact text of their faults.

use crate::config::diagnostic::Diagnostics;
use crate::config::file::{File, Words};
use crate::config::files::FileSet;
use crate::config::yaml;

/// The words as the rest of the program has them.
pub(crate) const WORDS: Words<'static> = Words {
    reasons: &["ACTION_FAILED", "TASK_NOT_FOUND", "VENDOR_AUTH", "VENDOR_RATE_LIMITED"],
    states: &["running", "stopped", "stopping", "unknown"],
};

/// Reads a text as routes.yaml.
pub(crate) fn read(text: &str) -> (Option<File>, Diagnostics, FileSet) {
    let mut files = FileSet::default();
    let id = files.add("routes.yaml", text);
    let mut faults = Diagnostics::default();
    let root = yaml::parse(files.text(id), id, &mut faults);
    let file = root.map(|root| File::decode(root, WORDS, &mut faults));
    (file, faults, files)
}

/// The headlines, hints and notes of rendered faults, without excerpts.
pub(crate) fn condensed(rendered: &str) -> String {
    let lines: Vec<_> = rendered
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("error: ") || line.starts_with("= "))
        .collect();
    lines.join("\n")
}

/// Compares the headlines, hints and notes.
#[track_caller]
pub(crate) fn check_lines(text: &str, expected: &str) {
    let (_, faults, files) = read(text);
    let found = condensed(&faults.render(&files));
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}\n");
}

/// Compares the whole text.
#[track_caller]
pub(crate) fn check(text: &str, expected: &str) {
    let (_, faults, files) = read(text);
    let rendered = faults.render(&files);
    assert!(rendered == expected, "found:\n{rendered}\nexpected:\n{expected}\n");
}

/// A file with every key.
pub(crate) const GOOD: &str = r#"
version: 1
settings:
  api_version: { one_of: [documented, replacement], default: documented, env: API_VERSION }
credentials:
  globex: { scheme: header, header: X-Auth-Token, value: "${env.GLOBEX_TOKEN}" }
  acme: { scheme: basic, username: "${env.ACME_USER}", password: "${env.ACME_PASSWORD}" }
  nobody: { scheme: none }
faults:
  globex:
    code: ["${?body.error_code}", "${?body.error.error_code}"]
    message: "${?body.error_msg}"
    request_id: ["${?headers['x-request-id']}"]
    rules:
      - { status: 302, reason: VENDOR_AUTH }
    codes: { XY.00200005: TASK_NOT_FOUND, 1001: VENDOR_AUTH }
    families:
      - { prefixes: [APIGW., APIG.], codes: { "0308": VENDOR_RATE_LIMITED } }
providers:
  acme:
    title: Acme
    endpoint: ${env.ACME_ENDPOINT}
    credentials: acme
    faults: globex
    scope: { project: "${env.P}" }
    id: { type: integer, minimum: 1 }
    limits: { in_flight: 5, connect_timeout: 250ms, timeout: 2m, max_reply_bytes: 1048576, connection: close }
    actions:
      stop:
        title: Stop
        schema: schemas/acme/stop.request.json
        repeat: same-key
        request:
          method: PUT
          path: /webacs/${id}
          query: { a: "${?scope.b}", limit: 5 }
          headers: { X-Job-UUID: "${call.uuid}" }
          xml: { root: { runId: "${id}" } }
        reply:
          schema: schemas/acme/stop.reply.json
          outcome:
            - status: 2xx
              when: "has(body.x)"
              is: accepted
              state: { map: "${body.s}", to: { 0: stopped, 1: running }, else: unknown }
              items: { done: "${body.a}", failed: "${body.b}", id: "${string(item.id)}", message: "${?item.m}", reason: ACTION_FAILED }
            - { status: [404, 5xx], is: fault, code: "${body.c}", message: "${?body.m}" }
"#;

#[test]
fn a_good_file_has_no_faults() {
    check(GOOD, "");
}

#[test]
fn eight_faults_are_said_at_once() {
    let bad = GOOD
        .replace("title: Acme", "titel: Acme")
        .replace("in_flight: 5", "in_flight: yes")
        .replace("2m", "2d")
        .replace("default: documented", "default: docmented")
        .replace("    id: ", "    id: {}\n    id: ")
        .replace("stopped, 1", "stoped, 1")
        .replace("faults: globex", "faults: *globex")
        .replace("X-Job-UUID", "X Job");
    check(
        &bad,
        r#"error: routes.yaml:4:62: settings.api_version.default: unknown value `docmented`
  |
4 |   api_version: { one_of: [documented, replacement], default: docmented, env: API_VERSION }
  |                                                              ^^^^^^^^^
  |
  = hint: did you mean `documented`?

error: routes.yaml:21:5: providers.acme: unknown key `titel`
   |
21 |     titel: Acme
   |     ^^^^^
   |
   = hint: did you mean `title`?

error: routes.yaml:24:13: providers.acme.faults: alias `*globex`
   |
24 |     faults: *globex
   |             ^^^^^^^
   |
   = hint: anchors and aliases are not allowed: repeat the value

error: routes.yaml:27:5: providers.acme: duplicate key `id`
   |
27 |     id: { type: integer, minimum: 1 }
   |     ^^
   |
   = note: routes.yaml:26:5: the first is here

error: routes.yaml:28:26: providers.acme.limits.in_flight: `yes` is a boolean or null to some readers of YAML and text to others
   |
28 |     limits: { in_flight: yes, connect_timeout: 250ms, timeout: 2d, max_reply_bytes: 1048576, connection: close }
   |                          ^^^
   |
   = hint: write it in quotes: "yes"

error: routes.yaml:28:64: providers.acme.limits.timeout: expected a duration, found the text `2d`
   |
28 |     limits: { in_flight: yes, connect_timeout: 250ms, timeout: 2d, max_reply_bytes: 1048576, connection: close }
   |                                                                ^^
   |
   = hint: a duration is a whole number and a unit: `250ms`, `10s`, `2m`, `24h`

error: routes.yaml:38:22: providers.acme.actions.stop.request.headers["X Job"]: `X Job` is no header name
   |
38 |           headers: { X Job: "${call.uuid}" }
   |                      ^^^^^
   |
   = hint: a header's name has letters, digits and `-`, no spaces and no `:`

error: routes.yaml:46:51: providers.acme.actions.stop.reply.outcome[0].state.to.0: unknown value `stoped`
   |
46 |               state: { map: "${body.s}", to: { 0: stoped, 1: running }, else: unknown }
   |                                                   ^^^^^^
   |
   = hint: did you mean `stopped`?

8 errors
"#,
    );
}

#[test]
fn keys_types_and_words_of_the_file() {
    let with = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replacen(from, to, 1)
    };
    check_lines(
        &with("providers:\n", "provider:\n"),
        "error: routes.yaml:19:1: unknown key `provider`\n\
         = hint: did you mean `providers`?",
    );
    check_lines(
        &with("version: 1", "version: \"1\""),
        "error: routes.yaml:2:10: version: expected the version 1, found the text `1`",
    );
    check_lines(
        &with("one_of: [documented, replacement]", "one_of: []"),
        "error: routes.yaml:4:18: settings.api_version.one_of: an empty list\n\
         = hint: fill it or take the key out",
    );
    check_lines(
        &with("one_of: [documented, replacement]", "one_of: [documented, documented, 5]"),
        "error: routes.yaml:4:39: settings.api_version.one_of: `documented` stands there twice\n\
         error: routes.yaml:4:51: settings.api_version.one_of[2]: expected text, found the number 5\n\
         = hint: write it in quotes",
    );
    check_lines(
        &with("env: API_VERSION", "env: api-version"),
        "error: routes.yaml:4:79: settings.api_version.env: `api-version` is no name of an environment variable\n\
         = hint: it has capital letters, digits and `_`",
    );
    check_lines(
        &with("api_version:", "api-version:"),
        "error: routes.yaml:4:3: settings.api-version: `api-version` is no name of a setting\n\
         = hint: it must match ^[a-z][a-z0-9_]{0,31}$",
    );
    check_lines(
        &with("scheme: header", "scheme: heater"),
        "error: routes.yaml:6:21: credentials.globex.scheme: unknown value `heater`\n\
         = hint: did you mean `header`?",
    );
    check_lines(
        &with("header: X-Auth-Token,", ""),
        "error: routes.yaml:6:3: credentials.globex: missing key `header`",
    );
    check_lines(
        &with("scheme: none", "scheme: none, value: x"),
        "error: routes.yaml:8:27: credentials.nobody: unknown key `value`\n\
         = hint: the scheme `none` has the keys `scheme`",
    );
    check_lines(
        &with("status: 302, reason: VENDOR_AUTH", "status: 3xx, reason: VENDOR_OUT"),
        "error: routes.yaml:15:32: faults.globex.rules[0].reason: unknown value `VENDOR_OUT`\n\
         = hint: did you mean `VENDOR_AUTH`?",
    );
    check_lines(
        &with("status: 302, reason: VENDOR_AUTH", "reason: VENDOR_AUTH"),
        "error: routes.yaml:15:9: faults.globex.rules[0]: a rule without `status` and `when` matches everything",
    );
    check_lines(
        &with("\"0308\": VENDOR_RATE_LIMITED", "0308: VENDOR_RATE_LIMITED"),
        "error: routes.yaml:18:47: faults.globex.families[0].codes: `0308` is octal, decimal or text, depending on the reader\n\
         = hint: write it in quotes: \"0308\"",
    );
    check_lines(
        &with("  acme:\n    title", "  Acme:\n    title"),
        "error: routes.yaml:20:3: providers.Acme: `Acme` is no provider name\n\
         = hint: it must match ^[a-z][a-z0-9-]{0,31}$",
    );
    check_lines(
        &with("stop:", "stop-it:"),
        "error: routes.yaml:29:7: providers.acme.actions.stop-it: `stop-it` is no verb\n\
         = hint: it must match ^[a-z][a-zA-Z]{0,31}$",
    );
    check_lines(
        &with("type: integer, minimum: 1", "type: integer, pattern: x, minimum: 5, maximum: 4"),
        "error: routes.yaml:26:26: providers.acme.id: unknown key `pattern`\n\
         = hint: an id of type integer has the keys `type`, `minimum` and `maximum`\n\
         error: routes.yaml:26:59: providers.acme.id.maximum: no id can fit: the upper bound is below the lower one",
    );
    check_lines(
        &with("type: integer, minimum: 1", "pattern: \"(?=x)\", maxLength: many"),
        "error: routes.yaml:26:20: providers.acme.id.pattern: the pattern needs look-around or a back-reference\n\
         = hint: patterns run in linear time: no look-around, no back-references (https://docs.rs/regex/latest/regex/#syntax)\n\
         error: routes.yaml:26:40: providers.acme.id.maxLength: expected a number, found the text `many`",
    );
    check_lines(
        &with("in_flight: 5", "in_flight: 0"),
        "error: routes.yaml:27:26: providers.acme.limits.in_flight: expected a number from 1 to 10000, found 0",
    );
    check_lines(
        &with("2m", "0s"),
        "error: routes.yaml:27:62: providers.acme.limits.timeout: expected a duration above zero and up to 600s, found the text `0s`",
    );
    check_lines(
        &with("250ms", "3"),
        "error: routes.yaml:27:46: providers.acme.limits.connect_timeout: expected a duration, found the number 3\n\
         = hint: a duration is a whole number and a unit: `250ms`, `10s`, `2m`, `24h`",
    );
    check_lines(
        &with("connection: close", "connection: open"),
        "error: routes.yaml:27:104: providers.acme.limits.connection: unknown value `open`\n\
         = hint: expected `keep-alive` or `close`",
    );
    check_lines(
        &with("repeat: same-key", "repeat: always"),
        "error: routes.yaml:32:17: providers.acme.actions.stop.repeat: unknown value `always`\n\
         = hint: expected `never`, `safe` or `same-key`",
    );
    check_lines(
        &with("repeat: same-key", "limited_before_acting: 429"),
        "error: routes.yaml:32:32: providers.acme.actions.stop.limited_before_acting: expected `true` or `false`, found the number 429",
    );
    check_lines(
        &with("method: PUT", "method: put"),
        "error: routes.yaml:34:19: providers.acme.actions.stop.request.method: unknown value `put`\n\
         = hint: did you mean `PUT`?",
    );
    check_lines(
        &with("method: PUT", "method: BREW"),
        "error: routes.yaml:34:19: providers.acme.actions.stop.request.method: unknown value `BREW`\n\
         = hint: expected `GET`, `POST`, `PUT`, `PATCH` or `DELETE`",
    );
    check_lines(
        &with("path: /webacs", "path: webacs"),
        "error: routes.yaml:35:17: providers.acme.actions.stop.request.path: a path starts with `/`, found `w`",
    );
    check_lines(
        &with("X-Job-UUID", "Content-Length"),
        "error: routes.yaml:37:22: providers.acme.actions.stop.request.headers.Content-Length: taskgate sets the header `Content-Length` itself",
    );
    check_lines(
        &with("X-Job-UUID", "Authorization"),
        "error: routes.yaml:37:22: providers.acme.actions.stop.request.headers.Authorization: the header `Authorization` carries a secret\n\
         = hint: only `credentials` can place secrets",
    );
    check_lines(
        &with("X-Job-UUID: \"${call.uuid}\"", "X-A: a, x-a: b"),
        "error: routes.yaml:37:30: providers.acme.actions.stop.request.headers.x-a: duplicate header `x-a`\n\
         = note: routes.yaml:37:22: the first is here",
    );
    check_lines(
        &with("query: { a: \"${?scope.b}\", limit: 5 }", "query:"),
        "error: routes.yaml:36:11: providers.acme.actions.stop.request.query: expected a mapping, found nothing",
    );
    check_lines(
        &with("query: { a: \"${?scope.b}\", limit: 5 }", "query: {}"),
        "error: routes.yaml:36:11: providers.acme.actions.stop.request.query: an empty mapping\n\
         = hint: fill it or take the key out",
    );
    check_lines(
        &with("xml: { root: { runId: \"${id}\" } }", "xml: { a: 1, b: 2 }"),
        "error: routes.yaml:38:11: providers.acme.actions.stop.request.xml: XML has one root element, found 2",
    );
    check_lines(
        &with("xml: { root: { runId: \"${id}\" } }", "json: 1\n          xml: text"),
        "error: routes.yaml:39:11: providers.acme.actions.stop.request: both `json` and `xml`\n\
         = note: routes.yaml:38:11: `json` is here\n\
         = hint: a request has one body\n\
         error: routes.yaml:39:16: providers.acme.actions.stop.request.xml: expected a mapping with the root element, found the text `text`",
    );
    check_lines(
        &with("          schema: schemas/acme/stop.reply.json\n", ""),
        "error: routes.yaml:39:9: providers.acme.actions.stop.reply: missing key `schema`\n\
         = hint: an answer without a body is `body: empty`",
    );
    check_lines(
        &with(
            "          schema: schemas/acme/stop.reply.json\n",
            "          body: empty\n          schema: x\n",
        ),
        "error: routes.yaml:41:11: providers.acme.actions.stop.reply.schema: `schema` has no use with `body: empty`\n\
         = hint: take one of them out",
    );
    check_lines(
        &with("status: 2xx", "status: 2x"),
        "error: routes.yaml:42:23: providers.acme.actions.stop.reply.outcome[0].status: expected an HTTP status, found the text `2x`\n\
         = hint: write `200`, `[200, 202]` or `2xx`",
    );
    check_lines(
        &with("status: [404, 5xx]", "status: [99, [], 600]"),
        "error: routes.yaml:47:26: providers.acme.actions.stop.reply.outcome[1].status[0]: expected an HTTP status, found the number 99\n\
         = hint: write `200`, `[200, 202]` or `2xx`\n\
         error: routes.yaml:47:30: providers.acme.actions.stop.reply.outcome[1].status[1]: expected an HTTP status, found a list\n\
         = hint: write `200`, `[200, 202]` or `2xx`\n\
         error: routes.yaml:47:34: providers.acme.actions.stop.reply.outcome[1].status[2]: expected an HTTP status, found the number 600\n\
         = hint: write `200`, `[200, 202]` or `2xx`",
    );
    check_lines(
        &with("is: accepted", "is: acepted"),
        "error: routes.yaml:44:19: providers.acme.actions.stop.reply.outcome[0].is: unknown value `acepted`\n\
         = hint: did you mean `accepted`?",
    );
    check_lines(
        &with("is: fault,", "is: fault, state: stopped,"),
        "error: routes.yaml:47:48: providers.acme.actions.stop.reply.outcome[1]: `state` goes with `is: done` and `is: accepted` only",
    );
    check_lines(
        &with("is: fault,", "is: done,"),
        "error: routes.yaml:47:15: providers.acme.actions.stop.reply.outcome[1]: missing key `state`\n\
         = hint: write `state: unknown` when the answer does not tell it\n\
         error: routes.yaml:47:47: providers.acme.actions.stop.reply.outcome[1]: `code` goes with `is: fault` only",
    );
    check_lines(
        &with(
            "state: { map: \"${body.s}\", to: { 0: stopped, 1: running }, else: unknown }",
            "state: '${body.s}'",
        ),
        "error: routes.yaml:45:22: providers.acme.actions.stop.reply.outcome[0].state: a state cannot be a placeholder\n\
         = hint: a `map` says which of the vendor's words means which state",
    );
    check_lines(
        &with("else: unknown }", "else: gone }"),
        "error: routes.yaml:45:80: providers.acme.actions.stop.reply.outcome[0].state.else: unknown value `gone`\n\
         = hint: expected `running`, `stopped`, `stopping` or `unknown`",
    );
    check_lines(
        &with("failed: \"${body.b}\", ", ""),
        "error: routes.yaml:46:15: providers.acme.actions.stop.reply.outcome[0].items: missing key `failed`",
    );
    check_lines(
        &with("reason: ACTION_FAILED", "reason: 5"),
        "error: routes.yaml:46:121: providers.acme.actions.stop.reply.outcome[0].items.reason: expected text, found the number 5\n\
         = hint: write it in quotes",
    );
}
