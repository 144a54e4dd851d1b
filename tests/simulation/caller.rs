//! The callers: they call at their times, wait or hang up, and write down what they were told; afterwards they try whether everything
//! works again.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use turmoil::net::TcpStream;

use crate::gateway::PORT;
use crate::plan::{CallPlan, CallerPlan, Fate, GATEWAYS, VERBS, Verb};
use crate::product::FIREWALL;
use crate::world::{Record, Told, World, id, now};

/// Everything that callers do in a run; when it ends, the run ends.
pub(crate) async fn machine(world: World, stop: CancellationToken) -> turmoil::Result {
    let plan = world.plan.clone();
    join_all(plan.callers.iter().map(|caller| follow(&world, caller))).await;
    sleep(Duration::from_millis(plan.calm.saturating_sub(now()))).await;
    world.log("callers: is everything well again?");
    let verbs = || {
        PROBES
            .iter()
            .filter_map(|provider| VERBS.iter().find(|verb| verb.provider == *provider))
    };
    let (world_of_probes, gateways) = (&world, 0..plan.gateways);
    join_all(gateways.flat_map(|gateway| verbs().map(move |verb| probe(world_of_probes, gateway, verb)))).await;
    stop.cancel();
    let ended = async {
        while world.books().left_behind.len() < plan.gateways {
            sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(STOPPING, ended).await.is_err() {
        world.books().not_recovered.push("a gateway does not end".to_owned());
    }
    Ok(())
}

/// One caller's calls: one after the other, or all on one connection.
async fn follow(world: &World, caller: &CallerPlan) {
    let mut line = None;
    let mut under_way = Vec::new();
    for call in &caller.calls {
        sleep(Duration::from_millis(call.at.saturating_sub(now()))).await;
        if line.as_ref().is_none_or(Line::is_closed) {
            line = connect(caller.gateway, caller.multiplexed).await;
        }
        let Some(open) = &mut line else {
            let at = now();
            note(world, call, caller.gateway, (at, at), Told::NotConnected);
            continue;
        };
        if let Some(mut stream) = open.another() {
            let (world, gateway, call) = (world.clone(), caller.gateway, call.clone());
            under_way.push(tokio::task::spawn_local(async move {
                stream.ask(&world, gateway, &call).await;
            }));
        } else if !open.ask(world, caller.gateway, call).await {
            line = None;
        }
    }
    for call in under_way {
        call.await.unwrap();
    }
}

/// Calls until it works.
async fn probe(world: &World, gateway: usize, verb: &'static Verb) {
    let until = now() + RECOVERY_MS;
    while now() < until {
        let number = PROBE_NUMBERS + world.books().tasks.len();
        let call = CallPlan {
            number,
            at: now(),
            verb,
            is_look: false,
            fate: Fate::Ends,
            wait: None,
            hangs_up: None,
            settles_in: 100,
            by_job: false,
        };
        world.books().add(call.clone());
        match connect(gateway, false).await {
            None => note(world, &call, gateway, (now(), now()), Told::NotConnected),
            Some(mut line) => {
                line.ask(world, gateway, &call).await;
            }
        }
        let works = matches!(
            world.books().told.iter().rev().find(|record| record.call.number == number),
            Some(Record {
                told: Told::Answer { status: 200 | 202, .. },
                ..
            })
        );
        if works {
            return;
        }
        sleep(Duration::from_millis(1_000)).await;
    }
    let late = format!("{} of {} did not recover within {RECOVERY_MS} ms", verb.provider, GATEWAYS[gateway]);
    world.books().not_recovered.push(late);
}

/// A connection to a gateway.
struct Line {
    sender: Sender,
    opened: u64,
    /// Drives the connection, which ends with it.
    _driver: Option<AbortOnDropHandle<()>>,
}

enum Sender {
    Multiplexed(http2::SendRequest<Full<Bytes>>),
    Plain(http1::SendRequest<Full<Bytes>>),
}

async fn connect(gateway: usize, multiplexed: bool) -> Option<Line> {
    let opened = now();
    let address = SocketAddr::new(turmoil::lookup(GATEWAYS[gateway]), PORT);
    let stream = timeout(CONNECTING, TcpStream::connect(address)).await.ok()?.ok()?;
    let io = TokioIo::new(stream);
    let (sender, driver) = if multiplexed {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.ok()?;
        (Sender::Multiplexed(sender), tokio::spawn(async { drop(connection.await) }))
    } else {
        let (sender, connection) = http1::handshake(io).await.ok()?;
        (Sender::Plain(sender), tokio::spawn(async { drop(connection.await) }))
    };
    let _driver = Some(AbortOnDropHandle::new(driver));
    Some(Line { sender, opened, _driver })
}

impl Line {
    fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Multiplexed(sender) => sender.is_closed(),
            Sender::Plain(sender) => sender.is_closed(),
        }
    }

    /// A second call on the same connection, where there can be one.
    fn another(&self) -> Option<Self> {
        match &self.sender {
            Sender::Multiplexed(sender) => Some(Self {
                sender: Sender::Multiplexed(sender.clone()),
                opened: self.opened,
                _driver: None,
            }),
            Sender::Plain(_) => None,
        }
    }

    /// Calls, and notes what comes of it; false where the connection is of no use any more.
    async fn ask(&mut self, world: &World, gateway: usize, call: &CallPlan) -> bool {
        let times = (self.opened, now());
        let plan = &world.plan;
        let patience = plan.deadline + 1_000 * call.wait.unwrap_or_default() + PATIENCE_MS;
        let limit = Duration::from_millis(call.hangs_up.unwrap_or(patience));
        let answered = timeout(limit, self.exchange(request(call))).await;
        let told = match answered {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => Told::Broken(error.to_string()),
            Err(_elapsed) if call.hangs_up.is_some() => Told::HungUp,
            Err(_elapsed) => Told::Nothing,
        };
        let is_usable = matches!(told, Told::Answer { .. });
        note(world, call, gateway, times, told);
        is_usable
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Told> {
        let response: Response<Incoming> = match &mut self.sender {
            Sender::Multiplexed(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Plain(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        Ok(Told::Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }
}

fn request(call: &CallPlan) -> Request<Full<Bytes>> {
    let (provider, action) = (call.verb.provider, call.verb.action);
    let instance = if provider == "cfw" { FIREWALL } else { "" };
    let (method, target, body) = if call.is_look {
        let query = if instance.is_empty() {
            String::new()
        } else {
            format!("?instance={instance}")
        };
        ("GET", format!("/tasks/{provider}/{}{query}", id(call)), String::new())
    } else {
        let body = match provider {
            "cfw" => format!(r#"{{"scope":{{"instance":"{instance}"}}}}"#),
            "hss" => r#"{"parameters":{"task_type":"cluster_scan","range":"all_failed"}}"#.to_owned(),
            _ => String::new(),
        };
        ("POST", format!("/tasks/{provider}/{}:{action}", id(call)), body)
    };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://gateway{target}"))
        .header("host", "gateway")
        .header("x-request-id", format!("call-{}", call.number));
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    if let Some(wait) = call.wait {
        request = request.header("prefer", format!("wait={wait}"));
    }
    request.body(Full::from(body)).unwrap()
}

fn note(world: &World, call: &CallPlan, gateway: usize, (opened, began): (u64, u64), told: Told) {
    let record = Record {
        call: call.clone(),
        key: format!("{}/{}", call.verb.provider, id(call)),
        gateway,
        opened,
        began,
        ended: now(),
        told,
    };
    world.log(&record.line());
    world.books().told.push(record);
}

/// A provider of each service.
const PROBES: [&str; 8] = ["cfw", "dbss", "hss", "zstack", "prime", "steady", "keyed", "fickle"];
/// Numbers from here on are those of calls that were not planned.
const PROBE_NUMBERS: usize = 10_000;
/// A secret that an identity service called bad is not tried again for a minute.
const RECOVERY_MS: u64 = 90_000;
/// For longer than an answer may take.
const PATIENCE_MS: u64 = 4_000;
const CONNECTING: Duration = Duration::from_secs(3);
/// The gateway's own time to end, and that of a login which belongs to nobody.
const STOPPING: Duration = Duration::from_secs(120);
