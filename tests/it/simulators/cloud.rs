//! The three cloud services behind one API gateway: what they answer, in order, and how a task looks through its states.

use serde_json::Value;
use taskgate::simulate::{CFW_FIREWALL, CFW_TASK, DBSS_INSTANCE, HSS_TASK, HUAWEI_PROJECT_ID};

use super::client::{ask, play, simulators, token};

const NO_TOKEN: &str =
    r#"401 {"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: x-auth-token not found","request_id":"*"}"#;

const BAD_TOKEN: &str =
    r#"401 {"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: decrypt token fail","request_id":"*"}"#;

const NO_API: &str =
    r#"404 {"error_code":"APIGW.0101","error_msg":"The API does not exist or has not been published in the environment","request_id":"*"}"#;

#[tokio::test]
async fn cfw_stops_a_capture_task_once() {
    let token = token();
    let stop = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task/stop?enterprise_project_id=default&fw_instance_id={CFW_FIREWALL}");
    let elsewhere = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task/stop?fw_instance_id=other");
    let nowhere = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task/stop");
    let foreign = format!("/v1/other/capture-task/stop?fw_instance_id={CFW_FIREWALL}");
    let list = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task?fw_instance_id={CFW_FIREWALL}");
    let task = format!(r#"{{"task_id":"{CFW_TASK}"}}"#);
    let unknown = r#"400 {"error_code":"CFW.00200005","error_msg":"operation content does not exist."}"#;
    let empty = r#"400 {"error_code":"CFW.00200001","error_msg":"parameter is empty."}"#;
    let unread = r#"400 {"error_code":"CFW.00300001","error_msg":"command parsing failed."}"#;
    play(
        "cfw",
        &[
            (("POST", &stop, "", &task), NO_TOKEN),
            (("POST", &stop, "X-Auth-Token: x\r\n", &task), BAD_TOKEN),
            (
                ("POST", &stop, "Authorization: SDK-HMAC-SHA256 Access=AK1, SignedHeaders=host, Signature=00\r\n", &task),
                r#"401 {"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: ak AK1 not exist","request_id":"*"}"#,
            ),
            (
                ("POST", &foreign, &token, &task),
                r#"403 {"error_code":"APIGW.0310","error_msg":"The project is unavailable","request_id":"*"}"#,
            ),
            (("PUT", &stop, &token, &task), NO_API),
            (("POST", "/v1/capture-task/stop", &token, &task), NO_API),
            (("POST", &elsewhere, &token, &task), unknown),
            (("POST", &nowhere, &token, &task), empty),
            (("POST", &stop, &token, "{}"), empty),
            (("POST", &stop, &token, "{"), unread),
            (("POST", &stop, &token, r#"{"task_id":"other"}"#), unknown),
            (
                ("POST", &stop, &token, &task),
                &format!(r#"200 {{"data":{{"id":"{CFW_FIREWALL}","name":"test"}}}}"#),
            ),
            (
                ("POST", &stop, &token, &task),
                r#"400 {"error_code":"CFW.00400002","error_msg":"there is nothing to do."}"#,
            ),
            (
                ("GET", &list, &token, ""),
                r#"400 {"error_code":"CFW.00200001","error_msg":"limit or offset is empty or out of range."}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn cfw_lists_a_task_through_its_states() {
    let simulators = simulators().await;
    let token = token();
    let stop = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task/stop?fw_instance_id={CFW_FIREWALL}");
    let list = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task?fw_instance_id={CFW_FIREWALL}&limit=1024&offset=0");
    let task = format!(r#"{{"task_id":"{CFW_TASK}"}}"#);
    let mut states = Vec::new();
    for step in 0..4 {
        if step == 1 {
            ask(&simulators, "cfw", ("POST", &stop, &token, &task)).await;
        }
        let reply = ask(&simulators, "cfw", ("GET", &list, &token, "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        states.push(body.pointer("/data/records/0/status").unwrap().as_i64().unwrap());
        assert!(reply.header("x-request-id").is_some());
    }
    assert_eq!(states, [2, 5, 4, 4]);
    assert_eq!(simulators.effects("cfw", CFW_TASK).unwrap(), 1);
    simulators.shutdown().await;
}

#[tokio::test]
async fn dbss_stops_an_instance_in_either_shape() {
    let token = token();
    let documented = format!("/v1/{HUAWEI_PROJECT_ID}/dbss/audit/instance/stop");
    let replacement = format!("/v1/{HUAWEI_PROJECT_ID}/audit/instance/stop");
    let body = format!(r#"{{"instance_id":"{DBSS_INSTANCE}"}}"#);
    play(
        "dbss",
        &[
            (("POST", &documented, "", &body), NO_TOKEN),
            (("POST", &replacement, "X-Auth-Token: x\r\n", &body), BAD_TOKEN),
            (("GET", &documented, &token, ""), NO_API),
            (
                ("POST", &documented, &token, "[]"),
                r#"400 {"error":{"error_code":"DBSS.10000001","error_msg":"Malformed request message."}}"#,
            ),
            (
                ("POST", &replacement, &token, "{}"),
                r#"400 {"error_code":"DBSS.10000001","error_msg":"Malformed request message."}"#,
            ),
            (
                ("POST", &documented, &token, r#"{"instance_id":"other"}"#),
                r#"400 {"error":{"error_code":"DBSS.10020021","error_msg":"Invalid ID."}}"#,
            ),
            (
                ("POST", &replacement, &token, r#"{"instance_id":"other"}"#),
                r#"400 {"error_code":"DBSS.10020021","error_msg":"Invalid ID."}"#,
            ),
            (("POST", &documented, &token, &body), r#"200 {"result":"SUCCESS"}"#),
            (
                ("POST", &documented, &token, &body),
                r#"400 {"error":{"error_code":"DBSS.10020131","error_msg":"Failed to stop the instance."}}"#,
            ),
            (
                ("POST", &replacement, &token, &body),
                r#"400 {"error_code":"DBSS.10020131","error_msg":"Failed to stop the instance."}"#,
            ),
        ],
    )
    .await;
    play("dbss", &[(("POST", &replacement, &token, &body), r#"200 {"result":"success"}"#)]).await;
}

#[tokio::test]
async fn dbss_lists_an_instance_in_three_shapes() {
    let simulators = simulators().await;
    let token = token();
    let stop = format!("/v1/{HUAWEI_PROJECT_ID}/audit/instance/stop");
    let body = format!(r#"{{"instance_id":"{DBSS_INSTANCE}"}}"#);
    ask(&simulators, "dbss", ("POST", &stop, &token, &body)).await;
    for (path, array, id, status, task) in [
        ("v1/P/dbss/audit/instances", "servers", "id", "ACTIVE", "powering-off"),
        ("v1/P/audit/instances", "instances", "instance_id", "SHUTOFF", "NO_TASK"),
        ("v2/P/audit/instances", "instances", "id", "SHUTOFF", "NO_TASK"),
    ] {
        let target = format!("/{}?limit=100&offset=0", path.replace('P', HUAWEI_PROJECT_ID));
        let reply = ask(&simulators, "dbss", ("GET", &target, &token, "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let field = |name: &str| {
            let value = body.pointer(&format!("/{array}/0/{name}")).unwrap();
            value.as_str().unwrap().to_owned()
        };
        assert_eq!(
            (field(id), field("status"), field("task")),
            (DBSS_INSTANCE.into(), status.into(), task.into())
        );
        assert_eq!(body.get("total"), Some(&1.into()));
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn hss_retries_a_finished_scan() {
    let token = token();
    let retry = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/{HSS_TASK}/retry?enterprise_project_id=0");
    let other = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/other/retry");
    let list = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/batch-query?limit=10&offset=0");
    let all = r#"{"task_type":"cluster_scan","cluster_scan_info":{"range_type":"all_failed_cluster"}}"#;
    let some = r#"{"task_type":"cluster_scan","cluster_scan_info":{"range_type":"specific_cluster","cluster_info_list":[{"cluster_id":"c-1","scan_type_list":["benchmark"]},{"cluster_id":"c-2"}]}}"#;
    let invalid = r#"400 {"error_code":"HSS.0001","error_msg":"Invalid parameter."}"#;
    let refused = |text: &str| format!(r#"400 {{"error_code":"HSS.1006","error_msg":"{text}"}}"#);
    play(
        "hss",
        &[
            (("PUT", &retry, "", all), NO_TOKEN),
            (("PUT", &retry, "X-Auth-Token: x\r\n", all), BAD_TOKEN),
            (("POST", &retry, &token, all), NO_API),
            (
                ("PUT", &retry, &token, ""),
                r#"400 {"error_code":"HSS.0002","error_msg":"Failed to parse the request."}"#,
            ),
            (("PUT", &retry, &token, r#"{"task_type":"cluster_scan"}"#), invalid),
            (("PUT", &retry, &token, &all.replace("all_failed_cluster", "all_cluster")), invalid),
            (
                ("PUT", &retry, &token, &all.replace("all_failed_cluster", "specific_cluster")),
                invalid,
            ),
            (("PUT", &retry, &token, &some.replace("benchmark", "virus")), invalid),
            (
                ("PUT", &other, &token, all),
                r#"400 {"error_code":"HSS.0011","error_msg":"The resource does not exist."}"#,
            ),
            (("PUT", &retry, &token, some), "200"),
            (("PUT", &retry, &token, all), &refused("The task is running.")),
            (
                ("POST", &list, &token, r#"{"task_type":"iac_scan"}"#),
                r#"200 {"data_list":[],"total_num":0}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn hss_lists_a_scan_through_its_states() {
    let simulators = simulators().await;
    let token = token();
    let retry = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/{HSS_TASK}/retry");
    let list = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/batch-query");
    let detail = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/{HSS_TASK}/resources/batch-query");
    let all = r#"{"task_type":"cluster_scan","cluster_scan_info":{"range_type":"all_failed_cluster"}}"#;
    let filter = format!(r#"{{"task_type":"cluster_scan","task_id":"{HSS_TASK}"}}"#);
    let mut states = Vec::new();
    for step in 0..3 {
        if step == 1 {
            let reply = ask(&simulators, "hss", ("PUT", &retry, &token, all)).await;
            assert_eq!(reply.header("content-type"), None);
            assert_eq!(reply.header("content-length"), Some("0"));
        }
        let reply = ask(&simulators, "hss", ("POST", &list, &token, &filter)).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let item = body.pointer("/data_list/0").unwrap();
        let status = item.get("task_status").unwrap().as_str().unwrap();
        let failed = item.pointer("/cluster_scan_info/failed_cluster_num").unwrap();
        states.push(format!("{status} {failed}"));
    }
    assert_eq!(states, ["finished 2", "running 0", "finished 0"]);
    let reply = ask(&simulators, "hss", ("POST", &detail, &token, r#"{"task_type":"cluster_scan"}"#)).await;
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body.pointer("/cluster_scan_data_list/0/scan_status"), Some(&"success".into()));
    simulators.shutdown().await;
}
