//! What taskgate tells those who run it: metrics and one log line per request.
//!
//! **Invariants**: no body, no secret and no header of a caller or vendor goes in; labels of metrics come from closed sets.

#[cfg(test)]
mod lines;
pub mod log;
mod metric_table;
pub mod metrics;
mod request_line;
pub mod stamp;
