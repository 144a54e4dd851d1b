//! Ring 4: the way to the vendor.
//!
//! **Shape**: `ProviderService::send(Outbound { request, .. })` -> `Exchange { reply, elapsed }`, or a
//! `GatewayError` that says truthfully whether anything may have happened.
//!
//! [`policy`] limits what is under way per provider, [`credentials`] applies what proves who asks (`session` keeps what a `login`
//! gave, `sign_sdk` and `sign_dated` sign), [`client`] sends one request once, `connect` opens the connection over a [`network`], `failure` and
//! [`tls`] say what a broken attempt means.

mod budget;
pub mod client;
mod connect;
pub mod credentials;
mod failure;
mod ladder;
mod login;
mod meter;
pub mod network;
pub mod policy;
mod pool;
mod resolve;
mod session;
mod sign_dated;
mod sign_sdk;
pub mod tls;
