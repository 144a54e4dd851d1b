//! The routes that the checks go through: the shipped ones and those of the made-up vendor of `tests/fixtures/sixth`, each with the
//! call of its case `ok`.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use taskgate::config::case::{self, Case};
use taskgate::config::compile::compile;
use taskgate::config::diagnostic::Diagnostics;
use taskgate::config::environment::Environment;
use taskgate::config::files::FileSet;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::config::sources::Sources;
use taskgate::model::call::TaskCall;
use taskgate::route::{LOOK, Provider, Route, RouteTable};

/// A route and a call that fits it.
pub(super) struct Ask {
    pub(super) table: Arc<RouteTable>,
    pub(super) provider: Arc<Provider>,
    pub(super) route: Arc<Route>,
    pub(super) call: TaskCall,
}

/// One for every route, looks included.
pub(super) fn asks() -> &'static [Ask] {
    static ASKS: LazyLock<Vec<Ask>> = LazyLock::new(|| {
        let shipped = read(&shipped::sources());
        let sixth = read(&sixth());
        shipped.into_iter().chain(sixth).collect()
    });
    &ASKS
}

/// The one for `prime/stop`.
pub(super) fn ask(name: &str) -> Option<&'static Ask> {
    let (provider, action) = name.split_once('/')?;
    asks()
        .iter()
        .find(|ask| ask.route.provider == provider && ask.route.action == action)
}

/// The tree of the made-up vendor; a fuzz target's manifest is one folder further in.
pub(super) fn sixth() -> Sources {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |root: &Path| root.join("tests/fixtures/sixth");
    let here = folder(manifest);
    Sources::folder(if here.is_dir() { here } else { folder(manifest.parent().unwrap()) })
}

/// The environment of all cases of a tree.
pub(super) fn environment(sources: &Sources) -> Environment {
    let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
    let folders: std::collections::BTreeSet<String> = sources
        .list("cases")
        .iter()
        .filter_map(|path| Some(path.split('/').nth(1)?.to_owned()))
        .collect();
    folders.iter().fold(Environment::default(), |all, provider| {
        let own = case::environment(sources, provider, &mut files, &mut faults);
        let pairs: Vec<_> = own
            .names()
            .map(|name| (name.to_owned(), own.value(name).unwrap_or_default().to_owned()))
            .collect();
        all.with(pairs)
    })
}

fn read(sources: &Sources) -> Vec<Ask> {
    let compiled = compile(sources, ROUTES_FILE, &environment(sources));
    let table = compiled
        .unwrap_or_else(|rejected| panic!("{}", rejected.faults.render(&rejected.files)))
        .table;
    let only_ok = sources.list("cases").into_iter().filter(|path| path.ends_with("/ok.yaml"));
    let only_ok = Sources::memory(only_ok.map(|path| (path.clone(), sources.read(&path).unwrap())));
    let (mut files, mut faults) = (FileSet::default(), Diagnostics::default());
    let cases = case::read_all(&only_ok, &mut files, &mut faults);
    assert!(faults.is_empty(), "{}", faults.render(&files));
    cases.into_iter().map(|case| to_ask(&table, case)).collect()
}

fn to_ask(table: &Arc<RouteTable>, case: Case) -> Ask {
    let provider = Arc::clone(&table.providers[&case.provider]);
    let is_look = case.action == LOOK;
    let route = match &provider.task {
        Some(task) if is_look => Arc::clone(&task.route),
        _ => Arc::clone(&provider.actions[&case.action]),
    };
    let body = case.content.call.body.as_ref().and_then(|body| body.as_object().cloned());
    Ask {
        table: Arc::clone(table),
        provider,
        route,
        call: TaskCall {
            provider: case.provider,
            id: case.content.call.id,
            action: (!is_look).then_some(case.action),
            body: body.unwrap_or_default(),
            query: case.content.call.query.into_iter().collect(),
            wait: None,
            resumed: None,
        },
    }
}
