//! Three instances of the built program behind HAProxy, under load: restarted one after the other, and killed.
//!
//! **Shape**: [`Fleet`] is the vendors, three instances and HAProxy under the configuration of docs/fleet.md.
//!
//! **Invariants**: nothing outlives its test, and nothing waits for a time: HAProxy says when a server is up or down.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say so where it stands; that holds for what tests share as well"
)]

#[path = "../it/answers.rs"]
#[expect(dead_code, reason = "other tests look closer")]
mod answers;
mod balancer;
mod load;
#[path = "../overheard/mod.rs"]
mod overheard;
#[path = "../it/program.rs"]
#[expect(dead_code, reason = "other tests look closer")]
mod program;
mod yard;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::simulate::{DBSS_INSTANCE, SimulatorOptions, Simulators};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use balancer::{Balancer, documented};
use load::{CALLERS, Call, Caller, Load};
use program::{Folder, Running};
use yard::{HELD, Yard};

/// Vendors, instances and the balancer. The fields are dropped in this order.
struct Fleet {
    balancer: Balancer,
    instances: Vec<Instance>,
    front: SocketAddr,
    folder: Folder,
    environment: BTreeMap<String, String>,
    simulators: Simulators,
    yard: Yard,
}

/// One instance.
struct Instance {
    running: Running,
    /// What the yard knows it by.
    key: String,
    callers: SocketAddr,
    admin: SocketAddr,
}

#[tokio::test]
async fn a_rolling_restart_under_load_fails_no_call() {
    overheard::listen();
    // HAProxy sends nothing a second time, so that it hides nothing.
    let mut fleet = Fleet::start(&[("retries 2", "retries 0")]).await;
    let mut load = Load::start(fleet.front);
    load.reaches(ENOUGH).await;
    for (place, name) in NAMES.into_iter().enumerate() {
        let before = load.count();
        let held = fleet.held_by(place, 1, HELD * (place as u64 + 1)).await;

        fleet.instances[place].running.signal("TERM");
        fleet.balancer.says(name, "DOWN", 1).await;
        assert_eq!(fleet.readiness(place).await.0, 503);
        // While it leaves it takes new connections, and closes idle ones when the door is shut.
        let mut idle = TcpStream::connect(fleet.instances[place].callers).await.unwrap();
        assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
        // The calls under way outlive the door.
        fleet.yard.release(HELD * (place as u64 + 2));
        for call in held.calls.join_all().await {
            assert_eq!(call.answer, Ok("202 accepted".to_owned()), "{call:?}");
        }
        let (callers, admin) = fleet.end(place, Some(0)).await;
        load.reaches(before + ENOUGH).await;

        let key = format!("{name}, the second");
        let instance = fleet.instance(&key, callers, admin).await;
        fleet.instances.insert(place, instance);
        fleet.balancer.says(name, "UP", 1).await;
        fleet.yard.asked_by(&key).await;
        let hashes = [fleet.readiness(0).await, fleet.readiness(1).await, fleet.readiness(2).await];
        assert!(hashes.iter().all(|hash| *hash == hashes[0] && hash.0 == 200), "{hashes:?}");
        let now = load.count();
        load.reaches(now + ENOUGH).await;
    }
    let calls = load.end().await;
    let failed: Vec<&Call> = calls.iter().filter(|call| !call.is_answered()).collect();
    assert!(
        failed.is_empty(),
        "{} of {} failed, the first {:?}",
        failed.len(),
        calls.len(),
        failed[0]
    );
    let looks = calls
        .iter()
        .filter(|call| call.task.starts_with("yard/") && call.stops.is_none())
        .count();
    assert_eq!(fleet.yard.looks(), looks as u64);
    fleet.check_effects(&calls);
    fleet.stop().await;
}

#[tokio::test]
async fn a_kill_breaks_the_calls_under_way_in_it_and_no_others() {
    overheard::listen();
    let mut fleet = Fleet::start(&[]).await;
    let mut load = Load::start(fleet.front);
    load.reaches(ENOUGH).await;
    let held = fleet.held_by(VICTIM, 2, HELD).await;
    fleet.instances[VICTIM].running.signal("KILL");
    let key = fleet.instances[VICTIM].key.clone();
    let (callers, admin) = fleet.end(VICTIM, None).await;
    // The others serve on, before HAProxy has noticed and afterwards.
    let now = load.count();
    load.reaches(now + ENOUGH).await;
    fleet.balancer.says(NAMES[VICTIM], "DOWN", 1).await;
    fleet.yard.release(HELD * 2);
    for call in held.calls.join_all().await {
        let by = &held.by[&call.stops.unwrap()];
        assert_eq!(call.is_answered(), *by != key, "{by}: {call:?}");
    }

    let second = format!("{key}, the second");
    let instance = fleet.instance(&second, callers, admin).await;
    fleet.instances.insert(VICTIM, instance);
    fleet.balancer.says(NAMES[VICTIM], "UP", 1).await;
    fleet.yard.asked_by(&second).await;
    let now = load.count();
    load.reaches(now + ENOUGH).await;

    let calls = load.end().await;
    let broken: Vec<&Call> = calls.iter().filter(|call| !call.is_answered()).collect();
    assert!(broken.len() <= CALLERS, "{} of {} broke: {broken:?}", broken.len(), calls.len());
    let stops = fleet.yard.stops();
    for call in broken {
        assert!(call.answer.is_err(), "taskgate refused: {call:?}");
        let by = call.stops.and_then(|job| stops.get(&job));
        assert!(by.is_none_or(|by| by[0] == key), "{by:?}: {call:?}");
    }
    fleet.check_effects(&calls);
    fleet.stop().await;
}

/// Calls that the yard does not answer yet.
struct HeldCalls {
    calls: JoinSet<Call>,
    /// Which instance asked for each.
    by: BTreeMap<u64, String>,
}

impl Fleet {
    /// All of it, up; the configuration of HAProxy has these changes.
    async fn start(changes: &[(&str, &str)]) -> Self {
        let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
        let yard = Yard::open().await;
        let mut environment = simulators.environment();
        environment.insert("YARD_ENDPOINT".to_owned(), format!("http://{}", yard.address));
        let folder = Folder::new();
        let shipped = shipped::sources();
        for path in shipped.list("schemas") {
            folder.write(&path, &shipped.read(&path).unwrap());
        }
        folder.write(
            "schemas/yard/request.json",
            r#"{ "type": "object", "additionalProperties": false }"#,
        );
        folder.write("schemas/yard/reply.json", YARD_REPLY);
        let mut routes = shipped.read(ROUTES_FILE).unwrap();
        for (block, entry) in YARD {
            assert!(routes.contains(block));
            routes = routes.replacen(block, &format!("{block}{entry}"), 1);
        }
        folder.write("routes.yaml", &routes);

        let host = own_host();
        let mut instances = Vec::new();
        let any = SocketAddr::from((host, 0));
        for name in NAMES {
            instances.push(start_instance(&folder, &environment, name, any, any).await);
        }
        let front = TcpListener::bind(any).unwrap().local_addr().unwrap();
        let servers: Vec<String> = instances
            .iter()
            .map(|instance| format!("{} check port {}", instance.callers, instance.admin.port()))
            .collect();
        let bind = format!("bind {front}\n");
        let common = [
            ("bind :8080\n", bind.as_str()),
            ("inter 2s", "inter 200ms"),
            ("10.0.0.11:8080 check port 9090", &servers[0]),
            ("10.0.0.12:8080 check port 9090", &servers[1]),
            ("10.0.0.13:8080 check port 9090", &servers[2]),
        ];
        let configuration = documented(&[&common, changes].concat());
        let balancer = Balancer::start(&folder, &configuration, front).await;
        Self {
            balancer,
            instances,
            front,
            folder,
            environment,
            simulators,
            yard,
        }
    }

    async fn instance(&self, key: &str, callers: SocketAddr, admin: SocketAddr) -> Instance {
        start_instance(&self.folder, &self.environment, key, callers, admin).await
    }

    /// Waits for the end of an instance; says where it was.
    async fn end(&mut self, place: usize, code: Option<i32>) -> (SocketAddr, SocketAddr) {
        let instance = self.instances.remove(place);
        let ended = instance.running.end().await;
        assert_eq!(ended.code, code, "{ended:?}");
        (instance.callers, instance.admin)
    }

    /// Status and hash of the configuration.
    async fn readiness(&self, place: usize) -> (u16, String) {
        let told = Caller::new(self.instances[place].admin).send(Method::GET, "/readyz").await.unwrap();
        (told.status, told.text("/config"))
    }

    /// Calls from this job on, until so many are under way in the instance.
    async fn held_by(&self, place: usize, count: usize, first: u64) -> HeldCalls {
        let (mut calls, mut by) = (JoinSet::new(), BTreeMap::new());
        let key = &self.instances[place].key;
        for job in first.. {
            let caller = Caller::new(self.front);
            calls.spawn(async move { caller.call(format!("yard/{job}:stop")).await });
            by.insert(job, self.yard.asked_for(job).await);
            if by.values().filter(|by| *by == key).count() == count {
                break;
            }
        }
        HeldCalls { calls, by }
    }

    /// Whatever was said to be done was done, once; whatever broke, at most once.
    #[track_caller]
    fn check_effects(&self, calls: &[Call]) {
        let stops = self.yard.stops();
        for (job, by) in &stops {
            assert_eq!(by.len(), 1, "job {job} was stopped by {by:?}");
        }
        for call in calls {
            if let Some(job) = call.stops {
                assert!(stops.contains_key(&job) || !call.is_answered(), "nobody was asked for {call:?}");
            }
        }
        let asked = calls
            .iter()
            .filter_map(|call| call.stops)
            .filter(|job| stops.contains_key(job))
            .count();
        assert_eq!(asked, stops.range(..HELD).count(), "every stop was asked for");
        assert_eq!(self.simulators.effects("dbss", DBSS_INSTANCE), Ok(1));
    }

    /// Ends all of it.
    async fn stop(self) {
        self.balancer.end().await;
        for instance in self.instances {
            instance.running.signal("INT");
            assert_eq!(instance.running.end().await.code, Some(0));
        }
        self.simulators.shutdown().await;
    }
}

impl Call {
    /// Whether it was told what a fleet without trouble tells.
    fn is_answered(&self) -> bool {
        matches!(self.answer.as_deref(), Ok("200 done" | "202 accepted"))
    }
}

/// An instance at these addresses; returns when it listens.
async fn start_instance(
    folder: &Folder,
    environment: &BTreeMap<String, String>,
    key: &str,
    callers: SocketAddr,
    admin: SocketAddr,
) -> Instance {
    let (callers, admin, routes) = (callers.to_string(), admin.to_string(), folder.path("routes.yaml"));
    let arguments = ["serve", "--listen", &callers, "--admin-listen", &admin, "--routes", &routes];
    let more = ["--drain-delay", DRAIN_DELAY, "--watch", "off", "--log", "warn"];
    let environment = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment: Vec<_> = environment.chain([("YARD_KEY", key)]).collect();
    let mut running = Running::start(&[&arguments[..], &more].concat(), &environment);
    Instance {
        callers: running.address("listening on ").await,
        admin: running.address("admin on ").await,
        key: key.to_owned(),
        running,
    }
}

/// An address of loopback for this process alone: while an instance is away, nothing else of this machine takes its ports.
fn own_host() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 2 + COUNT.fetch_add(1, Ordering::Relaxed) % 2;
    Ipv4Addr::from_bits(u32::from_be_bytes([127, 128, 0, 0]) | (number & 0x7f_ffff))
}

/// The servers in docs/fleet.md.
const NAMES: [&str; 3] = ["one", "two", "three"];
const VICTIM: usize = 1;
/// Calls between two things that happen.
const ENOUGH: u64 = 100;
/// Five times what HAProxy needs to see three checks fail, as the machine may be busy.
const DRAIN_DELAY: &str = "3s";

/// What is added to the shipped routes, by the line that it follows.
const YARD: [(&str, &str); 2] = [
    (
        "\ncredentials:\n",
        "  yard: { scheme: header, header: X-Yard-Key, value: \"${env.YARD_KEY}\" }\n",
    ),
    (
        "\nproviders:\n",
        r#"  yard:
    title: Yard jobs
    endpoint: ${env.YARD_ENDPOINT}
    credentials: yard
    id: { type: string, pattern: "^[0-9]+$" }
    limits: { in_flight: 64, breaker: none }
    task:
      schema: schemas/yard/request.json
      request: { method: GET, path: "/jobs/${id}" }
      reply: { schema: schemas/yard/reply.json }
      item: ${body}
      state: { map: "${item.state}", to: { run: running, end: stopped }, else: unknown }
    actions:
      stop:
        title: Stops a job
        schema: schemas/yard/request.json
        request: { method: POST, path: "/jobs/${id}/stop" }
        reply: { schema: schemas/yard/reply.json, outcome: [{ status: 200, is: accepted, state: stopping }] }
        settles: { done: [stopped] }
"#,
    ),
];
const YARD_REPLY: &str = r#"{ "type": "object", "required": ["state"], "properties": { "state": { "enum": ["run", "end"] } } }"#;
