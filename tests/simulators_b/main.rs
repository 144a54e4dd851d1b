//! The vendor simulators from the outside: logins, signatures, jobs that take time, limits, and what can be set while they run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say so where it stands"
)]

mod client;
mod identity;
mod jobs;
mod limits;
mod looks;
mod signatures;
