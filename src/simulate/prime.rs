//! Prime Infrastructure: running job instances that are cancelled, by lists of ids, in XML or JSON.
//!
//! Every operation answers 200 and tells per id what came of it. A wrong login is a redirect to a page, and the sixth session of one user
//! is refused with 401; a connection that is kept is a session between its requests, too.
//!
//! **Source.** The vendor's page of `jobService/cancelrunning` and its API reference (response codes, rate limits, `JobSummary`,
//! `runhistory`). Guesses, where nothing is documented: the texts of failures, error ids other than `PRS-102`, the answer to too many
//! requests at once, the shape of an empty list (absent), the form of times and of a run in a history.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderValue, LOCATION};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::board::{Acted, Board, Course, ENDING, LOOKS, Phase, STOPPING_WORDS};
use super::faults::ThrottledBy;
use super::prime_documents::{
    Call, Format, JOB_TYPE, JOBS, accepted, error_document, format_of, history, ids_from_json, ids_from_xml, not_found, split_suffix,
};
use super::settings::{Kind, Setting, SettingError, Settings};
use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};

/// The job instances that run at the start.
pub const PRIME_RUNS: [i64; 2] = [15, 25];

/// The first of the runs that the setting `runs` adds.
pub const PRIME_FIRST_OF_MORE: i64 = 1001;

/// The one user.
pub const PRIME_USER: &str = "simulator";

/// The user's password.
pub const PRIME_PASSWORD: &str = "simulator-password-that-opens-nothing";

/// The simulated server.
#[derive(Debug)]
pub(super) struct Prime {
    board: Board,
    settings: Settings,
}

impl Prime {
    pub(super) fn new() -> Self {
        Self {
            board: Board::new(&RUNS, STOPPING_WORDS),
            settings: Settings::new(SETTINGS),
        }
    }

    /// As many more runs as the setting says.
    fn add_runs(&self) {
        let count = i64::from(self.settings.count(MORE_RUNS));
        self.board.add((0..count).map(|at| (PRIME_FIRST_OF_MORE + at).to_string()));
    }

    fn api(&self, request: &VendorRequest) -> VendorReply {
        let (path, suffix) = split_suffix(request.path());
        let Some(format) = suffix.or_else(|| accepted(request)) else {
            return error_document(request, Format::Xml, StatusCode::NOT_ACCEPTABLE, "Not acceptable", "108");
        };
        let sessions = if self.settings.is(SESSIONS, "requests") {
            request.at_once
        } else {
            request.sessions
        };
        if sessions > MAX_SESSIONS {
            let message = "The number of sessions of this user is exceeded";
            return error_document(request, format, StatusCode::UNAUTHORIZED, message, "110");
        }
        let versioned = path
            .strip_prefix("/webacs/api/")
            .and_then(|rest| rest.split_once('/'))
            .filter(|(version, _)| ["v3", "v4"].contains(version));
        let Some((version, resource)) = versioned else {
            return not_found(request, format);
        };
        let call = Call { request, version, format };
        match (&request.method, resource) {
            (&Method::PUT, "op/jobService/cancelrunning") => self.cancel_running(&call),
            (&Method::GET, "op/jobService/runhistory") => self.run_history(&call),
            (&Method::GET, resource) => match resource.strip_prefix("data/JobSummary") {
                Some("") => self.job_summaries(&call),
                Some(id) => self.job_summary(&call, id.trim_start_matches('/')),
                None => not_found(request, format),
            },
            _ => not_found(request, format),
        }
    }

    fn cancel_running(&self, call: &Call<'_>) -> VendorReply {
        let ids = match call.request.media_type().as_str() {
            "application/json" => ids_from_json(&call.request.body),
            "application/xml" => ids_from_xml(&call.request.body),
            _ => {
                return call.error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", "109");
            }
        };
        let Some(ids) = ids else {
            return call.error(StatusCode::BAD_REQUEST, "The request payload is not valid", "104");
        };
        let (mut success, mut failure) = (Vec::new(), Vec::new());
        for id in ids {
            let (list, status, message) = match self.board.act(&id.to_string(), Course::of(&self.settings)) {
                Acted::Started => (&mut success, "Success", format!("Job run {id} is being cancelled.")),
                Acted::Refused(_) => (&mut failure, "Failure", format!("Job run {id} is not running.")),
                Acted::Unknown => (&mut failure, "Failure", format!("Job run {id} does not exist.")),
            };
            list.push(json!({"id": id, "message": message, "status": status}));
        }
        call.operation_result(success, failure)
    }

    fn job_summaries(&self, call: &Call<'_>) -> VendorReply {
        let full = call.request.query_value(".full").is_some_and(|full| full == "true");
        let wanted = call.request.query_value("runId");
        let entities: Vec<Value> = JOBS
            .iter()
            .filter(|job| wanted.as_deref().is_none_or(|run| run == job.run))
            .filter_map(|job| {
                Some(if full {
                    call.entity(job, self.board.look(job.run)?)
                } else {
                    json!({
                        "@displayName": job.name, "@type": "JobSummary",
                        "@url": call.entity_url(job), "$": job.id,
                    })
                })
            })
            .collect();
        let count = entities.len();
        let (kind, member) = if full {
            ("listEntityInstances", "entity")
        } else {
            ("listEntityIds", "entityId")
        };
        let mut response = call.query_response(kind);
        response.insert("@count".to_owned(), json!(count.to_string()));
        response.insert("@first".to_owned(), json!("0"));
        response.insert("@last".to_owned(), json!(count.saturating_sub(1).to_string()));
        if count > 0 {
            response.insert(member.to_owned(), Value::Array(entities));
        }
        call.reply("queryResponse", Value::Object(response))
    }

    fn job_summary(&self, call: &Call<'_>, id: &str) -> VendorReply {
        let found = JOBS
            .iter()
            .find(|job| job.id == id)
            .and_then(|job| Some((job, self.board.look(job.run)?)));
        let Some((job, phase)) = found else {
            return call.error(StatusCode::NOT_FOUND, "No such entity", "103");
        };
        let mut response = call.query_response("getEntity");
        response.insert("entity".to_owned(), json!([call.entity(job, phase)]));
        call.reply("queryResponse", Value::Object(response))
    }

    fn run_history(&self, call: &Call<'_>) -> VendorReply {
        let job_id = call.request.query_value("jobId");
        let job_name = call.request.query_value("jobName");
        let job_type = call.request.query_value("jobType");
        let since = call.request.query_value("startTime");
        let asked = [&job_id, &job_name, &job_type, &since].iter().any(|parameter| parameter.is_some());
        let jobs: Vec<Value> = JOBS
            .iter()
            .filter(|job| asked && job_id.as_deref().is_none_or(|id| id == job.id))
            .filter(|job| job_name.as_deref().is_none_or(|name| name == job.name))
            .filter(|_| job_type.as_deref().is_none_or(|name| name == JOB_TYPE))
            .filter_map(|job| Some(history(job, self.board.look(job.run)?)))
            .collect();
        let mut response = call.management_response();
        if !jobs.is_empty() {
            response.insert("job".to_owned(), Value::Array(jobs));
        }
        call.reply("mgmtResponse", Value::Object(response))
    }
}

impl Vendor for Prime {
    fn name(&self) -> &str {
        "prime"
    }

    fn answer(&self, request: &VendorRequest) -> VendorReply {
        if request.path() == LOGIN_PATH {
            return VendorReply::html(StatusCode::OK, LOGIN_PAGE);
        }
        if is_logged_in(request) {
            self.api(request)
        } else {
            let location = format!("{}{LOGIN_PATH}", request.origin);
            let page = VendorReply::html(StatusCode::FOUND, LOGIN_PAGE);
            match HeaderValue::from_str(&location) {
                Ok(location) => page.header(LOCATION, location),
                Err(_) => page,
            }
        }
    }

    fn error(&self, request: &VendorRequest, status: StatusCode) -> VendorReply {
        let (message, code) = match status {
            StatusCode::NOT_FOUND => ("No such resource", "102"),
            StatusCode::SERVICE_UNAVAILABLE => ("The server is overloaded", "111"),
            _ => ("The request failed", "101"),
        };
        error_document(request, format_of(request), status, message, code)
    }

    fn failure(&self, request: &VendorRequest) -> VendorReply {
        let ids = ids_from_json(&request.body).or_else(|| ids_from_xml(&request.body));
        let failure = ids
            .unwrap_or_default()
            .into_iter()
            .map(|id| json!({"id": id, "message": "The operation failed.", "status": "Failure"}))
            .collect();
        let call = Call {
            request,
            version: "v3",
            format: format_of(request),
        };
        call.operation_result(Vec::new(), failure)
    }

    fn tasks(&self) -> Vec<TaskView> {
        self.board.views()
    }

    fn reset(&self) {
        self.board.reset();
        self.add_runs();
    }

    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        vec![
            ("PRIME_ENDPOINT".to_owned(), endpoint.to_owned()),
            ("PRIME_USER".to_owned(), PRIME_USER.to_owned()),
            ("PRIME_PASSWORD".to_owned(), PRIME_PASSWORD.to_owned()),
        ]
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.settings.all()
    }

    fn set(&self, name: &str, value: &str) -> Result<(), SettingError> {
        self.settings.set(name, value)?;
        self.add_runs();
        Ok(())
    }

    fn place(&self, task: &str, phase: Phase) -> bool {
        self.board.place(task, phase)
    }

    /// There is no 429: the limits are told apart from an overload by the text alone.
    fn throttled(&self, request: &VendorRequest, by: ThrottledBy) -> VendorReply {
        let message = match by {
            ThrottledBy::All => "NBI Global Rate limit exceeded (More than 10 in 1000 ms)".to_owned(),
            ThrottledBy::Concurrent => "Per user concurrent query count exceeded Currently 6 : Limit is 5".to_owned(),
            ThrottledBy::User => format!("NBI Rate limit for user {PRIME_USER} exceeded (More than 5 in 1000 ms)"),
        };
        error_document(request, format_of(request), StatusCode::SERVICE_UNAVAILABLE, &message, "112")
    }
}

fn is_logged_in(request: &VendorRequest) -> bool {
    let expected = format!("{PRIME_USER}:{PRIME_PASSWORD}");
    request
        .header("authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, credentials)| STANDARD.decode(credentials.trim()).ok())
        .is_some_and(|credentials| credentials == expected.as_bytes())
}

/// As texts, which is how the board knows its tasks.
const RUNS: [(&str, Phase); 2] = [("15", Phase::Ready), ("25", Phase::Ready)];

const SESSIONS: &str = "sessions";

const MORE_RUNS: &str = "runs";

const SETTINGS: &[Setting] = &[
    LOOKS,
    ENDING,
    // For batches: runs beside those of the jobs, which no look shows.
    Setting {
        name: MORE_RUNS,
        kind: Kind::Count,
        start: "0",
    },
    // Whether a kept connection counts as a session between its requests; newer releases count requests only.
    Setting {
        name: SESSIONS,
        kind: Kind::Words(&["connections", "requests"]),
        start: "connections",
    },
];

/// The limit on sessions of one user at the same time.
const MAX_SESSIONS: usize = 5;

const LOGIN_PATH: &str = "/webacs/pages/common/login.jsp";

const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Prime Infrastructure: Login</title></head><body>\
    <form action=\"/webacs/j_spring_security_check\" method=\"post\"></form></body></html>";
