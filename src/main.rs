//! The `relight` program: parses its arguments, calls the library, and turns errors into exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    relight::cli::main()
}
