//! The `relight` program: parses its arguments, calls the library, and turns errors into exit codes.

use std::process::ExitCode;

/// A journal's events are made on one thread and let go on another, which the system's allocator is slow at: with this one a
/// history of a hundred thousand is read in two thirds of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    relight::cli::main()
}
