//! A translator as it is usually written: axum in front, reqwest behind, the system's allocator. `usual --listen … --vendor …`.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use race_peers::translate;

struct Shared {
    client: reqwest::Client,
    vendor: SocketAddr,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [_, listen, _, vendor] = words.as_slice() else {
        return Err("usual --listen ADDRESS --vendor ADDRESS".into());
    };
    let (listen, vendor): (SocketAddr, SocketAddr) = (listen.parse()?, vendor.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let router = Router::new()
            .route("/tasks/{provider}/{task}", post(serve))
            .with_state(Arc::new(Shared { client, vendor }));
        let listener = tokio::net::TcpListener::bind(listen).await?;
        println!("listening on {}", listener.local_addr()?);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn serve(State(shared): State<Arc<Shared>>, OriginalUri(uri): OriginalUri, body: Bytes) -> Response {
    answer(&shared, uri.path(), &body).await.unwrap_or_else(|status| {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        status.into_response()
    })
}

async fn answer(shared: &Shared, path: &str, body: &[u8]) -> Result<Response, u16> {
    let call = translate::to_vendor(path, body)?;
    let method = call.method.parse().map_err(|_| 500u16)?;
    let mut request = shared.client.request(method, format!("http://{}{}", shared.vendor, call.target));
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    let reply = request.body(call.body).send().await.map_err(|_| 502u16)?;
    let status = reply.status().as_u16();
    let request_id = reply
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let body = reply.bytes().await.map_err(|_| 502u16)?;
    let document = translate::to_caller(&call.task, status, request_id.as_deref(), &body)?;
    Ok((StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], document).into_response())
}
