//! Ring 0: the values that travel through taskgate. Nothing here knows HTTP servers, files or vendors.

pub mod answer;
pub mod batch;
pub mod call;
pub mod error;
pub mod method;
pub mod reason;
