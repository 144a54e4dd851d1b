//! The other schemes: signatures, Basic, a login by YAML alone, and the caller's own header.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{CBT, PASSWORD, Rig, Server, firewall, made_up, node};

#[tokio::test]
async fn an_access_key_signs_what_is_sent() {
    let vendor = firewall(&[]).await;
    let url = vendor.url();
    let rig = Rig::shipped(&[
        ("CFW_ENDPOINT", &url),
        ("HUAWEI_PROJECT_ID", "p"),
        ("HUAWEI_ACCESS_KEY", "AKAKAK"),
        ("HUAWEI_SECRET_KEY", "the-secret-key-that-opens-nothing"),
        ("HUAWEI_SECURITY_TOKEN", "temporary-that-opens-nothing"),
        // A token from elsewhere comes last.
        ("HUAWEI_TOKEN", "unused-that-opens-nothing"),
    ]);
    assert_eq!(rig.stop_capture().await.0, 202);
    let got = &vendor.got()[0];
    assert!(got.line.contains("?fw_instance_id=i"), "{}", got.line);
    assert!(!got.headers.contains_key("x-auth-token"));
    assert_eq!(
        (got.headers["x-project-id"].as_str(), got.headers["x-security-token"].as_str()),
        ("p", "temporary-that-opens-nothing")
    );
    assert_eq!(got.headers["x-sdk-date"].len(), "20251120T101530Z".len());
    let authorization = &got.headers["authorization"];
    let signed = "SDK-HMAC-SHA256 Access=AKAKAK, SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token, Signature=";
    let signature = authorization.strip_prefix(signed).unwrap_or_else(|| panic!("{authorization}"));
    // Once more by hand, from what the vendor got.
    let (path, query) = got.line.strip_prefix("POST ").unwrap().split_once('?').unwrap();
    let canonical = format!(
        "POST\n{path}/\n{query}\ncontent-type:application/json\nhost:{}\nx-project-id:p\nx-sdk-date:{}\nx-security-token:temporary-that-opens-nothing\n\n\
         content-type;host;x-project-id;x-sdk-date;x-security-token\n{}",
        vendor.address,
        got.headers["x-sdk-date"],
        taskgate::crypto::sha256_hex(got.body.as_bytes())
    );
    let text = format!(
        "SDK-HMAC-SHA256\n{}\n{}",
        got.headers["x-sdk-date"],
        taskgate::crypto::sha256_hex(canonical.as_bytes())
    );
    assert_eq!(
        signature,
        taskgate::crypto::hmac_sha256_hex(b"the-secret-key-that-opens-nothing", text.as_bytes())
    );
    assert_eq!(got.headers["host"], vendor.address.to_string());
    assert!(!format!("{:?}", rig.table.providers["cfw"]).contains("the-secret-key-that-opens-nothing"));
}

#[tokio::test]
async fn a_dated_key_signs_with_the_servers_wall_clock() {
    let node = node("").await;
    let url = node.url();
    let rig = Rig::shipped(&[
        ("ZSTACK_ENDPOINT", &url),
        ("ZSTACK_ACCESS_KEY_ID", "ak0example"),
        ("ZSTACK_ACCESS_KEY_SECRET", "sk-that-opens-nothing"),
        ("ZSTACK_TIME_ZONE", "Asia/Shanghai"),
    ]);
    let (status, body) = rig.call(CBT, json!({}), &[]).await;
    assert_eq!(status, 200, "{body}");
    // A look comes first, and is signed like the call.
    let got = &node.got()[1];
    let date = &got.headers["date"];
    assert!(date.ends_with(" Asia/Shanghai"), "{date}");
    let text = format!("POST\n{date}\n/v1/cbt-task/disable/5ca9c15a50c53f0dac359a64841d7b2b");
    assert_eq!(
        got.headers["authorization"],
        format!(
            "ZStack ak0example:{}",
            taskgate::crypto::hmac_sha1_base64(b"sk-that-opens-nothing", text.as_bytes())
        )
    );
}

#[tokio::test]
async fn a_401_after_successes_is_the_session_limit() {
    let full = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&full);
    let vendor = Server::start(move |_| match switch.load(Ordering::SeqCst) {
        true => (401, Vec::new(), "<html>".to_owned()),
        false => {
            let body = r#"<?xml version="1.0"?><mgmtResponse requestUrl="u" responseType="operation" rootUrl="r"><operationResult><failure/><operation>CANCEL</operation><success><success><id>15</id></success></success></operationResult></mgmtResponse>"#;
            (200, vec![("content-type", "application/xml".to_owned())], body.to_owned())
        }
    })
    .await;
    let url = vendor.url();
    let rig = Rig::shipped(&[("PRIME_ENDPOINT", &url), ("PRIME_USER", "u"), ("PRIME_PASSWORD", PASSWORD)]);
    let reason = async || rig.call("/tasks/prime/15:stop", json!({}), &[]).await.1["reason"].clone();
    assert_eq!(reason().await, "VENDOR_AUTH", "before any success it is the password");
    full.store(false, Ordering::SeqCst);
    let (status, body) = rig.call("/tasks/prime/15:stop", json!({}), &[]).await;
    assert_eq!(status, 202, "{body}");
    full.store(true, Ordering::SeqCst);
    assert_eq!(reason().await, "VENDOR_RATE_LIMITED");
    assert_eq!(vendor.got().len(), 3, "nothing is sent twice");
}

#[tokio::test]
async fn another_vendors_login_is_yaml_only() {
    let vendor = Server::start(|got| match got.line.as_str() {
        "POST /oauth2/token" => {
            let body = json!({ "access_token": "at-1-that-opens-nothing", "token_type": "Bearer", "expires_in": 300 });
            (200, Vec::new(), body.to_string())
        }
        _ => (204, Vec::new(), String::new()),
    })
    .await;
    let sources = made_up(
        r#"    scheme: session
    endpoint: ${env.SWEETS_ENDPOINT}
    login:
      request:
        method: POST
        path: /oauth2/token
        headers: { Authorization: "Basic ${base64(env.CLIENT_ID + ':' + env.CLIENT_SECRET)}" }
        form: { grant_type: client_credentials, scope: "tasks:read tasks:write", audience: "${?env.AUDIENCE}" }
      token: ${body.access_token}
      expires_in: ${?body.expires_in}
    apply: { header: Authorization, value: "Bearer ${token}" }
    expired: { status: 401 }"#,
    );
    let url = vendor.url();
    let rig = Rig::new(
        &sources,
        &[
            ("SWEETS_ENDPOINT", &url),
            ("CLIENT_ID", "me"),
            ("CLIENT_SECRET", "my-secret-that-opens-nothing"),
        ],
    );
    let (status, body) = rig.call("/tasks/sweets/a:stop", json!({}), &[]).await;
    assert_eq!(status, 200, "{body}");
    let got = vendor.got();
    assert_eq!(got[0].headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(got[0].body, "grant_type=client_credentials&scope=tasks%3Aread+tasks%3Awrite");
    assert_eq!(
        got[0].headers["authorization"],
        "Basic bWU6bXktc2VjcmV0LXRoYXQtb3BlbnMtbm90aGluZw=="
    );
    assert_eq!(got[1].headers["authorization"], "Bearer at-1-that-opens-nothing");
    assert!(!format!("{:?}", rig.table).contains("my-secret-that-opens-nothing"));
}

#[tokio::test]
async fn a_callers_header_is_handed_on_and_its_refusal_as_well() {
    let vendor = Server::start(|got| match got.headers.get("x-auth-token").map(String::as_str) {
        Some("good-that-opens-nothing") => (204, Vec::new(), String::new()),
        _ => (401, Vec::new(), String::new()),
    })
    .await;
    let url = vendor.url();
    let rig = Rig::new(
        &made_up("    { scheme: passthrough, header: X-Auth-Token }"),
        &[("SWEETS_ENDPOINT", &url)],
    );
    let stop = async |headers: &[(&str, &str)]| rig.call("/tasks/sweets/a:stop", json!({}), headers).await;
    assert_eq!(
        stop(&[("x-auth-token", "good-that-opens-nothing"), ("authorization", "mine")])
            .await
            .0,
        200
    );
    assert!(
        !vendor.got()[0].headers.contains_key("authorization"),
        "only what is named is handed on"
    );
    for headers in [
        vec![],
        vec![("x-auth-token", "good-that-opens-nothing"), ("x-auth-token", "other")],
        vec![("x-auth-token", "good-that-opens-nothing"), ("connection", "x-auth-token")],
    ] {
        let (status, problem) = stop(&headers).await;
        assert_eq!((status, &problem["reason"]), (401, &json!("UNAUTHENTICATED")), "{headers:?}");
    }
    assert_eq!(vendor.got().len(), 1, "without the header nothing is sent");
    let (status, problem) = stop(&[("x-auth-token", "bad-that-opens-nothing")]).await;
    assert_eq!((status, &problem["vendor"]["status"]), (401, &json!(401)));
    assert!(!problem.to_string().contains("bad\""), "{problem}");
}
