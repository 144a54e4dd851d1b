//! What a provider that hangs costs the others: `cargo bench --bench isolation`, a minute.
//!
//! One gateway on loopback, four providers that answer at once, and a fifth that is not called, that answers, or that hangs. Requests
//! are sent at fixed moments, whatever becomes of the earlier ones, and their time is counted from that moment. The phases take turns, and
//! of each figure the median over all turns is shown, so that what else the machine does falls on all of them or on none. What counts is
//! the ratio.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;
use taskgate::gateway::{GatewayOptions, RunningGateway};
use taskgate::server::ServerLimits;
use taskgate::stack::StackLimits;
use taskgate::telemetry::metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use provider::provider;
use times::at;

mod provider;
mod times;

/// Of one provider. Four times this is what a debug build does with ease.
const EVERY: Duration = Duration::from_millis(10);
const PHASE: Duration = Duration::from_secs(1);
/// Odd, so that there is a median.
const ROUNDS: usize = 13;

type Failure = Box<dyn Error + Send + Sync>;

/// What is done with the fifth provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fifth {
    Idle,
    Answers,
    Hangs,
    HangsUnguarded,
}

impl Fifth {
    const ALL: [Self; 4] = [Self::Idle, Self::Answers, Self::Hangs, Self::HangsUnguarded];

    /// Its name, and whom it calls.
    fn facts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Idle => ("is not called", None),
            Self::Answers => ("answers", Some("fifth")),
            Self::Hangs => ("hangs", Some("hanging")),
            Self::HangsUnguarded => ("hangs, `breaker: none`", Some("unguarded")),
        }
    }
}

#[derive(Default)]
struct Found {
    /// Of the four, in microseconds, by round.
    times: Vec<Vec<u64>>,
    /// Answers of the four that were not 200.
    bad: usize,
    /// What the fifth was told: status and how often.
    fifth: BTreeMap<u16, usize>,
    /// How long its refusals took, in microseconds.
    refused: Vec<u64>,
}

fn main() -> ExitCode {
    // Whoever lists or tests the targets does not ask for a measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let mut out = std::io::stdout().lock();
    let written = match runtime.block_on(measure()) {
        Ok(table) => writeln!(out, "{table}"),
        Err(error) => writeln!(out, "isolation: {error}"),
    };
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure() -> Result<String, Failure> {
    let mut vendors = JoinSet::new();
    let good = vendor(&mut vendors, true).await?;
    let hanging = vendor(&mut vendors, false).await?;
    let gateway = gateway(good, hanging).await?;
    let mut found: BTreeMap<Fifth, Found> = BTreeMap::new();
    // The first calls of a process are slower than any that follow.
    phase(gateway.address(), Fifth::Answers, Duration::from_millis(500), &mut Found::default()).await?;
    for _ in 0..ROUNDS {
        for fifth in Fifth::ALL {
            phase(gateway.address(), fifth, PHASE, found.entry(fifth).or_default()).await?;
        }
    }
    gateway.stop().await;
    Ok(table(&mut found))
}

/// Sends to all at fixed moments, and waits for the four.
async fn phase(gateway: SocketAddr, fifth: Fifth, length: Duration, found: &mut Found) -> Result<(), Failure> {
    let connections = Arc::new(Pool {
        gateway,
        idle: Mutex::default(),
    });
    let (mut calls, mut others) = (JoinSet::new(), JoinSet::new());
    let (start, mut next) = (Instant::now(), Instant::now());
    while next < start + length {
        sleep_until(next).await;
        for provider in ["one", "two", "three", "four"] {
            calls.spawn(call(Arc::clone(&connections), provider, next));
        }
        if let (_, Some(provider)) = fifth.facts() {
            others.spawn(call(Arc::clone(&connections), provider, next));
        }
        next += EVERY;
    }
    let mut times = Vec::new();
    while let Some(call) = calls.join_next().await {
        let (status, time) = call??;
        times.push(time);
        found.bad += usize::from(status != 200);
    }
    times.sort_unstable();
    found.times.push(times);
    while let Some(call) = others.join_next().await {
        let (status, time) = call??;
        *found.fifth.entry(status).or_default() += 1;
        if status == 503 {
            found.refused.push(time);
        }
    }
    Ok(())
}

/// Connections to the gateway, kept like a caller's.
struct Pool {
    gateway: SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
}

/// The status, and the microseconds since `due`.
async fn call(pool: Arc<Pool>, provider: &'static str, due: Instant) -> Result<(u16, u64), Failure> {
    let kept = pool.idle.lock().await.pop();
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(pool.gateway).await?,
    };
    stream.set_nodelay(true)?;
    let head = format!("POST /tasks/{provider}/1:stop HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let answer = message(&mut stream).await?.ok_or("the gateway closed the connection")?;
    let time = u64::try_from(due.elapsed().as_micros())?;
    let status = answer.get(9..12).ok_or("no status line")?.parse()?;
    pool.idle.lock().await.push(stream);
    Ok((status, time))
}

/// One message with its body; nothing where the other side has closed.
async fn message(stream: &mut TcpStream) -> Result<Option<String>, Failure> {
    let mut buffer = Vec::with_capacity(2048);
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if buffer.len() >= end + 4 + length.map_or(Ok(0), str::parse::<usize>)? {
                return Ok(Some(head));
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// A vendor on a free port that answers every request, or none.
async fn vendor(tasks: &mut JoinSet<()>, answers: bool) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, answers));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, answers: bool) {
    while let Ok(Some(_)) = message(&mut stream).await {
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"state\":\"end\"}";
        if answers && stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn gateway(good: SocketAddr, hanging: SocketAddr) -> Result<RunningGateway, Failure> {
    let mut routes = "version: 1\nproviders:\n".to_owned();
    for (name, address, limits) in [
        ("one", good, "{}"),
        ("two", good, "{}"),
        ("three", good, "{}"),
        ("four", good, "{}"),
        ("fifth", good, "{}"),
        ("hanging", hanging, "{ timeout: 200ms }"),
        ("unguarded", hanging, "{ timeout: 200ms, breaker: none }"),
    ] {
        routes.push_str(&provider(name, address, limits));
    }
    let sources = Sources::memory([
        ("routes.yaml", routes.as_str()),
        ("schemas/stop.json", r#"{ "type": "object", "additionalProperties": false }"#),
        (
            "schemas/page.json",
            r#"{ "type": "object", "properties": { "state": { "type": "string" } } }"#,
        ),
    ]);
    let compiled = compile(&sources, "routes.yaml", &Environment::default()).map_err(|rejected| rejected.faults.render(&rejected.files))?;
    let options = GatewayOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        admin_listen: None,
        stack: StackLimits::default(),
        server: ServerLimits::default(),
        drain: Duration::from_secs(1),
        config_hash: compiled.hash.clone(),
    };
    Ok(RunningGateway::start(compiled.table, options, metrics::install()?).await?)
}

fn table(found: &mut BTreeMap<Fifth, Found>) -> String {
    let mut text = format!(
        "four providers, one call each every {} ms, {ROUNDS} rounds of {} s; times in ms, the median over the rounds\n\n\
         | the fifth | calls to the four | not 200 | p50 | p90 | p99 | p99 of the best round | the fifth was told | its 503s took, p50 | p99 |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        EVERY.as_millis(),
        PHASE.as_secs(),
    );
    let mut p99 = BTreeMap::new();
    for (fifth, found) in found {
        found.refused.sort_unstable();
        let rounds = |share: f64| {
            let mut rounds: Vec<f64> = found.times.iter().map(|times| at(times, share)).collect();
            rounds.sort_unstable_by(f64::total_cmp);
            rounds
        };
        let over_rounds = |share: f64| rounds(share).get(found.times.len() / 2).copied().unwrap_or(f64::NAN);
        let best = rounds(0.99).first().copied().unwrap_or(f64::NAN);
        p99.insert(*fifth, (over_rounds(0.99), best));
        let told: Vec<String> = found.fifth.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        text.push_str(&format!(
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {:.2} |\n",
            fifth.facts().0,
            found.times.iter().map(Vec::len).sum::<usize>(),
            found.bad,
            over_rounds(0.5),
            over_rounds(0.9),
            over_rounds(0.99),
            best,
            told.join(", "),
            at(&found.refused, 0.5),
            at(&found.refused, 0.99),
        ));
    }
    let ratio = |without: Fifth| {
        let (with, without) = (p99.get(&Fifth::Hangs)?, p99.get(&without)?);
        Some(format!("{:.2} (best rounds {:.2})", with.0 / without.0, with.1 / without.1))
    };
    text.push_str(&format!(
        "\np99 of the four with the hanging one / while it is not called: {}; / while it answers: {}\n",
        ratio(Fifth::Idle).unwrap_or_default(),
        ratio(Fifth::Answers).unwrap_or_default(),
    ));
    text
}
