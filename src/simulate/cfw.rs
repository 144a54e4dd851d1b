//! Cloud Firewall: packet-capture tasks that are stopped, and listed to see what became of them.
//!
//! **Source.** The vendor's pages and definitions of `CancelCaptureTask` and `ListCaptureTask`. Guesses, where nothing is documented:
//! the code for a task that no longer runs, and the one for a body that is not JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::board::{Acted, Board, Course, ENDING, LOOKS, OTHERS, Phase, STOPPING_WORDS};
use super::cloud::Cloud;
use super::faults::ThrottledBy;
use super::huawei;
use super::settings::{Setting, SettingError, Settings};
use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};

/// The capture task that runs at the start.
pub const CFW_TASK: &str = "1dcddab3-7d79-4a56-9e67-4aa0962b98ad";

/// The firewall that owns it.
pub const CFW_FIREWALL: &str = "ebf891cd-2163-48a0-9963-6309f99dd3c4";

/// The simulated service.
#[derive(Debug)]
pub(super) struct Cfw {
    board: Board,
    cloud: Arc<Cloud>,
    settings: Settings,
}

impl Cfw {
    pub(super) fn new(cloud: Arc<Cloud>) -> Self {
        Self {
            board: Board::new(&[(CFW_TASK, Phase::Ready)], STOPPING_WORDS),
            cloud,
            settings: Settings::new(SETTINGS),
        }
    }

    fn stop(&self, request: &VendorRequest) -> VendorReply {
        let Some(body) = request.json_object() else {
            return refusal("CFW.00300001", "command parsing failed.");
        };
        let firewall = request.query_value("fw_instance_id").unwrap_or_default();
        let task = body.get("task_id").and_then(Value::as_str).unwrap_or_default();
        if firewall.is_empty() || task.is_empty() {
            return refusal("CFW.00200001", "parameter is empty.");
        }
        if firewall != CFW_FIREWALL {
            return unknown();
        }
        match self.board.act(task, Course::of(&self.settings)) {
            // The vendor answers with the id and the name of the firewall, not of the task.
            Acted::Started => huawei::json_reply(StatusCode::OK, &json!({"data": {"id": firewall, "name": "test"}})),
            Acted::Refused(_) => refusal("CFW.00400002", "there is nothing to do."),
            Acted::Unknown => unknown(),
        }
    }

    fn list(&self, request: &VendorRequest) -> VendorReply {
        let firewall = request.query_value("fw_instance_id").unwrap_or_default();
        let Some((limit, offset)) = huawei::page(request, 1..=1024, None) else {
            return refusal("CFW.00200001", "limit or offset is empty or out of range.");
        };
        if firewall.is_empty() {
            return refusal("CFW.00200001", "parameter is empty.");
        }
        if firewall != CFW_FIREWALL {
            return unknown();
        }
        let tasks = self.board.views();
        // Captures of other people come first, and all of them have ended.
        let others = self.settings.count("others");
        let others = (0..others).map(|number| (format!("00000000-0000-4000-8000-{number:012}"), true));
        let all: Vec<(String, bool)> = others.chain(tasks.into_iter().map(|task| (task.id, false))).collect();
        let records: Vec<Value> = all
            .iter()
            .skip(offset)
            .take(limit)
            .filter_map(|(id, is_other)| {
                let phase = if *is_other { Phase::Ended } else { self.board.look(id)? };
                Some(record(id, phase))
            })
            .collect();
        huawei::json_reply(
            StatusCode::OK,
            &json!({"data": {
                "limit": limit, "offset": offset, "total": all.len(), "records": records,
            }}),
        )
    }
}

impl Vendor for Cfw {
    fn name(&self) -> &str {
        "cfw"
    }

    fn answer(&self, request: &VendorRequest) -> VendorReply {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (&request.method, segments.as_slice()) {
            (&Method::POST, ["v1", project, "capture-task", "stop"]) => {
                huawei::refusal(&self.cloud, request, project).unwrap_or_else(|| self.stop(request))
            }
            (&Method::GET, ["v1", project, "capture-task"]) => {
                huawei::refusal(&self.cloud, request, project).unwrap_or_else(|| self.list(request))
            }
            _ => huawei::unknown_api(),
        }
    }

    fn error(&self, _: &VendorRequest, status: StatusCode) -> VendorReply {
        huawei::gateway_error_for(status).unwrap_or_else(|| huawei::flat_error(status, "CFW.00109004", "failed to call another service."))
    }

    fn failure(&self, request: &VendorRequest) -> VendorReply {
        self.error(request, StatusCode::OK)
    }

    fn tasks(&self) -> Vec<TaskView> {
        self.board.views()
    }

    fn reset(&self) {
        self.board.reset();
        self.cloud.unlock();
    }

    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::environment("CFW_ENDPOINT", endpoint)
    }

    fn login_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::login_environment("CFW_ENDPOINT", endpoint)
    }

    fn signature_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::signature_environment("CFW_ENDPOINT", endpoint)
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.settings.all()
    }

    fn set(&self, name: &str, value: &str) -> Result<(), SettingError> {
        self.settings.set(name, value)
    }

    fn place(&self, task: &str, phase: Phase) -> bool {
        self.board.place(task, phase)
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

fn refusal(code: &str, message: &str) -> VendorReply {
    huawei::flat_error(StatusCode::BAD_REQUEST, code, message)
}

fn unknown() -> VendorReply {
    refusal("CFW.00200005", "operation content does not exist.")
}

fn record(id: &str, phase: Phase) -> Value {
    let status = match phase {
        Phase::Failed => 0,
        Phase::Ended => 1,
        Phase::Ready | Phase::Returning => 2,
        Phase::Settled => 4,
        Phase::Moving => 5,
    };
    json!({
        "task_id": id,
        "name": "capture",
        "status": status,
        "capture_size": "500kb",
        "created_date": "2024/08/31 10:17:30",
        "modified_date": "2024/08/31 10:27:30",
        "duration": 60,
        "max_packets": 100_000,
        "protocol": 6,
        "source_address": "192.0.2.1",
        "source_address_type": 0,
        "source_port": "1-65535",
        "dest_address": "192.0.2.2",
        "dest_address_type": 0,
        "dest_port": "443",
        "remaining_days": 7,
        "is_deleted": 0,
    })
}

const SETTINGS: &[Setting] = &[LOOKS, ENDING, OTHERS];
