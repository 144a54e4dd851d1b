//! The physical limit: one thread on one epoll, no library for HTTP, and the translation of exactly these two calls by hand.
//!
//! Nobody should write a gateway like this: it believes its callers and its vendors, and knows two calls. It is here to show what
//! a process on this kernel cannot go below.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use memchr::memmem;

use crate::sockets::{Connection, Poller, message};
use crate::work::{BASIC, JSON_PATH, TOKEN, XML_PATH};

/// Whether the loop translates or hands bytes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translating {
    /// Bytes are handed on as they are.
    No,
    /// Both calls are translated.
    Yes,
}

/// One connection, of a caller or to the vendor.
struct End {
    connection: Connection,
    /// To the vendor: whose call is under way. Of a caller: nothing.
    caller: Option<usize>,
    upstream: bool,
    /// What has to be told of the request when its answer comes.
    task: Vec<u8>,
}

struct Ends {
    vendor: SocketAddr,
    poller: Poller,
    ends: Vec<Option<End>>,
    idle: Vec<usize>,
    out: Vec<u8>,
}

/// Serves until the process is ended.
///
/// # Errors
/// When the system refuses.
pub fn run(listen: SocketAddr, vendor: SocketAddr, translating: Translating) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let mut ends = Ends {
        vendor,
        poller: Poller::new()?,
        ends: Vec::new(),
        idle: Vec::new(),
        out: Vec::with_capacity(4096),
    };
    ends.poller.watch(&listener, LISTENER)?;
    let mut ready = Vec::new();
    loop {
        ends.poller.wait(None, &mut ready)?;
        for &token in &ready {
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    ends.add(stream, false)?;
                }
            } else if !ends.turn(token, translating).unwrap_or(false) {
                ends.close(token);
            }
        }
    }
}

impl Ends {
    fn add(&mut self, stream: TcpStream, upstream: bool) -> io::Result<usize> {
        let token = usize::try_from(stream.as_raw_fd()).expect("descriptors are not negative");
        let connection = Connection::new(stream)?;
        self.poller.watch(connection.stream(), token)?;
        if self.ends.len() <= token {
            self.ends.resize_with(token + 1, || None);
        }
        self.ends[token] = Some(End {
            connection,
            caller: None,
            upstream,
            task: Vec::new(),
        });
        Ok(token)
    }

    fn close(&mut self, token: usize) {
        self.idle.retain(|idle| *idle != token);
        // A caller whose vendor is lost is lost with it; one that left is noticed when its answer comes.
        if let Some(caller) = self.ends[token].take().and_then(|end| end.caller) {
            self.ends[caller] = None;
        }
    }

    /// Takes what is there one step further; `false` ends the connection.
    fn turn(&mut self, token: usize, translating: Translating) -> io::Result<bool> {
        let Some(end) = &mut self.ends[token] else { return Ok(true) };
        if !end.connection.fill()? {
            return Ok(false);
        }
        let Some((head, whole)) = message(end.connection.read())? else {
            return Ok(true);
        };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let (front, body) = end.connection.read()[..whole].split_at(head);
        let mut task = std::mem::take(&mut end.task);
        let understood = match (translating, end.upstream) {
            (Translating::No, _) => {
                out.extend_from_slice(&end.connection.read()[..whole]);
                Some(())
            }
            (Translating::Yes, false) => to_vendor(front, body, &mut task, &mut out),
            (Translating::Yes, true) => to_caller(front, body, &task, &mut out),
        };
        end.connection.consume(whole);
        if understood.is_none() {
            return Ok(false);
        }
        if end.upstream {
            end.task = task;
            let caller = end.caller.take();
            self.idle.push(token);
            if let Some(caller) = caller.and_then(|caller| self.ends[caller].as_mut()) {
                caller.connection.write(&out)?;
            }
        } else {
            let way = match self.idle.pop() {
                Some(way) => way,
                None => self.add(TcpStream::connect(self.vendor)?, true)?,
            };
            if let Some(way) = &mut self.ends[way] {
                way.caller = Some(token);
                way.task = task;
                way.connection.write(&out)?;
            }
        }
        self.out = out;
        Ok(true)
    }
}

/// The vendor's request; `task` keeps what follows `tasks/` in the path, up to the colon.
fn to_vendor(head: &[u8], body: &[u8], task: &mut Vec<u8>, out: &mut Vec<u8>) -> Option<()> {
    let path = head.strip_prefix(b"POST /tasks/")?;
    let path = &path[..memchr::memchr(b' ', path)?];
    let named = path.strip_suffix(b":stop")?;
    task.clear();
    task.extend_from_slice(named);
    if let Some(id) = named.strip_prefix(b"cfw/") {
        let body = std::str::from_utf8(body).ok()?.as_bytes();
        let instance = between(body, b"\"instance\":\"", b"\"")?;
        if instance.is_empty() || instance.iter().any(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'-')) {
            return None;
        }
        put(
            out,
            &[
                b"POST ",
                JSON_PATH.as_bytes(),
                b"?fw_instance_id=",
                instance,
                b" HTTP/1.1\r\nHost: vendor\r\nX-Auth-Token: ",
            ],
        );
        put(out, &[TOKEN.as_bytes(), b"\r\nContent-Type: application/json\r\nContent-Length: "]);
        number(out, br#"{"task_id":""}"#.len() + id.len());
        put(out, &[b"\r\n\r\n{\"task_id\":\"", id, b"\"}"]);
        return Some(());
    }
    let id = named.strip_prefix(b"prime/").filter(|id| id.iter().all(u8::is_ascii_digit))?;
    const FRONT: &[u8] = b"<jobRunOperationPayload><runIds><runId>";
    const BACK: &[u8] = b"</runId></runIds></jobRunOperationPayload>";
    put(
        out,
        &[
            b"PUT ",
            XML_PATH.as_bytes(),
            b" HTTP/1.1\r\nHost: vendor\r\nAuthorization: ",
            BASIC.as_bytes(),
        ],
    );
    put(
        out,
        &[b"\r\nAccept: application/xml\r\nContent-Type: application/xml\r\nContent-Length: "],
    );
    number(out, FRONT.len() + id.len() + BACK.len());
    put(out, &[b"\r\n\r\n", FRONT, id, BACK]);
    Some(())
}

/// The canonical answer.
fn to_caller(head: &[u8], body: &[u8], task: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let body = std::str::from_utf8(body).ok()?.as_bytes();
    let slash = memchr::memchr(b'/', task)?;
    let (provider, id) = (&task[..slash], &task[slash + 1..]);
    head.strip_prefix(b"HTTP/1.1 200 ")?;
    let exchange = between(head, b"X-Request-Id: ", b"\r");
    let message = if provider == b"prime" {
        let success = between(body, b"<success>", b"</success>")?;
        (between(success, b"<id>", b"</id>")? == id).then_some(())?;
        between(success, b"<message>", b"</message>").filter(|text| memchr::memchr3(b'&', b'"', b'\\', text).is_none())
    } else {
        memmem::find(body, b"\"data\":{")?;
        None
    };
    let quoted = |text: Option<&[u8]>| text.map_or(4, |text| text.len() + 2);
    const PIECES: [&[u8]; 7] = [
        b"{\"task\":\"tasks/",
        b"\",\"provider\":\"",
        b"\",\"id\":\"",
        b"\",\"action\":\"stop\",\"outcome\":\"accepted\",\"state\":\"stopping\",\"name\":null,\"message\":",
        b",\"created_at\":null,\"updated_at\":null,\"operation\":null,\"vendor\":{\"status\":200,\"request_id\":",
        b"}}",
        b"\r\n\r\n",
    ];
    let fixed: usize = PIECES[..6].iter().map(|piece| piece.len()).sum();
    put(
        out,
        &[b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: "],
    );
    number(
        out,
        fixed + task.len() + provider.len() + id.len() + quoted(message) + quoted(exchange),
    );
    put(out, &[PIECES[6], PIECES[0], task, PIECES[1], provider, PIECES[2], id, PIECES[3]]);
    quote(out, message);
    put(out, &[PIECES[4]]);
    quote(out, exchange);
    put(out, &[PIECES[5]]);
    Some(())
}

fn between<'t>(text: &'t [u8], before: &[u8], after: &[u8]) -> Option<&'t [u8]> {
    let rest = &text[memmem::find(text, before)? + before.len()..];
    Some(&rest[..memmem::find(rest, after)?])
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

fn quote(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => put(out, &[b"\"", text, b"\""]),
        None => put(out, &[b"null"]),
    }
}

fn number(out: &mut Vec<u8>, number: usize) {
    let digits = [1000, 100, 10, 1].map(|unit| b'0' + u8::try_from(number / unit % 10).expect("a digit"));
    let zeros = digits.iter().take(3).take_while(|digit| **digit == b'0').count();
    out.extend_from_slice(&digits[zeros..]);
}

const LISTENER: usize = usize::MAX;
