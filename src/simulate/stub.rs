//! A stateless stub of any vendor: a list of requests and the reply to each.
//!
//! **Shape.** `POST /v1/things/7/stop` with `{"force": true}` gets 202 and a body. The first exchange that fits answers; a request that no
//! exchange fits gets 501 and a list of what the stub knows.
//!
//! **Errors.** [`StubError`] for a header that HTTP cannot carry and an expected XML body that is no document.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};
use super::xml::Element;

/// One request that the stub knows, and its reply.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The method, upper case.
    pub method: String,
    /// Path and query, exactly.
    pub target: String,
    /// What the body must be; `None` is no body at all.
    pub body: Option<ExpectedBody>,
    /// The reply.
    pub reply: StubReply,
}

/// How the body of a request is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum ExpectedBody {
    /// Any body fits, and none.
    Any,
    /// The body as a JSON value; blanks and the order of members do not matter.
    Json(Value),
    /// The body byte by byte.
    Text(String),
    /// The body as an XML document; blanks between elements do not matter.
    Xml(String),
}

/// The reply of an [`Exchange`].
#[derive(Debug, Clone)]
pub struct StubReply {
    /// The status.
    pub status: StatusCode,
    /// The header fields; repeated names are sent repeatedly.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A stateless vendor made of exchanges.
#[derive(Debug)]
pub struct StubVendor {
    name: String,
    exchanges: Vec<Prepared>,
}

/// Why exchanges make no stub.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    /// HTTP cannot carry this header field.
    #[error("the reply to `{method} {target}` has a header `{name}` that HTTP cannot carry")]
    Header {
        /// The method of the exchange.
        method: String,
        /// Its target.
        target: String,
        /// The header's name.
        name: String,
    },
    /// The expected XML body is no document.
    #[error("the expected body of `{method} {target}` is not an XML document")]
    Xml {
        /// The method of the exchange.
        method: String,
        /// Its target.
        target: String,
    },
}

#[derive(Debug)]
struct Prepared {
    method: String,
    target: String,
    body: PreparedBody,
    reply: VendorReply,
}

#[derive(Debug)]
enum PreparedBody {
    Any,
    Bytes(Bytes),
    Json(Value),
    Xml(Element),
}

impl StubVendor {
    /// A stub that answers the given exchanges.
    ///
    /// ```
    /// use taskgate::simulate::{Exchange, ExpectedBody, StubReply, StubVendor};
    ///
    /// let stub = StubVendor::new("acme", vec![Exchange {
    ///     method: "POST".into(),
    ///     target: "/jobs/7/halt".into(),
    ///     body: Some(ExpectedBody::Json(serde_json::json!({"hard": true}))),
    ///     reply: StubReply { status: http::StatusCode::ACCEPTED, headers: vec![], body: "{}".into() },
    /// }])?;
    /// # Ok::<(), taskgate::simulate::StubError>(())
    /// ```
    ///
    /// # Errors
    /// [`StubError`] names the first exchange that cannot be played.
    pub fn new(name: impl Into<String>, exchanges: Vec<Exchange>) -> Result<Self, StubError> {
        Ok(Self {
            name: name.into(),
            exchanges: exchanges.into_iter().map(Prepared::new).collect::<Result<_, _>>()?,
        })
    }
}

impl Vendor for StubVendor {
    fn name(&self) -> &str {
        &self.name
    }

    fn answer(&self, request: &VendorRequest) -> VendorReply {
        if let Some(known) = self.exchanges.iter().find(|known| known.fits(request)) {
            return known.reply.clone();
        }
        let known: Vec<Value> = self
            .exchanges
            .iter()
            .map(|known| json!({"method": known.method, "target": known.target}))
            .collect();
        VendorReply::json(
            StatusCode::NOT_IMPLEMENTED,
            &json!({
                "error": "no exchange fits this request",
                "request": {
                    "method": request.method.as_str(),
                    "target": request.target,
                    "body": String::from_utf8_lossy(&request.body),
                },
                "known": known,
            }),
        )
    }

    fn error(&self, _: &VendorRequest, status: StatusCode) -> VendorReply {
        VendorReply::json(status, &json!({"error": "a fault was asked for"}))
    }

    fn failure(&self, request: &VendorRequest) -> VendorReply {
        self.error(request, StatusCode::OK)
    }

    fn tasks(&self) -> Vec<TaskView> {
        Vec::new()
    }

    fn reset(&self) {}

    /// `<NAME>_ENDPOINT`, the only variable that can be known of any vendor.
    fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        let name = self.name.to_ascii_uppercase().replace('-', "_");
        vec![(format!("{name}_ENDPOINT"), endpoint.to_owned())]
    }
}

impl Prepared {
    fn new(exchange: Exchange) -> Result<Self, StubError> {
        let Exchange {
            method,
            target,
            body,
            reply,
        } = exchange;
        let body = match body {
            None => PreparedBody::Bytes(Bytes::new()),
            Some(ExpectedBody::Any) => PreparedBody::Any,
            Some(ExpectedBody::Json(value)) => PreparedBody::Json(value),
            Some(ExpectedBody::Text(text)) => PreparedBody::Bytes(text.into()),
            Some(ExpectedBody::Xml(text)) => match Element::parse(text.as_bytes()) {
                Ok(element) => PreparedBody::Xml(element),
                Err(_) => return Err(StubError::Xml { method, target }),
            },
        };
        let mut headers = HeaderMap::new();
        for (name, value) in reply.headers {
            let (Ok(key), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) else {
                return Err(StubError::Header { method, target, name });
            };
            headers.append(key, value);
        }
        Ok(Self {
            method,
            target,
            body,
            reply: VendorReply {
                status: reply.status,
                headers,
                body: reply.body,
            },
        })
    }

    fn fits(&self, request: &VendorRequest) -> bool {
        self.method == request.method.as_str()
            && self.target == request.target
            && match &self.body {
                PreparedBody::Any => true,
                PreparedBody::Bytes(bytes) => *bytes == request.body,
                PreparedBody::Json(value) => serde_json::from_slice::<Value>(&request.body).is_ok_and(|body| body == *value),
                PreparedBody::Xml(element) => Element::parse(&request.body).is_ok_and(|body| body == *element),
            }
    }
}
