//! What a look shows: pages, tasks that take their time or end otherwise than asked for, the siblings, and the control interface for it.

use serde_json::{Value, json};
use taskgate::simulate::{
    CFW_FIREWALL, CFW_TASK, DBSS_ENCRYPTION_INSTANCE, DBSS_INSTANCE, DBSS_MAINTENANCE_INSTANCE, HSS_IMAGE_SCAN, HSS_TASK,
    HUAWEI_PROJECT_ID, Phase, SimulatorOptions, Simulators,
};

use super::client::{Everyday, ask, play, prime_json, simulators, token};

/// The place of a state in a body, by JSON pointer.
async fn at(simulators: &Simulators, vendor: &str, (target, pointer): (&str, &str)) -> Value {
    let (headers, body) = match vendor {
        "prime" => (prime_json(), ""),
        _ => (token(), r#"{"task_type":"cluster_scan"}"#),
    };
    let method = if vendor == "hss" { "POST" } else { "GET" };
    let reply = ask(simulators, vendor, (method, target, &headers, body)).await;
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    body.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {body}")).clone()
}

#[tokio::test]
async fn a_list_has_pages() {
    let options = SimulatorOptions::default()
        .set("cfw", "others", "1500")
        .set("dbss", "others", "150");
    let simulators = Simulators::start(options).await.unwrap();
    let cfw = |limit, offset| format!("/v1/{HUAWEI_PROJECT_ID}/capture-task?fw_instance_id={CFW_FIREWALL}&limit={limit}&offset={offset}");
    let pages = [
        (cfw(1024, 0), 1024, 0),
        (cfw(1024, 1024), 477, 1024),
        (cfw(1, 1500), 1, 1500),
        (cfw(10, 1501), 0, 1501),
    ];
    for (target, count, offset) in &pages {
        let data = at(&simulators, "cfw", (target, "/data")).await;
        assert_eq!(data.get("total"), Some(&json!(1501)));
        assert_eq!(data.get("offset"), Some(&json!(offset)));
        assert_eq!(data.get("records").unwrap().as_array().unwrap().len(), *count);
    }
    let last = at(&simulators, "cfw", (&cfw(1, 1500), "/data/records/0")).await;
    assert_eq!((&last["task_id"], &last["status"]), (&json!(CFW_TASK), &json!(2)));
    let other = at(&simulators, "cfw", (&cfw(1, 0), "/data/records/0/status")).await;
    assert_eq!(other, json!(1), "the others have ended");
    for (path, array, id) in [
        ("v1/P/dbss/audit/instances", "servers", "id"),
        ("v1/P/audit/instances", "instances", "instance_id"),
        ("v2/P/audit/instances", "instances", "id"),
    ] {
        let path = path.replace('P', HUAWEI_PROJECT_ID);
        let first = at(&simulators, "dbss", (&format!("/{path}"), "")).await;
        assert_eq!(
            (first.get("total"), first[array].as_array().unwrap().len()),
            (Some(&json!(151)), 100)
        );
        let second = at(&simulators, "dbss", (&format!("/{path}?offset=100"), &format!("/{array}/50/{id}"))).await;
        assert_eq!(second, json!(DBSS_INSTANCE));
    }
    simulators.shutdown().await;
}

/// A look at the everyday task of a vendor, as target and pointer to what tells its state.
fn look(vendor: &str) -> (String, &'static str) {
    let project = HUAWEI_PROJECT_ID;
    match vendor {
        "cfw" => (
            format!("/v1/{project}/capture-task?fw_instance_id={CFW_FIREWALL}&limit=1024&offset=0"),
            "/data/records/0/status",
        ),
        "dbss" => (format!("/v2/{project}/audit/instances"), "/instances/0/status"),
        "hss" => (
            format!("/v5/{project}/common/tasks/batch-query"),
            "/data_list/0/cluster_scan_info/failed_cluster_num",
        ),
        _ => (
            "/webacs/api/v4/data/JobSummary.json?.full=true&runId=15".to_owned(),
            "/queryResponse/entity/0/jobSummaryDTO/resultStatus",
        ),
    }
}

#[tokio::test]
async fn a_movement_takes_its_looks_and_ends_as_it_is_told() {
    for (vendor, ending, expected) in [
        ("cfw", "settled", json!([2, 5, 5, 4])),
        ("cfw", "ended", json!([2, 5, 5, 1])),
        ("cfw", "failed", json!([2, 5, 5, 0])),
        ("dbss", "settled", json!(["ACTIVE", "ACTIVE", "ACTIVE", "SHUTOFF"])),
        ("dbss", "failed", json!(["ACTIVE", "ACTIVE", "ACTIVE", "ERROR"])),
        ("hss", "settled", json!([2, 0, 0, 0])),
        ("hss", "failed", json!([2, 0, 0, 2])),
        ("prime", "settled", json!(["UNKNOWN", "UNKNOWN", "UNKNOWN", "CANCELLED"])),
        ("prime", "ended", json!(["UNKNOWN", "UNKNOWN", "UNKNOWN", "SUCCESS"])),
        ("prime", "failed", json!(["UNKNOWN", "UNKNOWN", "UNKNOWN", "CANCELFAILED"])),
    ] {
        let options = SimulatorOptions::default().set(vendor, "looks", "2").set(vendor, "ending", ending);
        let simulators = Simulators::start(options).await.unwrap();
        let (target, pointer) = look(vendor);
        let mut found = vec![at(&simulators, vendor, (&target, pointer)).await];
        let call = Everyday::of(vendor);
        assert_eq!(ask(&simulators, vendor, call.ask()).await.status, 200);
        for _ in 0..3 {
            found.push(at(&simulators, vendor, (&target, pointer)).await);
        }
        assert_eq!(Value::Array(found), expected, "{vendor} {ending}");
        assert_eq!(simulators.effects(vendor, &call.task).unwrap(), 1);
        simulators.shutdown().await;
    }
}

#[tokio::test]
async fn a_task_is_put_where_a_test_wants_it() {
    let simulators = simulators().await;
    for (vendor, phase, expected) in [
        ("cfw", Phase::Ended, json!(1)),
        ("dbss", Phase::Settled, json!("SHUTOFF")),
        ("hss", Phase::Ended, json!(0)),
        ("prime", Phase::Ended, json!("SUCCESS")),
    ] {
        let call = Everyday::of(vendor);
        assert!(simulators.place(vendor, &call.task, phase).unwrap());
        assert!(!simulators.place(vendor, "other", phase).unwrap());
        let (target, pointer) = look(vendor);
        assert_eq!(at(&simulators, vendor, (&target, pointer)).await, expected);
        let reply = ask(&simulators, vendor, call.ask()).await;
        // Each refuses in its own way, and nothing is done.
        assert_eq!(reply.status, if vendor == "prime" { 200 } else { 400 }, "{}", reply.body);
        assert_eq!(simulators.effects(vendor, &call.task).unwrap(), 0);
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn siblings_are_stopped_without_a_body() {
    let (token, project) = (token(), HUAWEI_PROJECT_ID);
    let encryption = format!("/v1/{project}/db-encrypt/{DBSS_ENCRYPTION_INSTANCE}/stop");
    let maintenance = format!("/v1/{project}/db-om/{DBSS_MAINTENANCE_INSTANCE}/stop");
    let mixed_up = format!("/v1/{project}/db-om/{DBSS_ENCRYPTION_INSTANCE}/stop");
    let again = r#"400 {"error_code":"DBSS.10020131","error_msg":"Failed to stop the instance."}"#;
    play(
        "dbss",
        &[
            (("POST", &encryption, &token, ""), r#"200 {"result":"success"}"#),
            (("POST", &encryption, &token, ""), again),
            (
                ("POST", &mixed_up, &token, ""),
                r#"400 {"error_code":"DBSS.10020021","error_msg":"Invalid ID."}"#,
            ),
            (("POST", &maintenance, &token, ""), r#"200 {"result":"success"}"#),
            (("POST", &maintenance, &token, ""), again),
        ],
    )
    .await;
    let scan = |id: &str| format!("/v5/{project}/image/image-scan/tasks/{id}/stop");
    play(
        "hss",
        &[
            (("PUT", &scan(HSS_IMAGE_SCAN), &token, ""), "200"),
            (
                ("PUT", &scan(HSS_IMAGE_SCAN), &token, ""),
                r#"400 {"error_code":"HSS.1006","error_msg":"The task is not running."}"#,
            ),
            (
                ("PUT", &scan(HSS_TASK), &token, ""),
                r#"400 {"error_code":"HSS.0011","error_msg":"The resource does not exist."}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn settings_tasks_and_time_are_controlled_over_http() {
    let put = |target, body| ("PUT", target, "", body);
    let task = format!("/_simulator/tasks/{CFW_TASK}");
    let known = "ready, moving, settled, ended, failed, returning";
    let simulators = simulators().await;
    for (request, expected) in [
        (
            ("GET", "/_simulator/settings", "", ""),
            r#"200 {"ending":"settled","looks":"1","others":"0"}"#.to_owned(),
        ),
        (put("/_simulator/settings/looks", "3"), "204".to_owned()),
        (
            put("/_simulator/settings/looks", "many"),
            r#"400 {"error":"expected a number for `looks`, found `many`"}"#.to_owned(),
        ),
        (
            put("/_simulator/settings/speed", "1"),
            r#"400 {"error":"no setting is called `speed`, there are looks, ending, others"}"#.to_owned(),
        ),
        (
            ("GET", "/_simulator/settings", "", ""),
            r#"200 {"ending":"settled","looks":"3","others":"0"}"#.to_owned(),
        ),
        (put(&task, "ended"), "204".to_owned()),
        (
            put(&task, "asleep"),
            format!(r#"400 {{"error":"no phase is called `asleep`, there are {known}"}}"#),
        ),
        (
            put("/_simulator/tasks/other", "ended"),
            r#"404 {"error":"there is no such task"}"#.to_owned(),
        ),
        (("POST", "/_simulator/advance", "", "15m"), "204".to_owned()),
        (
            ("POST", "/_simulator/advance", "", "soon"),
            r#"400 {"error":"expected a time such as `500ms`, `15m` or `24h`, found `soon`"}"#.to_owned(),
        ),
        (("GET", "/_simulator/revoke", "", ""), r#"405 {"error":"allowed: POST"}"#.to_owned()),
        (("POST", &task, "", ""), r#"405 {"error":"allowed: PUT"}"#.to_owned()),
    ] {
        assert_eq!(ask(&simulators, "cfw", request).await.line(), expected, "{request:?}");
    }
    assert_eq!(simulators.tasks("cfw").unwrap()[0].state, "ended by itself");
    assert_eq!(simulators.calls("cfw").unwrap(), 0);
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_setting_that_does_not_fit_stops_the_start() {
    for (vendor, name, value, expected) in [
        ("acme", "looks", "1", "no simulator is called `acme`"),
        ("cfw", "speed", "1", "no setting is called `speed`, there are looks, ending, others"),
        (
            "iam",
            "lifetime",
            "long",
            "expected a time such as `500ms`, `15m` or `24h` for `lifetime`, found `long`",
        ),
        (
            "zstack",
            "time_zone",
            "Mars",
            "expected a time zone such as `Asia/Shanghai` for `time_zone`, found `Mars`",
        ),
    ] {
        let error = Simulators::start(SimulatorOptions::default().set(vendor, name, value))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
