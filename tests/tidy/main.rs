//! The rules of the tree that no compiler checks, each as a test: rings, sizes, words, tables in documents, dependencies.
//!
//! **Shape**: a rule is a function from sources to faults, one line each; its test wants none in the tree, and wants
//! one in a sample that breaks it, so that a rule which sees nothing any more is noticed. Where a rule is wrong, change it here in
//! the same commit and say why.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold")]

mod crates;
mod documents;
mod faults;
mod rings;
mod secrets;
mod texts;
mod tree;

/// Fails with every fault at once.
#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The sample breaks the rule, and the rule says so in these words.
#[track_caller]
fn some(faults: &[String], expected: &str) {
    assert!(
        faults.iter().any(|fault| fault.contains(expected)),
        "no `{expected}` among {faults:#?}: the rule has gone blind"
    );
}
