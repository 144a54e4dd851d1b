//! Runs the check `routes` of `tests/hostile/checks` on what the fuzzer makes up.
#![no_main]
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "the other checks; a check that fails says so where it stands")]

#[path = "../../tests/hostile/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::named("routes")(data));
