//! A caller with a socket: one that speaks HTTP and keeps its connections, and one that sends bytes as they stand.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answers::{Seen, Told};

/// A caller of one address.
#[derive(Clone)]
pub(crate) struct Caller {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        Self { address, client }
    }

    /// Whom it calls.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request; whatever comes back is not checked.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Told {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        Told {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Acts on a task; the answer keeps the contract. An empty body is no body.
    pub(crate) async fn act(&self, task: &str, body: &str) -> Told {
        let json = [("content-type", "application/json")];
        let headers: &[_] = if body.is_empty() { &[] } else { &json };
        let told = self.send("POST", &format!("/tasks/{task}"), headers, body).await;
        told.check(Seen::OnTheWire);
        told
    }

    pub(crate) async fn get(&self, path: &str) -> Told {
        self.send("GET", path, &[], "").await
    }
}

/// Sends bytes and reads to the end of the connection.
pub(crate) async fn converse(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// The answers in what [`converse`] returned: their bodies have a length.
pub(crate) fn split_answers(mut text: &str) -> Vec<Told> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: http::HeaderMap = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        let (body, next) = rest.split_at(length);
        answers.push(Told {
            status,
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        });
        text = next;
    }
    assert_eq!(text, "", "nothing follows the last answer");
    answers
}
