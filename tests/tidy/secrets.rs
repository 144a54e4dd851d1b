//! Secrets of tests can be told from everything else, so that `scripts/secrets` finds one that got out.

use std::path::Path;
use std::process::{Command, Stdio};

use taskgate::config::case;
use taskgate::config::diagnostic::Diagnostics;
use taskgate::config::files::FileSet;
use taskgate::config::shipped;
use taskgate::config::sources::Sources;
use taskgate::crypto::sha512_hex;
use taskgate::simulate;

use crate::tree::{self, File, Kind, Scope};
use crate::{none, some};

/// The marks, one in every secret.
fn marks() -> Vec<String> {
    let lines = tree::read("tests/secrets.txt");
    lines.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn is_marked(secret: &str) -> bool {
    marks().iter().any(|mark| secret.contains(mark))
}

/// Is the variable with this name a secret? The public half of an access key is none.
fn is_secret(variable: &str) -> bool {
    let public = variable.ends_with("ACCESS_KEY") || variable.ends_with("_ID");
    is_variable(variable)
        && !public
        && ["_KEY", "_PASSWORD", "_SECRET", "_SESSION", "_TOKEN"]
            .iter()
            .any(|word| variable.ends_with(word))
}

fn is_variable(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Secrets that stand beside the name of their variable in a test, without a mark.
fn unmarked(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        let tokens = tree::tokens(&file.path, &file.text, Scope::All);
        for three in tokens.windows(3) {
            if let [name, comma, value] = three
                && let (Kind::Literal(name), Kind::Other, Kind::Literal(text)) = (&name.kind, &comma.kind, &value.kind)
                && is_secret(name.trim_matches('"'))
                && !is_marked(text)
                // Names in a row are a list of variables.
                && !is_variable(text.trim_matches('"'))
                && !NOT_SECRET.contains(&text.trim_matches('"'))
            {
                faults.push(format!(
                    "{}:{}: the value of {name} has no mark of tests/secrets.txt",
                    file.path, value.line
                ));
            }
        }
    }
    faults
}

/// What a test sets such a variable to without meaning a secret.
const NOT_SECRET: [&str; 2] = [
    // None.
    "", // Its digest is known from elsewhere.
    "password",
];

#[test]
fn every_secret_of_a_test_has_a_mark() {
    none(&unmarked(&tree::sources("tests")));
    let sample = |text: &str| {
        let (path, text) = ("tests/a.rs".to_owned(), text.to_owned());
        unmarked(&[File { path, text }])
    };
    some(&sample("fn f() { g([(\"ACME_TOKEN\", \"hunter2\")]) }"), "tests/a.rs:1");
    none(&sample(
        "fn f() { g([(\"ACME_TOKEN\", \"x-that-opens-nothing\"), (\"ACME_ACCESS_KEY\", \"ak\")]) }",
    ));
}

#[test]
fn every_secret_of_a_case_has_a_mark() {
    let sixth = Sources::folder(tree::root().join("tests/fixtures/sixth"));
    let mut seen = 0;
    for sources in [shipped::sources(), sixth] {
        let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
        let cases = case::read_all(&sources, &mut files, &mut faults);
        let own = cases.iter().flat_map(|case| case.content.environment.clone());
        let providers: std::collections::BTreeSet<&String> = cases.iter().map(|case| &case.provider).collect();
        let shared = providers.into_iter().flat_map(|provider| {
            let environment = case::environment(&sources, provider, &mut files, &mut faults);
            let pairs = environment
                .names()
                .map(|name| (name.to_owned(), environment.value(name).unwrap_or_default().to_owned()));
            pairs.collect::<Vec<_>>()
        });
        for (name, value) in own.chain(shared.collect::<Vec<_>>()).filter(|(name, _)| is_secret(name)) {
            seen += 1;
            assert!(is_marked(&value), "the value of {name} in a case has no mark of tests/secrets.txt");
        }
    }
    assert!(seen >= 10, "{seen} secrets only");
}

#[test]
fn every_secret_of_a_simulator_has_a_mark() {
    for secret in [
        simulate::HUAWEI_PASSWORD,
        simulate::HUAWEI_SECRET_KEY,
        simulate::HUAWEI_SECURITY_TOKEN,
        simulate::HUAWEI_TEMPORARY_SECRET_KEY,
        simulate::HUAWEI_TOKEN,
        simulate::PRIME_PASSWORD,
        simulate::ZSTACK_ACCESS_KEY_SECRET,
        simulate::ZSTACK_PASSWORD,
        // As good as the password itself.
        &sha512_hex(simulate::ZSTACK_PASSWORD.as_bytes()),
        simulate::ZSTACK_SESSION,
    ] {
        assert!(is_marked(secret), "{secret}");
    }
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secrets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let search = |text: &str| {
        std::fs::write(folder.join("log"), text).unwrap();
        let mut command = Command::new(tree::root().join("scripts/secrets"));
        command
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .code()
    };
    let secret = "my-token-that-opens-nothing";
    let found = [
        format!("a line\nX-Auth-Token: {secret}\n"),
        // `u:`, `us:` and `use:` before the same secret.
        "Basic dTpteS10b2tlbi10aGF0LW9wZW5zLW5vdGhpbmc=".to_owned(),
        "Basic dXM6bXktdG9rZW4tdGhhdC1vcGVucy1ub3RoaW5n".to_owned(),
        "Basic dXNlOm15LXRva2VuLXRoYXQtb3BlbnMtbm90aGluZw==".to_owned(),
        format!("{:?}", secret.as_bytes()),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    for text in &found {
        assert_eq!(search(text), Some(1), "{text}");
    }
    for text in ["", "X-Auth-Token: Sensitive", "Basic dTpoaWRkZW4=", "that opens nothing"] {
        assert_eq!(search(text), Some(0), "{text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(search_nothing(&folder), Some(2), "what is not there is not clean");
}

fn search_nothing(path: &Path) -> Option<i32> {
    let mut command = Command::new(tree::root().join("scripts/secrets"));
    command
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .code()
}
