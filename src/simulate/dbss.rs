//! Database Security Service: audit instances that are stopped, on the documented path and on its replacement.
//!
//! The two paths differ in the case of the result and in the shape of errors. Stopping is powering off: the list shows `ACTIVE` with
//! `powering-off` for a while, then `SHUTOFF`.
//!
//! **Source.** The vendor's pages and definitions of `StopAuditInstance` and of the three lists, its error table. Guess: stopping what does
//! not run is "stop failed".

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::board::{Acted, Board, Phase, STOPPING_WORDS};
use super::huawei;
use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};

/// The audit instance that runs at the start.
pub const DBSS_INSTANCE: &str = "1d07f606-92d2-441c-b05c-dca47e180552";

/// The simulated service.
#[derive(Debug)]
pub(super) struct Dbss {
    board: Board,
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
enum Operation {
    List(ListShape),
    Stop(Generation),
}

impl Dbss {
    pub(super) fn new() -> Self {
        Self {
            board: Board::new(&[DBSS_INSTANCE], STOPPING_WORDS),
        }
    }

    fn stop(&self, request: &VendorRequest, generation: Generation) -> VendorReply {
        let refuse = |code, message| error(generation, StatusCode::BAD_REQUEST, code, message);
        let id = request
            .json_object()
            .and_then(|body| Some(body.get("instance_id")?.as_str()?.to_owned()));
        let Some(id) = id else {
            return refuse("DBSS.10000001", "Malformed request message.");
        };
        match self.board.act(&id) {
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
        let tasks = self.board.views();
        let items: Vec<Value> = tasks
            .iter()
            .skip(offset)
            .take(limit)
            .filter_map(|task| Some(instance(&task.id, self.board.look(&task.id)?, shape.id)))
            .collect();
        huawei::json_reply(StatusCode::OK, &json!({shape.array: items, "total": tasks.len()}))
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
        huawei::refusal(request, project).unwrap_or_else(|| match operation {
            Operation::List(shape) => self.list(request, shape),
            Operation::Stop(generation) => self.stop(request, generation),
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
        self.board.views()
    }

    fn reset(&self) {
        self.board.reset();
    }

    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        huawei::environment("DBSS_ENDPOINT", endpoint)
    }
}

fn operation<'a>(method: &Method, segments: &[&'a str]) -> Option<(&'a str, Operation)> {
    use Generation::{Documented, Replacement};
    let list = |generation, array, id| Operation::List(ListShape { generation, array, id });
    match (method, segments) {
        (&Method::POST, ["v1", project, "dbss", "audit", "instance", "stop"]) => Some((project, Operation::Stop(Documented))),
        (&Method::POST, ["v1", project, "audit", "instance", "stop"]) => Some((project, Operation::Stop(Replacement))),
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
        Phase::Settled => ("SHUTOFF", "NO_TASK"),
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
