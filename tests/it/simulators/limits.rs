//! Limits: five calls a minute, five sessions, and the words of each vendor for one call too many.

use std::time::Duration;

use taskgate::simulate::{HSS_TASK, HUAWEI_PROJECT_ID};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{CANCEL, RUNS_XML, ask, basic, prime_json, prime_xml, simulators, token};

const SCANS: &str = r#"{"task_type":"cluster_scan"}"#;

const TOO_MANY: &str = r#"429 {"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached: policy user over ratelimit,limit:5,time:1 minute","request_id":"*"}"#;

#[tokio::test]
async fn a_list_is_let_through_five_times_a_minute() {
    let simulators = simulators().await;
    let token = token();
    let list = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/batch-query");
    let clusters = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/{HSS_TASK}/resources/batch-query");
    for _ in 0..5 {
        assert_eq!(ask(&simulators, "hss", ("POST", &list, &token, SCANS)).await.status, 200);
    }
    assert_eq!(ask(&simulators, "hss", ("POST", &list, &token, SCANS)).await.line(), TOO_MANY);
    // Each interface has a limit of its own, and who is not known is not counted.
    assert_eq!(ask(&simulators, "hss", ("POST", &clusters, &token, SCANS)).await.status, 200);
    assert_eq!(ask(&simulators, "hss", ("POST", &list, "", SCANS)).await.status, 401);
    simulators.advance(Duration::from_secs(61));
    assert_eq!(ask(&simulators, "hss", ("POST", &list, &token, SCANS)).await.status, 200);
    simulators.shutdown().await;
}

#[tokio::test]
async fn every_call_counts_when_that_is_asked_for() {
    let simulators = simulators().await;
    let token = token();
    let retry = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/{HSS_TASK}/retry");
    let body = r#"{"task_type":"cluster_scan","cluster_scan_info":{"range_type":"all_failed_cluster"}}"#;
    let mut statuses = Vec::new();
    for setting in ["lists", "all", "off"] {
        simulators.set("hss", "rate_limit", setting).unwrap();
        for _ in 0..6 {
            statuses.push(ask(&simulators, "hss", ("PUT", &retry, &token, body)).await.status);
        }
    }
    assert_eq!(statuses[..6], [200, 400, 400, 400, 400, 400]);
    assert_eq!(statuses[6..12], [400, 400, 400, 400, 400, 429]);
    assert_eq!(statuses[12..], [400, 400, 400, 400, 400, 400]);
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_throttled_call_is_told_so_in_the_vendors_words() {
    let simulators = simulators().await;
    let list = format!("/v5/{HUAWEI_PROJECT_ID}/common/tasks/batch-query");
    simulators.set_fault("hss", "throttle,times=1".parse().unwrap()).unwrap();
    assert_eq!(ask(&simulators, "hss", ("POST", &list, &token(), SCANS)).await.line(), TOO_MANY);
    for (fault, text) in [
        (
            "throttle:all,times=2",
            "NBI Global Rate limit exceeded (More than 10 in 1000 ms)-PRS-112",
        ),
        (
            "throttle,times=2",
            "NBI Rate limit for user simulator exceeded (More than 5 in 1000 ms)-PRS-112",
        ),
        (
            "throttle:concurrent,times=2",
            "Per user concurrent query count exceeded Currently 6 : Limit is 5-PRS-112",
        ),
    ] {
        simulators.set_fault("prime", fault.parse().unwrap()).unwrap();
        let xml = ask(&simulators, "prime", ("PUT", CANCEL, &prime_xml(), RUNS_XML)).await;
        assert_eq!(xml.status, 503);
        assert!(xml.body.contains(&format!("<message>{text}</message>")), "{}", xml.body);
        let json = ask(&simulators, "prime", ("PUT", &format!("{CANCEL}.json"), &prime_json(), "{}")).await;
        assert_eq!(json.status, 503);
        assert!(json.body.contains(&format!(r#""message":"{text}""#)), "{}", json.body);
    }
    assert_eq!(simulators.effects("prime", "15").unwrap(), 0, "a throttled call is not carried out");
    simulators.shutdown().await;
}

/// A connection that is kept: sends a request and reads up to the end of its answer's head.
async fn keep(stream: &mut TcpStream) -> String {
    let request = format!(
        "GET /webacs/api/v4/op/jobService/runhistory.json HTTP/1.1\r\nHost: vendor.test\r\n{}\r\n",
        basic()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_kept_connection_is_a_session() {
    let simulators = simulators().await;
    let endpoints = simulators.endpoints();
    let address = endpoints.get("prime").unwrap().trim_start_matches("http://");
    let mut kept = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            assert_eq!(keep(&mut stream).await, "HTTP/1.1 200 OK");
        }
        kept.push(stream);
    }
    let json = prime_json();
    let closing = ("GET", "/webacs/api/v4/data/JobSummary.json", json.as_str(), "");
    // Right credentials, after successes.
    assert_eq!(ask(&simulators, "prime", closing).await.status, 401);
    simulators.set("prime", "sessions", "requests").unwrap();
    assert_eq!(ask(&simulators, "prime", closing).await.status, 200);
    simulators.set("prime", "sessions", "connections").unwrap();
    drop(kept.pop());
    let room = async { while ask(&simulators, "prime", closing).await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(10), room).await.unwrap();
    // With `Connection: close` none is left behind.
    for _ in 0..10 {
        assert_eq!(ask(&simulators, "prime", closing).await.status, 200);
    }
    simulators.shutdown().await;
}
