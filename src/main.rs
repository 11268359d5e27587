//! The `relight` program: parses its arguments, calls the library, and turns errors into exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Hidden: the process between the engine and a program that it runs. It needs nothing else of this program.
    if args.first().is_some_and(|verb| verb == "shim") {
        return relight::workers::process::shim::main();
    }
    relight::drill::entry::run(&args).unwrap_or_else(relight::cli::main)
}
