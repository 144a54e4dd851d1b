//! What the documents and the schemas show is true: examples are read, compiled and played as they stand.

use serde_json::Value;
use taskgate::cli::check::play_all;
use taskgate::config::diagnostic::Diagnostics;
use taskgate::config::environment::Environment;
use taskgate::config::files::FileSet;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::config::sources::Sources;
use taskgate::config::yaml;
use taskgate::route;
use taskgate::schema::Schema;
use taskgate::simulate::SimulatorOptions;

use super::answers::{ANSWER, PROBLEM, Seen};
use super::config;
use super::rig::{self, Rig};

const ROUTES_PAGE: &str = include_str!("../../docs/routes.md");

/// The fenced blocks of a page that are in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str())
        .skip(1)
        .map(|rest| rest.split_once("\n```").unwrap().0)
        .collect()
}

#[test]
fn every_yaml_block_of_the_page_about_routes_can_be_read() {
    let found = blocks(ROUTES_PAGE, "yaml");
    assert!(found.len() >= 4, "{}", found.len());
    for block in found {
        let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
        let id = files.add("docs/routes.md", block);
        yaml::parse(files.text(id), id, &mut faults);
        assert!(faults.is_empty(), "{}", faults.render(&files));
    }
}

#[test]
fn the_blocks_about_settings_and_faults_compile() {
    let block = |start: &str| *blocks(ROUTES_PAGE, "yaml").iter().find(|block| block.starts_with(start)).unwrap();
    let (settings, faults) = (block("settings:\n"), block("faults:\n"));
    let routes = config::ROUTES;
    let own = |from: &str, to: &str| &routes[routes.find(from).unwrap()..routes.find(to).unwrap()];
    let changed = routes
        .replace(own("settings:", "credentials:"), &format!("{settings}\n"))
        .replace(own("faults:", "providers:"), &format!("{faults}\n"))
        .replace("faults: acme", "faults: huawei")
        .replace("settings.acme_api", "settings.dbss_api");
    let compiled = rig::compiled(&config::sources(&changed), &Default::default());
    assert_eq!(compiled.table.providers.len(), 1);
}

#[tokio::test]
async fn the_case_of_the_page_about_routes_passes() {
    let case = *blocks(ROUTES_PAGE, "yaml")
        .iter()
        .find(|block| block.starts_with("title:"))
        .unwrap();
    let shipped = shipped::sources();
    let files: Vec<(String, String)> = shipped
        .list("")
        .into_iter()
        .map(|path| {
            let text = if path == "cases/cfw/stop/ok.yaml" {
                case.to_owned()
            } else {
                shipped.read(&path).unwrap()
            };
            (path, text)
        })
        .collect();
    let played = play_all(&Sources::memory(files), ROUTES_FILE, Some("cases/cfw/stop/ok.yaml"))
        .await
        .unwrap();
    assert_eq!(played.len(), 1);
    assert_eq!(played[0].differences, Vec::<String>::new());
}

#[test]
fn the_defaults_of_the_limits_are_those_of_the_page() {
    let route::Limits {
        in_flight,
        queue,
        allowances,
        breaker,
        connect_timeout,
        timeout,
        max_reply_bytes,
        close,
    } = route::Limits::default();
    assert!(allowances.is_empty(), "no rate is known that fits every vendor");
    let breaker = breaker.unwrap();
    assert_eq!(breaker.failures.ranges, [(500, 599)]);
    for text in [
        format!("| `in_flight` | {in_flight} |"),
        format!("| `connect_timeout` | {}s |", connect_timeout.as_secs()),
        format!("| `timeout` | {}s |", timeout.as_secs()),
        format!("| `max_reply_bytes` | {max_reply_bytes} |"),
        format!("| `connection` | `{}` |", if close { "close" } else { "keep-alive" }),
        format!("| `queue.length` | {} |", queue.length),
        format!("| `queue.wait` | {}s |", queue.wait.as_secs()),
        format!("| `burst` | {} |", route::DEFAULT_BURST),
        format!("| `breaker.consecutive` | {} |", breaker.consecutive),
        format!("| `breaker.share` | {}% |", breaker.share),
        format!("| `breaker.calls` | {} |", breaker.calls),
        format!("| `breaker.window` | {}s |", breaker.window.as_secs()),
        format!("| `breaker.pause` | {}s |", breaker.pause.as_secs()),
        format!("| `breaker.longest_pause` | {}s |", breaker.longest_pause.as_secs()),
        "| `breaker.status` | 5xx |".to_owned(),
    ] {
        assert!(ROUTES_PAGE.contains(&text), "docs/routes.md does not say {text}");
    }
}

/// The examples in the schemas of the shipped requests: what the schema itself allows.
#[test]
fn examples_in_schemas_are_valid() {
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &Default::default()).table;
    let mut count = 0;
    for route in table.providers.values().flat_map(|provider| provider.actions.values()) {
        let examples = route.schema.document["examples"].as_array().unwrap();
        for example in examples {
            let violations = route.schema.schema.violations(example);
            assert!(violations.is_empty(), "{}: {violations:?}", route.provider);
            count += 1;
        }
    }
    assert!(count >= 5, "each action shows how it is called");
    for (name, schema) in [("answer", &*ANSWER), ("problem", &*PROBLEM)] {
        let document: Value = serde_json::from_str(&sources.read(&format!("schemas/canonical/{name}.json")).unwrap()).unwrap();
        for example in document["examples"].as_array().unwrap() {
            assert!(schema.is_valid(example), "{name}: {example}");
        }
    }
}

/// Editors check routes.yaml by this schema, so it must take what the compiler takes.
#[test]
fn the_schema_of_routes_takes_every_routes_file_here() {
    let schema = shipped::sources().read("schemas/routes.schema.json").unwrap();
    let schema = Schema::compile(&serde_json::from_str(&schema).unwrap()).unwrap();
    let fixture = include_str!("../fixtures/sixth/routes.yaml");
    let shipped = shipped::sources().read(ROUTES_FILE).unwrap();
    for (name, text, is_sound) in [
        ("shipped", shipped.as_str(), true),
        ("sixth", fixture, true),
        ("smallest", super::sixth::SMALLEST, true),
        ("config", config::ROUTES, true),
        (
            "broken",
            &config::broken(&[("    title: ACME jobs", "    titel: ACME jobs")]),
            false,
        ),
        ("broken", &config::broken(&[("state: stopping", "state: halting")]), false),
        ("broken", &config::broken(&[("method: POST", "method: BREW")]), false),
    ] {
        let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
        let id = files.add(name, text);
        let tree = yaml::parse(files.text(id), id, &mut faults).unwrap().to_json();
        let violations = schema.violations(&tree);
        assert_eq!(violations.is_empty(), is_sound, "{name}: {violations:?}");
    }
}

const README: &str = include_str!("../../README.md");

/// The calls of a shell block: the task and the body of each line that starts with `curl`.
fn curls(block: &str) -> Vec<(String, String)> {
    let joined = block.replace("\\\n", " ");
    let calls = joined.lines().filter(|line| line.starts_with("curl -X POST "));
    calls
        .map(|line| {
            let url = line.split_whitespace().nth(3).unwrap();
            let task = url.trim_start_matches("$gate/").trim_start_matches("http://127.0.0.1:8080/tasks/");
            let body = line.split_once("-d '").map_or("", |(_, rest)| rest.trim_end_matches('\''));
            (task.to_owned(), body.to_owned())
        })
        .collect()
}

/// A document as it is written, without the ids that are new each time.
fn without_ids(mut document: Value) -> Value {
    for pointer in ["/operation", "/request_id", "/vendor/request_id"] {
        if let Some(id) = document.pointer_mut(pointer).filter(|id| !id.is_null()) {
            *id = "*".into();
        }
    }
    document
}

#[tokio::test]
async fn the_calls_of_the_readme_are_answered_as_it_shows() {
    let rig = Rig::shipped().await;
    let calls: Vec<_> = blocks(README, "sh").into_iter().flat_map(curls).collect();
    let [first, all @ ..] = calls.as_slice() else { panic!("{calls:?}") };
    let told = rig.caller.act(&first.0, &first.1).await;
    let shown: Value = serde_json::from_str(blocks(README, "json")[0]).unwrap();
    assert_eq!(told.status, 202, "{told:?}");
    assert_eq!(without_ids(told.json()), without_ids(shown));

    rig.simulators.reset();
    let (many, all): (Vec<_>, Vec<_>) = all.iter().partition(|(task, _)| task.contains(":batch"));
    assert_eq!(all.len(), 10, "one for each action of each provider: {all:?}");
    for (task, body) in all {
        assert_eq!(rig.caller.act(task, body).await.word(), "202 accepted", "{task}");
    }
    let summaries = [
        r#"{"accepted":2,"done":0,"not_done":1,"unknown":0}"#,
        r#"{"accepted":2,"done":0,"not_done":0,"unknown":0}"#,
    ];
    assert_eq!(many.len(), summaries.len());
    for ((target, body), summary) in many.into_iter().zip(summaries) {
        rig.simulators.reset();
        let path = match target.strip_prefix("$gate:") {
            Some(verb) => format!("/tasks:{verb}"),
            None => format!("/tasks/{target}"),
        };
        let told = rig.caller.send("POST", &path, &[("content-type", "application/json")], body).await;
        told.check(Seen::OnTheWire);
        assert_eq!(told.text("/summary"), summary, "{told:?}");
    }
    let unknown = rig.caller.act("prime/99:stop", "").await;
    let shown: Value = serde_json::from_str(blocks(README, "text")[0]).unwrap();
    assert_eq!(without_ids(unknown.json()), without_ids(shown));
    rig.stop().await;
}

#[tokio::test]
async fn what_the_readme_says_goes_wrong_goes_wrong() {
    let rig = Rig::start(
        SimulatorOptions::default(),
        &rig::shipped_with(&[rig::PRIME_IN_A_HURRY]),
        Environment::default(),
    )
    .await;
    let [cfw, _, hss, ..] = rig::everyday();
    rig.caller.act(&cfw.task(), &cfw.body).await;
    rig.caller.act("prime/15:stop", "").await;
    let (cfw_task, hss_stop) = (cfw.task(), hss.task().replace(":retry", ":stop"));
    for (label, fault, (method, task, headers, body)) in [
        ("`prime/15:stop` again", "", ("POST", "prime/15:stop", &[], "")),
        ("`prime/99:stop`", "", ("POST", "prime/99:stop", &[], "")),
        ("`prime/abc:stop`", "", ("POST", "prime/abc:stop", &[], "")),
        ("`cfw` without `scope.instance`", "", ("POST", &cfw_task, &[], "")),
        ("`-d` without `content-type: application/json`", "", ("POST", &cfw_task, &[], "{}")),
        ("`prime/25:halt`", "", ("POST", "prime/25:halt", &[], "")),
        ("`hss/…:stop`", "", ("POST", &hss_stop, &[], "")),
        ("`GET` on an action", "", ("GET", "prime/15:stop", &[], "")),
        ("`demo --fault prime=hang`", "hang", ("POST", "prime/25:stop", &[], "")),
        ("`demo --fault prime=html`", "html", ("POST", "prime/25:stop", &[], "")),
    ] {
        if !fault.is_empty() {
            rig.simulators.set_fault("prime", fault.parse().unwrap()).unwrap();
        }
        let told = rig.caller.send(method, &format!("/tasks/{task}"), headers, body).await;
        told.check(Seen::OnTheWire);
        let row = README.lines().find(|line| line.starts_with('|') && line.contains(label));
        let row = row.unwrap_or_else(|| panic!("no row of the README says {label}"));
        for word in [
            told.status.to_string(),
            format!("`{}`", told.text("/reason")),
            format!("`{}`", told.text("/outcome")),
        ] {
            assert!(row.contains(&word), "{label}: the answer has {word}, the README says {row}");
        }
    }
    rig.stop().await;
}
