//! A provider of the benches that are about the gateway and not about a vendor.

use std::net::SocketAddr;

/// Its part of routes.yaml; the schemas are `schemas/stop.json` and `schemas/page.json`.
pub(crate) fn provider(name: &str, address: SocketAddr, limits: &str) -> String {
    format!(
        r#"  {name}:
    title: A vendor
    endpoint: http://{address}
    id: {{ type: string }}
    limits: {limits}
    actions:
      stop:
        title: Stops
        schema: schemas/stop.json
        request: {{ method: POST, path: "/jobs/${{id}}/stop" }}
        reply: {{ schema: schemas/page.json, outcome: [{{ status: 200, is: done, state: stopped }}] }}
"#
    )
}
