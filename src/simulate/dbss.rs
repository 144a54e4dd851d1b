//! Database Security Service: audit instances that are stopped, on the documented path and on its replacement, and the instances of its
//! siblings for encryption and for operation and maintenance.
//!
//! The two paths differ in the case of the result and in the shape of errors. Stopping is powering off: the list shows `ACTIVE` with
//! `powering-off` for a while, then `SHUTOFF`. The siblings take the id in the path and no body, and no list shows them.
//!
//! **Source.** The vendor's pages and definitions of `StopAuditInstance` and of the three lists, its error table. Guess: stopping what does
//! not run is "stop failed".

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

/// The audit instance that runs at the start.
pub const DBSS_INSTANCE: &str = "1d07f606-92d2-441c-b05c-dca47e180552";

/// The database encryption instance that runs at the start.
pub const DBSS_ENCRYPTION_INSTANCE: &str = "2e18a717-93e3-452d-a16d-eddb58f291c7";

/// The instance for database operation and maintenance that runs at the start.
pub const DBSS_MAINTENANCE_INSTANCE: &str = "3f29b828-a4f4-4631-b27e-feec690a32d8";

/// The simulated service.
#[derive(Debug)]
pub(super) struct Dbss {
    audit: Board,
    encryption: Board,
    maintenance: Board,
    cloud: Arc<Cloud>,
    settings: Settings,
}

/// Which of the two generations of the interface a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// With `/dbss/` in the path: nested errors, `SUCCESS`.
    Documented,
    /// Without it: flat errors, `success`.
    Replacement,
}

/// The lists differ in the name of the array and in that of the id.
#[derive(Debug, Clone, Copy)]
struct ListShape {
    generation: Generation,
    array: &'static str,
    id: &'static str,
}

/// What the path and the method ask for.
#[derive(Debug, Clone, Copy)]
enum Operation<'a> {
    List(ListShape),
    Stop(Generation),
    StopEncryption(&'a str),
    StopMaintenance(&'a str),
}

impl Dbss {
    pub(super) fn new(cloud: Arc<Cloud>) -> Self {
        Self {
            audit: Board::new(&[(DBSS_INSTANCE, Phase::Ready)], STOPPING_WORDS),
            encryption: Board::new(&[(DBSS_ENCRYPTION_INSTANCE, Phase::Ready)], STOPPING_WORDS),
            maintenance: Board::new(&[(DBSS_MAINTENANCE_INSTANCE, Phase::Ready)], STOPPING_WORDS),
            cloud,
            settings: Settings::new(SETTINGS),
        }
    }

    fn boards(&self) -> [&Board; 3] {
        [&self.audit, &self.encryption, &self.maintenance]
    }

    fn stop(&self, request: &VendorRequest, generation: Generation) -> VendorReply {
        let refuse = |code, message| error(generation, StatusCode::BAD_REQUEST, code, message);
        let id = request
            .json_object()
            .and_then(|body| Some(body.get("instance_id")?.as_str()?.to_owned()));
        let Some(id) = id else {
            return refuse("DBSS.10000001", "Malformed request message.");
        };
        self.power_off(&self.audit, &id, generation)
    }

    fn power_off(&self, board: &Board, id: &str, generation: Generation) -> VendorReply {
        let refuse = |code, message| error(generation, StatusCode::BAD_REQUEST, code, message);
        match board.act(id, Course::of(&self.settings)) {
            Acted::Started => {
                let result = match generation {
                    Generation::Documented => "SUCCESS",
                    Generation::Replacement => "success",
                };
                huawei::json_reply(StatusCode::OK, &json!({"result": result}))
            }
            Acted::Refused(_) => refuse("DBSS.10020131", "Failed to stop the instance."),
            Acted::Unknown => refuse("DBSS.10020021", "Invalid ID."),
        }
    }

    fn list(&self, request: &VendorRequest, shape: ListShape) -> VendorReply {
        let Some((limit, offset)) = huawei::page(request, 1..=1000, Some(100)) else {
            let status = StatusCode::BAD_REQUEST;
            return error(shape.generation, status, "DBSS.10000001", "Malformed request message.");
        };
        let others = self.settings.count("others");
        let others = (0..others).map(|number| (format!("00000000-0000-4000-8000-{number:012}"), true));
        let own = self.audit.views().into_iter().map(|task| (task.id, false));
        let all: Vec<(String, bool)> = others.chain(own).collect();
        let items: Vec<Value> = all
            .iter()
            .skip(offset)
            .take(limit)
            .filter_map(|(id, is_other)| {
                let phase = if *is_other { Phase::Ready } else { self.audit.look(id)? };
                Some(instance(id, phase, shape.id))
            })
            .collect();
        huawei::json_reply(StatusCode::OK, &json!({shape.array: items, "total": all.len()}))
    }
}

impl Vendor for Dbss {
    fn name(&self) -> &str {
        "dbss"
    }

    fn answer(&self, request: &VendorRequest) -> VendorReply {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let Some((project, operation)) = operation(&request.method, &segments) else {
            return huawei::unknown_api();
        };
        huawei::refusal(&self.cloud, request, project).unwrap_or_else(|| match operation {
            Operation::List(shape) => self.list(request, shape),
            Operation::Stop(generation) => self.stop(request, generation),
            Operation::StopEncryption(id) => self.power_off(&self.encryption, id, Generation::Replacement),
            Operation::StopMaintenance(id) => self.power_off(&self.maintenance, id, Generation::Replacement),
        })
    }

    fn error(&self, request: &VendorRequest, status: StatusCode) -> VendorReply {
        huawei::gateway_error_for(status).unwrap_or_else(|| {
            let generation = generation_of(request);
            error(generation, status, "DBSS.10020102", "Database operation error.")
        })
    }

    fn failure(&self, _: &VendorRequest) -> VendorReply {
        huawei::json_reply(StatusCode::OK, &json!({"result": "failed"}))
    }

    fn tasks(&self) -> Vec<TaskView> {
        self.boards().into_iter().flat_map(Board::views).collect()
    }

    fn reset(&self) {
        self.boards().into_iter().for_each(Board::reset);
        self.cloud.unlock();
    }

    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::environment("DBSS_ENDPOINT", endpoint)
    }

    fn login_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::login_environment("DBSS_ENDPOINT", endpoint)
    }

    fn signature_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::signature_environment("DBSS_ENDPOINT", endpoint)
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.settings.all()
    }

    fn set(&self, name: &str, value: &str) -> Result<(), SettingError> {
        self.settings.set(name, value)
    }

    fn place(&self, task: &str, phase: Phase) -> bool {
        self.boards().into_iter().any(|board| board.place(task, phase))
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

fn operation<'a>(method: &Method, segments: &[&'a str]) -> Option<(&'a str, Operation<'a>)> {
    use Generation::{Documented, Replacement};
    let list = |generation, array, id| Operation::List(ListShape { generation, array, id });
    match (method, segments) {
        (&Method::POST, ["v1", project, "dbss", "audit", "instance", "stop"]) => Some((project, Operation::Stop(Documented))),
        (&Method::POST, ["v1", project, "audit", "instance", "stop"]) => Some((project, Operation::Stop(Replacement))),
        (&Method::POST, ["v1", project, "db-encrypt", id, "stop"]) => Some((project, Operation::StopEncryption(id))),
        (&Method::POST, ["v1", project, "db-om", id, "stop"]) => Some((project, Operation::StopMaintenance(id))),
        (&Method::GET, ["v1", project, "dbss", "audit", "instances"]) => Some((project, list(Documented, "servers", "id"))),
        (&Method::GET, ["v1", project, "audit", "instances"]) => Some((project, list(Replacement, "instances", "instance_id"))),
        (&Method::GET, ["v2", project, "audit", "instances"]) => Some((project, list(Replacement, "instances", "id"))),
        _ => None,
    }
}

fn generation_of(request: &VendorRequest) -> Generation {
    if request.segments().get(2).is_some_and(|part| part == "dbss") {
        Generation::Documented
    } else {
        Generation::Replacement
    }
}

fn error(generation: Generation, status: StatusCode, code: &str, message: &str) -> VendorReply {
    match generation {
        Generation::Documented => huawei::json_reply(status, &json!({"error": {"error_code": code, "error_msg": message}})),
        Generation::Replacement => huawei::flat_error(status, code, message),
    }
}

fn instance(id: &str, phase: Phase, id_field: &str) -> Value {
    let (status, task) = match phase {
        Phase::Ready => ("ACTIVE", "NO_TASK"),
        Phase::Moving => ("ACTIVE", "powering-off"),
        Phase::Settled | Phase::Ended => ("SHUTOFF", "NO_TASK"),
        Phase::Failed => ("ERROR", "NO_TASK"),
        Phase::Returning => ("SHUTOFF", "powering-on"),
    };
    json!({
        id_field: id,
        "name": "DBSS-test",
        "resource_id": RESOURCE_ID,
        "status": status,
        "task": task,
        "created": "2021-04-21 04:37:54",
        "keep_days": "180",
        "remain_days": "90",
        "version": "21.04.21",
    })
}

/// The order's id of the instance: listed beside the instance's own, and no good for stopping.
const RESOURCE_ID: &str = "062212d8-5a3c-4f0e-9d8b-7c1e2f3a4b5c";

const SETTINGS: &[Setting] = &[LOOKS, ENDING, OTHERS];
