//! Cargo.toml: every dependency is used, and those that were refused stay out.

use std::collections::BTreeSet;

use crate::tree::{self, Kind, Scope};
use crate::{none, some};

/// Refused, with the reason; deny.toml says the same for all of the graph.
const REFUSED: [(&str, &str); 6] = [
    ("native-tls", "rustls is the one TLS"),
    ("openssl-sys", "rustls is the one TLS"),
    ("reqwest", "re-sends and follows redirects by itself"),
    ("rustls-pemfile", "unmaintained; rustls-pki-types reads PEM"),
    ("serde_yaml", "archived; no positions"),
    ("serde_yml", "RUSTSEC-2025-0068"),
];

/// The names in a table of a Cargo.toml.
fn names<'a>(manifest: &'a str, table: &str) -> Vec<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != format!("[{table}]")).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('#'))
        .collect()
}

fn words(folders: &[&str]) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for file in folders.iter().copied().flat_map(tree::sources) {
        for token in tree::tokens(&file.path, &file.text, Scope::All) {
            if let Kind::Word(word) = token.kind {
                words.insert(word);
            }
        }
    }
    words
}

fn unused(names: &[&str], words: &BTreeSet<String>) -> Vec<String> {
    let unused = names.iter().filter(|name| !words.contains(&name.replace('-', "_")));
    unused.map(|name| format!("Cargo.toml: `{name}` is used nowhere")).collect()
}

fn refused(lock: &str) -> Vec<String> {
    let present = REFUSED.iter().filter(|(name, _)| lock.contains(&format!("\nname = \"{name}\"\n")));
    present.map(|(name, why)| format!("Cargo.lock: `{name}`: {why}")).collect()
}

#[test]
fn every_dependency_is_used() {
    let manifest = tree::read("Cargo.toml");
    let dependencies = names(&manifest, "dependencies");
    assert!(dependencies.len() > 20, "the table was not read: {dependencies:?}");
    none(&unused(&dependencies, &words(&["src"])));
    let for_tests = names(&manifest, "dev-dependencies");
    assert!(for_tests.contains(&"criterion"), "the table was not read: {for_tests:?}");
    none(&unused(&for_tests, &words(&["src", "tests", "benches"])));
    some(&unused(&["left-pad"], &words(&["src"])), "`left-pad` is used nowhere");
}

#[test]
fn what_was_refused_stays_out() {
    none(&refused(&tree::read("Cargo.lock")));
    some(&refused("\nname = \"reqwest\"\n"), "`reqwest`");
    let denied = tree::read("deny.toml");
    for (name, _) in REFUSED {
        assert!(denied.contains(&format!("\"{name}\"")), "deny.toml does not know `{name}`");
    }
}
