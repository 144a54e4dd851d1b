//! Host Security Service: scan tasks that are retried, and queried to see how far they are, and image scans that are stopped.
//!
//! The one task has finished with clusters that failed. A retry makes it run; when it has finished again nothing is left to retry. Five
//! calls per minute of one user are let through for each interface; unless told otherwise that is so for the lists only.
//!
//! **Source.** The vendor's page of `RetryTask`, its models of that and of `ListTasks` and `ListTaskResources`, its error table. Guess: the
//! code for a task that runs or has nothing to retry. Ids of clusters are not compared with the task's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::board::{Acted, Board, Course, ENDING, LOOKS, Phase, STOPPING_WORDS, Words};
use super::cloud::Cloud;
use super::faults::ThrottledBy;
use super::huawei;
use super::settings::{Kind, Setting, SettingError, Settings};
use super::throttle::Throttle;
use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};

/// The scan task that has finished with failed clusters at the start.
pub const HSS_TASK: &str = "b2b4e9b0-5ad7-4c3c-9f2e-3d0f1a7c6e10";

/// The image scan that runs at the start.
pub const HSS_IMAGE_SCAN: &str = "c3c5fac1-6be8-4d4d-8a3f-4e1f2b8d7f21";

/// The simulated service.
#[derive(Debug)]
pub(super) struct Hss {
    board: Board,
    images: Board,
    cloud: Arc<Cloud>,
    settings: Settings,
    throttle: Throttle,
}

/// What the path and the method ask for.
#[derive(Debug, Clone, Copy)]
enum Operation<'a> {
    List,
    Resources(&'a str),
    Retry(&'a str),
    StopImageScan(&'a str),
}

impl Hss {
    pub(super) fn new(cloud: Arc<Cloud>) -> Self {
        let words = Words {
            ready: "finished with failed clusters",
            moving: "running",
            settled: "finished",
        };
        Self {
            board: Board::new(&[(HSS_TASK, Phase::Ready)], words),
            images: Board::new(&[(HSS_IMAGE_SCAN, Phase::Ready)], STOPPING_WORDS),
            cloud,
            settings: Settings::new(SETTINGS),
            throttle: Throttle::default(),
        }
    }

    /// The gateway's answer to one call of this user too many.
    fn throttling(&self, operation: Operation<'_>) -> Option<VendorReply> {
        let (name, is_list) = match operation {
            Operation::List => ("tasks", true),
            Operation::Resources(_) => ("resources", true),
            Operation::Retry(_) => ("retry", false),
            Operation::StopImageScan(_) => ("image-scan", false),
        };
        let counts = self.settings.is(RATE_LIMIT, "all") || is_list && self.settings.is(RATE_LIMIT, "lists");
        let now = self.cloud.clock.now();
        let passes = !counts || self.throttle.admits(name, now, CALLS_PER_WINDOW, WINDOW);
        (!passes).then(|| huawei::throttled(ThrottledBy::User))
    }

    fn stop_image_scan(&self, id: &str) -> VendorReply {
        match self.images.act(id, Course::of(&self.settings)) {
            Acted::Started => huawei::empty_reply(),
            Acted::Refused(_) => refusal("HSS.1006", "The task is not running."),
            Acted::Unknown => unknown(),
        }
    }

    fn retry(&self, request: &VendorRequest, id: &str) -> VendorReply {
        let Some(body) = request.json_object() else {
            return refusal("HSS.0002", "Failed to parse the request.");
        };
        if !(1..=64).contains(&id.chars().count()) || !is_retry_body(&body) {
            return invalid_parameter();
        }
        let course = Course::of(&self.settings);
        // There is no failed scan: it has finished and left items to retry.
        let ending = if course.ending == Phase::Failed {
            Phase::Ready
        } else {
            course.ending
        };
        match self.board.act(id, Course { ending, ..course }) {
            // Nothing comes back: neither a body nor a type for it.
            Acted::Started => huawei::empty_reply(),
            Acted::Refused(Phase::Moving | Phase::Returning) => refusal("HSS.1006", "The task is running."),
            Acted::Refused(Phase::Ready | Phase::Settled | Phase::Ended | Phase::Failed) => {
                refusal("HSS.1006", "The task has no failed items.")
            }
            Acted::Unknown => unknown(),
        }
    }

    fn list(&self, request: &VendorRequest) -> VendorReply {
        let Some(body) = request.json_object() else {
            return refusal("HSS.0002", "Failed to parse the request.");
        };
        let Some((limit, offset)) = huawei::page(request, 10..=200, Some(10)) else {
            return invalid_parameter();
        };
        let wanted = match body.get("task_type").and_then(Value::as_str) {
            Some("cluster_scan") => true,
            Some("iac_scan") => false,
            Some(_) | None => return invalid_parameter(),
        };
        let found: Vec<Value> = self
            .board
            .views()
            .iter()
            .filter(|task| wanted && fits(&body, "task_id", |id| id == task.id))
            .filter_map(|task| Some(summary(&task.id, self.board.look(&task.id)?)))
            .filter(|task| {
                fits(&body, "task_name", |part| TASK_NAME.contains(part))
                    && fits(&body, "trigger_type", |word| word == "manual")
                    && fits(&body, "task_status", |word| task.get("task_status") == Some(&json!(word)))
            })
            .collect();
        let page: Vec<&Value> = found.iter().skip(offset).take(limit).collect();
        huawei::json_reply(StatusCode::OK, &json!({"total_num": found.len(), "data_list": page}))
    }

    fn resources(&self, request: &VendorRequest, id: &str) -> VendorReply {
        let is_scan = request
            .json_object()
            .is_some_and(|body| body.get("task_type") == Some(&json!("cluster_scan")));
        let Some((limit, offset)) = huawei::page(request, 10..=200, Some(10)) else {
            return invalid_parameter();
        };
        if !is_scan {
            return invalid_parameter();
        }
        let Some(phase) = self.board.look(id) else {
            return unknown();
        };
        let clusters = clusters(phase);
        let page: Vec<&Value> = clusters.iter().skip(offset).take(limit).collect();
        huawei::json_reply(
            StatusCode::OK,
            &json!({"total_num": clusters.len(), "cluster_scan_data_list": page}),
        )
    }
}

impl Vendor for Hss {
    fn name(&self) -> &str {
        "hss"
    }

    fn answer(&self, request: &VendorRequest) -> VendorReply {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (project, operation) = match (&request.method, segments.as_slice()) {
            (&Method::PUT, ["v5", project, "common", "tasks", id, "retry"]) => (*project, Operation::Retry(id)),
            (&Method::POST, ["v5", project, "common", "tasks", "batch-query"]) => (*project, Operation::List),
            (&Method::POST, ["v5", project, "common", "tasks", id, "resources", "batch-query"]) => (*project, Operation::Resources(id)),
            (&Method::PUT, ["v5", project, "image", "image-scan", "tasks", id, "stop"]) => (*project, Operation::StopImageScan(id)),
            _ => return huawei::unknown_api(),
        };
        let refusal = huawei::refusal(&self.cloud, request, project).or_else(|| self.throttling(operation));
        refusal.unwrap_or_else(|| match operation {
            Operation::List => self.list(request),
            Operation::Resources(id) => self.resources(request, id),
            Operation::Retry(id) => self.retry(request, id),
            Operation::StopImageScan(id) => self.stop_image_scan(id),
        })
    }

    fn error(&self, _: &VendorRequest, status: StatusCode) -> VendorReply {
        huawei::gateway_error_for(status).unwrap_or_else(|| huawei::flat_error(status, "HSS.0041", "Internal error."))
    }

    fn failure(&self, request: &VendorRequest) -> VendorReply {
        self.error(request, StatusCode::OK)
    }

    fn tasks(&self) -> Vec<TaskView> {
        [&self.board, &self.images].into_iter().flat_map(Board::views).collect()
    }

    fn reset(&self) {
        self.board.reset();
        self.images.reset();
        self.throttle.reset();
        self.cloud.unlock();
    }

    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::environment("HSS_ENDPOINT", endpoint)
    }

    fn login_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::login_environment("HSS_ENDPOINT", endpoint)
    }

    fn signature_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::signature_environment("HSS_ENDPOINT", endpoint)
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.settings.all()
    }

    fn set(&self, name: &str, value: &str) -> Result<(), SettingError> {
        self.settings.set(name, value)
    }

    fn place(&self, task: &str, phase: Phase) -> bool {
        self.board.place(task, phase) || self.images.place(task, phase)
    }

    fn revoke(&self) {
        self.cloud.revoke();
    }

    fn logins(&self) -> Value {
        self.cloud.view()
    }

    fn throttled(&self, _: &VendorRequest, by: ThrottledBy) -> VendorReply {
        huawei::throttled(by)
    }
}

/// Whether a retry's body keeps to the enums and the counts of the vendor's model.
fn is_retry_body(body: &Map<String, Value>) -> bool {
    let Some(info) = body.get("cluster_scan_info").and_then(Value::as_object) else {
        return false;
    };
    let clusters = info.get("cluster_info_list");
    body.get("task_type") == Some(&json!("cluster_scan"))
        && match info.get("range_type").and_then(Value::as_str) {
            Some("all_failed_cluster") => clusters.is_none_or(is_cluster_list),
            Some("specific_cluster") => clusters.is_some_and(is_cluster_list),
            Some(_) | None => false,
        }
}

fn is_cluster_list(list: &Value) -> bool {
    let is_cluster = |cluster: &Value| {
        let id = cluster.get("cluster_id");
        let scans = cluster.get("scan_type_list");
        cluster.is_object() && id.is_none_or(is_cluster_id) && scans.is_none_or(is_scan_list)
    };
    list.as_array()
        .is_some_and(|list| (1..=200).contains(&list.len()) && list.iter().all(is_cluster))
}

fn is_cluster_id(id: &Value) -> bool {
    id.as_str().is_some_and(|id| (1..=64).contains(&id.chars().count()))
}

fn is_scan_list(list: &Value) -> bool {
    let is_scan = |scan: &Value| scan.as_str().is_some_and(|scan| SCAN_TYPES.contains(&scan));
    list.as_array()
        .is_some_and(|list| (1..=3).contains(&list.len()) && list.iter().all(is_scan))
}

/// Whether an optional filter is absent or satisfied.
fn fits(body: &Map<String, Value>, name: &str, test: impl Fn(&str) -> bool) -> bool {
    body.get(name).is_none_or(|value| value.as_str().is_some_and(test))
}

fn summary(id: &str, phase: Phase) -> Value {
    let (status, scanning, success, failed) = match phase {
        Phase::Ready | Phase::Failed => ("finished", 0, 1, 2),
        Phase::Moving => ("running", 2, 1, 0),
        Phase::Settled | Phase::Ended => ("finished", 0, 3, 0),
        Phase::Returning => ("ready", 0, 1, 2),
    };
    json!({
        "task_id": id,
        "task_name": TASK_NAME,
        "task_type": "cluster_scan",
        "trigger_type": "manual",
        "task_status": status,
        "start_time": 1_725_099_450_000_u64,
        "end_time": 1_725_100_050_000_u64,
        "estimated_time": scanning,
        "cluster_scan_info": {
            "scan_type_list": SCAN_TYPES,
            "scanning_cluster_num": scanning,
            "success_cluster_num": success,
            "failed_cluster_num": failed,
        },
    })
}

fn clusters(phase: Phase) -> Vec<Value> {
    let retried = match phase {
        Phase::Ready | Phase::Failed => "failed",
        Phase::Moving | Phase::Returning => "scanning",
        Phase::Settled | Phase::Ended => "success",
    };
    [("c-1", retried), ("c-2", retried), ("c-3", "success")]
        .into_iter()
        .map(|(id, status)| {
            let reason = if status == "failed" { "cluster not reachable" } else { "" };
            json!({
                "cluster_id": id,
                "scan_status": status,
                "scan_detail_list": [
                    {"scan_type": "cluster_vul", "status": status, "failed_reason": reason},
                ],
            })
        })
        .collect()
}

fn refusal(code: &str, message: &str) -> VendorReply {
    huawei::flat_error(StatusCode::BAD_REQUEST, code, message)
}

fn invalid_parameter() -> VendorReply {
    refusal("HSS.0001", "Invalid parameter.")
}

fn unknown() -> VendorReply {
    refusal("HSS.0011", "The resource does not exist.")
}

const TASK_NAME: &str = "nightly-cluster-scan";
const SCAN_TYPES: [&str; 3] = ["cluster_vul", "risk_assessment", "benchmark"];

const SETTINGS: &[Setting] = &[
    LOOKS,
    ENDING,
    // The real service counts every interface; with the lists only, a retry can be tried out again and again.
    Setting {
        name: RATE_LIMIT,
        kind: Kind::Words(&["lists", "all", "off"]),
        start: "lists",
    },
];

const RATE_LIMIT: &str = "rate_limit";
const CALLS_PER_WINDOW: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
