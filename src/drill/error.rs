//! What can go wrong while a sandbox is built or measured.

use std::io;
use std::path::{Path, PathBuf};

/// Why the sandbox could not be built, run or measured. Every message names the operation, its target and the way out.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A program that the drill needs is not installed.
    #[error("{program} is missing: install it (Debian, Ubuntu: apt-get install {package}) or put its folder into PATH")]
    Missing {
        /// The program that was looked for.
        program: &'static str,
        /// The package that holds it on Debian and Ubuntu.
        package: &'static str,
    },
    /// A file or socket operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file, folder or socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A child process failed or ended before it was ready.
    #[error("{program} failed: {reason}")]
    Program {
        /// The program.
        program: &'static str,
        /// Its last words, or its status.
        reason: String,
    },
    /// A statement or connection to the sandbox's PostgreSQL failed.
    #[error("cannot {operation} in the sandbox's PostgreSQL: {}", pg_reason(source))]
    Postgres {
        /// What was tried, as a verb and its target.
        operation: String,
        /// What PostgreSQL or the connection said.
        source: tokio_postgres::Error,
    },
    /// A command or connection to the sandbox's Redis failed.
    #[error("cannot {operation} in the sandbox's Redis: {source}")]
    Redis {
        /// What was tried.
        operation: &'static str,
        /// What Redis or the connection said.
        source: ::redis::RedisError,
    },
    /// The sandbox's S3 server refused something.
    #[error("cannot {operation} {target} in the sandbox's S3 server: {reason}")]
    S3 {
        /// What was tried.
        operation: &'static str,
        /// Bucket and key.
        target: String,
        /// What the server said.
        reason: String,
    },
    /// A stand-in could not be asked over HTTP.
    #[error("cannot {operation} at {url}: {reason}")]
    Http {
        /// What was tried.
        operation: &'static str,
        /// The address.
        url: String,
        /// What came back.
        reason: String,
    },
    /// The scenario's TOML is not usable.
    #[error("the scenario {name} is not usable: {reason}")]
    Scenario {
        /// Its name.
        name: String,
        /// What is wrong, with line and column where the parser knows them.
        reason: String,
    },
    /// `ready.json` cannot be understood.
    #[error("{} is not a sandbox's ready.json: {reason}; start a new drill", path.display())]
    Ready {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another sandbox lives in the folder.
    #[error("the sandbox in {} is running as process {pid}; end it with `relight drill --stop`", dir.display())]
    Running {
        /// The folder.
        dir: PathBuf,
        /// The running sandbox.
        pid: u32,
    },
    /// The sandbox was told to end while it was being built.
    #[error("the sandbox was told to end before it was ready")]
    Ended,
}

impl SandboxError {
    /// An [`SandboxError::Io`] from a verb and a path; made for `map_err`.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    /// An [`SandboxError::Postgres`] from a phrase; made for `map_err`.
    pub(crate) fn pg(operation: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Postgres { operation, source }
    }
}

/// The server's message with its code, since the driver's own Display says only "db error".
fn pg_reason(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| format!("{} (SQLSTATE {})", db.message(), db.code().code()))
}
