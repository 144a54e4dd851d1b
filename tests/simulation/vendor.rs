//! Machines of vendors: they accept connections, read requests, and answer them, or whatever the weather makes of it.
//!
//! **Invariants**: what a vendor does ([`product`]) and what becomes of its answer (here) are two things; trouble happens to both kinds
//! of requests, those that act and those that only ask.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use crate::plan::{Service, Trouble};
use crate::product::{self, Reply};
use crate::world::{World, now};

/// A request as a vendor sees it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name)?;
        Some(&found.1)
    }

    /// The first request in these bytes and its length, where all of it is there.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines.next().unwrap().split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = lines.map(|line| line.split_once(':').unwrap());
        let asked = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: String::new(),
        };
        let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = bytes.get(end..end + length)?;
        let body = String::from_utf8(body.to_vec()).unwrap();
        Some((Self { body, ..asked }, end + length))
    }
}

/// A machine with these services, until it loses power.
pub(crate) async fn machine(world: World, services: Vec<Service>) -> turmoil::Result {
    let mut processes = JoinSet::new();
    for service in services {
        processes.spawn_local(process(world.clone(), service));
    }
    while let Some(ended) = processes.join_next().await {
        ended?;
    }
    Ok(())
}

/// One service; where the plan says so, it is down for a while.
async fn process(world: World, service: Service) {
    let down = world.plan.weather[service as usize].down;
    loop {
        if let Some(down) = down.filter(|down| down.has(now())) {
            world.log(&format!("{}: the process is down", service.name()));
            sleep(Duration::from_millis(down.to - now())).await;
        }
        let listener = TcpListener::bind(("0.0.0.0", service.place().1)).await.unwrap();
        let mut connections = JoinSet::new();
        let accepting = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn_local(connection(world.clone(), service, stream));
                while connections.try_join_next().is_some() {}
            }
        };
        match down.filter(|down| now() < down.from) {
            Some(down) => {
                let until = Duration::from_millis(down.from - now());
                let _time_is_up: Result<(), _> = timeout(until, accepting).await;
            }
            None => accepting.await,
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// The next request, and how many bytes of it are left unread in the socket.
    async fn next(&mut self) -> Option<(Asked, usize)> {
        if self.buffer.is_empty() {
            let mut view = vec![0; 16 * 1024];
            let seen = self.stream.peek(&mut view).await.ok().filter(|seen| *seen > 0)?;
            if let Some((asked, length)) = Asked::read(&view[..seen]).filter(|(_, length)| *length == seen) {
                return Some((asked, length));
            }
        }
        loop {
            if let Some((asked, length)) = Asked::read(&self.buffer) {
                self.buffer.drain(..length);
                return Some((asked, 0));
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Reads what is left of the request.
    async fn take(&mut self, unread: usize) -> Option<()> {
        self.stream.read_exact(&mut vec![0; unread]).await.ok()?;
        Some(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).await.ok()
    }
}

async fn connection(world: World, service: Service, stream: TcpStream) {
    let mut connection = Connection {
        stream,
        buffer: Vec::new(),
    };
    while let Some((asked, unread)) = connection.next().await {
        let trouble = world.trouble(service, now());
        let served = match trouble {
            None => calm(&world, service, &asked, unread, &mut connection).await,
            Some(trouble) => stormy(&world, service, &asked, unread, &mut connection, trouble).await,
        };
        if served.is_none() {
            return;
        }
    }
}

async fn calm(world: &World, service: Service, asked: &Asked, unread: usize, connection: &mut Connection) -> Option<()> {
    connection.take(unread).await?;
    let reply = product::answer(world, service, asked, "");
    connection.write(&reply.bytes()).await
}

/// Nothing where the connection is to be closed.
async fn stormy(
    world: &World,
    service: Service,
    asked: &Asked,
    unread: usize,
    connection: &mut Connection,
    trouble: Trouble,
) -> Option<()> {
    let trouble = match trouble {
        Trouble::Broke(_) | Trouble::Unauthorized | Trouble::Unavailable if product::is_about_a_job(service, asked) => {
            Trouble::Plain(503, false)
        }
        other => other,
    };
    let note = format!(" [{trouble:?}]");
    let act = || product::answer(world, service, asked, &note);
    let act_if = |acts: bool| {
        if acts {
            act()
        } else {
            product::ignore(world, service, asked, &note);
            Reply::new(200, r#"{"nothing":"was done"}"#)
        }
    };
    if let Trouble::Reset(acts) = trouble {
        act_if(acts);
        // Closing with unread bytes resets the connection.
        return None;
    }
    connection.take(unread).await?;
    match trouble {
        Trouble::Close(acts) | Trouble::Reset(acts) => {
            act_if(acts);
            None
        }
        Trouble::Drip => {
            let reply = act().bytes();
            let pause = Duration::from_millis(20 + world.draw(service, 300));
            for part in reply.chunks(24) {
                connection.write(part).await?;
                sleep(pause).await;
            }
            Some(())
        }
        Trouble::Goodbye => {
            connection.write(&act().bytes()).await?;
            None
        }
        Trouble::Hang(acts) => {
            act_if(acts);
            let mut rest = Vec::new();
            let _ = connection.stream.read_to_end(&mut rest).await;
            None
        }
        Trouble::HalfHead(acts) => {
            act_if(acts);
            connection.write(b"HTTP/1.1 200 OK\r\ncontent-ty").await?;
            None
        }
        Trouble::Interim => {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
            connection.write(interim).await?;
            connection.write(&act().bytes()).await
        }
        Trouble::Late => {
            sleep(Duration::from_millis(world.draw(service, SLOW_MS))).await;
            connection.write(&act().bytes()).await
        }
        Trouble::Noise(acts) => {
            act_if(acts);
            connection.write(b"\x15\x03\x01 this is no HTTP\r\n\r\n").await?;
            None
        }
        Trouble::Page(acts) => {
            act_if(acts);
            let page = Reply::new(200, "<html><body>Welcome to the proxy</body></html>").with("content-type", "text/html");
            connection.write(&page.bytes()).await
        }
        Trouble::Plain(status, acts) => {
            act_if(acts);
            connection.write(&Reply::new(status, "").bytes()).await
        }
        Trouble::Broke(acts) => {
            act_if(acts);
            connection.write(&product::broke(service).bytes()).await
        }
        Trouble::Slow => {
            let reply = act();
            sleep(Duration::from_millis(world.draw(service, SLOW_MS))).await;
            connection.write(&reply.bytes()).await
        }
        Trouble::Throttled => {
            product::ignore(world, service, asked, &note);
            connection.write(&product::throttled(service).bytes()).await
        }
        Trouble::Truncated(acts) => {
            let reply = act_if(acts).longer_than_it_is();
            connection.write(&reply.bytes()).await?;
            None
        }
        Trouble::Unavailable => {
            product::ignore(world, service, asked, &note);
            connection.write(&product::unavailable(service).bytes()).await
        }
        Trouble::Unauthorized => {
            product::ignore(world, service, asked, &note);
            connection.write(&product::unauthorized(service).bytes()).await
        }
    }
}

/// Longer than any limit of the routes.
const SLOW_MS: u64 = 13_000;
