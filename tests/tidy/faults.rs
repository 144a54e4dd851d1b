//! Every fault has a test: the table in `docs/reliability.md` has a row for each, and the tests that it names are there.

use std::collections::BTreeSet;

use crate::{none, some, tree};

/// The rows, as the project counts them.
const ROWS: usize = 103;

#[test]
fn every_fault_has_a_test() {
    none(&untested(&tree::read("docs/reliability.md"), &tests(), ROWS));
    let sample = "<!-- faults: -->\n| # | what | becomes | tests |\n|---|---|---|---|\n| 1 | a | b | `x::known`, `x::gone` |\n<!-- end -->";
    let known = BTreeSet::from(["::tests::x::known".to_owned()]);
    let faults = untested(sample, &known, 2);
    some(&faults, "row 1: there is no test `x::gone`");
    some(&faults, "row 2 is missing");
    some(&untested("no table", &known, 1), "no table of faults");
}

/// What is wrong with the table of faults in a document.
fn untested(document: &str, tests: &BTreeSet<String>, rows: usize) -> Vec<String> {
    let table = document
        .split_once("<!-- faults:")
        .and_then(|(_, rest)| rest.split_once("<!-- end -->"));
    let Some((table, _)) = table else {
        return vec!["no table of faults".to_owned()];
    };
    let (mut wrong, mut numbers) = (Vec::new(), Vec::new());
    let lines = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    for line in lines {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _what, _becomes, named] = cells.as_slice() else {
            wrong.push(format!("not four cells: {line}"));
            continue;
        };
        numbers.push(number.parse().unwrap_or(0));
        for name in named.split(", ").map(|name| name.trim_matches('`')) {
            if !tests.iter().any(|test| test.ends_with(&format!("::{name}"))) {
                wrong.push(format!("row {number}: there is no test `{name}`"));
            }
        }
    }
    let missing = (1..=rows).filter(|row| numbers.iter().filter(|number| *number == row).count() != 1);
    wrong.extend(missing.map(|row| format!("row {row} is missing, or there twice")));
    wrong
}

/// Every test, by its path: `::it::edge::head::row_22_hosts`.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        for file in tree::sources(folder) {
            let module = file.path.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/main");
            let module = module.replace('/', "::");
            let mut is_test = false;
            for line in file.text.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let name = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "));
                if let (true, Some(name)) = (is_test, name.and_then(|rest| rest.split('(').next())) {
                    tests.insert(format!("::{module}::{name}"));
                    is_test = false;
                }
            }
        }
    }
    tests
}
