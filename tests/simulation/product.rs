//! What the vendors do when nothing disturbs them, each in its own words, and what they write into their books.
//!
//! **Invariants**: every request that is taken is counted, also a second one for the same task: a real vendor would hardly notice.
//!
//! **Source**: the cases of the shipped routes.

use serde_json::{Value, json};

use crate::plan::{Fate, Scheme, Service};
use crate::vendor::Asked;
use crate::world::{Books, Job, Look, World, now};

/// What a vendor answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    announced: usize,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl ToString) -> Self {
        let body = body.to_string();
        let announced = body.len();
        Self {
            status,
            headers: Vec::new(),
            body,
            announced,
        }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body).with("content-type", "application/json")
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Announces more than there is.
    pub(crate) fn longer_than_it_is(mut self) -> Self {
        self.announced += 7;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Whatever\r\ncontent-length: {}\r\n", self.status, self.announced);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}

/// What a request is about.
enum About {
    /// Acting on the task with this key.
    Act(String),
    /// What has become of this job.
    Job(String),
    /// A new session, please.
    Login,
    /// The end of a session.
    Logout,
    /// The tasks; of an id where only one is shown.
    Tasks(Option<String>),
}

/// Is it about a job? What the vendor says then is said of the job, so its troubles have no words of their own.
pub(crate) fn is_about_a_job(service: Service, asked: &Asked) -> bool {
    matches!(about(service, asked), Some(About::Job(_)))
}

/// Does what is asked, and answers.
pub(crate) fn answer(world: &World, service: Service, asked: &Asked, note: &str) -> Reply {
    let (reply, what) = answer_quietly(world, service, asked);
    world.log(&format!("{}: {what} -> {}{note}", service.name(), reply.status));
    reply
}

/// Does nothing; only the log knows that something was asked.
pub(crate) fn ignore(world: &World, service: Service, asked: &Asked, note: &str) {
    let what = match about(service, asked) {
        Some(About::Act(key)) => format!("act on {key}"),
        Some(About::Job(_)) => "look at a job".to_owned(),
        Some(About::Login) => "login".to_owned(),
        Some(About::Logout) => "logout".to_owned(),
        Some(About::Tasks(_)) => "look".to_owned(),
        None => "what is not known".to_owned(),
    };
    world.log(&format!("{}: {what}: ignored{note}", service.name()));
}

fn about(service: Service, asked: &Asked) -> Option<About> {
    let segments: Vec<&str> = asked.path.split('/').skip(1).collect();
    let body = || serde_json::from_str::<Value>(&asked.body).unwrap_or_default();
    let member = |name: &str| body()[name].as_str().unwrap_or_default().to_owned();
    let act = |provider: &str, id: &str| Some(About::Act(format!("{provider}/{id}")));
    match (service, asked.method.as_str(), segments.as_slice()) {
        (Service::Cfw, "POST", ["v1", _, "capture-task", "stop"]) => act("cfw", &member("task_id")),
        (Service::Cfw, "GET", ["v1", _, "capture-task"])
        | (Service::Dbss, "GET", ["v1", _, "dbss", "audit", "instances"])
        | (Service::Hss, "POST", ["v5", _, "common", "tasks", "batch-query"]) => Some(About::Tasks(None)),
        (Service::Dbss, "POST", ["v1", _, "dbss", "audit", "instance", "stop"]) => act("dbss", &member("instance_id")),
        (Service::Dbss, "POST", ["v1", _, "db-encrypt", id, "stop"]) => act("dbss-encrypt", id),
        (Service::Dbss, "POST", ["v1", _, "db-om", id, "stop"]) => act("dbss-om", id),
        (Service::Hss, "PUT", ["v5", _, "common", "tasks", id, "retry"]) => act("hss", id),
        (Service::Hss, "PUT", ["v5", _, "image", "image-scan", "tasks", id, "stop"]) => act("hss-image", id),
        (Service::Identity, "POST", ["v3", "auth", "tokens"]) | (Service::Zstack, "PUT", ["zstack", "v1", "accounts", "login"]) => {
            Some(About::Login)
        }
        (Service::Zstack, "DELETE", ["zstack", "v1", "accounts", "sessions", _]) => Some(About::Logout),
        (Service::Zstack, "GET", ["zstack", "v1", "api-jobs", job]) => Some(About::Job((*job).to_owned())),
        (Service::Zstack, "GET", ["zstack", "v1", "cbt-task", id]) => Some(About::Tasks(Some((*id).to_owned()))),
        (Service::Zstack, "POST", ["zstack", "v1", "cbt-task", "disable" | "enable", id]) => act("zstack", id),
        (Service::Zstack, "POST", ["zstack", "v1", "cdp-task", "disable", id]) => act("zstack-cdp", id),
        (Service::Prime, "PUT", ["webacs", "api", "v3", "op", "jobService", "cancelrunning"]) => {
            let (_, rest) = asked.body.split_once("<runId>")?;
            act("prime", rest.split_once('<')?.0)
        }
        (Service::Prime, "GET", ["webacs", "api", "v4", "data", "JobSummary.json"]) => {
            let id = asked.query.split('&').find_map(|pair| pair.strip_prefix("runId="))?;
            Some(About::Tasks(Some(id.to_owned())))
        }
        (Service::Steady | Service::Keyed | Service::Fickle, "POST", ["things", id, "stop"]) => act(service.name(), id),
        _ => None,
    }
}

fn answer_quietly(world: &World, service: Service, asked: &Asked) -> (Reply, String) {
    let Some(about) = about(service, asked) else {
        return (
            Reply::json(404, &json!({"error_code": "APIG.0101"})),
            "what is not known".to_owned(),
        );
    };
    let now = now();
    let books = &mut *world.books();
    let scheme = world.plan.scheme;
    forget(books, world, service, now);
    match about {
        About::Login => (login(books, world, service, now), "login".to_owned()),
        About::Logout => (Reply::new(200, "{}"), "logout".to_owned()),
        About::Job(job) => (zstack_job(books, &job, now), "look at a job".to_owned()),
        About::Act(_) | About::Tasks(_) if service != Service::Zstack && !is_let_in(books, service, asked, scheme, now) => {
            (unauthorized(service), "a stranger".to_owned())
        }
        About::Act(key) => {
            let reply = act(books, service, asked, &key, scheme, now);
            let task = books.tasks.get(&key);
            let counted = task.map_or_else(String::new, |task| format!(" (taken {}, done {})", task.taken, task.effects.len()));
            (reply, format!("act on {key}{counted}"))
        }
        About::Tasks(id) => {
            if service == Service::Zstack && !is_let_in(books, service, asked, scheme, now) {
                return (unauthorized(service), "a look of a stranger".to_owned());
            }
            (tasks(books, service, id.as_deref(), now), "look".to_owned())
        }
    }
}

/// Sessions that a plan wants forgotten.
fn forget(books: &mut Books, world: &World, service: Service, now: u64) {
    let home = match service {
        Service::Cfw | Service::Dbss | Service::Hss | Service::Identity => Service::Identity,
        other => other,
    };
    let Some(at) = world.plan.weather[home as usize].forgets.filter(|at| *at <= now) else {
        return;
    };
    let (mark, prefix) = (format!("forgotten at {}", home.name()), format!("{}-", home.name()));
    if books.keys.insert(mark) {
        // Those that were made since are not meant.
        books
            .sessions
            .retain(|token, ends| !token.starts_with(&prefix) || *ends > at + world.plan.token_life);
    }
}

fn login(books: &mut Books, world: &World, service: Service, now: u64) -> Reply {
    books.logins += 1;
    let token = format!("{}-{}", service.name(), books.logins);
    let ends = now + world.plan.token_life;
    books.sessions.insert(token.clone(), ends);
    match service {
        Service::Identity => {
            let body = json!({"token": {"issued_at": moment(now), "expires_at": moment(ends)}});
            Reply::json(201, &body).with("x-subject-token", token)
        }
        _ => Reply::json(200, &json!({"inventory": {"uuid": token}})),
    }
}

/// A time in the vendors' own calendar.
fn moment(at: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(1_700_000_000_000 + i64::try_from(at).unwrap()).unwrap();
    at.to_string()
}

fn is_let_in(books: &Books, service: Service, asked: &Asked, scheme: Scheme, now: u64) -> bool {
    let is_session = |token: &str| books.sessions.get(token).is_some_and(|ends| now < *ends);
    match service {
        Service::Cfw | Service::Dbss | Service::Hss => match (scheme, asked.header("x-auth-token")) {
            (Scheme::Fixed, Some(token)) => token == FIXED_TOKEN,
            (Scheme::Login, Some(token)) => is_session(token),
            (Scheme::Signature, None) => asked.header("authorization").is_some(),
            _ => false,
        },
        Service::Zstack => match (scheme, asked.header("authorization")) {
            (Scheme::Fixed, Some(value)) => value == format!("OAuth {FIXED_SESSION}"),
            (Scheme::Login, Some(value)) => value.strip_prefix("OAuth ").is_some_and(is_session),
            (Scheme::Signature, Some(value)) => value.starts_with("ZStack "),
            (_, None) => false,
        },
        Service::Prime => asked.header("authorization").is_some_and(|value| value.starts_with("Basic ")),
        Service::Identity | Service::Steady | Service::Keyed | Service::Fickle => true,
    }
}

fn act(books: &mut Books, service: Service, asked: &Asked, key: &str, scheme: Scheme, now: u64) -> Reply {
    let is_let_in = is_let_in(books, service, asked, scheme, now);
    let Some(task) = books.tasks.get_mut(key) else {
        return missing(service, key);
    };
    match (task.call.fate, service) {
        (Fate::Missing, _) => return missing(service, key),
        // This one stops what has stopped as well.
        (Fate::Ended, Service::Zstack) | (Fate::Ends | Fate::GivesUp, _) => {}
        (Fate::Ended, _) => return has_ended(service, key),
    }
    match service {
        Service::Zstack => {
            let job = asked.header("x-job-uuid").unwrap_or_default().to_owned();
            if !is_let_in && !task.call.by_job {
                return unauthorized(service);
            }
            if books.jobs.contains_key(&job) {
                return Reply::new(400, "Duplicate job uuid");
            }
            task.taken += 1;
            if is_let_in {
                task.effects.push(now);
            }
            let (by_job, ready_at) = (task.call.by_job, now + task.call.settles_in);
            let location = format!("http://mn:8080/zstack/v1/api-jobs/{job}");
            books.jobs.insert(
                job,
                Job {
                    ready_at,
                    expired: !is_let_in,
                },
            );
            if by_job {
                Reply::json(202, &json!({ "location": location }))
            } else {
                Reply::json(200, &json!({}))
            }
        }
        Service::Keyed => {
            let first = books.keys.insert(asked.header("x-key").unwrap_or(key).to_owned());
            task.taken += 1;
            if first {
                task.effects.push(now);
            }
            Reply::json(200, &json!({}))
        }
        _ => {
            task.taken += 1;
            task.effects.push(now);
            taken(service, key, task.call.by_job)
        }
    }
}

/// The vendor's word for a request that it took.
fn taken(service: Service, key: &str, is_slow: bool) -> Reply {
    let id = key.split('/').nth(1).unwrap_or_default();
    match service {
        Service::Cfw => Reply::json(200, &json!({"data": {"id": FIREWALL, "name": "test"}})),
        Service::Dbss => Reply::json(200, &json!({"result": "SUCCESS"})),
        Service::Hss => Reply::new(200, ""),
        Service::Prime => prime_result("success", id, "The run is being stopped"),
        Service::Fickle if is_slow => Reply::json(202, &json!({})),
        _ => Reply::json(200, &json!({})),
    }
}

fn missing(service: Service, key: &str) -> Reply {
    match service {
        Service::Cfw => huawei(400, "CFW.00200005"),
        Service::Dbss => huawei(400, "DBSS.10020021"),
        Service::Hss => huawei(400, "HSS.0011"),
        Service::Zstack => zstack_error("SYS.1003"),
        Service::Prime => prime_result("failure", key.split('/').nth(1).unwrap_or_default(), "No such run"),
        _ => Reply::json(404, &json!({"error": "no such thing"})),
    }
}

fn has_ended(service: Service, key: &str) -> Reply {
    match service {
        Service::Cfw => huawei(400, "CFW.00400002"),
        Service::Dbss => huawei(400, "DBSS.10020131"),
        Service::Hss => huawei(400, "HSS.1001"),
        Service::Prime => prime_result("failure", key.split('/').nth(1).unwrap_or_default(), "The run has ended"),
        _ => Reply::json(409, &json!({"error": "has ended"})),
    }
}

fn prime_result(list: &str, id: &str, message: &str) -> Reply {
    let entry = format!("<{list}><{list}><id>{id}</id><message>{message}</message></{list}></{list}>");
    let result = format!("<operationResult><message>m</message><operation>CANCELRUNNING</operation>{entry}</operationResult>");
    let document = format!(r#"<?xml version="1.0" ?><mgmtResponse responseType="operation">{result}</mgmtResponse>"#);
    Reply::new(200, document).with("content-type", "application/xml")
}

fn zstack_job(books: &Books, job: &str, now: u64) -> Reply {
    match books.jobs.get(job) {
        None => Reply::new(404, ""),
        Some(job) if now < job.ready_at => Reply::json(202, &json!({})),
        Some(job) if job.expired => zstack_error("ID.1001"),
        Some(_) => Reply::json(200, &json!({})),
    }
}

/// What a vendor shows of its tasks.
fn tasks(books: &Books, service: Service, id: Option<&str>, now: u64) -> Reply {
    let provider = service.name();
    let shown: Vec<Value> = books
        .tasks
        .iter()
        .filter_map(|(key, task)| Some((key.strip_prefix(provider)?.strip_prefix('/')?, task)))
        .filter(|(given, task)| task.call.fate != Fate::Missing && id.is_none_or(|id| id == *given))
        .map(|(id, task)| task_view(service, id, task.call.verb.action, task.look(now)))
        .collect();
    let total = shown.len();
    match service {
        Service::Cfw => Reply::json(
            200,
            &json!({"data": {"limit": 1024, "offset": 0, "total": total, "records": shown}}),
        ),
        Service::Dbss => Reply::json(200, &json!({"total": total, "servers": shown})),
        Service::Hss => Reply::json(200, &json!({"total_num": total, "data_list": shown})),
        Service::Zstack => Reply::json(200, &json!({ "inventories": shown })),
        _ => Reply::json(200, &json!({"queryResponse": {"@count": total.to_string(), "entity": shown}})),
    }
}

fn task_view(service: Service, id: &str, action: &str, look: Look) -> Value {
    match service {
        Service::Cfw => {
            let status = [2, 5, 4][look as usize];
            json!({"task_id": id, "name": "capture", "status": status, "created_date": "2024/08/31 10:17:30"})
        }
        Service::Dbss => {
            let (status, task) = [("ACTIVE", "NO_TASK"), ("ACTIVE", "powering-off"), ("SHUTOFF", "NO_TASK")][look as usize];
            json!({"id": id, "name": "audit", "status": status, "task": task})
        }
        Service::Hss => {
            let (status, failed) = [("finished", 2), ("running", 0), ("finished", 0)][look as usize];
            json!({"task_id": id, "task_name": "scan", "task_type": "cluster_scan", "task_status": status,
                "cluster_scan_info": {"success_cluster_num": 3, "failed_cluster_num": failed}})
        }
        Service::Zstack => {
            let states = if action == "retry" {
                ["Stopped", "Starting", "Running"]
            } else {
                ["Running", "Running", "Stopped"]
            };
            json!({"uuid": id, "name": "cbt", "status": states[look as usize]})
        }
        _ => {
            let (run, result) = [("RUNNING", "UNKNOWN"), ("RUNNING", "UNKNOWN"), ("COMPLETED", "CANCELLED")][look as usize];
            let run_id: u64 = id.parse().unwrap();
            json!({"jobSummaryDTO": {"jobName": "nightly", "runId": run_id, "runStatus": run, "resultStatus": result}})
        }
    }
}

/// The vendor's own word for a breakdown: how far it came is not known.
pub(crate) fn broke(service: Service) -> Reply {
    match service {
        Service::Cfw | Service::Identity => huawei(500, "CFW.00109004"),
        Service::Dbss => huawei(500, "DBSS.10020102"),
        Service::Hss => huawei(500, "HSS.0041"),
        Service::Zstack => zstack_error("SYS.1000"),
        Service::Prime => prime_error(500, "Something broke"),
        Service::Steady | Service::Keyed | Service::Fickle => Reply::json(500, &json!({"error": "something broke"})),
    }
}

/// The vendor's own word for "not now".
pub(crate) fn unavailable(service: Service) -> Reply {
    match service {
        Service::Cfw | Service::Dbss | Service::Hss | Service::Identity => huawei(503, "APIG.0202"),
        Service::Zstack => zstack_error("SYS.1010"),
        Service::Prime => prime_error(503, "The server is overloaded"),
        Service::Steady | Service::Keyed | Service::Fickle => Reply::json(503, &json!({"error": "later"})),
    }
}

/// Too many requests.
pub(crate) fn throttled(service: Service) -> Reply {
    match service {
        Service::Cfw | Service::Dbss | Service::Hss | Service::Identity => huawei(429, "APIG.0308").with("retry-after", 2),
        Service::Prime => prime_error(503, "Rate limit exceeded"),
        Service::Zstack => Reply::new(429, "").with("retry-after", 1),
        Service::Steady | Service::Keyed | Service::Fickle => Reply::json(429, &json!({"error": "too many"})).with("retry-after", 1),
    }
}

/// What proves who asks is not accepted.
pub(crate) fn unauthorized(service: Service) -> Reply {
    match service {
        Service::Cfw | Service::Dbss | Service::Hss | Service::Identity => huawei(401, "APIG.0301"),
        Service::Zstack => zstack_error("ID.1001"),
        Service::Prime => Reply::new(401, ""),
        Service::Steady | Service::Keyed | Service::Fickle => Reply::json(401, &json!({"error": "who are you"})),
    }
}

fn huawei(status: u16, code: &str) -> Reply {
    Reply::json(status, &json!({"error_code": code, "error_msg": "made up"}))
}

fn zstack_error(code: &str) -> Reply {
    Reply::json(
        503,
        &json!({"error": {"code": code, "description": "made up", "details": "made up"}}),
    )
}

fn prime_error(status: u16, message: &str) -> Reply {
    let document = format!(
        r#"<?xml version="1.0" ?><errorDocument><httpResponseCode>{status}</httpResponseCode><message>{message}</message></errorDocument>"#
    );
    Reply::new(status, document).with("content-type", "application/xml")
}

/// The firewall that owns all capture tasks.
pub(crate) const FIREWALL: &str = "ebf891cd-2163-48a0-9963-6309f99dd3c4";
/// The token of who does not log in.
pub(crate) const FIXED_TOKEN: &str = "made-up-token";
/// The same at the other vendor with sessions.
pub(crate) const FIXED_SESSION: &str = "0123456789abcdef0123456789abcdef";
