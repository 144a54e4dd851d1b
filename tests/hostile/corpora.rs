//! Every file of `fuzz/corpus` through its check: what a fuzzer found once, what a person thought of, and the nastiest inputs that are
//! known. `CONTRIBUTING.md` says how a file gets there.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use crate::checks;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn replay(target: &str, least: usize) {
    let check = checks::named(target);
    let folder = fuzz().join("corpus").join(target);
    let names = names(&folder);
    assert!(names.len() >= least, "{} files only", names.len());
    let broken: Vec<&String> = names
        .iter()
        .filter(|name| {
            let bytes = fs::read(folder.join(name)).unwrap();
            assert!(
                bytes.len() <= MAX_BYTES,
                "{target}/{name} has {} bytes: a corpus is small",
                bytes.len()
            );
            // What it broke was said by the panic itself.
            catch_unwind(|| check(&bytes)).is_err()
        })
        .collect();
    assert!(
        broken.is_empty(),
        "these files of fuzz/corpus/{target} break their check: {broken:?}"
    );
}

#[test]
fn bodies() {
    replay("body", 30);
}

#[test]
fn paths() {
    replay("path", 40);
}

#[test]
fn rendered_requests() {
    replay("render", 20);
}

#[test]
fn replies() {
    replay("reply", 40);
}

#[test]
fn routes() {
    replay("routes", 20);
}

#[test]
fn signatures() {
    replay("signature", 15);
}

#[test]
fn xml_documents() {
    replay("xml", 30);
}

#[test]
fn every_check_has_a_target_and_a_corpus() {
    let checks: BTreeSet<String> = checks::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let sources: BTreeSet<String> = names(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(sources, checks);
    assert_eq!(names(&fuzz().join("corpus")), checks);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &checks {
        assert!(
            manifest.contains(&format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")),
            "{name} is no target"
        );
        let target = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            target.contains(&format!("checks::named(\"{name}\")")),
            "the target {name} runs another check"
        );
    }
}

/// A finding is minimised before it is kept.
const MAX_BYTES: usize = 16 * 1024;
