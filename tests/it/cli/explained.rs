//! `taskgate explain` shows the request of the vendor's own page, and `taskgate serve` sends exactly what it shows.

use taskgate::simulate::{
    CFW_FIREWALL, CFW_TASK, DBSS_INSTANCE, Exchange, HSS_TASK, SeenRequest, SimulatorOptions, Simulators, StubReply, StubVendor,
    ZSTACK_TASK,
};

use super::super::caller::Caller;
use super::super::program::{CONFIGURED, Running, run};
use super::super::rig::VENDORS;

/// A call, and the vendor request that the vendor's page shows for it. `*` stands for what is new each time.
struct Row {
    provider: &'static str,
    id: &'static str,
    action: &'static str,
    data: &'static str,
    request: &'static str,
}

const ROWS: [Row; 9] = [
    Row {
        provider: "cfw",
        id: CFW_TASK,
        action: "stop",
        data: r#"{"scope":{"instance":"ebf891cd-2163-48a0-9963-6309f99dd3c4"}}"#,
        request: r#"POST /v1/09bb24e6fe80d23d2fa2c010b53b418c/capture-task/stop?fw_instance_id=ebf891cd-2163-48a0-9963-6309f99dd3c4 HTTP/1.1
content-type: application/json
host: cfw.invalid
x-auth-token: ********

{"task_id":"1dcddab3-7d79-4a56-9e67-4aa0962b98ad"}
"#,
    },
    // The query is sorted by name, whatever the order of the route.
    Row {
        provider: "cfw",
        id: CFW_TASK,
        action: "stop",
        data: r#"{"scope":{"instance":"ebf891cd-2163-48a0-9963-6309f99dd3c4","enterprise_project":"default"},"reason":"not sent"}"#,
        request: r#"POST /v1/09bb24e6fe80d23d2fa2c010b53b418c/capture-task/stop?enterprise_project_id=default&fw_instance_id=ebf891cd-2163-48a0-9963-6309f99dd3c4 HTTP/1.1
content-type: application/json
host: cfw.invalid
x-auth-token: ********

{"task_id":"1dcddab3-7d79-4a56-9e67-4aa0962b98ad"}
"#,
    },
    Row {
        provider: "dbss",
        id: DBSS_INSTANCE,
        action: "stop",
        data: "",
        request: r#"POST /v1/09bb24e6fe80d23d2fa2c010b53b418c/dbss/audit/instance/stop HTTP/1.1
content-type: application/json;charset=UTF-8
host: dbss.invalid
x-auth-token: ********

{"instance_id":"1d07f606-92d2-441c-b05c-dca47e180552"}
"#,
    },
    Row {
        provider: "hss",
        id: HSS_TASK,
        action: "retry",
        data: r#"{"scope":{"enterprise_project":"all_granted_eps"},"parameters":{"task_type":"cluster_scan","range":"all_failed"}}"#,
        request: r#"PUT /v5/09bb24e6fe80d23d2fa2c010b53b418c/common/tasks/b2b4e9b0-5ad7-4c3c-9f2e-3d0f1a7c6e10/retry?enterprise_project_id=all_granted_eps HTTP/1.1
content-type: application/json
host: hss.invalid
x-auth-token: ********

{"task_type":"cluster_scan","cluster_scan_info":{"range_type":"all_failed_cluster"}}
"#,
    },
    Row {
        provider: "hss",
        id: HSS_TASK,
        action: "retry",
        data: r#"{"parameters":{"task_type":"cluster_scan","range":"selected","clusters":[{"id":"c-1","scan_types":["cluster_vul","risk_assessment","benchmark"]},{"id":"c-2"}]}}"#,
        request: r#"PUT /v5/09bb24e6fe80d23d2fa2c010b53b418c/common/tasks/b2b4e9b0-5ad7-4c3c-9f2e-3d0f1a7c6e10/retry HTTP/1.1
content-type: application/json
host: hss.invalid
x-auth-token: ********

{"task_type":"cluster_scan","cluster_scan_info":{"range_type":"specific_cluster","cluster_info_list":[{"cluster_id":"c-1","scan_type_list":["cluster_vul","risk_assessment","benchmark"]},{"cluster_id":"c-2"}]}}
"#,
    },
    Row {
        provider: "zstack",
        id: ZSTACK_TASK,
        action: "stop",
        data: "",
        request: r#"POST /zstack/v1/cbt-task/disable/5ca9c15a50c53f0dac359a64841d7b2b HTTP/1.1
authorization: ********
content-type: application/json; charset=utf-8
host: zstack.invalid
x-job-uuid: *

{"force":false,"params":{"force":false}}
"#,
    },
    Row {
        provider: "zstack",
        id: ZSTACK_TASK,
        action: "stop",
        data: r#"{"force":true,"parameters":{"system_tags":["a::b"],"user_tags":["标签"]}}"#,
        request: r#"POST /zstack/v1/cbt-task/disable/5ca9c15a50c53f0dac359a64841d7b2b HTTP/1.1
authorization: ********
content-type: application/json; charset=utf-8
host: zstack.invalid
x-job-uuid: *

{"force":true,"systemTags":["a::b"],"userTags":["标签"],"params":{"force":true}}
"#,
    },
    Row {
        provider: "prime",
        id: "15",
        action: "stop",
        data: "",
        request: r#"PUT /webacs/api/v3/op/jobService/cancelrunning HTTP/1.1
accept: application/xml
authorization: ********
connection: close
content-type: application/xml
host: prime.invalid

<?xml version="1.0" encoding="UTF-8"?><jobRunOperationPayload><runIds><runId>15</runId></runIds></jobRunOperationPayload>
"#,
    },
    Row {
        provider: "prime",
        id: "9223372036854775807",
        action: "stop",
        data: r#"{"reason":"not sent"}"#,
        request: r#"PUT /webacs/api/v3/op/jobService/cancelrunning HTTP/1.1
accept: application/xml
authorization: ********
connection: close
content-type: application/xml
host: prime.invalid

<?xml version="1.0" encoding="UTF-8"?><jobRunOperationPayload><runIds><runId>9223372036854775807</runId></runIds></jobRunOperationPayload>
"#,
    },
];

/// The text with the id of the job, which is new each time, replaced.
fn without_what_is_new(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix("x-job-uuid: ") {
        Some(id) => {
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
            "x-job-uuid: *"
        }
        None => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn explain_shows_the_request_of_the_vendors_page() {
    for row in ROWS {
        let mut arguments = vec!["explain", row.provider, row.id, row.action];
        if !row.data.is_empty() {
            arguments.extend(["--data", row.data]);
        }
        let ended = run(&arguments, &CONFIGURED);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert_eq!(without_what_is_new(&ended.stdout), row.request, "{arguments:?}");
    }
}

#[test]
fn explain_needs_nothing_and_says_what_it_assumed() {
    let ended = run(&["explain", "cfw", CFW_TASK, "stop"], &[]);
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stdout.contains(&format!("?fw_instance_id={CFW_FIREWALL} HTTP/1.1\n")),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("made-up-token"), "{}", ended.stdout);
    assert_eq!(
        ended.stderr,
        "note: CFW_ENDPOINT, HUAWEI_PROJECT_ID, HUAWEI_TOKEN not set: values of cases/cfw/environment.yaml are shown\n\
         note: the body is that of cases/cfw/stop/ok.yaml; give your own with --data\n"
    );
    let other_path = run(&["explain", "dbss", DBSS_INSTANCE, "stop"], &[("DBSS_API", "replacement")]);
    assert!(
        other_path
            .stdout
            .starts_with("POST /v1/09bb24e6fe80d23d2fa2c010b53b418c/audit/instance/stop HTTP/1.1\n"),
        "{}",
        other_path.stdout
    );
}

#[test]
fn explain_refuses_what_the_gateway_would_refuse() {
    for (arguments, says) in [
        (&["prime", "007", "stop"][..], "INVALID_TASK_ID: an id of `prime` is an integer"),
        (
            &["prime", "15", "halt"],
            "UNKNOWN_ACTION: there is no such action; there are retry, stop",
        ),
        (&["acme", "15", "stop"], "UNKNOWN_PROVIDER: there is no such provider"),
        (
            &["dbss", DBSS_INSTANCE, "retry"],
            "OPERATION_NOT_SUPPORTED: `dbss` does not offer `retry`",
        ),
        (&["prime", "15", "stop", "--data", "{"], "--data cannot be read"),
        (&["prime", "15", "stop", "--data", "[]"], "--data is a JSON object"),
        (
            &["prime", "15", "stop", "--data", r#"{"force":true}"#],
            "at /force: this member is not known here",
        ),
        (
            &["cfw", CFW_TASK, "stop", "--data", "{}"],
            "at /scope/instance: this member is required",
        ),
    ] {
        super::check_refused(&[&["explain"], arguments].concat(), &CONFIGURED, says);
    }
}

/// A request as `explain` writes it, but for the headers that only a connection has.
fn written(seen: &SeenRequest, secret: &str) -> String {
    let mut headers: Vec<String> = seen
        .headers
        .iter()
        .filter(|(name, _)| !["content-length", "via"].contains(&name.as_str()))
        .map(|(name, value)| match name.as_str() {
            "host" => "host: *".to_owned(),
            name if name == secret => format!("{name}: ********"),
            name => format!("{name}: {}", value.to_str().unwrap()),
        })
        .collect();
    headers.sort();
    let body = String::from_utf8(seen.body.to_vec()).unwrap();
    format!("{} {} HTTP/1.1\n{}\n\n{body}\n", seen.method, seen.target, headers.join("\n"))
}

#[tokio::test]
async fn serve_sends_exactly_what_explain_shows() {
    // Any server would do; these answer nothing that makes sense, and remember what they got.
    let recorders = VENDORS.iter().fold(SimulatorOptions::none(), |options, provider| {
        // One of them is looked at first.
        let looks = ROWS.iter().filter(|row| row.provider == "zstack" && *provider == "zstack");
        let looks = looks.map(|row| Exchange {
            method: "GET".to_owned(),
            target: format!("/zstack/v1/cbt-task/{}", row.id),
            body: None,
            reply: StubReply {
                status: http::StatusCode::OK,
                headers: Vec::new(),
                body: format!(r#"{{"inventories":[{{"uuid":"{}","status":"Running"}}]}}"#, row.id).into(),
            },
        });
        options.vendor(StubVendor::new(*provider, looks.collect()).unwrap())
    });
    let recorders = Simulators::start(recorders).await.unwrap();
    let endpoints = recorders.environment();
    let environment = CONFIGURED.map(|(name, value)| (name, endpoints.get(name).map_or(value, String::as_str)));
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut gateway = Running::start(&arguments, &environment);
    let caller = Caller::new(gateway.address("listening on ").await);
    for (at, row) in ROWS.iter().enumerate() {
        let before = recorders.seen(row.provider).unwrap().len();
        let told = caller.act(&format!("{}/{}:{}", row.provider, row.id, row.action), row.data).await;
        assert_eq!(told.word(), "502 BAD_VENDOR_RESPONSE", "row {at}: {told:?}");
        let seen = recorders.seen(row.provider).unwrap();
        let looks = usize::from(row.provider == "zstack");
        assert_eq!(seen.len(), before + 1 + looks, "row {at}");
        let secret = if matches!(row.provider, "prime" | "zstack") {
            "authorization"
        } else {
            "x-auth-token"
        };
        let expected = row.request.replace(&format!("host: {}.invalid", row.provider), "host: *");
        let seen = seen.last().unwrap();
        assert_eq!(without_what_is_new(&written(seen, secret)), expected, "row {at}");
        assert_eq!(seen.headers["via"], "1.1 taskgate");
        assert_eq!(seen.headers["content-length"], seen.body.len().to_string());
    }
    drop(caller);
    gateway.terminate().await;
    recorders.shutdown().await;
}
