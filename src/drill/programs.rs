//! Finding the programs that a sandbox runs, and running them so that none outlives it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::error::SandboxError;

/// The user that servers run as when the sandbox itself is root; PostgreSQL refuses to run as root.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Its number.
    pub(crate) uid: u32,
    /// Its group's number.
    pub(crate) gid: u32,
}

impl Account {
    /// `postgres`, else `nobody`, when this process is root; `None` when it is not.
    pub(crate) fn unprivileged() -> Result<Option<Self>, SandboxError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let path = Path::new("/etc/passwd");
        let text = fs::read_to_string(path).map_err(SandboxError::io("read", path))?;
        ["postgres", "nobody"].iter().find_map(|name| Self::in_passwd(&text, name)).map(Some).ok_or_else(|| {
            SandboxError::Program {
                program: "postgres",
                reason: "it cannot run as root, and there is neither a user postgres nor nobody to run it as".into(),
            }
        })
    }

    /// The entry `name:password:uid:gid:…` of that name (passwd(5)).
    fn in_passwd(text: &str, name: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        })
    }
}

/// A program in PATH.
pub(crate) fn in_path(program: &'static str, package: &'static str) -> Result<PathBuf, SandboxError> {
    search_path()
        .map(|dir| dir.join(program))
        .find(|path| executable(path))
        .ok_or(SandboxError::Missing { program, package })
}

/// PATH, then the folders where Debian puts server programs, which are not in an ordinary user's PATH.
fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.into_iter().chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
}

fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A folder with all of PostgreSQL's programs that a sandbox needs: from PATH, else the newest of
/// `/usr/lib/postgresql/*/bin`, where Debian keeps them.
pub(crate) fn postgres_bin() -> Result<PathBuf, SandboxError> {
    const NEEDED: [&str; 4] = ["initdb", "postgres", "pg_dump", "pg_restore"];
    let versioned = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versioned: Vec<(u32, PathBuf)> = versioned
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versioned.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    search_path()
        .chain(versioned.into_iter().map(|(_, dir)| dir))
        .find(|dir| NEEDED.iter().all(|program| executable(&dir.join(program))))
        .ok_or(SandboxError::Missing { program: "initdb", package: "postgresql" })
}

/// Spawns children from one thread that lives as long as the sandbox.
///
/// The parent-death signal is sent when the *thread* that made the child ends (`prctl(2)`, `PR_SET_PDEATHSIG`), and a
/// thread of the runtime's pool may end early.
#[derive(Debug, Clone)]
pub(crate) struct Nursery {
    setpriv: PathBuf,
    jobs: mpsc::Sender<(Command, oneshot::Sender<io::Result<Child>>)>,
}

impl Nursery {
    /// Starts the thread. Must be called inside a tokio runtime.
    pub(crate) fn start() -> Result<Self, SandboxError> {
        let setpriv = in_path("setpriv", "util-linux")?;
        let (jobs, queue) = mpsc::channel::<(Command, oneshot::Sender<io::Result<Child>>)>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("nursery".to_owned())
            .spawn(move || {
                let _inside = runtime.enter();
                for (mut command, answer) in queue {
                    // Nobody waits for the answer any more when the sandbox is ending; the child dies by kill_on_drop.
                    let _ = answer.send(command.spawn());
                }
            })
            .map_err(SandboxError::io("start a thread for", Path::new("children")))?;
        Ok(Self { setpriv, jobs })
    }

    /// A command that gets `signal` when the sandbox dies, run as `account` if there is one.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, signal: &str, account: Option<&Account>) -> Command {
        let mut command = Command::new(&self.setpriv);
        command.args(["--pdeathsig", signal]);
        if let Some(Account { uid, gid }) = account {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
        }
        // Messages of the programs are looked for in English, and dump headers carry the local time: both are pinned.
        command
            .arg("--")
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Spawns it from the nursery's thread.
    pub(crate) async fn spawn(&self, program: &'static str, command: Command) -> Result<Child, SandboxError> {
        let failed = |reason: String| SandboxError::Program { program, reason };
        let (answer, spawned) = oneshot::channel();
        self.jobs.send((command, answer)).map_err(|_| failed("the sandbox is ending".to_owned()))?;
        match spawned.await {
            Ok(Ok(child)) => Ok(child),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the sandbox is ending".to_owned())),
        }
    }

    /// Runs a program to its end; a failure carries its last words.
    pub(crate) async fn run(&self, program: &'static str, mut command: Command) -> Result<(), SandboxError> {
        command.stderr(Stdio::piped());
        let child = self.spawn(program, command).await?;
        let output = child
            .wait_with_output()
            .await
            .map_err(|error| SandboxError::Program { program, reason: error.to_string() })?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let reason = format!("{}: {}", output.status, words.trim());
        Err(SandboxError::Program { program, reason })
    }
}

/// A server that runs until it is stopped, or dropped, or the sandbox dies.
#[derive(Debug)]
pub(crate) struct Server {
    program: &'static str,
    child: Child,
    /// Its process.
    pub(crate) pid: u32,
}

impl Server {
    /// Adopts a spawned child and waits until `ready` shows in `output`, whose lines all go to `log`.
    pub(crate) async fn adopt(
        program: &'static str,
        child: Child,
        output: impl AsyncRead + Unpin + Send + 'static,
        ready: &'static str,
        log: &Path,
    ) -> Result<Self, SandboxError> {
        let pid = child.id().unwrap_or_default();
        let file = tokio::fs::File::from_std(crate::private::create(log).map_err(SandboxError::io("write", log))?);
        let (up, is_up) = oneshot::channel();
        tokio::spawn(follow(output, ready, file, up));
        if let Ok(()) = is_up.await {
            Ok(Self { program, child, pid })
        } else {
            let words = fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<&str> = words.lines().rev().take(5).collect();
            let reason = tail.into_iter().rev().collect::<Vec<_>>().join("; ");
            Err(SandboxError::Program { program, reason })
        }
    }

    /// Asks it to end with `signal`, and kills it when it has not after `patience`.
    pub(crate) async fn stop(mut self, signal: Signal, patience: Duration) {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, signal);
        }
        if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
            tracing::warn!(program = self.program, "did not end when asked; killing it");
            let _ = self.child.kill().await;
        }
    }
}

/// Copies lines to the log and tells `up` of the first that contains `ready`.
async fn follow(
    output: impl AsyncRead + Unpin,
    ready: &'static str,
    mut log: tokio::fs::File,
    up: oneshot::Sender<()>,
) {
    let mut up = Some(up);
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let _ = log.write_all(format!("{line}\n").as_bytes()).await;
        if line.contains(ready)
            && let Some(up) = up.take()
        {
            let _ = up.send(());
        }
    }
    // A file of tokio's flushes in the background; whoever reads the last words must find them.
    let _ = log.flush().await;
}

/// A TCP port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, SandboxError> {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(SandboxError::io("bind", Path::new("127.0.0.1:0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_passwd() {
        let text = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\nbad:x:y\n";
        let account = Account::in_passwd(text, "postgres").unwrap();
        assert_eq!((account.uid, account.gid), (101, 104));
        assert!(Account::in_passwd(text, "nobody").is_none());
        assert!(Account::in_passwd(text, "bad").is_none());
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = in_path("no-such-server", "no-such-package").unwrap_err().to_string();
        assert!(error.contains("no-such-server") && error.contains("apt-get install no-such-package"), "{error}");
    }
}
