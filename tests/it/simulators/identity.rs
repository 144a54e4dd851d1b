//! The identity service: logins that work and those that do not, tokens that live, expire and are revoked.

use serde_json::{Value, json};
use taskgate::simulate::{
    CFW_FIREWALL, HUAWEI_DOMAIN, HUAWEI_PASSWORD, HUAWEI_PROJECT_ID, HUAWEI_PROJECT_NAME, HUAWEI_TOKEN, HUAWEI_USER, SimulatorOptions,
    Simulators,
};

use super::client::{Reply, ask, play, simulators};

const JSON: &str = "Content-Type: application/json;charset=utf-8\r\n";

fn login(scope: &Value) -> String {
    let user = json!({"name": HUAWEI_USER, "password": HUAWEI_PASSWORD, "domain": {"name": HUAWEI_DOMAIN}});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    json!({"auth": {"identity": identity, "scope": scope}}).to_string()
}

fn by_id() -> String {
    login(&json!({"project": {"id": HUAWEI_PROJECT_ID}}))
}

async fn token_of(simulators: &Simulators, body: &str) -> String {
    let reply = ask(simulators, "iam", ("POST", "/v3/auth/tokens?nocatalog=true", JSON, body)).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.header("x-subject-token").unwrap().to_owned()
}

/// The list of captures with a token.
async fn list(simulators: &Simulators, token: &str) -> Reply {
    let target = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task?fw_instance_id={CFW_FIREWALL}&limit=10&offset=0");
    let headers = format!("X-Auth-Token: {token}\r\n");
    ask(simulators, "cfw", ("GET", &target, &headers, "")).await
}

fn error_of(reply: &Reply) -> (u16, String, String) {
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    (reply.status, text("error_code"), text("error_msg"))
}

#[tokio::test]
async fn a_login_gets_a_long_token_that_three_services_take() {
    let simulators = simulators().await;
    let reply = ask(&simulators, "iam", ("POST", "/v3/auth/tokens", JSON, &by_id())).await;
    assert_eq!(reply.status, 201);
    let with_catalog = reply.header("x-subject-token").unwrap();
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let body = body.get("token").unwrap();
    assert!(body.get("catalog").is_some());
    assert_eq!(body.pointer("/project/id"), Some(&HUAWEI_PROJECT_ID.into()));
    let time = |name: &str| body.get(name).unwrap().as_str().unwrap().to_owned();
    for name in ["issued_at", "expires_at"] {
        let text = time(name);
        assert_eq!((text.len(), text.ends_with('Z')), (27, true), "{name}: {text}");
    }
    assert_eq!(time("issued_at").split_at(11).1, time("expires_at").split_at(11).1, "a day later");
    assert!(time("issued_at") < time("expires_at"));

    let by_name = login(&json!({"project": {"name": HUAWEI_PROJECT_NAME}, "domain": {"name": "ignored"}}));
    let reply = ask(&simulators, "iam", ("POST", "/v3/auth/tokens?nocatalog", JSON, &by_name)).await;
    let without = reply.header("x-subject-token").unwrap();
    assert!(!reply.body.contains("catalog"));
    assert_eq!((with_catalog.len(), without.len()), (10_000, 5000));

    // The new one leaves the old one valid.
    for token in [with_catalog, without] {
        assert_eq!(list(&simulators, token).await.status, 200);
        for (vendor, target) in [
            ("dbss", format!("/v1/{HUAWEI_PROJECT_ID}/audit/instances")),
            ("hss", format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/batch-query")),
        ] {
            let method = if vendor == "hss" { "POST" } else { "GET" };
            let headers = format!("{JSON}X-Auth-Token: {token}\r\n");
            let reply = ask(&simulators, vendor, (method, &target, &headers, r#"{"task_type":"cluster_scan"}"#)).await;
            assert_eq!(reply.status, 200, "{vendor}: {}", reply.body);
        }
    }
    assert_eq!(
        simulators.logins("iam").unwrap(),
        json!({"issued": 2, "alive": 2, "access_keys": {}})
    );
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_login_that_does_not_fit_is_refused_with_a_number_for_a_code() {
    let invalid = r#"400 {"error":{"code":400,"message":"The request body is invalid","title":"Bad Request"}}"#;
    let wrong = r#"401 {"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}"#;
    let login_path = "/v3/auth/tokens?nocatalog=true";
    let project = json!({"project": {"id": HUAWEI_PROJECT_ID}});
    play(
        "iam",
        &[
            (("POST", login_path, JSON, "{"), invalid),
            (("POST", login_path, "", &by_id()), invalid),
            (("POST", login_path, JSON, r#"{"auth":{}}"#), invalid),
            (("POST", login_path, JSON, &login(&json!({"project": {}}))), invalid),
            (
                ("POST", login_path, JSON, &login(&project).replace("[\"password\"]", "[\"token\"]")),
                invalid,
            ),
            (("POST", login_path, JSON, &login(&project).replace(HUAWEI_PASSWORD, "x")), wrong),
            (("POST", login_path, JSON, &login(&project).replace(HUAWEI_DOMAIN, "x")), wrong),
            (
                ("POST", login_path, JSON, &login(&json!({"project": {"name": "elsewhere"}}))),
                wrong,
            ),
            (("POST", login_path, JSON, &login(&json!({"domain": {"name": "elsewhere"}}))), wrong),
            (
                ("GET", login_path, "", ""),
                r#"405 {"error":{"code":405,"message":"Method not allowed","title":"Method Not Allowed"}}"#,
            ),
            (
                ("POST", "/v3/tokens", JSON, "{}"),
                r#"404 {"error":{"code":404,"message":"The requested resource could not be found","title":"Not Found"}}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_token_of_an_account_is_good_for_no_project() {
    let simulators = simulators().await;
    let token = token_of(&simulators, &login(&json!({"domain": {"name": HUAWEI_DOMAIN}}))).await;
    let found = error_of(&list(&simulators, &token).await);
    assert_eq!(found, (403, "APIGW.0310".into(), "The project is unavailable".into()));
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_token_expires_by_the_clock() {
    let options = SimulatorOptions::default().set("iam", "lifetime", "30s");
    let simulators = Simulators::start(options).await.unwrap();
    let token = token_of(&simulators, &by_id()).await;
    assert_eq!(list(&simulators, &token).await.status, 200);
    simulators.advance(std::time::Duration::from_secs(31));
    let (status, code, text) = error_of(&list(&simulators, &token).await);
    assert_eq!((status, code.as_str()), (401, "APIGW.0301"));
    assert!(
        text.starts_with("Incorrect IAM authentication information: token expires, expires_at: 2"),
        "{text}"
    );
    // The one that was handed out beforehand does not.
    assert_eq!(list(&simulators, HUAWEI_TOKEN).await.status, 200);
    simulators.shutdown().await;
}

#[tokio::test]
async fn revoking_ends_every_token_and_resetting_gives_back_the_fixed_one() {
    let simulators = simulators().await;
    let token = token_of(&simulators, &by_id()).await;
    let control = ask(&simulators, "cfw", ("POST", "/_simulator/revoke", "", "")).await;
    assert_eq!(control.line(), "204");
    for dead in [token.as_str(), HUAWEI_TOKEN] {
        let found = error_of(&list(&simulators, dead).await);
        assert_eq!(found, (401, "APIGW.0307".into(), "The token must be updated".into()));
    }
    let fresh = token_of(&simulators, &by_id()).await;
    assert_eq!(list(&simulators, &fresh).await.status, 200);
    let view = ask(&simulators, "iam", ("GET", "/_simulator/logins", "", "")).await;
    assert_eq!(view.line(), r#"200 {"access_keys":{},"alive":1,"issued":2}"#);
    simulators.reset();
    assert_eq!(list(&simulators, &fresh).await.status, 401);
    assert_eq!(list(&simulators, HUAWEI_TOKEN).await.status, 200);
    simulators.shutdown().await;
}

#[tokio::test]
async fn each_way_to_log_in_has_its_variables() {
    let simulators = simulators().await;
    let names = |environment: std::collections::BTreeMap<String, String>| environment.into_keys().collect::<Vec<_>>().join(" ");
    assert_eq!(
        names(simulators.environment()),
        "CFW_ENDPOINT DBSS_ENDPOINT HSS_ENDPOINT HUAWEI_PROJECT_ID HUAWEI_TOKEN PRIME_ENDPOINT PRIME_PASSWORD PRIME_USER ZSTACK_ENDPOINT ZSTACK_SESSION"
    );
    assert_eq!(
        names(simulators.login_environment()),
        "CFW_ENDPOINT DBSS_ENDPOINT HSS_ENDPOINT HUAWEI_DOMAIN HUAWEI_IAM_ENDPOINT HUAWEI_PASSWORD HUAWEI_PROJECT_ID HUAWEI_USER PRIME_ENDPOINT PRIME_PASSWORD PRIME_USER ZSTACK_ACCOUNT ZSTACK_ENDPOINT ZSTACK_PASSWORD"
    );
    assert_eq!(
        names(simulators.signature_environment()),
        "CFW_ENDPOINT DBSS_ENDPOINT HSS_ENDPOINT HUAWEI_ACCESS_KEY HUAWEI_PROJECT_ID HUAWEI_SECRET_KEY PRIME_ENDPOINT PRIME_PASSWORD PRIME_USER ZSTACK_ACCESS_KEY_ID ZSTACK_ACCESS_KEY_SECRET ZSTACK_ENDPOINT ZSTACK_TIME_ZONE"
    );
    assert_eq!(
        simulators.login_environment().get("HUAWEI_IAM_ENDPOINT"),
        simulators.endpoints().get("iam")
    );
    simulators.shutdown().await;
}
