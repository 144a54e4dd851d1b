//! What stands in front of the three cloud services: the API gateway with its login check, its errors and its request ids.
//!
//! **Source.** The vendor's error tables of the API gateway and of the three services; codes and texts are theirs. What they do not
//! document is marked "guess" where it is decided.

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::vendor::{VendorReply, VendorRequest};

/// The project that the demo token is good for.
pub const HUAWEI_PROJECT_ID: &str = "09bb24e6fe80d23d2fa2c010b53b418c";

/// The one token that the gateway takes.
pub const HUAWEI_TOKEN: &str = "simulator-token-that-opens-nothing";

/// The gateway's own answer to a request for `project` that it does not let through.
pub(super) fn refusal(request: &VendorRequest, project: &str) -> Option<VendorReply> {
    let unauthenticated = |text: &str| {
        let message = format!("Incorrect IAM authentication information: {text}");
        Some(gateway_error(StatusCode::UNAUTHORIZED, "0301", &message))
    };
    let token = request.headers.get(TOKEN_HEADER);
    match (token, access_key(&request.headers)) {
        (None, Some(key)) => unauthenticated(&format!("ak {key} not exist")),
        (None, None) => unauthenticated("x-auth-token not found"),
        (Some(token), _) if token.as_bytes() != HUAWEI_TOKEN.as_bytes() => unauthenticated("decrypt token fail"),
        // Guess: the table has a code for an unavailable project and none for a foreign one.
        (Some(_), _) if project != HUAWEI_PROJECT_ID => Some(gateway_error(StatusCode::FORBIDDEN, "0310", "The project is unavailable")),
        (Some(_), _) => None,
    }
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
        StatusCode::TOO_MANY_REQUESTS => (
            "0308",
            "The throttling threshold has been reached: policy user over ratelimit,limit:5,time:1 minute",
        ),
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

/// The variables that all three services need.
pub(super) fn environment(variable: &str, endpoint: &str) -> Vec<(String, String)> {
    vec![
        (variable.to_owned(), endpoint.to_owned()),
        ("HUAWEI_PROJECT_ID".to_owned(), HUAWEI_PROJECT_ID.to_owned()),
        ("HUAWEI_TOKEN".to_owned(), HUAWEI_TOKEN.to_owned()),
    ]
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

/// The access key that a signed request names.
fn access_key(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let fields = value.strip_prefix("SDK-HMAC-SHA256")?;
    fields.split(',').find_map(|field| field.trim().strip_prefix("Access="))
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

const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-auth-token");
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
