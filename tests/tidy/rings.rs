//! Who may know whom: the rings of ARCHITECTURE.md, and the crates that stay behind one module.

use crate::tree::{self, File, Found, Scope};
use crate::{none, some};

/// Modules below `src` that know the same, and what that is.
struct Ring {
    name: &'static str,
    modules: &'static [&'static str],
    /// The rings that it may use besides itself, and single modules.
    uses: &'static [&'static str],
    /// What its code must not say.
    never: &'static [&'static [&'static str]],
}

const RINGS: &[Ring] = &[
    Ring {
        name: "0 texts",
        modules: &["json_text"],
        uses: &[],
        never: &[PURE, SYNCHRONOUS],
    },
    Ring {
        name: "0 values",
        modules: &["model"],
        uses: &["0 texts"],
        never: &[PURE, SYNCHRONOUS],
    },
    Ring {
        name: "1 documents",
        modules: &["codec"],
        uses: &["0 texts"],
        never: &[PURE, SYNCHRONOUS],
    },
    Ring {
        name: "1 core",
        modules: &[
            "path",
            "query",
            "negotiation",
            "schema",
            "mapping",
            "route",
            "catalog",
            "crypto",
            "trust",
        ],
        uses: &["0 texts", "0 values", "1 documents"],
        never: &[PURE, SYNCHRONOUS],
    },
    Ring {
        // What outlives a call, inside a token or in a store: needs chance and a clock, and no socket.
        name: "2 state",
        modules: &["idempotency", "operation"],
        uses: &["0 texts", "0 values", "1 core"],
        never: &[NO_SOCKET],
    },
    Ring {
        name: "2 configuration",
        modules: &["config"],
        uses: &["0 values", "1 documents", "1 core", "operation"],
        never: &[NO_SERVICE, SYNCHRONOUS],
    },
    Ring {
        name: "3 layers",
        modules: &["layer", "stack"],
        uses: &["0 values", "1 documents", "1 core", "2 state", "telemetry"],
        never: &[NO_SOCKET],
    },
    Ring {
        name: "4 shell",
        modules: &["upstream", "telemetry", "server", "admin", "gateway"],
        uses: &["0 texts", "0 values", "1 core", "2 state", "3 layers"],
        never: &[NO_PROCESS],
    },
    Ring {
        // Vendors, not the gateway: nothing of the gateway's own understanding may flatter its tests.
        name: "4 simulators",
        modules: &["simulate"],
        uses: &[],
        never: &[NO_PROCESS],
    },
    Ring {
        name: "4 command line",
        modules: &["cli"],
        uses: &[
            "0 values",
            "1 documents",
            "1 core",
            "2 configuration",
            "2 state",
            "3 layers",
            "4 shell",
            "4 simulators",
        ],
        never: &[],
    },
];

/// No network, file, environment, process, clock, chance, log or metric.
const PURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "hyper",
    "hyper_util",
    "tower",
    "tracing",
    "metrics",
    "uuid",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];
const SYNCHRONOUS: &[&str] = &["async", "await"];
/// Reads files and the environment, and serves nobody.
const NO_SERVICE: &[&str] = &[
    "tokio",
    "tokio_util",
    "hyper",
    "hyper_util",
    "tower",
    "tracing",
    "metrics",
    "std::net",
    "std::process",
    "std::thread",
];
/// Adapts and opens nothing.
const NO_SOCKET: &[&str] = &[
    "hyper",
    "hyper_util",
    "tokio::net",
    "tokio::spawn",
    "tokio::task::JoinHandle",
    "tokio::task::JoinSet",
    "tokio::task::LocalSet",
    "tokio::task::spawn",
    "tokio::task::spawn_blocking",
    "tokio::task::spawn_local",
    "tracing",
    "metrics",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
];
/// Gets all that it needs as values.
const NO_PROCESS: &[&str] = &["std::env", "std::fs", "std::process", "std::thread"];

/// What has one place, and where: a library that moves fast, and what the process gives.
const ONLY_HERE: &[(&str, &[&str])] = &[
    ("annotate_snippets", &["src/config/diagnostic.rs"]),
    // The simulators check signatures with code of their own.
    (
        "aws_lc_rs",
        &["src/crypto.rs", "src/operation/keys.rs", "src/simulate/", "src/trust.rs"],
    ),
    ("cel", &["src/mapping/expression.rs", "src/mapping/plan.rs"]),
    ("arc_swap", &["src/gateway.rs"]),
    ("clap", &["src/cli/"]),
    ("flate2", &["src/catalog/page.rs", "src/negotiation.rs"]),
    ("granit_parser", &["src/config/yaml.rs"]),
    ("jsonschema", &["src/schema.rs", "src/config/schemas.rs"]),
    // The clock on the wall, which jumps: for those who write it down, and for signatures and lives that vendors compare with theirs.
    (
        "Timestamp::now",
        &[
            "src/gateway.rs",
            "src/layer/resume.rs",
            "src/simulate/",
            "src/telemetry/metrics.rs",
            "src/upstream/credentials.rs",
            "src/upstream/health.rs",
            "src/upstream/login.rs",
        ],
    ),
    (
        "SystemTime::now",
        &["src/server/refusal.rs", "src/simulate/", "src/telemetry/stamp.rs"],
    ),
    ("metrics::counter", &["src/telemetry/metrics.rs"]),
    ("metrics::gauge", &["src/telemetry/metrics.rs"]),
    ("metrics::histogram", &["src/telemetry/metrics.rs"]),
    ("quick_xml", &["src/codec/", "src/simulate/xml.rs"]),
    ("rustls", &["src/trust.rs", "src/trust/", "src/upstream/"]),
    (
        "secrecy",
        &["src/config/", "src/operation/keys.rs", "src/route/credentials.rs", "src/upstream/"],
    ),
    ("std::env", &["src/config/environment.rs"]),
    (
        "std::fs",
        &["src/config/sources.rs", "src/cli/client/", "src/cli/init.rs", "src/cli/man.rs"],
    ),
    ("tokio::spawn", &[]),
    ("tower::ServiceBuilder", &["src/stack.rs"]),
    ("tracing_appender", &["src/telemetry/log.rs"]),
    ("tracing_subscriber", &["src/telemetry/log.rs"]),
];

fn faults(sources: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in sources {
        let paths = tree::paths(&tree::tokens(&file.path, &file.text, Scope::Built));
        let module = module(&file.path);
        let Some(top) = module.first() else {
            // lib.rs and main.rs name the modules and hand over.
            continue;
        };
        let Some(ring) = RINGS.iter().find(|ring| ring.modules.contains(top)) else {
            faults.push(format!(
                "{}: `{top}` is in no ring; give it a place in tests/tidy/rings.rs",
                file.path
            ));
            continue;
        };
        // `metrics::x` after `use crate::telemetry::metrics` is ours and no crate.
        let ours: Vec<&String> = paths
            .iter()
            .filter(|found| is_own(found))
            .filter_map(|found| found.segments.last())
            .collect();
        let foreign: Vec<&Found> = paths
            .iter()
            .filter(|found| !is_own(found) && !found.segments.first().is_some_and(|first| ours.contains(&first)))
            .collect();
        for found in &paths {
            let at = format!("{}:{}", file.path, found.line);
            if let Some(used) = own_module(found, &module)
                && !may_use(ring, used)
            {
                faults.push(format!("{at}: ring `{}` may not use `crate::{used}`", ring.name));
            }
        }
        for found in &foreign {
            if let Some(word) = ring.never.iter().copied().flatten().find(|word| begins_with(found, word)) {
                faults.push(format!("{}:{}: ring `{}` may not say `{word}`", file.path, found.line, ring.name));
            }
        }
        for (word, places) in ONLY_HERE {
            let at_home = places.iter().any(|place| file.path.starts_with(place));
            if let Some(found) = foreign.iter().find(|found| !at_home && begins_with(found, word)) {
                faults.push(format!("{}:{}: `{word}` has its place in {places:?}", file.path, found.line));
            }
        }
    }
    faults
}

fn may_use(ring: &Ring, module: &str) -> bool {
    let ring_of = |module: &str| RINGS.iter().find(|ring| ring.modules.contains(&module)).map(|ring| ring.name);
    ring.modules.contains(&module) || ring.uses.contains(&module) || ring_of(module).is_some_and(|name| ring.uses.contains(&name))
}

/// `src/a/b.rs` -> `[a, b]`, `src/a/mod.rs` -> `[a]`, `src/lib.rs` -> `[]`.
fn module(path: &str) -> Vec<&str> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
}

/// The module below the root that a path leads to, by `crate`, by enough `super`s or from outside.
fn own_module<'a>(found: &'a Found, module: &[&'a str]) -> Option<&'a str> {
    let segments: Vec<&str> = found.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["crate" | "taskgate", first, ..] => Some(first),
        ["super", ..] => {
            let up = segments.iter().take_while(|segment| **segment == "super").count();
            let kept = module.len().saturating_sub(up);
            module.get(..kept)?.first().copied().or_else(|| segments.get(up).copied())
        }
        _ => None,
    }
}

fn is_own(found: &Found) -> bool {
    let first = found.segments.first().map(String::as_str);
    found.segments.len() > 1 && matches!(first, Some("crate" | "self" | "super" | "taskgate"))
}

/// Does a path begin with these segments? A lone name is a variable, unless it is a keyword.
fn begins_with(found: &Found, word: &str) -> bool {
    let wanted: Vec<&str> = word.split("::").collect();
    let lone = found.segments.len() == 1 && !SYNCHRONOUS.contains(&word);
    !lone && found.segments.len() >= wanted.len() && found.segments.iter().zip(&wanted).all(|(segment, wanted)| segment == wanted)
}

#[test]
fn rings_are_kept() {
    none(&faults(&tree::built_sources()));
}

#[test]
fn every_module_is_in_one_ring() {
    for file in tree::sources("src") {
        if let Some(top) = module(&file.path).first() {
            assert_eq!(RINGS.iter().filter(|ring| ring.modules.contains(top)).count(), 1, "{top}");
        }
    }
    for ring in RINGS {
        for used in ring.uses {
            let known = RINGS.iter().any(|ring| ring.name == *used || ring.modules.contains(used));
            assert!(known, "`{used}` of ring `{}` is neither ring nor module", ring.name);
        }
    }
}

#[test]
fn a_broken_ring_is_seen() {
    let sample = |path: &str, text: &str| {
        let (path, text) = (path.to_owned(), text.to_owned());
        faults(&[File { path, text }])
    };
    some(
        &sample("src/model/call.rs", "use crate::config::file;"),
        "may not use `crate::config`",
    );
    some(
        &sample("src/model/call.rs", "use super::super::{path};"),
        "may not use `crate::path`",
    );
    some(&sample("src/path.rs", "use super::layer;"), "may not use `crate::layer`");
    some(
        &sample("src/codec/json.rs", "use crate::{model::call, codec};"),
        "may not use `crate::model`",
    );
    some(&sample("src/mapping/reply.rs", "async fn f() {}"), "may not say `async`");
    some(
        &sample("src/mapping/reply.rs", "fn f() { let _ = std::time::Instant::now(); }"),
        "may not say",
    );
    some(&sample("src/config/yaml.rs", "use std::fs;"), "`std::fs` has its place");
    some(
        &sample("src/layer/admit.rs", "use tokio::{net::TcpStream};"),
        "may not say `tokio::net`",
    );
    some(
        &sample("src/layer/admit.rs", "use crate::upstream::client;"),
        "may not use `crate::upstream`",
    );
    some(
        &sample("src/upstream/client.rs", "use crate::config::case;"),
        "may not use `crate::config`",
    );
    some(
        &sample("src/simulate/server.rs", "use crate::codec::xml;"),
        "may not use `crate::codec`",
    );
    some(
        &sample(
            "src/upstream/session.rs",
            "use std::time::SystemTime;\nfn f() { SystemTime::now(); }",
        ),
        "`SystemTime::now` has its place",
    );
    some(
        &sample("src/cli/check.rs", "fn f() { std::env::var(\"X\"); }"),
        "`std::env` has its place",
    );
    some(&sample("src/novelty.rs", ""), "is in no ring");
    none(&sample("src/model/call.rs", "#[cfg(test)]\nmod tests { use crate::config; }"));
    none(&sample("src/config/yaml.rs", "use super::place::Span; use crate::mapping;"));
    none(&sample(
        "src/layer/observe.rs",
        "use crate::telemetry::metrics;\nfn f() { metrics::request_begins() }",
    ));
    some(
        &sample("src/layer/observe.rs", "fn f() { metrics::counter!(\"x\") }"),
        "may not say `metrics`",
    );
}
