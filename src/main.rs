//! The `taskgate` binary: reads the arguments and hands over to the library.

use std::process::ExitCode;

/// See the feature in Cargo.toml.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    taskgate::cli::main()
}
