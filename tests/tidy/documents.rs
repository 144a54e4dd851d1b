//! What documents say against what the program says: tables, options, variables, links, records of decisions.
//!
//! `UPDATE=1 cargo test --test tidy` rewrites the tables that are made of the program's own.

use std::collections::BTreeSet;
use std::process::Command;

use metrics::Unit;
use taskgate::config::case;
use taskgate::config::compile::compile;
use taskgate::config::diagnostic::Diagnostics;
use taskgate::config::environment::Environment;
use taskgate::config::files::FileSet;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::model::reason::Reason;
use taskgate::telemetry::metrics::Metric;

use crate::tree::{self, File, Scope};
use crate::{none, some};

/// The table between `<!-- name: … -->` and `<!-- end -->`, or with `UPDATE=1` writes it.
#[track_caller]
fn check_table(path: &str, name: &str, expected: &str) {
    let text = tree::read(path);
    let (before, rest) = text
        .split_once(&format!("<!-- {name}:"))
        .unwrap_or_else(|| panic!("{path} has no table `{name}`"));
    let (mark, rest) = rest.split_once("-->\n").unwrap();
    let (found, after) = rest.split_once("<!-- end -->").unwrap();
    if found == expected {
        return;
    }
    assert!(
        std::env::var_os("UPDATE").is_some(),
        "{path}: the table `{name}` is not the program's; UPDATE=1 rewrites it to\n{expected}"
    );
    let updated = format!("{before}<!-- {name}:{mark}-->\n{expected}<!-- end -->{after}");
    std::fs::write(tree::root().join(path), updated).unwrap();
}

fn table(head: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rule = "|---".repeat(head.matches('|').count() - 1);
    let rows: String = rows.into_iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect();
    format!("{head}\n{rule}|\n{rows}")
}

#[test]
fn the_table_of_reasons_is_documented() {
    let rows = Reason::ALL.into_iter().map(|reason| {
        let facts = reason.facts();
        let again = if facts.retryable { "yes" } else { "no" };
        vec![
            format!("`{}`", facts.code),
            facts.status.to_string(),
            format!("`{}`", facts.outcome.as_str()),
            facts.source.as_str().to_owned(),
            again.to_owned(),
            facts.title.to_owned(),
        ]
    });
    let head = "| reason | status | outcome | who has to act | retryable | title |";
    check_table("docs/errors.md", "reasons", &table(head, rows));
}

/// In the table, and said by nothing in the program, by no route and in no case.
fn unsaid() -> Vec<&'static str> {
    let mut said = BTreeSet::new();
    for file in tree::built_sources().into_iter().filter(|file| file.path != "src/model/reason.rs") {
        for found in tree::paths(&tree::tokens(&file.path, &file.text, Scope::Built)) {
            if let [reason, variant, ..] = found.segments.as_slice()
                && reason == "Reason"
            {
                said.insert(variant.clone());
            }
        }
    }
    let routes = tree::read(ROUTES_FILE);
    let unsaid = Reason::ALL
        .into_iter()
        .filter(|reason| !said.contains(&format!("{reason:?}")) && !routes.contains(reason.code()));
    unsaid.map(Reason::code).collect()
}

#[test]
fn every_reason_is_said_by_something() {
    assert_eq!(unsaid(), NOT_YET_SAID, "a row that nothing says misleads its readers");
}

/// Reserved; each leaves this list with the code that says it.
const NOT_YET_SAID: [&str; 0] = [];

#[test]
fn the_defaults_by_vendor_status_are_documented() {
    let mut ranges: Vec<(u16, u16, Reason)> = Vec::new();
    for status in 400..600 {
        let reason = Reason::of_vendor_status(status);
        match ranges.last_mut() {
            Some((_, last, known)) if *known == reason && *last + 1 == status => *last = status,
            _ => ranges.push((status, status, reason)),
        }
    }
    let rows = ranges.into_iter().map(|(first, last, reason)| {
        let statuses = if first == last {
            first.to_string()
        } else {
            format!("{first} to {last}")
        };
        vec![
            statuses,
            format!("`{}`", reason.code()),
            format!("`{}`", reason.facts().outcome.as_str()),
        ]
    });
    check_table("docs/errors.md", "statuses", &table("| vendor's status | reason | outcome |", rows));
}

#[test]
fn the_metrics_are_documented() {
    let rows = Metric::ALL.into_iter().map(|metric| {
        let facts = metric.facts();
        let labels: Vec<String> = facts.labels.iter().map(|label| format!("`{label}`")).collect();
        let unit = match facts.unit {
            Unit::Count => "count",
            Unit::Seconds => "seconds",
            other => other.as_str(),
        };
        vec![
            format!("`{}`", facts.name),
            facts.kind.as_str().to_owned(),
            unit.to_owned(),
            if labels.is_empty() { "–".to_owned() } else { labels.join(", ") },
            facts.description.to_owned(),
        ]
    });
    check_table(
        "docs/metrics.md",
        "metrics",
        &table("| name | type | unit | labels | meaning |", rows),
    );
}

/// What `taskgate <command> --help` prints.
fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_taskgate"))
        .args([command, "--help"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The pieces of a text that are made of these characters only.
fn pieces<'a>(text: &'a str, belongs: impl Fn(char) -> bool + 'a) -> impl Iterator<Item = &'a str> + 'a {
    text.split(move |c| !belongs(c)).filter(|piece| !piece.is_empty())
}

fn is_variable(piece: &&str) -> bool {
    piece.contains('_') && piece.starts_with(|c: char| c.is_ascii_uppercase())
}

fn variables(text: &str) -> BTreeSet<&str> {
    let belongs = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    pieces(text, belongs).filter(is_variable).collect()
}

/// The variables that the shipped routes read.
fn route_variables(routes: &str) -> BTreeSet<&str> {
    let code = routes.lines().filter(|line| !line.trim_start().starts_with('#'));
    code.flat_map(|line| {
        let after = |mark: &'static str| line.split(mark).skip(1);
        after("env.")
            .chain(after("env: "))
            .filter_map(|rest| variables(rest).into_iter().next())
    })
    .collect()
}

#[test]
fn variables_of_the_routes_are_in_help_and_documents() {
    let routes = tree::read(ROUTES_FILE);
    let variables_read = route_variables(&routes);
    assert!(
        variables_read.contains("PRIME_USER") && variables_read.contains("DBSS_API"),
        "{variables_read:?}"
    );
    for (place, text) in [
        ("taskgate serve --help", help("serve")),
        ("README.md", tree::read("README.md")),
        ("docs/configuration.md", tree::read("docs/configuration.md")),
    ] {
        let named = variables(&text);
        let missing: Vec<_> = variables_read.difference(&named).collect();
        assert!(missing.is_empty(), "{place} does not name {missing:?}");
    }
    let help = help("serve");
    let unknown: Vec<&str> = variables(&help)
        .into_iter()
        .filter(|name| !name.starts_with("TASKGATE_") && !variables_read.contains(name))
        // The file of a variable.
        .filter(|name| !name.strip_suffix("_FILE").is_some_and(|name| variables_read.contains(name)))
        .collect();
    assert!(unknown.is_empty(), "taskgate serve --help names {unknown:?}, which no route reads");
}

/// Flags, variables and defaults that stand in a help text and not in a document.
fn undocumented(help: &str, document: &str) -> Vec<String> {
    let words: Vec<&str> = help.split_whitespace().collect();
    let flags = words.iter().filter(|word| word.starts_with("--"));
    let flags = flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()));
    let flags = flags.filter(|flag| *flag != "--help").map(|flag| format!("`{flag}"));
    let named = words.iter().filter_map(|word| Some(format!("`{}`", word.strip_suffix("=]")?)));
    let defaults = words
        .windows(2)
        .filter(|pair| pair.first() == Some(&"[default:"))
        .filter_map(|pair| Some(format!("`{}`", pair.last()?.strip_suffix(']')?)));
    let wanted: BTreeSet<String> = flags.chain(named).chain(defaults).collect();
    wanted.into_iter().filter(|word| !document.contains(word.as_str())).collect()
}

#[test]
fn every_option_is_documented() {
    let document = tree::read("docs/configuration.md");
    for command in ["serve", "demo", "simulate", "check", "explain", "init"] {
        let help = help(command);
        // The text behind the options is prose; what it names is checked above.
        let options = help.split_once("Print help").map_or(help.as_str(), |(options, _)| options);
        none(&undocumented(options, &document));
    }
    some(
        &undocumented("--colour <WHEN>  When [env: TASKGATE_COLOUR=] [default: never]", &document),
        "`TASKGATE_COLOUR`",
    );
}

#[test]
fn the_readme_shows_a_real_answer() {
    let readme = tree::read("README.md");
    let shown = readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let answer: serde_json::Value = serde_json::from_str(shown).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&tree::read("schemas/canonical/answer.json")).unwrap();
    let shown: BTreeSet<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    let required: BTreeSet<&str> = schema["required"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|name| name.as_str())
        .collect();
    assert_eq!(shown, required);
}

#[test]
fn the_readme_and_the_pipeline_run_the_same_tests() {
    for path in ["README.md", ".ci/run", "justfile", "CONTRIBUTING.md"] {
        assert!(tree::read(path).contains("scripts/test"), "{path} does not call scripts/test");
    }
}

/// Relative links of a document that lead nowhere.
fn dead_links(file: &File) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut faults = Vec::new();
    for target in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = target.split('#').next().unwrap_or_default();
        if path.is_empty() || path.contains("://") || path.contains(char::is_whitespace) {
            continue;
        }
        if !tree::root().join(folder).join(path).exists() {
            faults.push(format!("{}: the link to `{target}` leads nowhere", file.path));
        }
    }
    faults
}

fn documents() -> Vec<File> {
    let mut documents = tree::files("");
    documents.retain(|file| file.path.ends_with(".md"));
    documents
}

#[test]
fn links_lead_somewhere() {
    none(&documents().iter().flat_map(dead_links).collect::<Vec<_>>());
    let sample = File {
        path: "docs/a.md".to_owned(),
        text: "[a](nowhere.md) [b](errors.md) [c](https://example.com)".to_owned(),
    };
    some(&dead_links(&sample), "`nowhere.md`");
    assert_eq!(dead_links(&sample).len(), 1);
}

#[test]
fn the_changelog_knows_this_version() {
    let changelog = tree::read("CHANGELOG.md");
    let version = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(
        changelog.contains("## [Unreleased]") || changelog.contains(&version),
        "neither Unreleased nor {version}"
    );
}

/// The parts that every record has, in this order.
const PARTS: [&str; 4] = ["## Context", "## Decision", "## Rejected", "## Consequences"];
/// A page.
const MAX_RECORD_LINES: usize = 70;

fn broken_records(records: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let name = record.path.rsplit('/').next().unwrap_or_default();
        let number = format!("{:04}", number + 1);
        if !name.starts_with(&format!("{number}-")) {
            faults.push(format!("{}: expected {number}-….md", record.path));
        }
        if !record.text.starts_with(&format!("# {number} ")) {
            faults.push(format!("{}: its title does not start with its number", record.path));
        }
        let places: Vec<Option<usize>> = PARTS.iter().map(|part| record.text.find(&format!("\n{part}\n"))).collect();
        if places.contains(&None) || !places.is_sorted() {
            faults.push(format!("{}: expected the parts {}", record.path, PARTS.join(", ")));
        }
        if record.text.lines().count() > MAX_RECORD_LINES {
            faults.push(format!("{}: longer than a page", record.path));
        }
    }
    faults
}

#[test]
fn decisions_are_numbered_and_complete() {
    let records = tree::files("docs/adr");
    assert!(!records.is_empty());
    none(&broken_records(&records));
    let sample = File {
        path: "docs/adr/0002-x.md".to_owned(),
        text: "# 0002 X\n\n## Decision\n".to_owned(),
    };
    some(&broken_records(&[sample]), "expected 0001-");
}

#[test]
fn every_action_has_its_four_cases() {
    let sources = shipped::sources();
    let table = compile(&sources, ROUTES_FILE, &Environment::default()).unwrap().table;
    let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
    let cases = case::read_all(&sources, &mut files, &mut faults);
    assert!(faults.is_empty(), "{}", faults.render(&files));
    let actions = || {
        let providers = table.providers.values();
        providers.flat_map(|provider| provider.actions.keys().map(|action| (provider.name.as_str(), action.as_str())))
    };
    none(&case::missing(actions(), &cases));
    let without: Vec<case::Case> = cases.into_iter().filter(|case| case.name != "malformed").collect();
    some(&case::missing(actions(), &without), "/malformed.yaml");
}
