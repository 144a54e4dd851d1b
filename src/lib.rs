//! taskgate: one endpoint that stops or retries a task at any vendor, and says truthfully what happened.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold"))]

pub mod admin;
pub mod cli;
pub mod codec;
pub mod config;
pub mod gateway;
pub mod layer;
pub mod mapping;
pub mod model;
pub mod path;
pub mod route;
pub mod schema;
pub mod server;
pub mod simulate;
pub mod stack;
pub mod telemetry;
pub mod trust;
pub mod upstream;
