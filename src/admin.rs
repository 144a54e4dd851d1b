//! What the admin listener answers: is the process alive, is it ready, its metrics, and the state of every provider.
//!
//! **Shape**: `GET /readyz` -> `200 {"status":"ready","config":"3f9c…"}`, while draining `503 {"status":"draining",…}`.
//!
//! **Invariants**: nothing here depends on a vendor, so a vendor's trouble never takes an instance out of its balancer. Every
//! answer carries `x-request-id`; everything else than the four documents is a problem document.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::Service;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::layer::observe::{X_REQUEST_ID, new_request_id, problem_response};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::telemetry::{log, metrics};

/// The service of the admin listener. Cloning shares all of it.
#[derive(Clone)]
pub struct Admin {
    draining: CancellationToken,
    config: Arc<dyn Fn() -> String + Send + Sync>,
    metrics: PrometheusHandle,
    status: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl Admin {
    /// `draining` is cancelled when the process is about to end; `config` gives the hash of the configuration that runs; `status`
    /// makes the document of `/status`.
    pub fn new(
        draining: CancellationToken,
        config: impl Fn() -> String + Send + Sync + 'static,
        metrics: PrometheusHandle,
        status: impl Fn() -> Value + Send + Sync + 'static,
    ) -> Self {
        Self {
            draining,
            config: Arc::new(config),
            metrics,
            status: Arc::new(status),
        }
    }

    fn answer(&self, method: &Method, path: &str, request_id: &str) -> Response<Full<Bytes>> {
        let document: fn(&Self) -> Response<Full<Bytes>> = match path {
            "/livez" => |_| as_json(StatusCode::OK, &json!({ "status": "alive" })),
            "/metrics" => |admin| {
                metrics::log_lines_lost(log::lost_lines());
                text(StatusCode::OK, EXPOSITION, admin.metrics.render())
            },
            "/readyz" => Self::readiness,
            "/status" => |admin| as_json(StatusCode::OK, &(admin.status)()),
            _ => {
                let error = GatewayError::new(
                    Reason::UnknownPath,
                    "the admin listener serves /livez, /metrics, /readyz and /status",
                )
                .with_metadata("paths", vec!["/livez", "/metrics", "/readyz", "/status"]);
                return problem_response(&error, path, request_id);
            }
        };
        match *method {
            Method::GET | Method::HEAD => document(self),
            _ => {
                let mut error =
                    GatewayError::new(Reason::MethodNotAllowed, format!("only {ALLOW} are allowed here")).with_metadata("allow", ALLOW);
                error.allow = Some(ALLOW);
                problem_response(&error, path, request_id)
            }
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let (status, word) = if self.draining.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else {
            (StatusCode::OK, "ready")
        };
        as_json(status, &json!({ "status": word, "config": (self.config)() }))
    }
}

impl<B> Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let request_id = new_request_id();
        let path = request.uri().path();
        let mut response = self.answer(request.method(), path, &request_id);
        let id = HeaderValue::from_str(&request_id).expect("a UUID is a valid header value");
        response.headers_mut().insert(X_REQUEST_ID, id);
        ready(Ok(response))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Keeps the histograms small until the process drains. Without this they collect every value until the next scrape, and with
/// nobody scraping for ever.
pub async fn upkeep(metrics: PrometheusHandle, draining: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            _ = ticks.tick() => metrics.run_upkeep(),
        }
    }
}

fn as_json(status: StatusCode, document: &Value) -> Response<Full<Bytes>> {
    text(status, HeaderValue::from_static("application/json"), document.to_string())
}

fn text(status: StatusCode, media_type: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The methods of this listener, `OPTIONS *` included.
pub const METHODS: &str = "GET, HEAD, OPTIONS";
/// The methods of every path here.
const ALLOW: &str = "GET, HEAD";

/// The text format of Prometheus, version 0.0.4.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The interval that the exporter itself uses where it has a listener.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn call(draining: bool, method: &str, path: &str) -> (Response<()>, String) {
        let recorder = metrics::recorder().unwrap();
        ::metrics::with_local_recorder(&recorder, metrics::describe);
        let token = CancellationToken::new();
        if draining {
            token.cancel();
        }
        let admin = Admin::new(
            token,
            || "3f9c".to_owned(),
            recorder.handle(),
            || json!({ "providers": [{ "name": "cheese" }] }),
        );
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = admin.call(request).into_inner().unwrap();
        let (head, body) = response.into_parts();
        let body = futures_util::FutureExt::now_or_never(body.collect()).unwrap().unwrap().to_bytes();
        (Response::from_parts(head, ()), String::from_utf8(body.to_vec()).unwrap())
    }

    #[track_caller]
    fn check(draining: bool, request: &str, status: u16, media_type: &str, contains: &str) {
        let (method, path) = request.split_once(' ').unwrap();
        let (head, body) = call(draining, method, path);
        assert_eq!(head.status(), status, "{request}: {body}");
        assert_eq!(head.headers()[CONTENT_TYPE], media_type, "{request}");
        assert_eq!(head.headers()[X_REQUEST_ID].len(), 36, "{request}");
        assert!(body.contains(contains), "{request}: {body}");
    }

    #[test]
    fn the_four_documents() {
        check(false, "GET /livez", 200, "application/json", r#""status":"alive""#);
        check(true, "GET /livez", 200, "application/json", r#""status":"alive""#);
        check(
            false,
            "GET /readyz",
            200,
            "application/json",
            r#"{"config":"3f9c","status":"ready"}"#,
        );
        check(
            true,
            "GET /readyz?verbose",
            503,
            "application/json",
            r#"{"config":"3f9c","status":"draining"}"#,
        );
        check(
            false,
            "GET /metrics",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            "taskgate_build_info",
        );
        check(false, "GET /status", 200, "application/json", "cheese");
        check(false, "HEAD /livez", 200, "application/json", "");
    }

    #[test]
    fn everything_else_is_a_problem() {
        check(false, "GET /", 404, "application/problem+json", r#""reason":"UNKNOWN_PATH""#);
        check(false, "GET /livez/", 404, "application/problem+json", r#""instance":"/livez/""#);
        check(
            false,
            "POST /livez",
            405,
            "application/problem+json",
            r#""reason":"METHOD_NOT_ALLOWED""#,
        );
        let (head, _) = call(false, "DELETE", "/metrics");
        assert_eq!(head.headers()["allow"], "GET, HEAD");
    }
}
