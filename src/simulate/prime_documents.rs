//! What Prime Infrastructure reads and writes: payloads with ids, results, entities and errors, each in XML and in JSON.
//!
//! **Shape.** A reply is built once, as the JSON of the vendor's own convention (`@` attributes, `$` text), and written in either form.
//!
//! **Source.** The samples of the vendor's API reference; from v4 on `runId` and `duration` are numbers and not texts.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::board::Phase;
use super::vendor::{VendorReply, VendorRequest};
use super::xml::{Element, write_document};

/// What the reply is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
}

/// A request under `/webacs/api`, after its login.
pub(super) struct Call<'a> {
    pub(super) request: &'a VendorRequest,
    pub(super) version: &'a str,
    pub(super) format: Format,
}

impl Call<'_> {
    pub(super) fn operation_result(&self, success: Vec<Value>, failure: Vec<Value>) -> VendorReply {
        let message = format!("{} succeeded, {} failed.", success.len(), failure.len());
        let mut result = Map::new();
        result.insert("message".to_owned(), json!(message));
        result.insert("operation".to_owned(), json!("CANCELRUNNING"));
        for (name, list) in [("failure", failure), ("success", success)] {
            if !list.is_empty() {
                result.insert(name.to_owned(), json!({name: list}));
            }
        }
        let mut response = self.management_response();
        response.insert("operationResult".to_owned(), json!([result]));
        self.reply("mgmtResponse", Value::Object(response))
    }

    pub(super) fn management_response(&self) -> Map<String, Value> {
        self.envelope("operation", "op")
    }

    pub(super) fn query_response(&self, kind: &str) -> Map<String, Value> {
        let mut response = self.envelope(kind, "data");
        response.insert("@type".to_owned(), json!("JobSummary"));
        response
    }

    fn envelope(&self, kind: &str, area: &str) -> Map<String, Value> {
        let Self { request, version, .. } = self;
        let root = format!("{}/webacs/api/{version}/{area}", request.origin);
        let url = format!("{}{}", request.origin, request.path());
        Map::from_iter([
            ("@requestUrl".to_owned(), json!(url)),
            ("@responseType".to_owned(), json!(kind)),
            ("@rootUrl".to_owned(), json!(root)),
        ])
    }

    pub(super) fn entity_url(&self, job: &Job) -> String {
        let Self { request, version, .. } = self;
        format!("{}/webacs/api/{version}/data/JobSummary/{}", request.origin, job.id)
    }

    pub(super) fn entity(&self, job: &Job, phase: Phase) -> Value {
        let (run_status, result_status) = statuses(phase);
        // From v4 on these two are numbers.
        let number = |text: &str| match self.version {
            "v4" => json!(text.parse::<i64>().unwrap_or_default()),
            _ => json!(text),
        };
        json!({
            "@dtoType": "jobSummaryDTO",
            "@type": "JobSummary",
            "@url": self.entity_url(job),
            "jobSummaryDTO": {
                "@displayName": job.name,
                "@id": job.id,
                "description": "A job of the simulator",
                "duration": number("600"),
                "jobName": job.name,
                "jobStatus": "SCHEDULED",
                "jobType": JOB_TYPE,
                "lastStartTime": STARTED,
                "resultStatus": result_status,
                "runId": number(job.run),
                "runStatus": run_status,
                "username": "admin",
            },
        })
    }

    pub(super) fn reply(&self, root: &str, value: Value) -> VendorReply {
        written(StatusCode::OK, self.format, root, value)
    }

    pub(super) fn error(&self, status: StatusCode, message: &str, code: &str) -> VendorReply {
        error_document(self.request, self.format, status, message, code)
    }
}

/// A job whose latest run instance is one of the tasks.
pub(super) struct Job {
    pub(super) id: &'static str,
    pub(super) run: &'static str,
    pub(super) name: &'static str,
}

pub(super) fn history(job: &Job, phase: Phase) -> Value {
    let (run_status, result_status) = statuses(phase);
    json!({
        "description": "A job of the simulator",
        "jobId": job.id.parse::<i64>().unwrap_or_default(),
        "jobName": job.name,
        "jobStatus": "SCHEDULED",
        "jobType": JOB_TYPE,
        "runInstances": {"runInstance": [{
            "lastStartTime": STARTED,
            "resultStatus": result_status,
            "runId": job.run.parse::<i64>().unwrap_or_default(),
            "runStatus": run_status,
        }]},
    })
}

fn statuses(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Ready | Phase::Moving => ("RUNNING", "UNKNOWN"),
        Phase::Settled => ("CANCELLED", "CANCELLED"),
        Phase::Ended => ("COMPLETED", "SUCCESS"),
        Phase::Failed => ("RUNNING", "CANCELFAILED"),
        Phase::Returning => ("PENDING_EXECUTION", "PENDINGEXECUTION"),
    }
}

pub(super) fn split_suffix(path: &str) -> (&str, Option<Format>) {
    if let Some(path) = path.strip_suffix(".json") {
        (path, Some(Format::Json))
    } else if let Some(path) = path.strip_suffix(".xml") {
        (path, Some(Format::Xml))
    } else {
        (path, None)
    }
}

/// The format that `Accept` asks for; XML when it does not care, none when it wants neither.
pub(super) fn accepted(request: &VendorRequest) -> Option<Format> {
    let Some(accept) = request.header("accept") else {
        return Some(Format::Xml);
    };
    accept.split(',').find_map(|range| {
        let media = range.split(';').next().unwrap_or_default().trim();
        match media.to_ascii_lowercase().as_str() {
            "application/json" => Some(Format::Json),
            "application/xml" | "application/*" | "*/*" | "" => Some(Format::Xml),
            _ => None,
        }
    })
}

pub(super) fn format_of(request: &VendorRequest) -> Format {
    split_suffix(request.path()).1.or_else(|| accepted(request)).unwrap_or(Format::Xml)
}

/// The ids of a JSON payload; a list of one may stand there without its brackets.
pub(super) fn ids_from_json(body: &[u8]) -> Option<Vec<i64>> {
    let payload: Value = serde_json::from_slice(body).ok()?;
    let ids = payload.pointer("/jobRunOperationPayload/runIds/runId")?;
    let ids = match ids {
        Value::Array(ids) => ids.iter().map(Value::as_i64).collect::<Option<Vec<_>>>()?,
        id => vec![id.as_i64()?],
    };
    (!ids.is_empty()).then_some(ids)
}

pub(super) fn ids_from_xml(body: &[u8]) -> Option<Vec<i64>> {
    let payload = Element::parse(body).ok()?;
    if payload.name != "jobRunOperationPayload" {
        return None;
    }
    let ids = payload
        .only("runIds")?
        .children
        .iter()
        .map(|id| (id.name == "runId").then(|| id.text.trim().parse().ok())?)
        .collect::<Option<Vec<_>>>()?;
    (!ids.is_empty()).then_some(ids)
}

pub(super) fn not_found(request: &VendorRequest, format: Format) -> VendorReply {
    let name = split_suffix(request.path()).0;
    let name = name.rsplit('/').next().unwrap_or_default();
    let message = format!("No such entity type as {name}.");
    error_document(request, format, StatusCode::NOT_FOUND, &message, "102")
}

pub(super) fn error_document(request: &VendorRequest, format: Format, status: StatusCode, message: &str, code: &str) -> VendorReply {
    let path = request.path();
    let below = path
        .strip_prefix("/webacs/api/")
        .and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
    let parameters: Vec<String> = request.query().iter().map(|(name, value)| format!("{name}=[{value}]")).collect();
    let document = json!({
        "httpResponseCode": status.as_u16(),
        "httpMethod": request.method.as_str(),
        "message": format!("{message}-PRS-{code}"),
        "id": format!("presentation.PRS-{code}"),
        "uriPath": below.unwrap_or(path),
        "queryParams": format!("{{{}}}", parameters.join(", ")),
    });
    written(status, format, "errorDocument", document)
}

fn written(status: StatusCode, format: Format, root: &str, value: Value) -> VendorReply {
    match format {
        Format::Json => VendorReply::json(status, &json!({root: value})),
        Format::Xml => VendorReply::typed(status, "application/xml", write_document(root, &value)),
    }
}

pub(super) const JOBS: [Job; 2] = [
    Job {
        id: "7",
        run: "15",
        name: "Nightly inventory",
    },
    Job {
        id: "8",
        run: "25",
        name: "Configuration archive",
    },
];

/// The type of every job here.
pub(super) const JOB_TYPE: &str = "Inventory";
const STARTED: &str = "2024-08-31T10:17:30.000Z";
