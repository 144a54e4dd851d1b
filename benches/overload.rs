//! What becomes of the calls that are served when many more come: `cargo bench --bench overload`, two minutes.
//!
//! The gateway is a process of its own; vendor and callers are in this one, all on loopback. Of each scene the most that callers who wait
//! for their answers get is found, the peak; then calls come at fixed moments, whatever becomes of the earlier ones: as many as the peak,
//! three times, ten times, and as many again. What counts is the ratio to the peak of the same run, not the figures.
//!
//! **Shape**: `cargo bench --bench overload -- [part of a scene's name] [--under "prlimit --data=268435456"]`; the program behind `--under`
//! starts the gateway in its place.

use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use gateway::Gateway;
use times::at;

#[path = "overload/gateway.rs"]
mod gateway;
mod provider;
mod times;

/// Of each rate.
const STEP: Duration = Duration::from_secs(5);
/// Of each number of callers on the way to the peak.
const RAMP: Duration = Duration::from_millis(1500);
/// An answer that comes later, counted from the moment its call was due, is of no use.
const DEADLINE: Duration = Duration::from_secs(1);
/// Of all callers. Fewer than the gateway takes: what is measured is the refusal of calls, not of connections.
const CONNECTIONS: usize = 256;
/// A call that finds no connection for so long is not sent: its caller has no room either.
const PATIENCE: Duration = Duration::from_millis(50);
/// What is looked at to see when calls are served again.
const WINDOW: Duration = Duration::from_millis(500);
/// Where the next window begins.
const SLICE: Duration = Duration::from_millis(100);

type Failure = Box<dyn Error + Send + Sync>;

/// What sets the limit.
struct Scene {
    name: &'static str,
    flags: &'static [&'static str],
    limits: &'static str,
    /// How long the vendor takes.
    vendor: Duration,
    /// How large its answer is, in bytes: to be read, checked against a schema and dropped.
    page: usize,
    /// Callers on the way to the peak.
    ramp: &'static [usize],
}

const SCENES: [Scene; 5] = [
    Scene {
        name: "places of the gateway: 8, vendor 20 ms",
        flags: &["--max-in-flight", "8"],
        limits: "{ in_flight: 64 }",
        vendor: Duration::from_millis(20),
        page: SMALL,
        ramp: &[4, 8, 12],
    },
    Scene {
        name: "places of a provider: 8 and a queue of 8, vendor 20 ms",
        flags: &[],
        limits: "{ in_flight: 8, queue: { length: 8 } }",
        vendor: Duration::from_millis(20),
        page: SMALL,
        ramp: &[8, 12, 16],
    },
    Scene {
        name: "processor: places of a provider as by default, vendor at once",
        flags: &[],
        limits: "{}",
        vendor: Duration::ZERO,
        page: SMALL,
        ramp: &[4, 16, 32],
    },
    Scene {
        name: "processor: 32 places of the gateway, vendor at once",
        flags: &["--max-in-flight", "32"],
        limits: "{ in_flight: 32 }",
        vendor: Duration::ZERO,
        page: SMALL,
        ramp: &[4, 16, 32],
    },
    // The only one in which callers cost so much less than calls that ten times as many as can be served come in truth.
    Scene {
        name: "processor: answers of 256 KiB, vendor at once",
        flags: &[],
        limits: "{}",
        vendor: Duration::ZERO,
        page: 256 * 1024,
        ramp: &[2, 4, 8],
    },
];

/// An answer in bytes, where its size is of no matter.
const SMALL: usize = 15;

/// The rates, in peaks.
const STEPS: [(&str, u32); 4] = [("1x", 1), ("3x", 3), ("10x", 10), ("1x again", 1)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Whoever lists or tests the targets does not ask for a measurement.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let mut given = arguments.iter().filter(|argument| *argument != "--bench").map(String::as_str);
    let (mut part, mut under) = ("", "");
    while let Some(argument) = given.next() {
        match argument {
            "--under" => under = given.next().unwrap_or_default(),
            name => part = name,
        }
    }
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let mut out = std::io::stdout().lock();
    let written = SCENES.iter().filter(|scene| scene.name.contains(part)).try_for_each(|scene| {
        let text = match runtime.block_on(measure(scene, under)) {
            Ok(text) => text,
            Err(error) => format!("{}: {error}", scene.name),
        };
        writeln!(out, "{text}")
    });
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What became of the calls of one step.
#[derive(Default)]
struct Found {
    /// In microseconds from the moment they were due, which is in milliseconds from the start of the step.
    good: Vec<(u64, u64)>,
    /// Good ones that came too late.
    late: usize,
    /// 503 with `Retry-After`, in microseconds from when they were sent.
    shed: Vec<u64>,
    /// Other answers.
    other: usize,
    /// Connections that ended without one.
    unanswered: usize,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.good.extend(other.good);
        self.late += other.late;
        self.shed.extend(other.shed);
        self.other += other.other;
        self.unanswered += other.unanswered;
    }

    /// One call: when it was due, how long its caller waited since then, and since it was sent.
    fn told(&mut self, answer: Option<Answer>, due: Duration, waited: Duration, took: Duration) {
        match answer {
            None => self.unanswered += 1,
            Some(answer) if (200..300).contains(&answer.status) && waited <= DEADLINE => {
                self.good.push((micros(waited), micros(due) / 1000));
            }
            Some(answer) if (200..300).contains(&answer.status) => self.late += 1,
            Some(answer) if answer.status == 503 && answer.retry_after => self.shed.push(micros(took)),
            Some(_) => self.other += 1,
        }
    }

    fn sent(&self) -> usize {
        self.good.len() + self.late + self.shed.len() + self.other + self.unanswered
    }
}

async fn measure(scene: &Scene, under: &str) -> Result<String, Failure> {
    let mut tasks = JoinSet::new();
    let vendor = vendor(&mut tasks, scene).await?;
    let mut gateway = Gateway::start(scene, under, vendor).await?;
    // The first calls of a process are slower than any that follow.
    closed(gateway.address, 4, Duration::from_millis(500)).await?;
    let mut peak = 0.0_f64;
    for &callers in scene.ramp {
        peak = peak.max(per_second(closed(gateway.address, callers, RAMP).await?.good.len(), RAMP));
    }
    let quiet = gateway.resident()?;
    let mut text = format!(
        "{}\npeak {peak:.0}/s, then {} kB\n\n\
         | offered | sent | good | of the peak | late | good p50 | p99 | 503 | p50 | p99 | other | no answer | RSS kB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        scene.name, quiet
    );
    let mut before = None;
    let mut back = None;
    for (name, times) in STEPS {
        let mut found = open(gateway.address, peak * f64::from(times)).await?;
        let good = per_second(found.good.len(), STEP);
        match before {
            None => before = Some(good),
            Some(before) if times == 1 => back = back_at(&found.good, before * 0.9),
            Some(_) => {}
        }
        let mut times: Vec<u64> = found.good.iter().map(|(time, _)| *time).collect();
        times.sort_unstable();
        found.shed.sort_unstable();
        text.push_str(&format!(
            "| {name} | {:.0}/s | {good:.0}/s | {:.2} | {} | {:.1} | {:.1} | {:.0}/s | {:.2} | {:.2} | {} | {} | {} |\n",
            per_second(found.sent(), STEP),
            good / peak,
            found.late,
            at(&times, 0.5),
            at(&times, 0.99),
            per_second(found.shed.len(), STEP),
            at(&found.shed, 0.5),
            at(&found.shed, 0.99),
            found.other,
            found.unanswered,
            gateway.resident()?,
        ));
    }
    let back = back.map_or("not".to_owned(), |back| format!("{:.1} s", back.as_secs_f64()));
    text.push_str(&format!(
        "\nback at 90 % of the first step after: {back}; {}\n",
        gateway.log_lines().await?
    ));
    gateway.process.kill().await?;
    Ok(text)
}

/// When the first window begins in which so many calls a second were served.
fn back_at(good: &[(u64, u64)], rate: f64) -> Option<Duration> {
    let slices = STEP.as_millis() / SLICE.as_millis() - WINDOW.as_millis() / SLICE.as_millis();
    (0..=u32::try_from(slices).ok()?).map(|slice| SLICE * slice).find(|from| {
        let window = from.as_millis()..(*from + WINDOW).as_millis();
        let served = good.iter().filter(|(_, due)| window.contains(&u128::from(*due))).count();
        per_second(served, WINDOW) >= rate
    })
}

/// Callers that call again when they have their answer.
async fn closed(gateway: SocketAddr, callers: usize, length: Duration) -> Result<Found, Failure> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(async move {
            let (mut caller, mut found) = (Caller::new(gateway), Found::default());
            while start.elapsed() < length {
                let sent = Instant::now();
                let answer = caller.call().await?;
                let is_shed = answer.is_some_and(|answer| answer.status == 503);
                found.told(answer, sent - start, sent.elapsed(), sent.elapsed());
                if is_shed {
                    // Who comes back at once takes the time of the others.
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Ok::<Found, Failure>(found)
        });
    }
    all(tasks).await
}

/// Calls that are due at fixed moments, whatever becomes of the earlier ones.
async fn open(gateway: SocketAddr, rate: f64) -> Result<Found, Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let every = Duration::from_secs_f64(1.0 / rate);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            let (mut caller, mut found) = (Caller::new(gateway), Found::default());
            loop {
                let due = every * next.fetch_add(1, Ordering::Relaxed);
                if due >= STEP || start.elapsed() >= STEP {
                    return Ok::<Found, Failure>(found);
                }
                if start.elapsed() > due + PATIENCE {
                    continue;
                }
                sleep_until(start + due).await;
                let sent = Instant::now();
                let answer = caller.call().await?;
                found.told(answer, due, (start + due).elapsed(), sent.elapsed());
            }
        });
    }
    all(tasks).await
}

async fn all(mut tasks: JoinSet<Result<Found, Failure>>) -> Result<Found, Failure> {
    let mut found = Found::default();
    while let Some(part) = tasks.join_next().await {
        found.add(part??);
    }
    Ok(found)
}

/// One connection to the gateway, made anew where the last answer ended it.
struct Caller {
    gateway: SocketAddr,
    stream: Option<TcpStream>,
}

#[derive(Clone, Copy)]
struct Answer {
    status: u16,
    retry_after: bool,
}

impl Caller {
    fn new(gateway: SocketAddr) -> Self {
        Self { gateway, stream: None }
    }

    /// Nothing where the connection ends without an answer.
    async fn call(&mut self) -> Result<Option<Answer>, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.gateway).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        if stream.write_all(REQUEST.as_bytes()).await.is_err() {
            return Ok(None);
        }
        let Ok(Some(head)) = message(&mut stream, &mut Vec::with_capacity(2048)).await else {
            return Ok(None);
        };
        let answer = Answer {
            status: head.get(9..12).ok_or("no status line")?.parse()?,
            retry_after: head.contains("\r\nretry-after: "),
        };
        if !head.contains("\r\nconnection: close") {
            self.stream = Some(stream);
        }
        Ok(Some(answer))
    }
}

/// The head of one message, once its body has come as well; nothing where the other side has closed.
async fn message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<String>, Failure> {
    buffer.clear();
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if buffer.len() >= end + 4 + length.map_or(Ok(0), str::parse::<usize>)? {
                return Ok(Some(head));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The vendor of a scene on a free port.
async fn vendor(tasks: &mut JoinSet<()>, scene: &Scene) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let takes = scene.vendor;
    let records = scene.page.saturating_sub(SMALL) / RECORD.len();
    let page = match records {
        0 => r#"{"state":"end"}"#.to_owned(),
        _ => format!(r#"{{"state":"end","records":[{}0]}}"#, RECORD.repeat(records)),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        page.len()
    );
    let answer: Arc<str> = format!("{head}{page}").into();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            connections.spawn(async move {
                let mut buffer = Vec::with_capacity(2048);
                while let Ok(Some(_)) = message(&mut stream, &mut buffer).await {
                    if !takes.is_zero() {
                        sleep(takes).await;
                    }
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand calls")]
fn per_second(calls: usize, length: Duration) -> f64 {
    calls as f64 / length.as_secs_f64()
}

/// One of many in a large answer.
const RECORD: &str = r#"{"id":"1dcddab3-7d79-4a56-9e67-4aa0962b98ad","name":"capture","status":2,"size":1048576},"#;
/// As everyday calls are: with a short body.
const REQUEST: &str = concat!(
    "POST /tasks/busy/1:stop HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: 24\r\n\r\n",
    r#"{"reason":"INC-1234567"}"#
);
