//! Faults of templates, expressions and rules in routes.yaml: each row breaks the routes in one place, and shows all that is printed.

use super::check;

#[test]
fn references_lead_to_what_is_there() {
    check(
        &[("${scope.project}/jobs", "${scope.projet}/jobs")],
        r#"error: routes.yaml:25:29: providers.acme.actions.stop.request.path: unknown reference `scope.projet`
   |
25 |           path: /v1/${scope.projet}/jobs/${id}/stop
   |                             ^^^^^^
   |
   = hint: did you mean `project`?
"#,
    );
    check(
        &[("/v1/${scope.project}", "/v1/${settings.acme_ap}/${scope.project}")],
        r#"error: routes.yaml:25:32: providers.acme.actions.stop.request.path: unknown reference `settings.acme_ap`
   |
25 |           path: /v1/${settings.acme_ap}/${scope.project}/jobs/${id}/stop
   |                                ^^^^^^^
   |
   = hint: did you mean `acme_api`?
"#,
    );
    check(
        &[("do: \"${label.text}\"", "do: \"${label.txt}\"")],
        r#"error: routes.yaml:30:78: providers.acme.actions.stop.request.json.labels.do: unknown reference `label.txt`
   |
30 |             labels: { each: "${?parameters.labels}", as: label, do: "${label.txt}" }
   |                                                                              ^^^
   |
   = hint: did you mean `text`?
"#,
    );
    check(
        &[("name: \"${?body.name}\"", "name: \"${?body.nmae}\"")],
        r#"error: routes.yaml:35:76: providers.acme.actions.stop.reply.outcome[1].name: unknown reference `body.nmae`
   |
35 |             - { status: 200, is: accepted, state: stopping, name: "${?body.nmae}" }
   |                                                                            ^^^^
   |
   = hint: did you mean `name`?
"#,
    );
    check(
        &[("site: \"${?scope.instance}\"", "site: \"${?scope}\"")],
        r#"error: routes.yaml:26:30: providers.acme.actions.stop.request.query.site: `scope` is an object, which cannot stand here
   |
26 |           query: { site: "${?scope}" }
   |                              ^^^^^
"#,
    );
    check(
        &[("${id}/stop", "${env.ACME_PATH}/stop")],
        r#"error: routes.yaml:25:45: providers.acme.actions.stop.request.path: unknown reference `env.ACME_PATH`
   |
25 |           path: /v1/${scope.project}/jobs/${env.ACME_PATH}/stop
   |                                             ^^^
   |
   = hint: `env` stands in `endpoint`, `scope`, `tls` and `credentials` only
"#,
    );
    check(
        &[(
            "X-Acme-Api: \"${settings.acme_api}\"",
            "X-Acme-Api: \"${settings.acme_api}\", X-Why: \"${reason}\"",
        )],
        r#"error: routes.yaml:27:68: providers.acme.actions.stop.request.headers.x-why: unknown reference `reason`
   |
27 |           headers: { X-Acme-Api: "${settings.acme_api}", X-Why: "${reason}" }
   |                                                                    ^^^^^^
   |
   = hint: `reason` goes to the log only
"#,
    );
    check(
        &[("endpoint: ${env.ACME_ENDPOINT}", "endpoint: ${scope.endpoint}")],
        r#"error: routes.yaml:14:17: providers.acme.endpoint: unknown reference `scope.endpoint`
   |
14 |     endpoint: ${scope.endpoint}
   |                 ^^^^^^^^^^^^^^
   |
   = hint: only `env.NAME` can stand here
"#,
    );
}

#[test]
fn what_may_be_absent_is_optional() {
    check(
        &[("\"${?scope.instance}\"", "\"${scope.instance}\"")],
        r#"error: routes.yaml:26:29: providers.acme.actions.stop.request.query.site: `scope.instance` may be absent: the schema does not guarantee it
   |
26 |           query: { site: "${scope.instance}" }
   |                             ^^^^^^^^^^^^^^
   |
   = hint: write `${?scope.instance}` to leave the place out, or require the member in the schema
"#,
    );
    check(
        &[("name: \"${?body.name}\"", "name: \"${body.name}\"")],
        r#"error: routes.yaml:35:70: providers.acme.actions.stop.reply.outcome[1].name: `body.name` may be absent: the schema does not guarantee it
   |
35 |             - { status: 200, is: accepted, state: stopping, name: "${body.name}" }
   |                                                                      ^^^^^^^^^
   |
   = hint: write `${?body.name}` to leave the place out, or require the member in the schema
"#,
    );
}

#[test]
fn tables_fit_their_enums() {
    check(
        &[("to: { soft: SOFT, hard: HARD }", "to: { soft: SOFT }")],
        r#"error: routes.yaml:29:52: providers.acme.actions.stop.request.json.mode.to: the table has no entry for `hard`
   |
29 |             mode: { map: "${parameters.mode}", to: { soft: SOFT } }
   |                                                    ^^^^^^^^^^^^^^
   |
   = hint: every value that the schema allows needs an entry, or give the table an `else`
"#,
    );
    check(
        &[("to: { soft: SOFT, hard: HARD }", "to: { soft: SOFT, hard: HARD, herd: X }")],
        r#"error: routes.yaml:29:78: providers.acme.actions.stop.request.json.mode.to.herd: dead key: `parameters.mode` is never `herd`
   |
29 |             mode: { map: "${parameters.mode}", to: { soft: SOFT, hard: HARD, herd: X } }
   |                                                                              ^^^^
   |
   = hint: did you mean `hard`?
"#,
    );
    check(
        &[("to: { soft: SOFT, hard: HARD } }", "too: { soft: SOFT, hard: HARD } }")],
        r#"error: routes.yaml:29:48: providers.acme.actions.stop.request.json.mode.too: unknown key `too` beside the operator `map`
   |
29 |             mode: { map: "${parameters.mode}", too: { soft: SOFT, hard: HARD } }
   |                                                ^^^
   |
   = hint: did you mean `to`?
"#,
    );
}

#[test]
fn nothing_that_a_caller_may_say_is_ignored() {
    check(
        &[("          query: { site: \"${?scope.instance}\" }\n", "")],
        r#"error: routes.yaml:23:9: providers.acme.actions.stop.request: the request ignores `scope.instance`, which `schemas/stop.request.json` allows
   |
23 |         request:
   |         ^^^^^^^
   |
   = hint: use it in the request, or take it out of the schema
"#,
    );
}

#[test]
fn rules_can_be_reached_and_mean_something() {
    check(
        &[(
            "            - { status: 200, is: accepted, state: stopping, name: \"${?body.name}\" }\n",
            "            - { status: 200, is: accepted, state: stopping, name: \"${?body.name}\" }\n            - { status: 200, is: done, state: stopped }\n",
        )],
        r#"error: routes.yaml:36:15: providers.acme.actions.stop.reply.outcome[2]: this rule is never reached: earlier rules without `when` take all its statuses
   |
36 |             - { status: 200, is: done, state: stopped }
   |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
    check(
        &[("status: 200, is: accepted", "status: 404, is: accepted")],
        r#"error: routes.yaml:35:15: providers.acme.actions.stop.reply.outcome[1].status: only a status from 200 to 299 can be a success
   |
35 |             - { status: 404, is: accepted, state: stopping, name: "${?body.name}" }
   |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: an error status is a `fault`
"#,
    );
}

#[test]
fn expressions_and_placeholders() {
    check(
        &[("\"body.result == 'failed'\"", "\"body.result = 'failed'\"")],
        r#"error: routes.yaml:34:37: providers.acme.actions.stop.reply.outcome[0].when: not a CEL expression: Syntax error: token recognition error at: '= '
   |
34 |             - { status: 200, when: "body.result = 'failed'", is: fault, reason: ACTION_FAILED }
   |                                     ^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: CEL compares with `==` and joins with `&&` and `||`; https://cel.dev explains it
"#,
    );
    check(
        &[("\"body.result == 'failed'\"", "\"${body.result} == 'failed'\"")],
        r#"error: routes.yaml:34:36: providers.acme.actions.stop.reply.outcome[0].when: a condition is CEL without `${}`
   |
34 |             - { status: 200, when: "${body.result} == 'failed'", is: fault, reason: ACTION_FAILED }
   |                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: write `status == 200` and not `${status} == 200`
"#,
    );
    check(
        &[("\"body.result == 'failed'\"", "\"body.reslut == 'failed'\"")],
        r#"error: routes.yaml:34:42: providers.acme.actions.stop.reply.outcome[0].when: unknown reference `body.reslut`
   |
34 |             - { status: 200, when: "body.reslut == 'failed'", is: fault, reason: ACTION_FAILED }
   |                                          ^^^^^^
   |
   = hint: did you mean `result`?
"#,
    );
    check(
        &[("${id}/stop", "${id/stop")],
        r#"error: routes.yaml:25:17: providers.acme.actions.stop.request.path: expected `}` after `${`
   |
25 |           path: /v1/${scope.project}/jobs/${id/stop
   |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = hint: a `${` that means itself is written `$${`
"#,
    );
    check(
        &[("${?body.code}", "${body.code")],
        r#"error: routes.yaml:8:11: faults.acme.code: expected `}` after `${`
  |
8 |     code: ${body.code
  |           ^^^^^^^^^^^
  |
  = hint: a `${` that means itself is written `$${`
"#,
    );
    check(
        &[("path: /v1/", "path: v1/")],
        r#"error: routes.yaml:25:17: providers.acme.actions.stop.request.path: a path starts with `/`, found `v`
   |
25 |           path: v1/${scope.project}/jobs/${id}/stop
   |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}
