//! Ring 4: the way to the vendor.
//!
//! **Shape**: `ProviderService::send(Outbound { request, .. })` -> `Exchange { reply, elapsed }`, or a
//! `GatewayError` that says truthfully whether anything may have happened.
//!
//! [`policy`] takes a request through the [`gate`] of its provider ([`rate`] counts over time, [`breaker`] leaves a provider alone,
//! [`health`] is what people see of it), [`credentials`] applies what proves who asks (`session` keeps what a `login`
//! gave, `sign_sdk` and `sign_dated` sign), `ladder` makes the attempts, [`client`] makes one, `pool` keeps connections, `connect` opens them over
//! a [`network`], `bell` keeps its wake-ups apart, `failure` and [`tls`] say what a broken attempt means.

pub(crate) mod bell;
pub mod breaker;
mod budget;
pub mod client;
mod connect;
pub mod credentials;
mod failure;
pub mod gate;
pub mod health;
mod ladder;
mod login;
mod meter;
pub mod network;
pub mod policy;
mod pool;
pub mod rate;
mod resolve;
mod session;
mod sign_dated;
mod sign_sdk;
pub mod tls;
