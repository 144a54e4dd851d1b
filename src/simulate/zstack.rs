//! ZStack: changed-block-tracking tasks that are stopped and started by jobs, and their twins for continuous data protection.
//!
//! A stop is answered with 202 and a job before anybody has looked at the session: an invalid one is found out by the job. The job's
//! location names the management node's own address, which nobody can reach. Stopping again runs again, and an unknown task is a success.
//!
//! **Source.** The vendor's page of `DisableCbtTask` and its public server source. Guesses: starting an unknown task fails, and so does
//! starting one that runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::board::{Acted, Board, Course, ENDING, LOOKS, Phase, STOPPING_WORDS};
use super::clock::{Clock, later};
use super::settings::{Kind, Setting, SettingError, Settings};
use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};
use super::zstack_access_key::{self, ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET};
use super::zstack_documents::{Refusal, business_error, check_body, error_reply, invalid_session, inventory, refuse, reply, text};
use super::zstack_query::{self, Query};
use super::zstack_sessions::{BY_ACCOUNT, BY_ANYBODY, Rules, Sessions, ZSTACK_ACCOUNT, ZSTACK_PASSWORD};

/// The changed-block-tracking task that runs at the start.
pub const ZSTACK_TASK: &str = "5ca9c15a50c53f0dac359a64841d7b2b";

/// The one that is stopped at the start, and can be started.
pub const ZSTACK_STOPPED_TASK: &str = "6dbad26b61d64a1ebd46ab75952e8c3c";

/// The task of continuous data protection that runs at the start.
pub const ZSTACK_CDP_TASK: &str = "7ecbe37c72e75b2fce57bc86a63f9d4d";

/// A session that is valid without a login.
pub const ZSTACK_SESSION: &str = "5e55105e55105e55105e55105e55105e";

/// The simulated management node.
#[derive(Debug)]
pub(super) struct Zstack {
    tracking: Board,
    protection: Board,
    jobs: Mutex<HashMap<String, Job>>,
    sessions: Sessions,
    settings: Settings,
    clock: Arc<Clock>,
}

/// Which of the two kinds of task a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Tracking,
    Protection,
}

/// An asynchronous call and what will come of it.
#[derive(Debug)]
struct Job {
    looks_left: u32,
    outcome: JobOutcome,
    /// When somebody first saw that it has finished.
    finished: Option<Timestamp>,
}

#[derive(Debug, Clone)]
enum JobOutcome {
    Failed(String),
    InvalidSession(String),
    Started(String),
    Stopped(Family, String),
}

/// Who calls, as far as the REST layer knows.
enum Caller {
    AccessKey,
    Session(String),
}

impl Zstack {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        let tracking = &[(ZSTACK_TASK, Phase::Ready), (ZSTACK_STOPPED_TASK, Phase::Settled)];
        Self {
            tracking: Board::new(tracking, STOPPING_WORDS),
            protection: Board::new(&[(ZSTACK_CDP_TASK, Phase::Ready)], STOPPING_WORDS),
            jobs: Mutex::default(),
            sessions: Sessions::default(),
            settings: Settings::new(SETTINGS),
            clock,
        }
    }

    fn login(&self, request: &VendorRequest, member: &str) -> VendorReply {
        let rules = Rules {
            lifetime: self.settings.time("lifetime"),
            limit: usize::try_from(self.settings.count("sessions")).unwrap_or(usize::MAX),
            zone: self.settings.zone(TIME_ZONE),
        };
        self.sessions.login(&request.body, member, self.clock.now(), &rules)
    }

    fn disable(&self, request: &VendorRequest, family: Family, task: &str) -> Result<VendorReply, Refusal> {
        self.begin(request, STOP_TIMEOUT, |course| {
            self.board(family).act_regardless(task, course);
            JobOutcome::Stopped(family, task.to_owned())
        })
    }

    fn enable(&self, request: &VendorRequest, task: &str) -> Result<VendorReply, Refusal> {
        self.begin(request, START_TIMEOUT, |course| match self.tracking.turn_back(task, course) {
            Acted::Started => JobOutcome::Started(task.to_owned()),
            Acted::Refused(_) => JobOutcome::Failed(format!("the CBT task[uuid: {task}] is already running")),
            Acted::Unknown => JobOutcome::Failed(format!("cannot find the resource of CBT task[uuid: {task}]")),
        })
    }

    /// Makes a job of a call; what is wrong with its session is for the job to find out.
    fn begin(&self, request: &VendorRequest, timeout: Duration, act: impl FnOnce(Course) -> JobOutcome) -> Result<VendorReply, Refusal> {
        let caller = self.caller(request)?;
        check_body(&request.body)?;
        let timeout = match request.header("x-api-timeout").map(str::parse::<u64>) {
            None => timeout.as_secs(),
            Some(Ok(seconds)) => seconds,
            Some(Err(error)) => {
                return Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
            }
        };
        let id = match request.header("x-job-uuid") {
            // Only the length is looked at.
            Some(id) if id.len() == 32 => id.to_owned(),
            Some(id) => {
                let message = format!("Invalid X-Job-UUID[{id}], it must be 32 characters long");
                return Err(refuse(StatusCode::BAD_REQUEST, message));
            }
            None => Uuid::new_v4().simple().to_string(),
        };
        let now = self.clock.now();
        let mut jobs = self.lock();
        jobs.retain(|_, job| job.is_known(now));
        if jobs.contains_key(&id) {
            let message = format!("Duplicate job uuid[{id}]");
            return Err(refuse(StatusCode::BAD_REQUEST, message));
        }
        let course = Course::of(&self.settings);
        let outcome = match caller {
            Caller::Session(session) if !self.sessions.is_valid(&session, now) => JobOutcome::InvalidSession(session),
            Caller::Session(_) | Caller::AccessKey => act(course),
        };
        let body = json!({
            "location": format!("{MANAGEMENT_NODE}/zstack/v1/api-jobs/{id}"),
            "apiTimeout": timeout.saturating_mul(1000),
        });
        let job = Job {
            looks_left: course.looks,
            outcome,
            finished: None,
        };
        jobs.insert(id, job);
        Ok(reply(StatusCode::ACCEPTED, &body))
    }

    /// Jobs are looked up before anything else, without a login.
    fn job(&self, id: &str) -> VendorReply {
        let now = self.clock.now();
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id).filter(|job| job.is_known(now)) else {
            return text(StatusCode::NOT_FOUND, "the job has been expired");
        };
        if let Some(left) = job.looks_left.checked_sub(1) {
            job.looks_left = left;
            return reply(StatusCode::ACCEPTED, &json!({}));
        }
        job.finished.get_or_insert(now);
        match &job.outcome {
            JobOutcome::Failed(details) => business_error("SYS.1006", "An operation failed", details),
            JobOutcome::InvalidSession(session) => invalid_session(session),
            JobOutcome::Started(task) => {
                self.tracking.finish(task);
                reply(StatusCode::OK, &json!({"volumeCbtBackupInfos": []}))
            }
            JobOutcome::Stopped(family, task) => match self.board(*family).finish(task) {
                Some(Phase::Failed) => {
                    let details = format!("cannot stop the task[uuid: {task}]");
                    business_error("SYS.1006", "An operation failed", &details)
                }
                Some(_) | None => reply(StatusCode::OK, &json!({})),
            },
        }
    }

    fn get(&self, request: &VendorRequest, family: Family, id: &str) -> Result<VendorReply, Refusal> {
        self.check_login(request)?;
        let found = self.board(family).look(id).map(|phase| inventory(id, phase));
        let inventories: Vec<Value> = found.into_iter().collect();
        Ok(reply(StatusCode::OK, &json!({"inventories": inventories})))
    }

    fn query(&self, request: &VendorRequest, family: Family) -> Result<VendorReply, Refusal> {
        self.check_login(request)?;
        let Some(query) = Query::of(request) else {
            return Err(Box::new(zstack_query::not_understood()));
        };
        let board = self.board(family);
        let tasks = board.views().into_iter();
        let inventories = tasks.filter_map(|task| Some(inventory(&task.id, board.look(&task.id)?)));
        Ok(query.answer(inventories.collect()))
    }

    /// A call that is answered at once has its session checked at once.
    fn check_login(&self, request: &VendorRequest) -> Result<(), Refusal> {
        match self.caller(request)? {
            Caller::Session(session) if !self.sessions.is_valid(&session, self.clock.now()) => Err(Box::new(invalid_session(&session))),
            Caller::Session(_) | Caller::AccessKey => Ok(()),
        }
    }

    /// The session that a request names, whether it is valid or not, or the key that it is rightly signed with.
    fn caller(&self, request: &VendorRequest) -> Result<Caller, Refusal> {
        let value = request.header("authorization").unwrap_or_default();
        match value.split_once(' ') {
            Some(("OAuth", session)) => Ok(Caller::Session(session.trim().to_owned())),
            Some(("ZStack", key)) => {
                let now = self.clock.now().to_zoned(self.settings.zone(TIME_ZONE)).datetime();
                zstack_access_key::check(request, key, now)?;
                Ok(Caller::AccessKey)
            }
            Some(_) | None => Err(refuse(StatusCode::BAD_REQUEST, "missing header 'Authorization'")),
        }
    }

    fn board(&self, family: Family) -> &Board {
        match family {
            Family::Tracking => &self.tracking,
            Family::Protection => &self.protection,
        }
    }

    fn boards(&self) -> [&Board; 2] {
        [&self.tracking, &self.protection]
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Finished jobs are kept for a while.
    fn is_known(&self, now: Timestamp) -> bool {
        self.finished.is_none_or(|finished| now < later(finished, JOB_KEPT))
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
        let answered = match (request.method.as_str(), rest) {
            ("GET", ["v1", "api-jobs", id]) => Ok(self.job(id)),
            ("PUT", ["v1", "accounts", "login"]) => Ok(self.login(request, BY_ACCOUNT)),
            ("PUT", ["v1", "login"]) => Ok(self.login(request, BY_ANYBODY)),
            ("GET", ["v1", "accounts", "sessions", id, "valid"]) => {
                let valid = self.sessions.is_valid(id, self.clock.now());
                Ok(reply(StatusCode::OK, &json!({"valid": valid})))
            }
            ("DELETE", ["v1", "accounts", "sessions", id]) => {
                self.sessions.logout(id);
                Ok(reply(StatusCode::OK, &json!({})))
            }
            ("POST", ["v1", "cbt-task", "disable", id]) => self.disable(request, Family::Tracking, id),
            ("POST", ["v1", "cdp-task", "disable", id]) => self.disable(request, Family::Protection, id),
            ("POST", ["v1", "cbt-task", "enable", id]) => self.enable(request, id),
            ("GET", ["v1", "cbt-task", id]) => self.get(request, Family::Tracking, id),
            ("GET", ["v1", "cdp-task", id]) => self.get(request, Family::Protection, id),
            ("GET", ["v1", "cbt-task"]) => self.query(request, Family::Tracking),
            ("GET", ["v1", "cdp-task"]) => self.query(request, Family::Protection),
            (method, rest) if is_mapped(rest) => {
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
        self.boards().into_iter().flat_map(Board::views).collect()
    }

    fn reset(&self) {
        self.boards().into_iter().for_each(Board::reset);
        self.lock().clear();
        self.sessions.reset();
    }

    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        pairs(&[("ZSTACK_ENDPOINT", endpoint), ("ZSTACK_SESSION", ZSTACK_SESSION)])
    }

    fn login_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        pairs(&[
            ("ZSTACK_ENDPOINT", endpoint),
            ("ZSTACK_ACCOUNT", ZSTACK_ACCOUNT),
            ("ZSTACK_PASSWORD", ZSTACK_PASSWORD),
        ])
    }

    fn signature_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        pairs(&[
            ("ZSTACK_ENDPOINT", endpoint),
            ("ZSTACK_ACCESS_KEY_ID", ZSTACK_ACCESS_KEY_ID),
            ("ZSTACK_ACCESS_KEY_SECRET", ZSTACK_ACCESS_KEY_SECRET),
            ("ZSTACK_TIME_ZONE", &self.settings.word(TIME_ZONE)),
        ])
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
        self.sessions.revoke();
    }

    fn logins(&self) -> Value {
        self.sessions.view(self.clock.now())
    }
}

/// Whether the path is known, with whatever method.
fn is_mapped(path: &[&str]) -> bool {
    matches!(
        path,
        ["v1", "api-jobs", _]
            | ["v1", "cbt-task", "disable" | "enable", _]
            | ["v1", "cdp-task", "disable", _]
            | ["v1", "cbt-task" | "cdp-task"]
            | ["v1", "cbt-task" | "cdp-task", _]
            | ["v1", "accounts", "login"]
            | ["v1", "accounts", "sessions", _]
            | ["v1", "accounts", "sessions", _, "valid"]
            | ["v1", "login"]
    )
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// An address for documentation (RFC 5737): a client that trusts the location gets nowhere.
const MANAGEMENT_NODE: &str = "http://192.0.2.10:8080";

/// How long a stop may take, as the server announces it.
const STOP_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(3 * 3600);

/// How long a finished job can be looked at.
const JOB_KEPT: Duration = Duration::from_secs(3 * 3600);

const TIME_ZONE: &str = "time_zone";

const SETTINGS: &[Setting] = &[
    LOOKS,
    ENDING,
    Setting {
        name: "lifetime",
        kind: Kind::Time,
        start: "2h",
    },
    Setting {
        name: "sessions",
        kind: Kind::Count,
        start: "500",
    },
    // Not UTC, so that a signer that writes its own time is found out.
    Setting {
        name: TIME_ZONE,
        kind: Kind::Zone,
        start: "Asia/Shanghai",
    },
];
