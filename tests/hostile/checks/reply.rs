//! A vendor that says anything, whatever it is asked: through the whole stack, the caller gets an answer of ours about the task that was
//! asked for, and a success only where the vendor said one.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use taskgate::layer::hub::Pace;
use taskgate::layer::{Exchange, Outbound};
use taskgate::model::call::UpstreamReply;
use taskgate::model::error::GatewayError;
use taskgate::stack::{self, StackLimits};
use tokio::runtime::{Builder, Runtime};
use tower::{ServiceExt, service_fn};

use super::answers::{Seen, Told};
use super::message::Message;
use super::shipped::{self, Ask};

/// `data` is a route, a status and the rest of an answer: `prime/stop 200\nContent-Type: application/xml\n\n<mgmtResponse/>`.
/// `prime/stop 200 wait` follows the action until it settles.
pub(super) fn check(data: &[u8]) {
    let Some((ask, reply, wait)) = read(data) else { return };
    let status = reply.status;
    let told = tell(ask, reply, wait);
    told.check(Seen::FromTheStack);
    let document = told.json();
    assert_eq!(document["provider"], ask.call.provider, "{document}");
    assert!(told.body.len() <= MAX_ANSWER, "{document}");
    if told.status < 400 {
        assert!(status.as_u16() < 400, "a success out of {status}: {document}");
        assert_eq!(document["id"], ask.call.id, "{document}");
        assert_eq!(
            document["action"],
            ask.call.action.as_deref().map_or(Value::Null, Value::from),
            "{document}"
        );
    }
}

/// Nothing where the first line names no route or no status.
pub(super) fn read(data: &[u8]) -> Option<(&'static Ask, UpstreamReply, bool)> {
    let message = Message::read(data)?;
    let mut words = message.first.split(' ');
    let ask = shipped::ask(words.next()?)?;
    let reply = UpstreamReply {
        status: StatusCode::from_u16(words.next()?.parse().ok()?).ok()?,
        headers: message.headers,
        body: Bytes::copy_from_slice(message.body),
    };
    Some((ask, reply, words.next() == Some("wait")))
}

/// What the caller is told when every request to the vendor has this answer.
pub(super) fn tell(ask: &Ask, reply: UpstreamReply, wait: bool) -> Told {
    let exchange = Exchange {
        reply,
        elapsed: Duration::ZERO,
    };
    let vendor = service_fn(move |_: Outbound| ready(Ok::<_, GatewayError>(exchange.clone())));
    let limits = StackLimits {
        pace: Pace::Counted,
        ..StackLimits::default()
    };
    let gateway = stack::build::<_, Full<Bytes>>(Arc::clone(&ask.table), &limits, vendor);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let response = gateway.oneshot(request(ask, wait)).await.unwrap_or_else(|never| match never {});
            let (head, body) = response.into_parts();
            Told {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await.unwrap_or_else(|never| match never {}).to_bytes(),
            }
        })
    })
}

fn request(ask: &Ask, wait: bool) -> Request<Full<Bytes>> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let task = format!("/tasks/{}/{}", ask.call.provider, encode(&ask.call.id));
    let built = match &ask.call.action {
        None => {
            let query: Vec<String> = ask
                .call
                .query
                .iter()
                .map(|(name, value)| format!("{name}={}", encode(value)))
                .collect();
            let mark = if query.is_empty() { "" } else { "?" };
            Request::get(format!("{task}{mark}{}", query.join("&"))).body(Full::default())
        }
        Some(action) => {
            let mut built = Request::post(format!("{task}:{action}")).header("content-type", "application/json");
            if wait {
                built = built.header("prefer", "wait=60");
            }
            built.body(Full::from(Value::Object(ask.call.body.clone()).to_string()))
        }
    };
    built.unwrap()
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

/// A code, a message and an id of the vendor, each cut, and our own words.
const MAX_ANSWER: usize = 16 * 1024;
