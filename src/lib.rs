//! taskgate: one endpoint that stops or retries a task at any vendor, and says truthfully what happened.
//!
//! **Shape**: what a request passes, in order, and what it is there:
//!
//! ```text
//! server    a connection           -> http::Request         limits; broken HTTP is answered here
//! observe   http::Request          -> + id and deadline     way back: one log line, metrics, http::Response
//! rescue    Result                 -> Spoken                errors, foreign errors and panics get our voice
//! admit     http::Request          -> TaskCall              path, codec::json
//! keep      an idempotency key     -> once                  idempotency
//! resolve   TaskCall               -> RoutedCall            route
//! validate  RoutedCall             -> ValidCall             schema
//! translate ValidCall              -> Outbound              mapping::request, codec
//! dispatch  Outbound               -> the provider's lane
//! upstream  UpstreamRequest        -> UpstreamReply         one attempt, never a second
//! translate Exchange               -> Answer                codec, mapping::reply, mapping::fault
//! ```
//!
//! [`stack`] is the list of the stages; [`config`] compiles `routes.yaml` into the [`route::RouteTable`] that they read.
//!
//! **Rings**, inside out: [`json_text`]; [`model`] and [`codec`]; [`path`], [`negotiation`], [`schema`], [`mapping`], [`route`]; [`idempotency`] and [`operation`]; [`config`]; [`layer`] and [`stack`];
//! [`upstream`], [`telemetry`], [`server`], [`admin`], [`gateway`]; [`simulate`] apart; [`cli`] around all. `ARCHITECTURE.md` has the map and
//! what is absent on purpose.
//!
//! ```
//! use taskgate::config::{compile::compile, environment::Environment, shipped};
//!
//! // The routes that the binary carries; without any variable no provider is configured.
//! let compiled = compile(&shipped::sources(), shipped::ROUTES_FILE, &Environment::default()).expect("the shipped routes are sound");
//! assert!(compiled.table.providers.values().all(|provider| provider.connection.is_err()));
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold"))]

pub mod admin;
pub mod catalog;
pub mod cli;
pub mod codec;
pub mod config;
pub mod crypto;
pub mod gateway;
pub mod idempotency;
pub mod json_text;
pub mod layer;
pub mod mapping;
pub mod model;
pub mod negotiation;
pub mod operation;
pub mod path;
pub mod query;
pub mod route;
pub mod schema;
pub mod server;
pub mod simulate;
pub mod stack;
pub mod telemetry;
pub mod trust;
pub mod upstream;
