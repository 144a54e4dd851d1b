//! The vendor of the race: answers both calls at once, from memory, and refuses what it must not be asked.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

use crate::sockets::{Connection, Poller, message};
use crate::work::{BASIC, INSTANCE, JSON_PATH, LOGIN_PATH, TOKEN, Work, XML_PATH, request_id};

/// Serves until the process is ended.
///
/// # Errors
/// When the system refuses.
pub fn run(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let mut poller = Poller::new()?;
    poller.watch(&listener, LISTENER)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut ready = Vec::new();
    let mut reply = String::new();
    loop {
        poller.wait(None, &mut ready)?;
        for &token in &ready {
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    let token = usize::try_from(stream.as_raw_fd()).expect("descriptors are not negative");
                    if connections.len() <= token {
                        connections.resize_with(token + 1, || None);
                    }
                    let connection = Connection::new(stream)?;
                    poller.watch(connection.stream(), token)?;
                    connections[token] = Some(connection);
                }
            } else if let Some(connection) = &mut connections[token]
                && !serve(connection, &mut reply).unwrap_or(false)
            {
                connections[token] = None;
            }
        }
    }
}

/// Answers what is there; `false` ends the connection.
fn serve(connection: &mut Connection, reply: &mut String) -> io::Result<bool> {
    if !connection.fill()? {
        return Ok(false);
    }
    while let Some((head, whole)) = message(connection.read())? {
        reply.clear();
        if answer(&connection.read()[..head], &connection.read()[head..whole], reply).is_none() {
            let asked = String::from_utf8_lossy(&connection.read()[..whole]);
            eprintln!("stub: refused\n{asked}");
            reply.push_str("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        connection.consume(whole);
        connection.write(reply.as_bytes())?;
    }
    Ok(true)
}

fn answer(head: &[u8], body: &[u8], reply: &mut String) -> Option<()> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok()?;
    let header = |name: &str| {
        let mut found = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.next().map(|header| header.value)
    };
    let (path, query) = request.path?.split_once('?').unwrap_or((request.path?, ""));
    match (request.method?, path) {
        ("POST", JSON_PATH) => {
            let fits = header("x-auth-token")? == TOKEN.as_bytes() && header("content-type")?.starts_with(b"application/json");
            let id = json_text(body, "task_id").filter(|id| fits && id.len() == 36)?;
            (query.strip_prefix("fw_instance_id=")? == INSTANCE).then_some(())?;
            let document = Work::Json.vendor_reply(id);
            let (length, exchange) = (document.len(), request_id(id));
            write!(
                reply,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: {exchange}\r\nContent-Length: {length}\r\n\r\n{document}"
            )
            .ok()
        }
        ("PUT", XML_PATH) => {
            let fits = header("authorization")? == BASIC.as_bytes() && header("content-type")?.starts_with(b"application/xml");
            let body = std::str::from_utf8(body).ok().filter(|_| fits)?;
            let id = body.split_once("<runId>")?.1.split_once("</runId>")?.0;
            let document = Work::Xml.vendor_reply(id);
            let length = document.len();
            write!(
                reply,
                "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{document}"
            )
            .ok()
        }
        // Where the gateway logs in, once.
        ("POST", LOGIN_PATH) => write!(
            reply,
            "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Subject-Token: {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}"
        )
        .ok(),
        _ => None,
    }
}

/// The text of the only member that the body may have.
fn json_text<'b>(body: &'b [u8], name: &str) -> Option<&'b str> {
    let text = std::str::from_utf8(body).ok()?.trim().strip_prefix('{')?.strip_suffix('}')?;
    let rest = text.trim().strip_prefix('"')?.strip_prefix(name)?.strip_prefix('"')?;
    rest.trim_start().strip_prefix(':')?.trim().strip_prefix('"')?.strip_suffix('"')
}

const LISTENER: usize = usize::MAX;
