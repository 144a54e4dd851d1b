//! Any text as `routes.yaml`: compiled, or refused with faults that can be shown.

use std::sync::LazyLock;

use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped::{self as program, ROUTES_FILE};
use taskgate::config::sources::Sources;

use super::shipped;

/// `data` is the file; the schemas of the shipped routes and of the made-up vendor are there.
pub(super) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (schemas, environment) = &*AROUND;
    let files = schemas.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let sources = Sources::memory(files.chain([(ROUTES_FILE, text)]));
    if let Err(rejected) = compile(&sources, ROUTES_FILE, environment) {
        let shown = rejected.faults.render(&rejected.files);
        assert!(shown.contains("error"), "refused without a word");
        let longest = text.lines().map(str::len).max().unwrap_or_default();
        assert!(
            shown.len() <= 100 * (16 * longest + 2_000),
            "{} bytes about {}",
            shown.len(),
            text.len()
        );
        let coloured = rejected.faults.render_coloured(&rejected.files);
        assert!(coloured.len() >= shown.len());
    }
}

static AROUND: LazyLock<(Vec<(String, String)>, Environment)> = LazyLock::new(|| {
    let mut schemas = Vec::new();
    let mut environment = Environment::default();
    for sources in [program::sources(), shipped::sixth()] {
        schemas.extend(
            sources
                .list("schemas")
                .into_iter()
                .map(|path| (path.clone(), sources.read(&path).unwrap())),
        );
        let own = shipped::environment(&sources);
        let pairs: Vec<_> = own
            .names()
            .map(|name| (name.to_owned(), own.value(name).unwrap_or_default().to_owned()))
            .collect();
        environment = environment.with(pairs);
    }
    (schemas, environment)
});
