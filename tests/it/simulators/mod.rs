//! The vendor simulators from the outside: what each vendor answers, what each fault looks like on the wire, what the counters
//! say; logins, signatures, jobs that take time, limits, and what can be set while they run.

mod client;
mod cloud;
mod engine;
mod faults;
mod identity;
mod jobs;
mod limits;
mod looks;
mod prime;
mod signatures;
mod zstack;
