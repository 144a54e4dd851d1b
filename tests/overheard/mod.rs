//! Keeps what a test's own process and the programs that it starts write, so that `scripts/secrets` can look through it: the log of
//! everything, as talkative as an operator can make it. `./scripts/test` says where; without it nothing is kept.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, Once};

use taskgate::telemetry::log;

/// Writes the log of this process down, libraries included. The first call counts.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        if let Some(file) = file("log") {
            let subscriber = log::subscriber(true, false, "trace", Mutex::new(file)).unwrap();
            // A test that looks at the log itself has one already.
            let _ = tracing::subscriber::set_global_default(subscriber);
        }
    });
}

/// Writes down what a program has printed.
pub(crate) fn keep(printed: &str) {
    if let Some(mut file) = file("printed") {
        file.write_all(printed.as_bytes()).unwrap();
    }
}

/// The file of this process.
fn file(kind: &str) -> Option<File> {
    let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty())?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(format!("{kind}-{}", std::process::id()));
    Some(OpenOptions::new().create(true).append(true).open(path).unwrap())
}

const FOLDER: &str = "TASKGATE_TEST_OUTPUT";
