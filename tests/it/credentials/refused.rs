//! Which of several credentials is used, and faults of credentials: their places, and no values.

use serde_json::json;
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::route::Credentials;

use super::{Rig, made_up, passwords, text};

#[test]
fn the_first_complete_alternative_is_used() {
    let scheme = |environment: &[(&str, &str)]| {
        let environment: Environment = environment.iter().copied().collect();
        let environment = environment.with([("CFW_ENDPOINT", "https://h"), ("HUAWEI_PROJECT_ID", "p")]);
        let table = compile(&shipped::sources(), shipped::ROUTES_FILE, &environment)
            .map_err(text)
            .unwrap()
            .table;
        let provider = &table.providers["cfw"];
        match &provider.connection {
            Ok(connection) => match &connection.credentials {
                Credentials::SdkHmacSha256(_) => "signature".to_owned(),
                Credentials::Session(_) => "login".to_owned(),
                Credentials::Header(..) => "static".to_owned(),
                other => format!("{other:?}"),
            },
            Err(missing) => format!("{} of {} sets", missing.join(" "), provider.alternatives.len()),
        }
    };
    let keys = [("HUAWEI_ACCESS_KEY", "a"), ("HUAWEI_SECRET_KEY", "s-that-opens-nothing")];
    let token = [("HUAWEI_TOKEN", "t-that-opens-nothing")];
    let login = passwords("https://h", "https://i");
    assert_eq!(scheme(&[]), "HUAWEI_ACCESS_KEY HUAWEI_SECRET_KEY of 3 sets");
    assert_eq!(scheme(&keys[..1]), "HUAWEI_SECRET_KEY of 3 sets");
    assert_eq!(scheme(&token), "static");
    assert_eq!(scheme(&[&keys[..1], &token].concat()), "static");
    assert_eq!(scheme(&[&login, &token[..]].concat()), "login");
    assert_eq!(scheme(&[&login, &keys[..], &token[..]].concat()), "signature");
}

#[tokio::test]
async fn what_can_be_set_is_told() {
    let rig = Rig::shipped(&[]);
    let (status, problem) = rig.stop_capture().await;
    assert_eq!((status, &problem["reason"]), (503, &json!("PROVIDER_NOT_CONFIGURED")));
    let sets = problem["metadata"]["alternatives"].as_array().unwrap();
    assert!(sets.contains(&json!(["HUAWEI_TOKEN"])), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("HUAWEI_PASSWORD"), "{problem}");
}

#[track_caller]
fn refused(credentials: &str, environment: &[(&str, &str)], expected: &[&str]) {
    let environment: Environment = environment.iter().copied().collect();
    let rejected = compile(&made_up(credentials), shipped::ROUTES_FILE, &environment).unwrap_err();
    let rendered = text(rejected);
    for line in expected {
        assert!(rendered.contains(line), "`{line}` is missing in\n{rendered}");
    }
    assert_eq!(rendered.matches("error: ").count(), expected.len(), "{rendered}");
    for (_, value) in environment_values(&environment) {
        assert!(!rendered.contains(&value), "a value is shown:\n{rendered}");
    }
}

fn environment_values(environment: &Environment) -> Vec<(String, String)> {
    environment
        .names()
        .map(|name| (name.to_owned(), environment.value(name).unwrap_or_default().to_owned()))
        .filter(|(_, value)| value.len() > 3)
        .collect()
}

#[test]
fn faults_of_credentials_have_places_and_show_no_values() {
    refused(
        "    { scheme: hedaer, header: X, value: y }",
        &[],
        &["routes.yaml:4:15: credentials.sweets.scheme: unknown value `hedaer`"],
    );
    refused("    { header: X }", &[], &["credentials.sweets: missing key `scheme`"]);
    refused(
        "    { one_of: [{ scheme: none, value: x }] }",
        &[],
        &["credentials.sweets.one_of[0]: unknown key `value`"],
    );
    refused(
        "    { one_of: [{ scheme: none }], scheme: none }",
        &[],
        &["credentials.sweets: unknown key `scheme`"],
    );
    refused(
        "    { scheme: passthrough, header: 'X Y' }",
        &[],
        &["credentials.sweets.header: `X Y` is no header name"],
    );
    refused(
        "    { scheme: sdk-hmac-sha256, access_key: '${env.A}', secret_key: literal }",
        &[],
        &["credentials.sweets.secret_key: a secret does not stand in this file"],
    );
    refused(
        "    { scheme: zstack-access-key, access_key_id: '${env.A}', access_key_secret: '${env.B}', time_zone: '${env.Z}', strip: base/ }",
        &[("A", "a"), ("B", "b"), ("Z", "Mars/Olympus")],
        &[
            "credentials.sweets.strip: a prefix of a path",
            "credentials.sweets.time_zone: the value is no time zone",
        ],
    );
    refused(
        "    { scheme: basic, username: '${env.A}', password: '${env.B}', limited: {} }",
        &[],
        &["credentials.sweets.limited: without `status` and `when` every answer is meant"],
    );
    refused(
        "    { scheme: header, header: X, value: '${env.A}' }",
        &[("A", "line\nbreak")],
        &["credentials.sweets: the value holds characters that a header cannot carry"],
    );
    let session = |login: &str, rest: &str| {
        format!(
            "    {{ scheme: session, endpoint: 'https://h', login: {{ {login} }}, apply: {{ header: X-T, value: '${{token}}' }}{rest} }}"
        )
    };
    refused(
        &session(
            "request: { method: POST, path: /l, json: { user: '${env.U}', password: hunter2 } }, token: '${body.t}'",
            "",
        ),
        &[],
        &["credentials.sweets.login.request.json.password: a secret does not stand in this file"],
    );
    refused(
        &session("request: { method: POST, path: '/l/${id}' }, token: '${body.t}'", ""),
        &[],
        &["credentials.sweets.login.request.path: unknown reference `id`"],
    );
    refused(
        &session(
            "request: { method: POST, path: /l }, token: '${bdy.t}'",
            ", expired: { when: 'sttus == 401' }",
        ),
        &[],
        &[
            "credentials.sweets.login.token: unknown reference `bdy.t`",
            "credentials.sweets.expired.when: unknown reference `sttus`",
        ],
    );
    refused(
        &session(
            "request: { method: POST, path: /l }",
            ", logout: { method: DELETE, path: '/l/${tokn}' }",
        ),
        &[],
        &[
            "credentials.sweets.login: missing key `token`",
            "credentials.sweets.logout.path: unknown reference `tokn`",
        ],
    );
    refused(
        "    { scheme: session, endpoint: 'ftp://h', login: { request: { method: POST, path: /l }, token: '${body.t}' }, apply: { header: X-T, value: fixed } }",
        &[],
        &[
            "credentials.sweets.endpoint: the value is not an endpoint",
            "credentials.sweets.apply.value: the value does not use the token",
        ],
    );
}
