//! The built program as a child process: run to its end, or kept running until a signal. Whatever happens to the test, the
//! child does not outlive it, and no temporary folder stays.
//!
//! **Invariants**: the child sees the variables of the test and no others, but for a balancer that takes no time to notice that it
//! leaves; what it prints never holds one of [`SECRETS`].

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use taskgate::config::sources::Sources;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::overheard;

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program to its end.
#[track_caller]
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let output = command(arguments, environment).stdin(Stdio::null()).output().unwrap();
    let ended = Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    ended.keep(arguments);
    ended.check_secrets();
    ended
}

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taskgate"));
    command
        .env_clear()
        .args(arguments)
        .env("TASKGATE_DRAIN_DELAY", "0s")
        .envs(environment.iter().copied());
    command
}

impl Ended {
    /// For `scripts/secrets`. What `simulate` prints are the credentials of its simulators: that is what it is for.
    fn keep(&self, arguments: &[&str]) {
        overheard::keep(&self.stderr);
        if arguments.first() != Some(&"simulate") {
            overheard::keep(&self.stdout);
        }
    }

    #[track_caller]
    fn check_secrets(&self) {
        for secret in SECRETS {
            let encoded = BASE64_STANDARD.encode(format!("{PRIME_USER}:{secret}"));
            for text in [&self.stdout, &self.stderr] {
                assert!(!text.contains(secret) && !text.contains(&encoded), "a secret was printed: {text}");
            }
        }
    }
}

/// The program while it runs.
pub(crate) struct Running {
    arguments: Vec<String>,
    child: Child,
    pid: u32,
    lines: Lines<BufReader<ChildStdout>>,
    printed: String,
    /// Standard error so far.
    logged: watch::Receiver<String>,
    stderr: JoinHandle<()>,
    reads_log: bool,
}

/// What becomes of standard error.
pub(crate) enum Stderr {
    /// It is read.
    Read,
    /// A disk without room.
    Full,
    /// A pipe that nobody reads.
    Stuck,
}

impl Running {
    /// Starts the program.
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::logging_to(Stderr::Read, arguments, environment)
    }

    /// Starts the program; its log goes there.
    pub(crate) fn logging_to(log: Stderr, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = tokio::process::Command::from(command(arguments, environment));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(match log {
                Stderr::Read | Stderr::Stuck => Stdio::piped(),
                Stderr::Full => fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
            })
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (told, logged) = watch::channel(String::new());
        let stderr = child.stderr.take();
        let reads_log = matches!(log, Stderr::Read);
        let stderr = tokio::spawn(async move {
            match (stderr, log) {
                (Some(stderr), Stderr::Read) => read_all(stderr, told).await,
                (Some(stderr), _) => {
                    // Open, and not read, until the test has seen the end of the program.
                    told.closed().await;
                    drop(stderr);
                }
                (None, _) => {}
            }
        });
        Self {
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            pid: child.id().unwrap(),
            child,
            lines: BufReader::new(stdout).lines(),
            printed: String::new(),
            logged,
            stderr,
            reads_log,
        }
    }

    /// Waits for a line of standard output that starts so, and returns the rest of it.
    pub(crate) async fn line(&mut self, start: &str) -> String {
        let wait = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.printed.push_str(&line);
                self.printed.push('\n');
                if let Some(rest) = line.strip_prefix(start) {
                    return rest.to_owned();
                }
            }
            panic!("it ended without a line `{start}…`: {}", self.printed);
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no line `{start}…`"))
    }

    /// Waits until this has been logged so many times.
    pub(crate) async fn logged(&mut self, text: &str, times: usize) {
        let enough = |logged: &String| logged.matches(text).count() >= times;
        let found = timeout(PATIENCE, self.logged.wait_for(enough)).await.map(|found| found.is_ok());
        assert_eq!(found, Ok(true), "`{text}` was not logged {times} times: {}", *self.logged.borrow());
    }

    /// The address in the line `<start>http://…`.
    pub(crate) async fn address(&mut self, start: &str) -> SocketAddr {
        self.line(&format!("{start}http://")).await.parse().unwrap()
    }

    /// Standard output up to the line that was waited for last.
    pub(crate) fn printed(&self) -> &str {
        &self.printed
    }

    /// Sends a signal to this process, by its id.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -s {name} {}", self.pid))
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        let wait = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.printed.push_str(&line);
                self.printed.push('\n');
            }
            self.child.wait().await.unwrap().code()
        };
        let code = timeout(PATIENCE, wait).await.unwrap();
        let stderr = match self.reads_log {
            true => {
                self.stderr.await.unwrap();
                self.logged.borrow().clone()
            }
            false => String::new(),
        };
        let ended = Ended {
            code,
            stdout: self.printed,
            stderr,
        };
        ended.keep(&self.arguments.iter().map(String::as_str).collect::<Vec<_>>());
        ended
    }

    /// Ends it as an operator does, and looks at what it has printed.
    pub(crate) async fn terminate(self) -> Ended {
        self.signal("TERM");
        let ended = self.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.check_secrets();
        ended
    }
}

async fn read_all(stderr: ChildStderr, told: watch::Sender<String>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        told.send_modify(|text| {
            text.push_str(&line);
            text.push('\n');
        });
    }
}

/// A folder that is removed when the test is over.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(uuid::Uuid::new_v4().simple().to_string());
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A folder with these files.
    pub(crate) fn with(sources: &Sources) -> Self {
        let folder = Self::new();
        for path in sources.list("") {
            folder.write(&path, &sources.read(&path).unwrap());
        }
        folder
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let target = self.0.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, text).unwrap();
    }

    /// The path of something inside, as an argument.
    pub(crate) fn path(&self, inside: &str) -> String {
        self.0.join(inside).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in the build's own folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The variables of all vendors with secrets that no simulator uses; the endpoints lead nowhere.
pub(crate) const CONFIGURED: [(&str, &str); 10] = [
    ("CFW_ENDPOINT", "http://cfw.invalid"),
    ("DBSS_ENDPOINT", "http://dbss.invalid"),
    ("HSS_ENDPOINT", "http://hss.invalid"),
    ("HUAWEI_PROJECT_ID", "09bb24e6fe80d23d2fa2c010b53b418c"),
    ("HUAWEI_TOKEN", SECRETS[0]),
    ("PRIME_ENDPOINT", "http://prime.invalid"),
    ("PRIME_PASSWORD", SECRETS[1]),
    ("PRIME_USER", PRIME_USER),
    ("ZSTACK_ENDPOINT", "http://zstack.invalid"),
    ("ZSTACK_SESSION", SECRETS[2]),
];
/// Made up, and found in no text by accident.
pub(crate) const SECRETS: [&str; 3] = [
    "s3cret-token-that-opens-nothing",
    "s3cret-password-that-opens-nothing",
    "s3cret-session-that-opens-nothing",
];
const PRIME_USER: &str = "operator";
