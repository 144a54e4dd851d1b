//! The whole stack over a vendor that is a function: what a caller can get wrong, and what can go wrong inside. The clock is
//! paused, so deadlines take no time.

mod body;
mod head;
mod inside;
mod keys;
mod keys_many;
mod later;
mod many;
mod target;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use taskgate::cli::rehearsal::to_exchange;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::config::sources::Sources;
use taskgate::layer::{Exchange, Outbound};
use taskgate::model::call::UpstreamRequest;
use taskgate::model::error::GatewayError;
use taskgate::stack::{self, Gateway, StackLimits};
use tower::{ServiceExt, service_fn};

use super::answers::{Seen, Told};
use super::rig::{self, PROVIDERS};

type Body = UnsyncBoxBody<Bytes, BrokenOff>;

/// The caller is gone in the middle of its body.
#[derive(Debug, thiserror::Error)]
#[error("the caller is gone")]
struct BrokenOff;

/// The stack over a vendor that says `ok` to every action, in the words of its case of that name, and remembers what it got.
struct Stage {
    gateway: Gateway<Body>,
    /// The actions.
    sent: Arc<Mutex<Vec<UpstreamRequest>>>,
    /// How many looks there were.
    looks: Arc<Mutex<usize>>,
}

impl Stage {
    /// The shipped routes, all of them configured.
    fn shipped() -> Self {
        let sources = shipped::sources();
        Self::over(&sources, &rig::case_environment(&sources, &PROVIDERS), &StackLimits::default())
    }

    fn over(sources: &Sources, environment: &Environment, limits: &StackLimits) -> Self {
        let replies: Vec<_> = rig::cases(&rig::only_cases_named("ok"))
            .into_iter()
            // Where an action looks first, its own turn is the last one.
            .filter_map(|case| Some((case.provider, case.action, case.content.vendor.into_iter().next_back()?.reply)))
            .collect();
        let sent = Arc::<Mutex<Vec<UpstreamRequest>>>::default();
        let looks = Arc::<Mutex<usize>>::default();
        let (seen, looked) = (Arc::clone(&sent), Arc::clone(&looks));
        let vendor = service_fn(move |outbound: Outbound| {
            let is_look = outbound.route.is_look();
            if is_look {
                *looked.lock().unwrap() += 1;
            } else {
                seen.lock().unwrap().push(UpstreamRequest::clone(&outbound.request));
            }
            let reply = replies
                .iter()
                .find(|(provider, action, _)| *provider == outbound.provider.name && *action == outbound.route.action);
            let mut exchange = reply.map_or_else(|| Ok(plain_success(&outbound)), |(_, _, reply)| to_exchange(reply));
            if let (Ok(exchange), "prime", false) = (&mut exchange, outbound.provider.name.as_str(), is_look) {
                exchange.reply.body = with_the_id_of(&outbound.request, &exchange.reply.body);
            }
            std::future::ready(exchange)
        });
        let table = rig::compiled(sources, environment).table;
        Self {
            gateway: stack::build(table, limits, vendor),
            sent,
            looks,
        }
    }

    /// What comes back for a request; the answer keeps the contract.
    async fn send(&self, request: Request<Body>) -> Told {
        tell(&self.gateway, request).await
    }

    /// What the vendor has got since the last time.
    fn sent(&self) -> Vec<UpstreamRequest> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

/// Sends a request down any stack; the answer keeps the contract.
async fn tell(gateway: &Gateway<Body>, request: Request<Body>) -> Told {
    let (head, body) = gateway.clone().oneshot(request).await.unwrap().into_parts();
    let told = Told {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    told.check(Seen::FromTheStack);
    told
}

/// An empty object, or the one task that everybody looks at.
fn plain_success(outbound: &Outbound) -> Exchange {
    let body = match outbound.route.is_look() {
        true => Bytes::from_static(br#"{"inventories":[{"uuid":"5ca9c15a50c53f0dac359a64841d7b2b","status":"Running"}]}"#),
        false => Bytes::from_static(b"{}"),
    };
    let mut exchange = Exchange {
        reply: taskgate::model::call::UpstreamReply {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body,
        },
        elapsed: std::time::Duration::ZERO,
    };
    exchange
        .reply
        .headers
        .insert("content-type", HeaderValue::from_static("application/json"));
    exchange
}

/// The reply of the case is about one id; this vendor answers for the id that it was asked for.
fn with_the_id_of(request: &UpstreamRequest, reply: &Bytes) -> Bytes {
    let asked = String::from_utf8(request.body.to_vec()).unwrap();
    let id = asked.split_once("<runId>").and_then(|(_, rest)| rest.split_once('<')).unwrap().0;
    let reply = String::from_utf8(reply.to_vec()).unwrap();
    reply.replace("<id>15</id>", &format!("<id>{id}</id>")).into()
}

/// A vendor that only says this.
fn vendor_that_says(error: GatewayError) -> Gateway<Body> {
    let vendor = service_fn(move |_: Outbound| std::future::ready(Err::<Exchange, _>(error.clone())));
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &rig::case_environment(&sources, &PROVIDERS)).table;
    stack::build(table, &StackLimits::default(), vendor)
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A request out of a row: `POST /tasks/prime/15:stop`, header lines, body. A body is JSON unless the headers say otherwise.
#[track_caller]
fn request(line: &str, headers: &str, body: Body) -> Request<Body> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = Uri::try_from(target).unwrap_or_else(|error| panic!("{target}: {error}"));
    for header in headers.lines() {
        let (name, value) = header.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
    }
    request
}

const JSON: &str = "content-type: application/json";

/// Compares what a row comes to. Whatever is refused has not reached the vendor, and says that nothing was done.
async fn check(stage: &Stage, line: &str, headers: &str, body: impl Into<Bytes>, expected: &str) -> Told {
    let body = body.into();
    let shown = format!(
        "{line} [{headers}] {}",
        String::from_utf8_lossy(&body).chars().take(80).collect::<String>()
    );
    let told = stage.send(request(line, headers, full(body))).await;
    assert_eq!(told.word(), expected, "{shown}: {told:?}");
    let calls = stage.sent.lock().unwrap().len();
    if told.status >= 400 {
        let looks = *stage.looks.lock().unwrap();
        assert_eq!((calls, looks, told.text("/outcome").as_str()), (0, 0, "not_done"), "{shown}");
    } else {
        assert_eq!(calls, 1, "{shown}");
        stage.sent.lock().unwrap().clear();
        *stage.looks.lock().unwrap() = 0;
    }
    told
}

const PRIME: &str = "POST /tasks/prime/15:stop";
const ZSTACK: &str = "POST /tasks/zstack/5ca9c15a50c53f0dac359a64841d7b2b:stop";

/// Panics `on purpose` are not shown; each test has a process of its own.
fn expect_panics() {
    let ordinary = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let is_expected = info
            .payload()
            .downcast_ref::<&str>()
            .is_some_and(|text| text.contains("on purpose"));
        if !is_expected {
            ordinary(info);
        }
    }));
}
