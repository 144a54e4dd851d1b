//! A vendor on loopback that follows a script, byte by byte, and counts what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the vendor does with one connection, in order; at the end it closes.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads one whole request.
    Read,
    /// Writes.
    Write(Vec<u8>),
    /// Writes one byte every few milliseconds until the other side closes.
    Drip,
    /// Does nothing until the other side closes.
    Hang,
    /// Closes with a reset.
    Reset,
}

pub(crate) fn write(text: impl AsRef<[u8]>) -> Step {
    Step::Write(text.as_ref().to_vec())
}

/// An answer with a length.
pub(crate) fn answer(status: &str, body: &str) -> Step {
    write(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// The running vendor; ends when dropped.
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
    steps: tokio::sync::watch::Receiver<usize>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<String>,
}

impl Vendor {
    /// One script per connection; the last one serves all that follow.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (done, steps) = tokio::sync::watch::channel(0);
        let counters = (Arc::clone(&seen), Arc::new(done));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            let mut scripts = scripts.into_iter();
            let mut script = scripts.next().unwrap_or_default();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counters.0.lock().unwrap().connections += 1;
                connections.spawn(follow(stream, script.clone(), counters.0.clone(), counters.1.clone()));
                script = scripts.next().unwrap_or(script);
            }
        });
        Self {
            address,
            seen,
            task,
            steps,
        }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Until so many steps have been done, over all connections; the closing at the end of a script is one.
    pub(crate) async fn has_done(&mut self, steps: usize) {
        self.steps.wait_for(|done| *done >= steps).await.unwrap();
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut stream: TcpStream, script: Vec<Step>, seen: Arc<Mutex<Seen>>, done: Arc<tokio::sync::watch::Sender<usize>>) {
    let mut buffer = Vec::new();
    for step in script {
        match step {
            Step::Read => match request(&mut stream, &mut buffer).await {
                Some(request) => seen.lock().unwrap().requests.push(request),
                None => return,
            },
            Step::Write(bytes) => {
                // The other side may have had enough.
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Step::Drip => {
                let mut pace = tokio::time::interval(Duration::from_millis(2));
                loop {
                    pace.tick().await;
                    if stream.write_all(b"x").await.is_err() {
                        break;
                    }
                }
            }
            Step::Hang => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
            Step::Reset => stream.set_zero_linger().unwrap(),
        }
        done.send_modify(|done| *done += 1);
    }
    drop(stream);
    done.send_modify(|done| *done += 1);
}

/// One request with its body, or `None` when the connection ended before.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = &text[..end];
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            let total = end + 4 + length;
            if buffer.len() >= total {
                let rest = buffer.split_off(total);
                return Some(String::from_utf8(std::mem::replace(buffer, rest)).unwrap());
            }
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}
