//! A client that knows only bytes, so that broken answers can be told apart, and the everyday call to each vendor.

use std::collections::BTreeMap;

use serde_json::Value;
use taskgate::simulate::{
    CFW_FIREWALL, CFW_TASK, DBSS_INSTANCE, HSS_TASK, HUAWEI_PROJECT_ID, HUAWEI_TOKEN, PRIME_PASSWORD, PRIME_USER, SimulatorOptions,
    Simulators, ZSTACK_SESSION, ZSTACK_TASK,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One request of a table: method, target, header lines, body.
pub(crate) type Ask<'a> = (&'a str, &'a str, &'a str, &'a str);

/// What came back: the bytes up to the end of the connection, and whether that end was a reset.
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    pub(crate) reset: bool,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

pub(crate) async fn simulators() -> Simulators {
    Simulators::start(SimulatorOptions::default()).await.unwrap()
}

pub(crate) async fn send(simulators: &Simulators, vendor: &str, (method, target, headers, body): Ask<'_>) -> Wire {
    let endpoints = simulators.endpoints();
    let address = endpoints.get(vendor).unwrap().trim_start_matches("http://");
    let length = body.len();
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: vendor.test\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    converse(address, request.as_bytes()).await
}

pub(crate) async fn converse(address: &str, request: &[u8]) -> Wire {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    let reset = stream.read_to_end(&mut bytes).await.is_err();
    Wire { bytes, reset }
}

impl Wire {
    pub(crate) fn reply(&self) -> Reply {
        assert!(!self.reset, "the connection was reset");
        let text = String::from_utf8(self.bytes.clone()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Reply {
            status: status.parse().unwrap(),
            headers,
            body: body.to_owned(),
        }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Status and body in one line, without the ids that are new each time.
    pub(crate) fn line(&self) -> String {
        let mut body = self.body.clone();
        if let Ok(Value::Object(mut members)) = serde_json::from_str(&body)
            && members.contains_key("request_id")
        {
            members.insert("request_id".to_owned(), "*".into());
            body = Value::Object(members).to_string();
        }
        format!("{} {body}", self.status).trim_end().to_owned()
    }
}

pub(crate) async fn ask(simulators: &Simulators, vendor: &str, request: Ask<'_>) -> Reply {
    send(simulators, vendor, request).await.reply()
}

#[track_caller]
pub(crate) fn check(request: Ask<'_>, found: &Reply, expected: &str) {
    assert_eq!(found.line(), expected, "{request:?}");
}

/// Runs a table in order against fresh simulators.
pub(crate) async fn play(vendor: &str, table: &[(Ask<'_>, &str)]) {
    let simulators = simulators().await;
    for (request, expected) in table {
        check(*request, &ask(&simulators, vendor, *request).await, expected);
    }
    assert_eq!(simulators.calls(vendor).unwrap(), table.len() as u64);
    simulators.shutdown().await;
}

pub(crate) fn token() -> String {
    format!("X-Auth-Token: {HUAWEI_TOKEN}\r\nContent-Type: application/json\r\n")
}

pub(crate) fn oauth() -> String {
    format!("Authorization: OAuth {ZSTACK_SESSION}\r\nContent-Type: application/json\r\n")
}

pub(crate) fn basic() -> String {
    use base64::Engine as _;
    let credentials = format!("{PRIME_USER}:{PRIME_PASSWORD}");
    let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Authorization: Basic {credentials}\r\n")
}

pub(crate) fn prime_xml() -> String {
    format!("{}Content-Type: application/xml\r\n", basic())
}

pub(crate) fn prime_json() -> String {
    format!("{}Content-Type: application/json\r\n", basic())
}

pub(crate) const CANCEL: &str = "/webacs/api/v3/op/jobService/cancelrunning";

pub(crate) const RUNS_XML: &str =
    "<?xml version=\"1.0\" ?><jobRunOperationPayload><runIds><runId>15</runId><runId>99</runId></runIds></jobRunOperationPayload>";

/// The everyday call to a vendor, and the task that it acts on.
pub(crate) struct Everyday {
    pub(crate) vendor: &'static str,
    pub(crate) task: String,
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Everyday {
    pub(crate) fn ask(&self) -> Ask<'_> {
        (self.method, &self.target, &self.headers, &self.body)
    }

    pub(crate) fn of(vendor: &str) -> Self {
        everyday().into_iter().find(|call| call.vendor == vendor).unwrap()
    }
}

pub(crate) fn everyday() -> Vec<Everyday> {
    let call = |vendor, task: &str, method, target: String, headers, body: String| Everyday {
        vendor,
        task: task.to_owned(),
        method,
        target,
        headers,
        body,
    };
    let project = HUAWEI_PROJECT_ID;
    vec![
        call(
            "cfw",
            CFW_TASK,
            "POST",
            format!("/v1/{project}/capture-task/stop?fw_instance_id={CFW_FIREWALL}"),
            token(),
            format!(r#"{{"task_id":"{CFW_TASK}"}}"#),
        ),
        call(
            "dbss",
            DBSS_INSTANCE,
            "POST",
            format!("/v1/{project}/dbss/audit/instance/stop"),
            token(),
            format!(r#"{{"instance_id":"{DBSS_INSTANCE}"}}"#),
        ),
        call(
            "hss",
            HSS_TASK,
            "PUT",
            format!("/v5/{project}/common/tasks/{HSS_TASK}/retry"),
            token(),
            r#"{"task_type":"cluster_scan","cluster_scan_info":{"range_type":"all_failed_cluster"}}"#.to_owned(),
        ),
        call("prime", "15", "PUT", CANCEL.to_owned(), prime_xml(), RUNS_XML.to_owned()),
        call(
            "zstack",
            ZSTACK_TASK,
            "POST",
            format!("/zstack/v1/cbt-task/disable/{ZSTACK_TASK}"),
            oauth(),
            r#"{"params":{"force":false}}"#.to_owned(),
        ),
    ]
}
