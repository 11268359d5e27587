//! `ready.json`: what a sandbox tells everybody else about itself, once it is ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::db::Login;
use super::dumps::Manifest;
use super::error::SandboxError;
use super::folder;
use super::objects::ObjectFact;
use super::paid::ServiceFact;
use super::redis::CacheLogin;
use super::s3::S3Login;

/// The file's name in the sandbox's folder.
pub const FILE: &str = "ready.json";
/// The form of the file.
const FORM: u32 = 1;

/// A process, told from a later one with the same number by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`proc(5)`, field 22 of `/proc/<pid>/stat`).
    pub started: u64,
}

impl ProcessId {
    /// The process of that number, if it runs. A zombie does not.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        Some(Self { pid, started: fields.nth(18)?.parse().ok()? })
    }

    /// Whether this very process runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// A deployment as the scenario began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentFact {
    /// Pods.
    pub replicas: i32,
    /// Image with tag.
    pub image: String,
    /// The tag to go back to.
    pub previous: String,
}

/// All that a client, a test or the scorecard needs. Secrets are files, never values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// The form of this file.
    pub form: u32,
    /// The scenario's name.
    pub scenario: String,
    /// One line about it.
    pub title: String,
    /// The sandbox's own process.
    pub process: ProcessId,
    /// When the sandbox's clock started; all times of the scenario hang on it.
    pub started: Timestamp,
    /// When the damage was done.
    pub onset: Timestamp,
    /// The sandbox's folder.
    pub dir: PathBuf,
    /// Its second folder, with PostgreSQL's files, logs and the control socket.
    pub run_dir: PathBuf,
    /// relight's configuration for this drill.
    pub config: PathBuf,
    /// A connection held here keeps the sandbox from ending for idleness.
    pub control_socket: PathBuf,
    /// Base address of `/_control/…`.
    pub control_url: String,
    /// PostgreSQL's postmaster.
    pub postgres_process: ProcessId,
    /// Folder of PostgreSQL's programs.
    pub postgres_bin: PathBuf,
    /// The superuser, for proving.
    pub postgres_superuser: Login,
    /// The operator's login, as in the configuration.
    pub postgres_operator: Login,
    /// The service's login.
    pub postgres_app: Login,
    /// redis-server.
    pub redis_process: ProcessId,
    /// The operator's login to Redis.
    pub redis: CacheLogin,
    /// A user of Redis who may only read.
    pub redis_reader: CacheLogin,
    /// Keys in database 0 at the beginning.
    pub redis_keys: u64,
    /// Keys in database 1, which no step may touch.
    pub redis_neighbours: u64,
    /// The operator's login to S3.
    pub s3: S3Login,
    /// A login to S3 that may not write.
    pub s3_reader: S3Login,
    /// The Kubernetes API.
    pub kubernetes_url: String,
    /// The operator's kubeconfig, with the context `drill`.
    pub kubeconfig: PathBuf,
    /// The operator's token.
    pub kubernetes_token_file: PathBuf,
    /// A token that may only look.
    pub kubernetes_viewer_token_file: PathBuf,
    /// The `api` deployment's routes.
    pub api_url: String,
    /// The paid services' stand-ins, by the name of their section in the configuration.
    pub services: BTreeMap<String, ServiceFact>,
    /// What the stand-ins were asked, one JSON line a request, one file a stand-in.
    pub records: PathBuf,
    /// The dumps, oldest first, with what the good ones hold.
    pub dumps: Vec<Manifest>,
    /// The OFX files by key.
    pub objects: BTreeMap<String, ObjectFact>,
    /// The deployments by name.
    pub deployments: BTreeMap<String, DeploymentFact>,
    /// What is real, one line each.
    pub real: Vec<String>,
    /// What stands in, one line each.
    pub stand_ins: Vec<String>,
}

impl Ready {
    /// The form that this version writes.
    pub(crate) const FORM: u32 = FORM;

    /// Reads the file in a sandbox's folder; `None` while there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read or understood.
    pub fn read(dir: &Path) -> Result<Option<Self>, SandboxError> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SandboxError::io("read", &path)(error)),
        };
        let ready: Self = serde_json::from_str(&text)
            .map_err(|error| SandboxError::Ready { path: path.clone(), reason: error.to_string() })?;
        if ready.form != FORM {
            let reason = format!("its form is {}, this relight knows {FORM}", ready.form);
            return Err(SandboxError::Ready { path, reason });
        }
        Ok(Some(ready))
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self) -> Result<(), SandboxError> {
        let path = self.dir.join(FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| SandboxError::Ready { path: path.clone(), reason: error.to_string() })?;
        folder::write_private(&path, &text)
    }

    /// Asks the sandbox to end (SIGTERM); `false` when it is not running any more. Another process that got its number is
    /// never signalled.
    #[must_use]
    pub fn stop(&self) -> bool {
        self.process.is_alive()
            && i32::try_from(self.process.pid)
                .ok()
                .and_then(Pid::from_raw)
                .is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { started: me.started + 1, ..me }.is_alive());
    }
}
