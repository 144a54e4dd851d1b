//! What a caller can get wrong, byte by byte, against the running gateway: the answer, what becomes of the connection, and that no
//! vendor was called. The rows are numbered as those of the fault catalogue, parts 3a to 3c.
//!
//! | module | rows |
//! |---|---|
//! | `target` | 1 to 21: paths, ids, methods, forms of targets |
//! | `head` | 22 to 32, 36 to 38: framing, hosts, headers |
//! | `body` | 40 to 48: the canonical body |
//! | `leaving` | 33, 34, 39: who is slow, who leaves, who does not fit |

mod body;
mod head;
mod leaving;
mod target;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answers::{Seen, Told};
use super::caller::split_answers;
use super::rig::{Rig, VENDORS};

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The server ends it, and has said so.
    Closes,
    /// The next request on it is served.
    GoesOn,
}
use Then::{Closes, GoesOn};

/// One row: its number, what it is, the bytes, what is said to them, and what becomes of the connection.
type Row<'a> = (u8, &'a str, Vec<u8>, &'a str, Then);

/// Sends each row on a connection of its own, with another request behind it.
async fn check(rig: &Rig, rows: Vec<Row<'_>>) {
    let mut differences = Vec::new();
    for (row, what, bytes, answer, then) in rows {
        let told = ask(rig, &[&bytes, FOLLOWING].concat()).await;
        let mut words: Vec<String> = told.iter().map(Told::word).collect();
        for told in &told {
            told.check(Seen::OnTheWire);
        }
        let goes_on = words.len() > 1 && words.last().is_some_and(|last| last == "404 UNKNOWN_PATH");
        if goes_on {
            words.pop();
        }
        let found = if goes_on { GoesOn } else { Closes };
        let says_so = goes_on || told.last().is_some_and(|told| told.header("connection") == Some("close"));
        let calls = calls(rig);
        if (words.as_slice(), found, says_so, calls) != (&[answer.to_owned()][..], then, true, 0) {
            differences.push(format!("row {row}, {what}: {words:?} {found:?} (said: {says_so}), {calls} calls"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// All answers until the server ends the connection.
async fn ask(rig: &Rig, bytes: &[u8]) -> Vec<Told> {
    split_answers(&raw(rig, bytes).await)
}

async fn raw(rig: &Rig, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut text = Vec::new();
    // The server may answer, and end, before it has taken everything.
    let (_, read) = tokio::join!(writer.write_all(bytes), reader.read_to_end(&mut text));
    read.unwrap();
    String::from_utf8(text).unwrap()
}

/// Calls at all vendors.
fn calls(rig: &Rig) -> u64 {
    VENDORS.iter().map(|vendor| rig.simulators.calls(vendor).unwrap()).sum()
}

/// A request without a body.
fn post(target: impl AsRef<[u8]>) -> Vec<u8> {
    line(b"POST", target.as_ref())
}

fn line(method: &[u8], target: &[u8]) -> Vec<u8> {
    [method, b" ", target, b" HTTP/1.1\r\nhost: gate.test\r\n\r\n"].concat()
}

/// The everyday call of `prime` with these lines in its head, and what is behind it.
fn prime(fields: &str, behind: &str) -> Vec<u8> {
    format!("POST /tasks/prime/15:stop HTTP/1.1\r\nhost: gate.test\r\n{fields}\r\n{behind}").into_bytes()
}

const FOLLOWING: &[u8] = b"GET /nothing HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n\r\n";
