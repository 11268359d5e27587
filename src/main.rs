//! relight
use std::path::Path;
use std::process::ExitCode;

use relight::drill::sandbox::{SandboxOptions, serve};
use relight::drill::standin_command::{deploy, smoke};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let env = std::env::vars().collect();
        let mut out = std::io::stdout();
        match words.as_slice() {
            ["sandbox", "--dir", dir] => {
                let end = match SandboxOptions::new(Path::new(dir)) {
                    Ok(options) => serve(options).await,
                    Err(error) => Err(error),
                };
                match end {
                    Ok(_) => ExitCode::SUCCESS,
                    Err(error) => {
                        eprintln!("{error}");
                        ExitCode::FAILURE
                    }
                }
            }
            ["stand-in", "smoke", ..] => ExitCode::from(smoke(&args, &env, &mut out).await),
            ["stand-in", "deploy", ..] => ExitCode::from(deploy(&args, &env, &mut out).await),
            _ => ExitCode::from(2),
        }
    })
}
