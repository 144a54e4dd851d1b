//! What stands in front of the three cloud services: the API gateway with its login check, its errors and its request ids.
//!
//! **Source.** The vendor's error tables of the API gateway and of the three services; codes and texts are theirs. What they do not
//! document is marked "guess" where it is decided.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cloud::{Cloud, Denial, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY, HUAWEI_TOKEN};
use super::faults::ThrottledBy;
use super::vendor::{VendorReply, VendorRequest};

/// The gateway's own answer to a request for `project` that it does not let through.
pub(super) fn refusal(cloud: &Cloud, request: &VendorRequest, project: &str) -> Option<VendorReply> {
    match cloud.admit(request, project).err()? {
        Denial::Identity(text) => {
            let message = format!("Incorrect IAM authentication information: {text}");
            Some(gateway_error(StatusCode::UNAUTHORIZED, "0301", &message))
        }
        Denial::Renew => Some(gateway_error(StatusCode::UNAUTHORIZED, "0307", "The token must be updated")),
        // Guess: the table has a code for an unavailable project and none for a foreign one.
        Denial::Project => Some(gateway_error(StatusCode::FORBIDDEN, "0310", "The project is unavailable")),
    }
}

/// The gateway's answer to one call too many, with the window in its text.
pub(super) fn throttled(by: ThrottledBy) -> VendorReply {
    let policy = match by {
        ThrottledBy::All => "policy api over ratelimit,limit:600,time:1 minute",
        ThrottledBy::Concurrent => "policy ip over ratelimit,limit:5,time:1 minute",
        ThrottledBy::User => "policy user over ratelimit,limit:5,time:1 minute",
    };
    let message = format!("The throttling threshold has been reached: {policy}");
    gateway_error(StatusCode::TOO_MANY_REQUESTS, "0308", &message)
}

/// The gateway knows neither the path nor the method on it; it does not tell the two apart.
pub(super) fn unknown_api() -> VendorReply {
    gateway_error(
        StatusCode::NOT_FOUND,
        "0101",
        "The API does not exist or has not been published in the environment",
    )
}

/// The gateway's error for a status that it answers itself; none for those that come from the service behind it.
pub(super) fn gateway_error_for(status: StatusCode) -> Option<VendorReply> {
    let (code, message) = match status {
        StatusCode::UNAUTHORIZED => ("0301", "Incorrect IAM authentication information: decrypt token fail"),
        StatusCode::FORBIDDEN => ("0302", "The IAM user is not authorized to access the API"),
        StatusCode::NOT_FOUND => ("0101", "The API does not exist or has not been published in the environment"),
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG => ("0201", "Request too large"),
        StatusCode::TOO_MANY_REQUESTS => return Some(throttled(ThrottledBy::User)),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => ("0202", "Backend unavailable"),
        StatusCode::GATEWAY_TIMEOUT => ("0203", "Backend timeout"),
        _ => return None,
    };
    Some(gateway_error(status, code, message))
}

/// A flat error of a service.
pub(super) fn flat_error(status: StatusCode, code: &str, message: &str) -> VendorReply {
    json_reply(status, &json!({"error_code": code, "error_msg": message}))
}

/// A JSON reply with the request id that every answer carries.
pub(super) fn json_reply(status: StatusCode, body: &Value) -> VendorReply {
    stamped(VendorReply::json(status, body), &request_id())
}

/// A 200 without body and type, with the request id.
pub(super) fn empty_reply() -> VendorReply {
    stamped(VendorReply::empty(StatusCode::OK), &request_id())
}

/// The variables of a service that is called with the fixed token.
pub(super) fn environment(variable: &str, endpoint: &str) -> Vec<(String, String)> {
    pairs(&[(variable, endpoint), (PROJECT, HUAWEI_PROJECT_ID), ("HUAWEI_TOKEN", HUAWEI_TOKEN)])
}

/// The variables of a service that is called with a token of the identity service.
pub(super) fn login_environment(variable: &str, endpoint: &str) -> Vec<(String, String)> {
    pairs(&[(variable, endpoint), (PROJECT, HUAWEI_PROJECT_ID)])
}

/// The variables of a service whose requests are signed.
pub(super) fn signature_environment(variable: &str, endpoint: &str) -> Vec<(String, String)> {
    pairs(&[
        (variable, endpoint),
        (PROJECT, HUAWEI_PROJECT_ID),
        ("HUAWEI_ACCESS_KEY", HUAWEI_ACCESS_KEY),
        ("HUAWEI_SECRET_KEY", HUAWEI_SECRET_KEY),
    ])
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// The page of records that `limit` and `offset` ask for, within the given limits.
pub(super) fn page(
    request: &VendorRequest,
    limits: std::ops::RangeInclusive<usize>,
    default_limit: Option<usize>,
) -> Option<(usize, usize)> {
    let number = |name: &str, default: Option<usize>| match request.query_value(name) {
        Some(text) => text.parse().ok(),
        None => default,
    };
    let limit = number("limit", default_limit)?;
    let offset = number("offset", default_limit.map(|_| 0))?;
    limits.contains(&limit).then_some((limit, offset))
}

fn gateway_error(status: StatusCode, digits: &str, message: &str) -> VendorReply {
    let id = request_id();
    let body = json!({
        "error_msg": message,
        "error_code": format!("APIGW.{digits}"),
        "request_id": id,
    });
    stamped(VendorReply::json(status, &body), &id)
}

fn stamped(reply: VendorReply, id: &str) -> VendorReply {
    match HeaderValue::from_str(id) {
        Ok(value) => reply.header(REQUEST_ID_HEADER, value),
        Err(_) => reply,
    }
}

fn request_id() -> String {
    Uuid::new_v4().simple().to_string()
}

const PROJECT: &str = "HUAWEI_PROJECT_ID";
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
