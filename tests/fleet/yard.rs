//! A vendor with as many jobs as anyone asks for, which knows who asked it to stop them and answers some only when the test lets it.
//!
//! **Shape**: `GET /jobs/7`, `POST /jobs/7/stop`; who asks is in `X-Yard-Key`. Jobs from [`HELD`] on are stopped at once and answered
//! after [`Yard::release`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Who asked for the stop of each job, in order.
type Stops = BTreeMap<u64, Vec<String>>;

/// The vendor while it runs; ends when dropped.
pub(crate) struct Yard {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    task: JoinHandle<()>,
}

struct Desk {
    stops: watch::Sender<Stops>,
    looks: Mutex<BTreeMap<String, u64>>,
    /// Held jobs below this one are answered.
    released: watch::Sender<u64>,
}

impl Yard {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            stops: watch::Sender::new(Stops::new()),
            looks: Mutex::default(),
            released: watch::Sender::new(HELD),
        });
        let served = Arc::clone(&desk);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let desk = Arc::clone(&served);
                let service = service_fn(move |request| Arc::clone(&desk).answer(request));
                // Who asks may be killed at any time.
                connections.spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        Self { address, desk, task }
    }

    pub(crate) fn stops(&self) -> Stops {
        self.desk.stops.borrow().clone()
    }

    /// Until somebody has asked for the stop of this job; says who.
    pub(crate) async fn asked_for(&self, job: u64) -> String {
        let mut stops = self.desk.stops.subscribe();
        let stops = stops.wait_for(|stops| stops.contains_key(&job)).await.unwrap();
        stops[&job][0].clone()
    }

    /// Until this instance has asked for a stop.
    pub(crate) async fn asked_by(&self, key: &str) {
        let mut stops = self.desk.stops.subscribe();
        let by = |stops: &Stops| stops.values().flatten().any(|by| by == key);
        drop(stops.wait_for(by).await.unwrap());
    }

    /// Answers the held jobs below this one.
    pub(crate) fn release(&self, below: u64) {
        self.desk.released.send_replace(below);
    }

    /// How many looks there were, by all.
    pub(crate) fn looks(&self) -> u64 {
        self.desk.looks.lock().unwrap().values().sum()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Desk {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let key = request.headers()["x-yard-key"].to_str().unwrap().to_owned();
        let mut parts = request.uri().path().split('/').skip(2);
        let job: u64 = parts.next().unwrap().parse().unwrap();
        if request.method() == Method::POST {
            assert_eq!(parts.next(), Some("stop"));
            self.stops.send_modify(|stops| stops.entry(job).or_default().push(key));
            let mut released = self.released.subscribe();
            let _ = released.wait_for(|below| job < HELD || job < *below).await;
        } else {
            *self.looks.lock().unwrap().entry(key).or_default() += 1;
        }
        let state = if self.stops.borrow().contains_key(&job) { "end" } else { "run" };
        let body = format!(r#"{{"state":"{state}"}}"#);
        Ok(Response::builder()
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap())
    }
}

/// The first job that is answered late.
pub(crate) const HELD: u64 = 1_000_000;
