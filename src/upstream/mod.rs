//! Ring 4: the way to the vendor.
//!
//! **Shape**: `ProviderService::send(Outbound { request, .. })` -> `Exchange { reply, elapsed }`, or a
//! `GatewayError` that says truthfully whether anything may have happened.
//!
//! [`policy`] limits what is under way per provider, [`client`] sends one request once, `connect` opens the connection,
//! `failure` and [`tls`] say what a broken attempt means.

pub mod client;
mod connect;
mod failure;
pub mod policy;
pub mod tls;
