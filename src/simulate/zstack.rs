//! ZStack: changed-block-tracking tasks that are stopped by a job.
//!
//! A stop is answered with 202 and a job before anybody has looked at the session: an invalid one is found out by the job. The job's
//! location names the management node's own address, which nobody can reach. Stopping again runs again, and an unknown task is a success.
//!
//! **Source.** The vendor's page of `DisableCbtTask` and its public server source. Answers have no Content-Type, as there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::board::{Board, Phase, STOPPING_WORDS};
use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};

/// The task that runs at the start.
pub const ZSTACK_TASK: &str = "5ca9c15a50c53f0dac359a64841d7b2b";

/// The one session that is valid.
pub const ZSTACK_SESSION: &str = "5e55105e55105e55105e55105e55105e";

/// The simulated management node.
#[derive(Debug)]
pub(super) struct Zstack {
    board: Board,
    jobs: Mutex<HashMap<String, Job>>,
}

/// An asynchronous call and what will come of it.
#[derive(Debug)]
struct Job {
    looks_left: u32,
    outcome: JobOutcome,
}

#[derive(Debug, Clone)]
enum JobOutcome {
    InvalidSession(String),
    Stopped(String),
}

/// A reply that ends a call early; boxed, because it is large and rare.
type Refusal = Box<VendorReply>;

impl Zstack {
    pub(super) fn new() -> Self {
        Self {
            board: Board::new(&[ZSTACK_TASK], STOPPING_WORDS),
            jobs: Mutex::default(),
        }
    }

    fn disable(&self, request: &VendorRequest, task: &str) -> Result<VendorReply, Refusal> {
        let session = session(request)?;
        check_body(&request.body)?;
        let timeout = match request.header("x-api-timeout").map(str::parse::<u64>) {
            None => API_TIMEOUT_MS,
            Some(Ok(seconds)) => seconds.saturating_mul(1000),
            Some(Err(error)) => {
                return Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
            }
        };
        let job = match request.header("x-job-uuid") {
            // Only the length is looked at.
            Some(id) if id.len() == 32 => id.to_owned(),
            Some(id) => {
                let message = format!("Invalid X-Job-UUID[{id}], it must be 32 characters long");
                return Err(refuse(StatusCode::BAD_REQUEST, message));
            }
            None => Uuid::new_v4().simple().to_string(),
        };
        let mut jobs = self.lock();
        if jobs.contains_key(&job) {
            let message = format!("Duplicate job uuid[{job}]");
            return Err(refuse(StatusCode::BAD_REQUEST, message));
        }
        let outcome = if session == ZSTACK_SESSION {
            self.board.act_regardless(task);
            JobOutcome::Stopped(task.to_owned())
        } else {
            JobOutcome::InvalidSession(session)
        };
        let location = format!("{MANAGEMENT_NODE}/zstack/v1/api-jobs/{job}");
        let looks_left = LOOKS_UNTIL_FINISHED;
        jobs.insert(job, Job { looks_left, outcome });
        Ok(reply(StatusCode::ACCEPTED, &json!({"location": location, "apiTimeout": timeout})))
    }

    /// Jobs are looked up before anything else, without a login.
    fn job(&self, id: &str) -> VendorReply {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id) else {
            return text(StatusCode::NOT_FOUND, "the job has been expired");
        };
        if let Some(left) = job.looks_left.checked_sub(1) {
            job.looks_left = left;
            return reply(StatusCode::ACCEPTED, &json!({}));
        }
        match &job.outcome {
            JobOutcome::InvalidSession(session) => invalid_session(session),
            JobOutcome::Stopped(task) => {
                self.board.settle(task);
                reply(StatusCode::OK, &json!({}))
            }
        }
    }

    fn get(&self, request: &VendorRequest, id: &str) -> Result<VendorReply, Refusal> {
        let session = session(request)?;
        if session != ZSTACK_SESSION {
            return Err(Box::new(invalid_session(&session)));
        }
        let inventories: Vec<Value> = self.board.look(id).map(|phase| inventory(id, phase)).into_iter().collect();
        Ok(reply(StatusCode::OK, &json!({"inventories": inventories})))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vendor for Zstack {
    fn name(&self) -> &str {
        "zstack"
    }

    fn answer(&self, request: &VendorRequest) -> VendorReply {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["zstack", rest @ ..] = segments.as_slice() else {
            return text(StatusCode::NOT_FOUND, "");
        };
        let answered = match (&request.method, rest) {
            (&Method::GET, ["v1", "api-jobs", id]) => Ok(self.job(id)),
            (&Method::POST, ["v1", "cbt-task", "disable", id]) => self.disable(request, id),
            (&Method::GET, ["v1", "cbt-task", id]) => self.get(request, id),
            (method, ["v1", "api-jobs", _] | ["v1", "cbt-task", "disable", _] | ["v1", "cbt-task", _]) => {
                let path = rest.join("/");
                let message = format!("The method[{method}] is not allowed for[/{path}]");
                Err(refuse(StatusCode::METHOD_NOT_ALLOWED, message))
            }
            (_, _) => {
                let message = format!("no api mapping to /{}", rest.join("/"));
                Err(refuse(StatusCode::NOT_FOUND, message))
            }
        };
        answered.unwrap_or_else(|refusal| *refusal)
    }

    /// JSON goes with 200 and 503; every other status of this vendor has a plain text.
    fn error(&self, _: &VendorRequest, status: StatusCode) -> VendorReply {
        match status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => {
                error_reply(status, "SYS.1006", "An operation failed", "cannot find the resource of CBT task")
            }
            other => text(other, "the operation failed"),
        }
    }

    fn failure(&self, request: &VendorRequest) -> VendorReply {
        self.error(request, StatusCode::OK)
    }

    fn tasks(&self) -> Vec<TaskView> {
        self.board.views()
    }

    fn reset(&self) {
        self.board.reset();
        self.lock().clear();
    }

    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        vec![
            ("ZSTACK_ENDPOINT".to_owned(), endpoint.to_owned()),
            ("ZSTACK_SESSION".to_owned(), ZSTACK_SESSION.to_owned()),
        ]
    }
}

/// The session that a request names; whether it is valid is another question. No access key is known here, so a request signed with one
/// fares like one with an unknown session.
fn session(request: &VendorRequest) -> Result<String, Refusal> {
    let value = request.header("authorization").unwrap_or_default();
    match value.split_once(' ') {
        Some(("OAuth", session)) => Ok(session.trim().to_owned()),
        Some(("ZStack", key)) => Ok(key.to_owned()),
        Some(_) | None => Err(refuse(StatusCode::BAD_REQUEST, "missing header 'Authorization'")),
    }
}

/// Reads what the server reads: the members of `params`, and the tags there or at the top. Anything else is dropped without a word.
fn check_body(body: &[u8]) -> Result<(), Refusal> {
    if body.is_empty() {
        return Ok(());
    }
    let bad_type = |name: &str, expected: &str| {
        let message = format!("Invalid value for the field[{name}], expected {expected}");
        Err(refuse(StatusCode::BAD_REQUEST, message))
    };
    let Ok(Value::Object(top)) = serde_json::from_slice(body) else {
        let message = "com.google.gson.JsonSyntaxException: the body is not a JSON object";
        return Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, message));
    };
    let params = match top.get("params") {
        None | Some(Value::Null) => None,
        Some(Value::Object(params)) => Some(params),
        Some(_) => return bad_type("params", "an object"),
    };
    let force = params.and_then(|params| params.get("force"));
    if force.is_some_and(|force| !force.is_boolean() && !force.is_null()) {
        return bad_type("force", "a boolean");
    }
    for name in ["systemTags", "userTags"] {
        let inside = params.and_then(|params| params.get(name));
        for tags in [top.get(name), inside].into_iter().flatten() {
            let is_list = tags.as_array().is_some_and(|tags| tags.iter().all(Value::is_string));
            if !is_list && !tags.is_null() {
                return bad_type(name, "a list of texts");
            }
        }
    }
    Ok(())
}

fn inventory(id: &str, phase: Phase) -> Value {
    // There is no word for "stopping": a task runs until it is stopped.
    let status = match phase {
        Phase::Ready | Phase::Moving => "Running",
        Phase::Settled => "Stopped",
    };
    json!({
        "uuid": id,
        "name": "My Task",
        "status": status,
        "createDate": "Jan 6, 2017 3:51:16 AM",
        "lastOpDate": "Jan 6, 2017 3:51:16 AM",
        "resourceRefs": [{
            "id": 1,
            "taskUuid": id,
            "resourceUuid": "b8a7c6d5e4f30211b8a7c6d5e4f30211",
            "resourceType": "VmInstanceVO",
        }],
    })
}

fn invalid_session(session: &str) -> VendorReply {
    error_reply(
        StatusCode::SERVICE_UNAVAILABLE,
        "ID.1001",
        "Session expired",
        &format!("the session[uuid: {session}] is invalid or has expired"),
    )
}

fn error_reply(status: StatusCode, code: &str, description: &str, details: &str) -> VendorReply {
    reply(
        status,
        &json!({"error": {"code": code, "description": description, "details": details}}),
    )
}

fn reply(status: StatusCode, body: &Value) -> VendorReply {
    VendorReply::untyped(status, body.to_string())
}

fn refuse(status: StatusCode, body: impl Into<String>) -> Refusal {
    Box::new(text(status, body))
}

fn text(status: StatusCode, body: impl Into<String>) -> VendorReply {
    VendorReply::untyped(status, body.into())
}

/// An address for documentation (RFC 5737): a client that trusts the location gets nowhere.
const MANAGEMENT_NODE: &str = "http://192.0.2.10:8080";

/// How long a job may take, as the server announces it for this call.
const API_TIMEOUT_MS: u64 = 1_800_000;

/// How many looks find a job still running.
const LOOKS_UNTIL_FINISHED: u32 = 1;
