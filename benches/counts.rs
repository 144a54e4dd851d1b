//! Instructions of every stage of a request, of the translation alone and of the whole stack, under callgrind: `scripts/counts`.
//!
//! Time on a shared machine differs by a fifth from run to run; instructions by less than two hundredths of a hundredth, so that a change
//! that costs more than it should is found by the change itself. Inputs are the shipped cases, as those of the other benches.
//!
//! **Shape**: this program starts itself under valgrind, which writes one part per call of [`counted`]; the parts, in order, are the
//! names that the inner program printed. Compared with `benches/counts.tsv`: with `--check` more than 3 % above it fails.
//!
//! **Invariants**: what is counted is one thread, and neither chance nor an address decides what it does, as far as this program can say
//! so; what is left are the seeds of hash tables and whether the thread of the log sleeps.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench without its input has nothing to say, and this one speaks to people"
)]

mod feed;
#[path = "counts/table.rs"]
mod table;
mod vendor;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::Map;
use taskgate::codec::{Limits, json, xml};
use taskgate::mapping::reply::ReplyBody;
use taskgate::mapping::request::BodyTemplate;
use taskgate::mapping::validate::{validate, validate_taking};
use taskgate::model::call::TaskCall;
use taskgate::operation::OperationKeys;
use taskgate::path;
use taskgate::route::IDS;
use taskgate::stack::{self, Gateway, StackLimits};
use taskgate::telemetry::{log, metrics};
use tower::ServiceExt as _;

use crate::feed::Fed;
use crate::table::{Counts, Table};

// As the program that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The actions of which every stage is counted: one in JSON, one in XML. Of the others what is whole.
const BY_STAGE: [&str; 2] = ["cfw/stop/ok", "prime/stop/ok"];
/// An answer in the words of the vendor, which conditions have to judge.
const REFUSED: [&str; 2] = ["cfw/stop/vendor_error", "prime/stop/vendor_error"];
/// Tells the program that it is the one that is counted, and what of it.
const INNER: &str = "TASKGATE_COUNTED";
/// Runs that are counted; one buffer that grows in one of them is shared by all.
const TIMES: usize = 8;
/// Runs before them.
const WARM: usize = 3;

fn main() -> ExitCode {
    if let Some(wanted) = std::env::var_os(INNER) {
        run(&Counter {
            wanted: wanted.into_string().unwrap(),
        });
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Whoever lists or tests the targets does not ask for a measurement.
    if !words.iter().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    let said = |flag: &str| words.iter().any(|word| word == flag);
    let wanted = words.iter().find(|word| !word.starts_with("--")).cloned().unwrap_or_default();
    let done = if said("--profile") {
        profiled(&wanted)
    } else {
        measured(&wanted).map(|counts| shown(counts, &wanted, said("--update"), said("--check")))
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// Shows what was counted beside the baseline, and writes it or fails where that is asked for.
fn shown(counts: Counts, wanted: &str, update: bool, check: bool) -> ExitCode {
    let found = Table {
        toolchain: format!("{}, {}", said_by("rustc"), said_by("ldd")),
        counts,
    };
    let baseline = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.tsv"));
    let known = fs::read_to_string(baseline).map(|text| Table::read(&text)).unwrap_or_default();
    let (text, faults) = found.beside(&known, wanted.is_empty());
    println!("{text}");
    if update {
        fs::write(baseline, found.over(known, wanted).written()).unwrap();
        return ExitCode::SUCCESS;
    }
    if check && !faults.is_empty() {
        println!("{}\n", faults.join("\n"));
        println!("Where this is meant, `scripts/counts --update` writes the baseline anew, and the commit says why.");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// All that is counted, in order.
fn run(counter: &Counter) {
    let cases = feed::cases(feed::OK_AND_ERROR);
    for fed in &cases {
        if BY_STAGE.contains(&fed.name.as_str()) {
            out(counter, fed);
            back(counter, fed);
        }
    }
    let chosen = |fed: &&Fed| feed::OK.contains(&fed.case.name.as_str()) || REFUSED.contains(&fed.name.as_str());
    for fed in cases.iter().filter(|fed| feed::OK.contains(&fed.case.name.as_str())) {
        translation(counter, fed);
    }
    for fed in cases.iter().filter(chosen) {
        whole(counter, fed, "stack");
    }
    // From here on as it is shipped; the lines go where standard error goes.
    let _metrics = metrics::install().unwrap();
    let _log = log::install(log::Format::Json, "info").unwrap();
    for fed in cases.iter().filter(chosen) {
        whole(counter, fed, "stack, log and metrics");
    }
}

/// The stages to the vendor, each by itself.
fn out(counter: &Counter, fed: &Fed) {
    let name = |stage: &str| format!("{} {stage}", fed.name);
    let text = format!("/tasks/{}/{}:{}", fed.call.provider, fed.call.id, fed.case.action);
    counter.count(&name("path"), || path::parse(black_box(&text)));
    if let Some(body) = &fed.case.content.call.body {
        let bytes = body.to_string();
        counter.count(&name("json read"), || json::decode(black_box(bytes.as_bytes()), &Limits::REQUEST));
    }
    counter.count(&name("validate"), || {
        validate(black_box(&fed.call), &fed.provider, &fed.route, feed::UUID)
    });
    // What takes lists renders one of one.
    let ids = serde_json::Value::Array(vec![fed.values.id.clone()]);
    let bindings = fed.values.bindings().with(IDS, &ids);
    counter.count(&name("render"), || fed.route.render(black_box(&fed.values)));
    match &fed.route.request.body {
        // Written while it is rendered.
        BodyTemplate::Json(_) => {}
        BodyTemplate::Xml(template) => {
            let tree = template.render(&bindings).unwrap();
            tree.inspect(|tree| counter.count(&name("xml write"), || xml::encode(black_box(tree))));
        }
        _ => {}
    }
}

/// The stages from the vendor, each by itself.
fn back(counter: &Counter, fed: &Fed) {
    let name = |stage: &str| format!("{} {stage}", fed.name);
    let reply = &fed.exchange.reply;
    match &fed.route.reply.body {
        ReplyBody::Json => counter.count(&name("json read reply"), || json::decode(black_box(&reply.body), &Limits::REPLY)),
        ReplyBody::Xml(shape) => counter.count(&name("xml read reply"), || {
            xml::decode(black_box(&reply.body), shape, &Limits::REPLY)
        }),
        ReplyBody::Empty => {}
    }
    counter.count(&name("normalize"), || {
        fed.route.reply.normalize(&fed.values, &fed.call.id, black_box(reply))
    });
    let answer = fed.route.reply.normalize(&fed.values, &fed.call.id, reply).result;
    if let Ok(answer) = answer {
        let action = Some(fed.case.action.as_str());
        counter.count(&name("answer"), || {
            black_box(&answer).to_document(&fed.call.provider, &fed.call.id, action, feed::UUID)
        });
    }
}

/// The translation alone, from bytes to bytes both ways.
fn translation(counter: &Counter, fed: &Fed) {
    let text = format!("/tasks/{}/{}:{}", fed.call.provider, fed.call.id, fed.case.action);
    let bytes = fed.case.content.call.body.as_ref().map(ToString::to_string);
    let action = Some(fed.case.action.as_str());
    counter.count(&format!("{} translation", fed.name), || {
        black_box(path::parse(black_box(&text)).is_ok());
        let body = bytes
            .as_deref()
            .map(|bytes| json::decode(black_box(bytes.as_bytes()), &Limits::REQUEST).unwrap());
        let body = match body {
            Some(serde_json::Value::Object(members)) => members,
            _ => Map::new(),
        };
        let mut call = TaskCall {
            provider: fed.call.provider.clone(),
            id: fed.call.id.clone(),
            action: fed.call.action.clone(),
            body,
            ..TaskCall::default()
        };
        let values = validate_taking(&mut call, &fed.provider, &fed.route, feed::UUID).unwrap();
        black_box(fed.route.render(&values).unwrap());
        let reading = fed.route.reply.normalize(&values, &call.id, black_box(&fed.exchange.reply));
        reading
            .result
            .map(|answer| answer.to_document(&call.provider, &call.id, action, feed::UUID))
    });
}

/// The whole stack around it, over a vendor inside the process.
fn whole(counter: &Counter, fed: &Fed, what: &str) {
    let name = format!("{} {what}", fed.name);
    if !name.contains(&counter.wanted) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut limits = StackLimits::default();
    // As in a process: what is accepted is named.
    limits.operations.keys = Some(Arc::new(OperationKeys::random().unwrap()));
    let gateway: Gateway<Full<Bytes>> = stack::build(Arc::clone(&fed.table), &limits, vendor::Vendor::new(fed));
    let serve = |request| runtime.block_on(gateway.clone().oneshot(request)).unwrap();
    let status = serve(vendor::request(fed)).status().as_u16();
    assert_eq!(
        status, fed.case.content.answer.status,
        "{} does not give the answer of its case",
        fed.name
    );
    let mut requests: Vec<_> = (0..TIMES + WARM).map(|_| vendor::request(fed)).collect();
    counter.count(&name, || serve(requests.pop().unwrap()));
}

/// Counts those whose name contains a word.
struct Counter {
    wanted: String,
}

impl Counter {
    /// Counts a few runs, after some that are not counted: what is made once is made then.
    fn count<R>(&self, name: &str, mut work: impl FnMut() -> R) {
        if !name.contains(&self.wanted) {
            return;
        }
        for _ in 0..WARM {
            black_box(work());
        }
        counted(&mut || drop(black_box(work())));
        println!("{name}");
    }
}

/// What valgrind collects and writes a part for: the only function whose name it knows.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        work();
    }
}

/// Runs this program under callgrind and reads its parts.
fn measured(wanted: &str) -> Result<Counts, String> {
    let (names, out) = under_callgrind(wanted, &["--combine-dumps=yes", "--dump-after=counts::counted"])?;
    let parts = fs::read_to_string(&out).unwrap();
    let totals = parts.lines().filter_map(|line| line.strip_prefix("totals: "));
    let totals: Vec<u64> = totals.map(|total| total.trim().parse().unwrap()).collect();
    let names: Vec<&str> = names.lines().collect();
    // The last part is what came after.
    assert!(totals.len() >= names.len(), "{} names and {} parts", names.len(), totals.len());
    let each = |total: u64| total / u64::try_from(TIMES).unwrap();
    let counts = names.iter().zip(totals).map(|(name, total)| ((*name).to_owned(), each(total)));
    Ok(counts.collect())
}

/// Where the instructions of what matches went, by function.
fn profiled(wanted: &str) -> Result<ExitCode, String> {
    let (names, out) = under_callgrind(wanted, &[])?;
    println!("{TIMES} runs each of\n{names}");
    let shown = Command::new("callgrind_annotate")
        .args(["--auto=no", "--threshold=90"])
        .arg(&out)
        .status()
        .map_err(|error| format!("callgrind_annotate cannot be started: {error}"))?;
    println!("\nThe profile is {}", out.display());
    Ok(if shown.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the inner program printed, and what valgrind wrote.
fn under_callgrind(wanted: &str, options: &[&str]) -> Result<(String, PathBuf), String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (out, said) = (folder.join("counts.callgrind"), folder.join("counts.log"));
    let _ = fs::remove_file(&out);
    let inner = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=counts::counted"])
        .args(options)
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .env_clear()
        .env(INNER, wanted)
        // The width of the vectors of libc follows the processor otherwise.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX512VL,-ERMS,-FSRM")
        .stderr(fs::File::create(&said).unwrap())
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    if !inner.status.success() {
        let said = fs::read_to_string(&said).unwrap_or_default();
        let end: Vec<&str> = said.lines().rev().take(20).collect();
        let end = end.join("\n");
        return Err(format!(
            "the program failed under valgrind; its last words, the last one first:\n{end}"
        ));
    }
    Ok((String::from_utf8(inner.stdout).unwrap(), out))
}

/// The first line that a program says about its version.
fn said_by(program: &str) -> String {
    let said = Command::new(program).arg("--version").output();
    let said = said.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
}
