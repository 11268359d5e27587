//! pg_restore and pg_dump of the right version.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::config::Postgres;
use crate::workers::WorkerError;

/// Where Debian keeps every major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A program of PostgreSQL's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) path: PathBuf,
    /// As it says itself: `15.18`.
    pub(super) version: String,
    pub(super) major: u32,
}

impl Tool {
    /// `pg_restore 15.18 (/usr/lib/postgresql/15/bin/pg_restore)`
    pub(super) fn describe(&self) -> String {
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        format!("{name} {} ({})", self.version, self.path.display())
    }
}

/// Every copy of a program that can be run: in `bin_dir` where the config names it, else in PATH and Debian's folders.
pub(super) async fn all(program: &str, settings: &Postgres) -> Vec<Tool> {
    let mut found = Vec::new();
    for folder in folders(settings) {
        let path = folder.join(program);
        if let Some(tool) = ask(&path).await
            && !found.contains(&tool)
        {
            found.push(tool);
        }
    }
    found
}

/// The copy whose major version is the server's.
///
/// # Errors
/// There is none of that version; what there is instead.
pub(super) async fn find(program: &str, settings: &Postgres, major: u32) -> Result<Tool, WorkerError> {
    let all = all(program, settings).await;
    if let Some(tool) = all.iter().find(|tool| tool.major == major) {
        return Ok(tool.clone());
    }
    let place = settings
        .bin_dir
        .as_ref()
        .map_or_else(|| "PATH and /usr/lib/postgresql".to_owned(), |dir| dir.display().to_string());
    let cause = if all.is_empty() {
        format!("There is no {program} in {place}.")
    } else {
        let others: Vec<String> = all.iter().map(Tool::describe).collect();
        format!("The server is of version {major}, and there is only {} in {place}.", others.join(", "))
    };
    Err(WorkerError::new(
        format!("find {program} {major}"),
        "this host",
        cause,
        format!(
            "Another version may refuse or restore wrongly. Install postgresql-client-{major}, or set bin_dir in the config, then retry (r)."
        ),
    ))
}

fn folders(settings: &Postgres) -> Vec<PathBuf> {
    if let Some(folder) = &settings.bin_dir {
        return vec![folder.clone()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    std::env::split_paths(&path).chain(versions).collect()
}

/// Asks a program for its version: `pg_restore (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
async fn ask(path: &Path) -> Option<Tool> {
    let found = std::fs::metadata(path).ok()?;
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return None;
    }
    let asked = Command::from(crate::private::command(path)).arg("--version").kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(5), asked).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("(PostgreSQL) ").nth(1)?.split_whitespace().next()?.to_owned();
    let major = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(Tool { path: path.to_owned(), version, major })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_version_is_named_with_what_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = |dir: &Path| Postgres { bin_dir: Some(dir.to_owned()), ..Postgres::bare("d") };
        let error = find("pg_restore", &settings(folder.path()), 15).await.expect_err("none");
        assert!(error.cause.contains("There is no pg_restore in"), "{error}");
        let path = folder.path().join("pg_restore");
        std::fs::write(&path, "#!/bin/sh\necho 'pg_restore (PostgreSQL) 9.6.24 (Debian)'\n").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        let error = find("pg_restore", &settings(folder.path()), 15).await.expect_err("another");
        assert!(error.cause.contains("is of version 15") && error.cause.contains("9.6.24"), "{error}");
        let tool = find("pg_restore", &settings(folder.path()), 9).await.expect("found");
        assert_eq!(tool.version, "9.6.24");
    }
}
