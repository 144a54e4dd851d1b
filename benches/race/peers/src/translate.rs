//! Both calls, translated the straightforward way: trees of `serde_json`, a compiled JSON Schema, `quick-xml` into a tree.
//!
//! **Shape**: path and body of a caller -> [`VendorCall`]; status, headers and body of the vendor -> the canonical answer.

use std::sync::LazyLock;

use jsonschema::Validator;
use quick_xml::events::{BytesText, Event};
use quick_xml::{Reader, Writer};
use serde_json::{Map, Value, json};

use crate::work::{BASIC, PROJECT, TOKEN};

/// What the vendor is asked.
#[derive(Debug)]
pub struct VendorCall {
    /// `POST` or `PUT`.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Header and value.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The encoded body.
    pub body: Vec<u8>,
    /// Whom the answer is about.
    pub task: Task,
}

/// Whom a call is about.
#[derive(Debug)]
pub struct Task {
    /// The provider in the path.
    pub provider: String,
    /// The id in the path.
    pub id: String,
}

/// The vendor's request, or the status with which the caller is refused.
///
/// # Errors
/// 404 for another path, 400 for a body that is no JSON or against the schema.
pub fn to_vendor(path: &str, body: &[u8]) -> Result<VendorCall, u16> {
    let rest = path.strip_prefix("/tasks/").ok_or(404u16)?;
    let (provider, rest) = rest.split_once('/').ok_or(404u16)?;
    let id = rest.strip_suffix(":stop").ok_or(404u16)?;
    let task = Task {
        provider: provider.to_owned(),
        id: id.to_owned(),
    };
    match provider {
        "cfw" => {
            let call: Value = serde_json::from_slice(body).map_err(|_| 400u16)?;
            if !CALL.is_valid(&call) {
                return Err(400);
            }
            let project = call["scope"]["project"].as_str().unwrap_or(PROJECT);
            let instance = call["scope"]["instance"].as_str().unwrap_or_default();
            Ok(VendorCall {
                method: "POST",
                target: format!("/v1/{project}/capture-task/stop?fw_instance_id={instance}"),
                headers: vec![("x-auth-token", TOKEN), ("content-type", "application/json")],
                body: json!({ "task_id": id }).to_string().into_bytes(),
                task,
            })
        }
        "prime" => {
            let run: i64 = id.parse().map_err(|_| 400u16)?;
            let mut writer = Writer::new(Vec::new());
            let written = writer.create_element("jobRunOperationPayload").write_inner_content(|writer| {
                writer.create_element("runIds").write_inner_content(|writer| {
                    writer
                        .create_element("runId")
                        .write_text_content(BytesText::new(&run.to_string()))?;
                    Ok(())
                })?;
                Ok(())
            });
            written.map_err(|_| 500u16)?;
            let headers = vec![
                ("authorization", BASIC),
                ("accept", "application/xml"),
                ("content-type", "application/xml"),
            ];
            Ok(VendorCall {
                method: "PUT",
                target: "/webacs/api/v3/op/jobService/cancelrunning".to_owned(),
                headers,
                body: writer.into_inner(),
                task,
            })
        }
        _ => Err(404),
    }
}

/// The canonical answer, or the status with which the caller is told that there is none.
///
/// # Errors
/// 502 for what cannot be understood or is no success.
pub fn to_caller(task: &Task, status: u16, request_id: Option<&str>, body: &[u8]) -> Result<Vec<u8>, u16> {
    if status != 200 {
        return Err(502);
    }
    let message = if task.provider == "prime" {
        let reply = read_xml(body).ok_or(502u16)?;
        let result = &reply["mgmtResponse"]["operationResult"]["success"]["success"];
        if result["id"].as_str() != Some(&task.id) {
            return Err(502);
        }
        result["message"].clone()
    } else {
        let reply: Value = serde_json::from_slice(body).map_err(|_| 502u16)?;
        if !reply["data"].is_object() {
            return Err(502);
        }
        Value::Null
    };
    let answer = json!({
        "task": format!("tasks/{}/{}", task.provider, task.id),
        "provider": task.provider,
        "id": task.id,
        "action": "stop",
        "outcome": "accepted",
        "state": "stopping",
        "name": null,
        "message": message,
        "created_at": null,
        "updated_at": null,
        "operation": null,
        "vendor": { "status": status, "request_id": request_id },
    });
    serde_json::to_vec(&answer).map_err(|_| 502)
}

/// Elements as members, attributes with `@`, text alone as text.
fn read_xml(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader::from_reader(bytes);
    reader.config_mut().trim_text(true);
    let mut open: Vec<(String, Map<String, Value>, String)> = vec![(String::new(), Map::new(), String::new())];
    let mut buffer = Vec::new();
    loop {
        let event = reader.read_event_into(&mut buffer).ok()?;
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                let mut members = Map::new();
                for attribute in start.attributes() {
                    let attribute = attribute.ok()?;
                    members.insert(format!("@{}", attribute.key.as_ref()), attribute.value.into_owned().into());
                }
                let name = start.name().as_ref().to_owned();
                open.push((name, members, String::new()));
                if matches!(event, Event::Empty(_)) {
                    close(&mut open)?;
                }
            }
            Event::Text(text) => open.last_mut()?.2.push_str(&text),
            Event::End(_) => close(&mut open)?,
            Event::Eof => break,
            _ => {}
        }
        buffer.clear();
    }
    (open.len() == 1).then(|| Value::Object(open.remove(0).1))
}

fn close(open: &mut Vec<(String, Map<String, Value>, String)>) -> Option<()> {
    let (name, members, text) = open.pop()?;
    let value = if members.is_empty() {
        Value::String(text)
    } else {
        Value::Object(members)
    };
    open.last_mut()?.1.insert(name, value);
    Some(())
}

/// What a caller may say, as the schema of the route has it.
static CALL: LazyLock<Validator> = LazyLock::new(|| {
    let word = json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[0-9A-Za-z_-]+$" });
    let schema = json!({
        "type": "object",
        "required": ["scope"],
        "additionalProperties": false,
        "properties": {
            "scope": {
                "type": "object",
                "required": ["instance"],
                "additionalProperties": false,
                "properties": { "project": word, "instance": word, "enterprise_project": word }
            },
            "reason": { "type": "string", "maxLength": 256 }
        }
    });
    jsonschema::validator_for(&schema).expect("the schema above is one")
});
