//! The `relight` program: parses its arguments, calls the library, and turns errors into exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    relight::drill::entry::run(&args).unwrap_or_else(relight::cli::main)
}
