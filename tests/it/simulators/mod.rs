//! The vendor simulators from the outside: what each vendor answers, what each fault looks like on the wire, what the counters say.

mod client;
mod cloud;
mod engine;
mod faults;
mod prime;
mod zstack;
