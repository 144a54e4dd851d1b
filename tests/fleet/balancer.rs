//! HAProxy as a child process, under the configuration of docs/fleet.md, with the addresses and intervals of a test in it.
//!
//! **Invariants**: it does not outlive the test; what it says of its servers on standard error is the event that tests wait for.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::program::Folder;

/// HAProxy while it runs.
pub(crate) struct Balancer {
    child: Child,
    said: watch::Receiver<String>,
    reader: JoinHandle<()>,
}

/// The configuration in the document, with each of these texts replaced; each is there, once.
pub(crate) fn documented(changes: &[(&str, &str)]) -> String {
    let block = DOCUMENT
        .split_once("```haproxy\n")
        .and_then(|(_, rest)| rest.split_once("```\n"))
        .unwrap()
        .0;
    changes.iter().fold(block.to_owned(), |block, (from, to)| {
        assert_eq!(block.matches(from).count(), 1, "`{from}` stands once in docs/fleet.md");
        block.replacen(from, to, 1)
    })
}

impl Balancer {
    /// Starts it; returns when it takes connections at `front`.
    pub(crate) async fn start(folder: &Folder, configuration: &str, front: SocketAddr) -> Self {
        folder.write("haproxy.cfg", configuration);
        let file = folder.path("haproxy.cfg");
        let mut child = PROGRAMS.iter().find_map(|program| spawn(program, &file)).expect(
            "HAProxy is not installed: run `apt-get install -y --no-install-recommends haproxy` as root, or ./scripts/test, which does",
        );
        let (told, said) = watch::channel(String::new());
        let reader = tokio::spawn(read(child.stderr.take().unwrap(), told));
        while TcpStream::connect(front).await.is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "HAProxy ended: {}", *said.borrow());
            yield_now().await;
        }
        Self { child, said, reader }
    }

    /// Until it has said of this server so many times that it is up, or down.
    pub(crate) async fn says(&mut self, server: &str, state: &str, times: usize) {
        let text = format!("Server taskgate/{server} is {state}");
        let enough = |said: &String| said.matches(&text).count() >= times;
        let found = timeout(PATIENCE, self.said.wait_for(enough)).await.map(|found| found.is_ok());
        assert_eq!(found, Ok(true), "`{text}` was not said {times} times: {}", *self.said.borrow());
    }

    /// Ends it.
    pub(crate) async fn end(mut self) {
        self.child.kill().await.unwrap();
        self.reader.await.unwrap();
    }
}

/// Nothing where there is no such program.
fn spawn(program: &str, file: &str) -> Option<Child> {
    let mut command = Command::new(program);
    // In the foreground, as one process.
    command
        .args(["-db", "-f", file])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    match command.kill_on_drop(true).spawn() {
        Ok(child) => Some(child),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
    }
}

async fn read(stderr: ChildStderr, told: watch::Sender<String>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        told.send_modify(|said| {
            said.push_str(&line);
            said.push('\n');
        });
    }
}

const DOCUMENT: &str = include_str!("../../docs/fleet.md");
/// Debian puts it where the search path of people who are not root does not lead.
const PROGRAMS: [&str; 2] = ["haproxy", "/usr/sbin/haproxy"];
/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
