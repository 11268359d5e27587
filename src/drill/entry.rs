//! The processes of the drill that are this program under another name: `relight sandbox --dir D` and
//! `relight stand-in smoke|deploy …`.

use std::path::Path;
use std::process::ExitCode;

use super::sandbox::{SandboxOptions, serve};
use super::standin_command::{deploy, smoke};

/// Runs one of them when the arguments (without the program's name) ask for it; `None` when they ask for something else.
#[must_use]
pub fn run(args: &[String]) -> Option<ExitCode> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["sandbox", "--dir", dir] => Some(with_runtime(run_sandbox(Path::new(dir)))),
        ["stand-in", command @ ("smoke" | "deploy"), ..] => {
            let env = std::env::vars().collect();
            let mut out = std::io::stdout();
            let code = async {
                match *command {
                    "smoke" => smoke(args, &env, &mut out).await,
                    _ => deploy(args, &env, &mut out).await,
                }
            };
            Some(with_runtime(async { ExitCode::from(code.await) }))
        }
        _ => None,
    }
}

fn with_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run_sandbox(dir: &Path) -> ExitCode {
    let end = match SandboxOptions::new(dir) {
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
