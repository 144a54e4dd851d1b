//! What stands in files: a purpose first, a size that a person reads, no vendor, nothing left open, no path of somebody's machine.

use taskgate::config::environment::Environment;
use taskgate::config::shipped::{self, ROUTES_FILE};

use crate::tree::{self, File, Kind, Scope};
use crate::{none, some};

/// A longer file holds two concerns.
const MAX_LINES: usize = 500;
/// A test crate is one table after the other and is read by the table.
const MAX_TEST_LINES: usize = 800;

/// Words of vendors that no provider is called by.
const VENDORS: [&str; 2] = ["cisco", "huawei"];

/// The only sources outside `src/simulate` whose code names a vendor, each for the people who read what it prints.
const MAY_NAME_VENDORS: [(&str, &str); 4] = [
    ("src/cli/demo.rs", "prints one call for each simulator that it starts"),
    (
        "src/cli/mod.rs",
        "the help shows calls that work as they stand, and the variables of the shipped routes",
    ),
    (
        "src/config/file_credentials.rs",
        "a scheme has the name of the only vendor that uses it",
    ),
    (
        "src/upstream/sign_dated.rs",
        "the scheme's word in the Authorization header is the vendor's name",
    ),
];

fn without_purpose(files: &[File]) -> Vec<String> {
    let silent = files.iter().filter(|file| !file.text.starts_with("//! "));
    silent
        .map(|file| format!("{}: opens with no `//!` sentence of purpose", file.path))
        .collect()
}

/// Lines before the test module.
fn lines(text: &str) -> usize {
    let all: Vec<&str> = text.lines().collect();
    let test_module = all
        .windows(2)
        .position(|pair| matches!(pair, [attribute, module] if attribute.trim() == "#[cfg(test)]" && module.starts_with("mod ") && module.ends_with('{')));
    test_module.unwrap_or(all.len())
}

fn too_long(files: &[File]) -> Vec<String> {
    let limit = |path: &str| if path.starts_with("tests/") { MAX_TEST_LINES } else { MAX_LINES };
    let long = files.iter().filter(|file| lines(&file.text) > limit(&file.path));
    long.map(|file| {
        format!(
            "{}: {} lines before its tests; which two concerns are these?",
            file.path,
            lines(&file.text)
        )
    })
    .collect()
}

/// Code and texts of code that name a vendor, tests included; comments may, where they cite a source.
fn vendors_named(files: &[File], words: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        let allowed = file.path.starts_with("src/simulate/") || MAY_NAME_VENDORS.iter().any(|(path, _)| *path == file.path);
        for token in tree::tokens(&file.path, &file.text, Scope::All) {
            let (Kind::Word(text) | Kind::Literal(text)) = &token.kind else {
                continue;
            };
            if let Some(word) = words.iter().find(|word| !allowed && contains_word(text, word)) {
                faults.push(format!("{}:{}: `{word}` is a vendor; a provider is data", file.path, token.line));
            }
        }
    }
    faults
}

/// Whole words only, `_` and humps as borders: `primed` is no vendor, `HuaweiSigner` is one.
fn contains_word(text: &str, word: &str) -> bool {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in text.chars() {
        let hump = c.is_ascii_uppercase() && before.is_ascii_lowercase();
        if hump || !c.is_ascii_alphabetic() {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| c.is_ascii_alphabetic()) {
            last.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.iter().any(|found| found == word)
}

/// The shipped providers and the vendors behind them.
fn vendor_words() -> Vec<String> {
    let compiled = taskgate::config::compile::compile(&shipped::sources(), ROUTES_FILE, &Environment::default()).unwrap();
    let providers = compiled.table.providers.keys().cloned();
    providers.chain(VENDORS.map(str::to_owned)).collect()
}

fn left_open(files: &[File]) -> Vec<String> {
    // In pieces, so that this file does not hold what it looks for.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME")];
    occurrences(files, &words, "finish it or leave it out")
}

fn machine_paths(files: &[File]) -> Vec<String> {
    let prefixes = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
        concat!("C:", "\\"),
    ];
    occurrences(files, &prefixes, "a path of one machine")
}

fn occurrences(files: &[File], words: &[&str], why: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                faults.push(format!("{}:{}: `{word}`: {why}", file.path, number + 1));
            }
        }
    }
    faults
}

fn all_sources() -> Vec<File> {
    ["src", "tests", "benches", "fuzz"].into_iter().flat_map(tree::sources).collect()
}

#[test]
fn every_source_opens_with_its_purpose() {
    none(&without_purpose(&all_sources()));
    some(&without_purpose(&[sample("src/a.rs", "use x;")]), "no `//!` sentence");
}

#[test]
fn no_source_is_longer_than_a_person_reads() {
    none(&too_long(&all_sources()));
    let long = "x\n".repeat(MAX_LINES + 1);
    some(&too_long(&[sample("src/a.rs", &long)]), "501 lines");
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{long}}}\n", "x\n".repeat(MAX_LINES));
    none(&too_long(&[sample("src/a.rs", &tests)]));
}

#[test]
fn a_provider_is_data() {
    let words = vendor_words();
    none(&vendors_named(&tree::sources("src"), &words));
    let named = |text: &str| vendors_named(&[sample("src/a.rs", text)], &words);
    some(&named("struct HuaweiSigner;"), "`huawei` is a vendor");
    some(&named("fn f() { g(\"/tasks/prime/15\") }"), "`prime` is a vendor");
    some(&named("const ZSTACK_TASK: u8 = 1;"), "`zstack` is a vendor");
    none(&named("// as in the Prime reference\n/// cfw\nfn primed() {}"));
    for (path, _) in MAY_NAME_VENDORS {
        let text = tree::read(path);
        let elsewhere = [sample("src/elsewhere.rs", &text)];
        assert!(
            !vendors_named(&elsewhere, &words).is_empty(),
            "{path} no longer needs its exception"
        );
    }
}

#[test]
fn nothing_is_left_open() {
    none(&left_open(&tree::files("")));
    some(&left_open(&[sample("a.md", concat!("later: TO", "DO"))]), "a.md:1");
}

#[test]
fn no_path_of_a_machine() {
    none(&machine_paths(&tree::files("")));
    some(&machine_paths(&[sample("a.md", concat!("see /ho", "me/somebody/x"))]), "a.md:1");
}

fn sample(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}
