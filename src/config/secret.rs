//! Secrets: where they come from, never what they are.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;

use secrecy::SecretString;
use serde::Deserialize;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// The first line of a file that others cannot read.
    File(PathBuf),
    /// The first line that a command prints.
    Command(Vec<String>),
}

/// Why a secret could not be had. Never holds any part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret from {from} cannot be read: {why}")]
pub struct SecretError {
    from: String,
    why: String,
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Command(argv) => write!(f, "the command {}", argv.first().map_or("(empty)", String::as_str)),
        }
    }
}

impl SecretSource {
    /// The environment variable that it is in, if it is in one.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::Env(name) => Some(name),
            Self::File(_) | Self::Command(_) => None,
        }
    }

    /// Reads the secret. Blocks while a command runs.
    ///
    /// # Errors
    /// It is not there, is empty, can be read by others (a file), or the command fails.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let fault = |why: String| SecretError { from: self.to_string(), why };
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| fault("it is not set".to_owned()))?,
            Self::File(path) => read_private(path).map_err(fault)?,
            Self::Command(argv) => {
                let (program, arguments) =
                    argv.split_first().ok_or_else(|| fault("the command is empty".to_owned()))?;
                let output = crate::private::command(program)
                    .args(arguments)
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .output()
                    .map_err(|error| fault(error.to_string()))?;
                if !output.status.success() {
                    return Err(fault(format!("it ended with {}", output.status)));
                }
                String::from_utf8(output.stdout).map_err(|_| fault("it is not UTF-8".to_owned()))?
            }
        };
        let line = text.lines().next().unwrap_or_default().trim_end();
        if line.is_empty() {
            return Err(fault("it is empty".to_owned()));
        }
        Ok(SecretString::from(line))
    }
}

fn read_private(path: &std::path::Path) -> Result<String, String> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    // Of the very file that is read, not of whatever bears its name a moment before.
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("others can read it (mode {:o}); run: chmod 600 {}", mode & 0o777, path.display()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}
