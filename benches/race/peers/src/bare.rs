//! Bare hyper with a pool of its own: a plain proxy and a translator, without anything that makes a gateway.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use crate::translate;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Connections to the vendor that nobody uses just now.
#[derive(Debug)]
pub struct Pool {
    vendor: SocketAddr,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
}

impl Pool {
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let kept = loop {
            let kept = self.idle.borrow_mut().pop();
            match kept {
                Some(kept) if kept.is_closed() => {}
                other => break other,
            }
        };
        let mut way = match kept {
            Some(kept) => kept,
            None => {
                let stream = TcpStream::connect(self.vendor).await?;
                stream.set_nodelay(true)?;
                let (way, connection) = handshake(TokioIo::new(stream)).await?;
                spawn_local(connection);
                way
            }
        };
        way.ready().await?;
        let (head, body) = way.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.idle.borrow_mut().push(way);
        Ok(Response::from_parts(head, body))
    }
}

/// Serves with one thread until the process is ended.
///
/// # Errors
/// When the system refuses.
pub fn run<F, R>(listen: SocketAddr, vendor: SocketAddr, serve: F) -> io::Result<()>
where
    F: Fn(Rc<Pool>, Request<Incoming>) -> R + Copy + 'static,
    R: Future<Output = Result<Response<Full<Bytes>>, Failure>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await?;
        println!("listening on {}", listener.local_addr()?);
        let idle = RefCell::new(Vec::new());
        let pool = Rc::new(Pool { vendor, idle });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = Rc::clone(&pool);
            let service = service_fn(move |request| serve(Rc::clone(&pool), request));
            spawn_local(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

/// Hands requests and answers on.
///
/// # Errors
/// When a connection breaks.
pub async fn plain(pool: Rc<Pool>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    head.headers.remove(CONNECTION);
    let answer = pool.send(Request::from_parts(head, Full::new(body))).await?;
    Ok(answer.map(Full::new))
}

/// Translates both ways.
///
/// # Errors
/// When a connection breaks.
pub async fn translate(pool: Rc<Pool>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let call = match translate::to_vendor(head.uri.path(), &body) {
        Ok(call) => call,
        Err(status) => return refuse(status),
    };
    let mut outgoing = Request::builder().method(call.method).uri(call.target).header(HOST, "vendor");
    for (name, value) in call.headers {
        outgoing = outgoing.header(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let (head, body) = pool.send(outgoing.body(Full::new(Bytes::from(call.body)))?).await?.into_parts();
    let request_id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    match translate::to_caller(&call.task, head.status.as_u16(), request_id, &body) {
        Ok(document) => Ok(Response::builder()
            .status(StatusCode::ACCEPTED)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(document))?),
        Err(status) => refuse(status),
    }
}

fn refuse(status: u16) -> Result<Response<Full<Bytes>>, Failure> {
    Ok(Response::builder().status(status).body(Full::default())?)
}
