//! Another configuration while calls are under way: who sees which, and what is kept.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use secrecy::SecretString;
use taskgate::config::compile::Compiled;
use taskgate::config::environment::Environment;
use taskgate::gateway::{Reload, RunningGateway};
use taskgate::layer::resume::Operations;
use taskgate::operation::{DEFAULT_LIFETIME, Operation, OperationKeys};
use taskgate::stack::StackLimits;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::caller::Caller;
use super::config::{ROUTES, sources};
use super::rig::{compiled, start_gateway, start_gateway_within};

/// A vendor that says `ok` once it is let go, and keeps its connections.
struct Vendor {
    address: SocketAddr,
    seen: watch::Receiver<Seen>,
    open: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    connections: usize,
    /// The keys that the calls came with.
    keys: Vec<String>,
}

impl Vendor {
    async fn start(is_open: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, seen) = watch::channel(Seen::default());
        let (open, opened) = watch::channel(is_open);
        let mut tasks = JoinSet::new();
        let told = Arc::new(told);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                told.send_modify(|seen| seen.connections += 1);
                connections.spawn(answer(BufReader::new(stream), Arc::clone(&told), opened.clone()));
            }
        });
        Self {
            address,
            seen,
            open,
            _tasks: tasks,
        }
    }

    async fn has_seen(&mut self, calls: usize) {
        self.seen.wait_for(|seen| seen.keys.len() >= calls).await.unwrap();
    }

    fn seen(&self) -> (usize, Vec<String>) {
        let seen = self.seen.borrow().clone();
        (seen.connections, seen.keys)
    }
}

async fn answer(mut stream: BufReader<TcpStream>, told: Arc<watch::Sender<Seen>>, mut open: watch::Receiver<bool>) {
    loop {
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("x-acme-key", value)) => key = value.to_owned(),
                Some(("content-length", value)) => length = value.parse().unwrap(),
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        told.send_modify(|seen| seen.keys.push(key));
        open.wait_for(|open| *open).await.unwrap();
        let reply = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"result\":\"ok\"}";
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

/// The small provider at this vendor, with this key and this change.
fn acme(vendor: &Vendor, key: &str, (from, to): (&str, &str)) -> Compiled {
    assert!(ROUTES.contains(from));
    let endpoint = format!("http://{}", vendor.address);
    let variables = [("ACME_ENDPOINT", endpoint.as_str()), ("ACME_KEY", key), ("ACME_PROJECT", "p")];
    let environment: Environment = variables.into_iter().collect();
    compiled(&sources(&ROUTES.replace(from, to)), &environment)
}

fn replace(gateway: &mut RunningGateway, Compiled { table, hash, .. }: Compiled) -> Reload {
    gateway.replace(table, hash).unwrap()
}

fn applied(changed: &[&str]) -> Reload {
    Reload::Applied(changed.iter().map(|&name| name.to_owned()).collect())
}

async fn stop(caller: Caller) -> String {
    caller.act("acme/7:stop", r#"{"parameters":{"mode":"hard"}}"#).await.word()
}

const SAME: (&str, &str) = ("", "");
const TITLE: (&str, &str) = ("title: ACME jobs", "title: Jobs of ACME");

#[tokio::test]
async fn calls_under_way_keep_their_configuration() {
    let (mut before, mut after) = (Vendor::start(false).await, Vendor::start(true).await);
    let mut gateway = start_gateway(&acme(&before, "k", SAME)).await;
    let caller = Caller::new(gateway.address());
    let call = tokio::spawn(stop(caller.clone()));
    before.has_seen(1).await;
    // Everything about it is different.
    let next = acme(
        &after,
        "l",
        (
            "status: 200, is: accepted, state: stopping",
            "status: 200, is: done, state: stopped",
        ),
    );
    assert_eq!(replace(&mut gateway, next), applied(&["acme"]));
    assert_eq!(stop(caller.clone()).await, "200 done");
    after.has_seen(1).await;
    before.open.send_replace(true);
    assert_eq!(call.await.unwrap(), "202 accepted");
    assert_eq!(before.seen(), (1, vec!["key k".to_owned()]));
    assert_eq!(after.seen(), (1, vec!["key l".to_owned()]));
    drop(caller);
    gateway.stop().await;
}

#[tokio::test]
async fn keys_of_operations_are_replaced_step_by_step() {
    let vendor = Vendor::start(true).await;
    let keys = |written: &[u8]| {
        let each: Vec<String> = written
            .iter()
            .map(|last| BASE64_STANDARD.encode([b"made-up-key-that-opens-nothing-", &[*last][..]].concat()))
            .collect();
        Arc::new(OperationKeys::parse(&SecretString::from(each.join(","))).unwrap())
    };
    let compiled = || acme(&vendor, "k", SAME);
    let limits = StackLimits {
        operations: Operations {
            keys: Some(keys(b"a")),
            ..Operations::default()
        },
        ..StackLimits::default()
    };
    let mut gateway = start_gateway_within(&compiled(), limits).await;
    let caller = Caller::new(gateway.address());
    let token = |keys: &OperationKeys| {
        let (accepted_at, expires_at) = Operation::times(Timestamp::now(), DEFAULT_LIFETIME);
        let operation = Operation {
            provider: "acme".to_owned(),
            id: "7".to_owned(),
            action: "stop".to_owned(),
            job: None,
            body: serde_json::json!({ "parameters": { "mode": "hard" } }).as_object().unwrap().clone(),
            vendor_status: 200,
            accepted_at,
            expires_at,
        };
        format!("/operations/{}", keys.seal("", operation.accepted(), accepted_at).unwrap())
    };
    let (old, new) = (token(&keys(b"a")), token(&keys(b"b")));
    for (step, reload, opens) in [
        (&b"a"[..], Reload::Unchanged, [true, false]),
        (b"ab", applied(&[]), [true, true]),
        (b"ab", Reload::Unchanged, [true, true]),
        (b"ba", applied(&[]), [true, true]),
        (b"b", applied(&[]), [false, true]),
    ] {
        gateway.rekey(keys(step));
        assert_eq!(replace(&mut gateway, compiled()), reload, "{step:?}");
        for (path, opens) in [(&old, opens[0]), (&new, opens[1])] {
            let word = if opens { "202 accepted" } else { "404 OPERATION_NOT_FOUND" };
            assert_eq!(caller.get(path).await.word(), word, "{step:?}");
        }
    }
    drop(caller);
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_called_as_before_is_kept() {
    let vendor = Vendor::start(true).await;
    let mut gateway = start_gateway(&acme(&vendor, "k", SAME)).await;
    let caller = Caller::new(gateway.address());
    let admin = Caller::new(gateway.admin_address().unwrap());
    let mut hashes = Vec::new();
    for (key, change, reload, connections) in [
        ("k", SAME, Reload::Unchanged, 1),
        ("k", TITLE, applied(&[]), 1),
        ("k", ("Stops a job", "Ends a job"), applied(&[]), 1),
        ("l", TITLE, applied(&["acme"]), 2),
        ("l", ("id: {", "limits: { timeout: 9s }\n    id: {"), applied(&["acme"]), 3),
        ("l", ("  acme:\n    title", "  coyote:\n    title"), applied(&["acme", "coyote"]), 3),
    ] {
        let next = acme(&vendor, key, change);
        let hash = next.hash.clone();
        assert_eq!(replace(&mut gateway, next), reload, "{change:?}");
        let told = stop(caller.clone()).await;
        assert_eq!(told == "202 accepted", !change.1.contains("coyote"), "{told}");
        assert_eq!(vendor.seen().0, connections, "{change:?}");
        let status = admin.get("/status").await.json();
        assert_eq!(
            (status["config"].as_str(), status["reload"]["result"].as_str()),
            (Some(hash.as_str()), Some(reload.as_str()))
        );
        hashes.push(hash);
    }
    assert_eq!(hashes[1], hashes[3], "a secret is not part of it");
    gateway.keep();
    assert_eq!(admin.get("/status").await.json()["reload"]["result"], "rejected");
    assert_eq!(admin.get("/readyz").await.text("/config"), hashes[5]);
    drop((caller, admin));
    gateway.stop().await;
}

#[tokio::test]
async fn limits_count_over_configurations() {
    let mut vendor = Vendor::start(false).await;
    let narrow = ("id: {", "limits: { in_flight: 1 }\n    id: {");
    let first = acme(&vendor, "k", narrow);
    let limits = StackLimits {
        in_flight: 2,
        ..StackLimits::default()
    };
    let mut gateway = start_gateway_within(&first, limits).await;
    let caller = Caller::new(gateway.address());
    let mut calls = vec![tokio::spawn(stop(caller.clone()))];
    vendor.has_seen(1).await;
    // The provider's own limit, where nothing of it has changed.
    let with_title = ROUTES.replace(narrow.0, narrow.1).replace(TITLE.0, TITLE.1);
    let next = acme(&vendor, "k", (ROUTES, &with_title));
    assert_eq!(replace(&mut gateway, next), applied(&[]));
    assert_eq!(stop(caller.clone()).await, "503 PROVIDER_BUSY");
    // That over all, whatever has changed.
    let next = acme(&vendor, "l", SAME);
    assert_eq!(replace(&mut gateway, next), applied(&["acme"]));
    calls.push(tokio::spawn(stop(caller.clone())));
    vendor.has_seen(2).await;
    assert_eq!(stop(caller.clone()).await, "503 OVERLOADED");
    vendor.open.send_replace(true);
    for call in calls {
        assert_eq!(call.await.unwrap(), "202 accepted");
    }
    drop(caller);
    gateway.stop().await;
}
