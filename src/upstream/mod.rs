//! Ring 4: the way to the vendor.
//!
//! **Shape**: `ProviderService::send(Outbound { request, .. })` -> `Exchange { reply, elapsed }`, or a
//! `GatewayError` that says truthfully whether anything may have happened.
//!
//! [`policy`] takes a request through the [`gate`] of its provider ([`rate`] counts over time, [`breaker`] leaves a provider alone,
//! [`health`] is what people see of it), [`credentials`] applies what proves who asks (`session` keeps what a `login`
//! gave, `sign_sdk` and `sign_dated` sign), [`client`] sends one request once, `connect` opens the connection, `failure` and
//! [`tls`] say what a broken attempt means.

pub mod breaker;
pub mod client;
mod connect;
pub mod credentials;
mod failure;
pub mod gate;
pub mod health;
mod login;
pub mod policy;
pub mod rate;
mod session;
mod sign_dated;
mod sign_sdk;
pub mod tls;
