//! Ring 1: from the canonical call to the vendor's request, and from the vendor's reply to the canonical answer.
//!
//! Nothing in here does I/O, reads a clock or knows a vendor; all of it is driven by the compiled route.

pub mod answer;
pub mod envelope;
pub mod expression;
pub mod fault;
pub mod items;
pub mod job;
pub mod look;
pub mod moment;
pub mod reply;
pub mod request;
pub mod target;
pub mod template;
pub mod validate;

mod bindings;
mod document;
mod headers;
mod nesting;
mod plan;
mod values;
