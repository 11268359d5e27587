//! relight
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return ExitCode::FAILURE };
    runtime.block_on(async {
        match arguments.first().map(String::as_str) {
            Some("sandbox") => {
                let dir = arguments.get(2).map_or(".", String::as_str);
                let options = match relight::drill::sandbox::SandboxOptions::new(std::path::Path::new(dir)) {
                    Ok(options) => options,
                    Err(error) => {
                        eprintln!("{error}");
                        return ExitCode::FAILURE;
                    }
                };
                match relight::drill::sandbox::serve(options).await {
                    Ok(_) => ExitCode::SUCCESS,
                    Err(error) => {
                        eprintln!("{error}");
                        ExitCode::FAILURE
                    }
                }
            }
            _ => ExitCode::from(2),
        }
    })
}
