//! Callers that never rest: each keeps its connection and sends the next call when the last one has been answered.
//!
//! **Invariants**: nothing is sent again; every call that was begun is in what [`Load::end`] returns, with its answer or what came instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use taskgate::simulate::{DBSS_INSTANCE, ZSTACK_TASK};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answers::{Seen, Told};

/// A caller with a connection of its own.
#[derive(Clone)]
pub(crate) struct Caller {
    front: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) task: String,
    /// The job of the yard that it was to stop.
    pub(crate) stops: Option<u64>,
    /// The answer of taskgate, `202 accepted`, or what came instead of one.
    pub(crate) answer: Result<String, String>,
}

/// The callers while they call.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    answered: watch::Receiver<u64>,
    callers: JoinSet<Vec<Call>>,
}

impl Caller {
    pub(crate) fn new(front: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        Self { front, client }
    }

    pub(crate) async fn send(&self, method: Method, path: &str) -> Result<Told, String> {
        let uri = format!("http://{}{path}", self.front);
        let request = Request::builder().method(method).uri(uri).body(Empty::new()).unwrap();
        let (head, body) = self
            .client
            .request(request)
            .await
            .map_err(|error| format!("{error:?}"))?
            .into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?;
        Ok(Told {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// A stop, where the task has a verb, or a look.
    pub(crate) async fn call(&self, task: String) -> Call {
        let stop = task.strip_suffix(":stop");
        let method = stop.map_or(Method::GET, |_| Method::POST);
        let answer = self.send(method, &format!("/tasks/{task}")).await.and_then(|told| {
            // HAProxy's own are pages.
            let ours = told.header("x-request-id").is_some();
            if !ours {
                return Err(format!("{} {:?}", told.status, told.body));
            }
            told.check(Seen::OnTheWire);
            Ok(told.word())
        });
        let stops = stop.and_then(|task| task.strip_prefix("yard/")?.parse().ok());
        Call { task, stops, answer }
    }
}

impl Load {
    /// Callers of this address.
    pub(crate) fn start(front: SocketAddr) -> Self {
        let over = Arc::<AtomicBool>::default();
        let (told, answered) = watch::channel(0);
        let (told, jobs) = (Arc::new(told), Arc::<AtomicU64>::default());
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (caller, over, told, jobs) = (Caller::new(front), Arc::clone(&over), Arc::clone(&told), Arc::clone(&jobs));
            callers.spawn(async move {
                let mut calls = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let job = jobs.fetch_add(1, Ordering::Relaxed);
                    for task in [
                        format!("yard/{job}:stop"),
                        format!("yard/{job}"),
                        format!("dbss/{DBSS_INSTANCE}:stop"),
                        format!("zstack/{ZSTACK_TASK}"),
                    ] {
                        calls.push(caller.call(task).await);
                        told.send_modify(|answered| *answered += 1);
                    }
                }
                calls
            });
        }
        Self { over, answered, callers }
    }

    /// How many calls have been answered, or have broken.
    pub(crate) fn count(&self) -> u64 {
        *self.answered.borrow()
    }

    /// Until there are so many.
    pub(crate) async fn reaches(&mut self, count: u64) {
        let reached = timeout(PATIENCE, self.answered.wait_for(|answered| *answered >= count)).await;
        assert!(
            reached.is_ok_and(|reached| reached.is_ok()),
            "{} calls instead of {count}",
            self.count()
        );
    }

    /// Lets every caller finish its round.
    pub(crate) async fn end(self) -> Vec<Call> {
        self.over.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

/// As many as a provider of one instance has places (`in_flight`), so that nobody is refused while the others are away.
pub(crate) const CALLERS: usize = 16;
/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
