//! What the tests of programs share.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use relight::incident::{AttemptId, Notice};
use relight::workers::process::{Spec, use_program};
use relight::workers::{Cancel, Io, Sink};
use rustix::fs::{FlockOperation, flock};
use secrecy::ExposeSecret as _;

/// Remembers what it is told.
#[derive(Default)]
pub(crate) struct Seen {
    lines: Mutex<Vec<String>>,
    notices: Mutex<Vec<Notice>>,
}

impl Sink for Seen {
    fn line(&self, text: &str) {
        self.lines.lock().unwrap().push(text.to_owned());
    }
    fn notice(&self, notice: Notice) {
        self.notices.lock().unwrap().push(notice);
    }
}

impl Seen {
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap().clone()
    }

    /// All output that was shown, one after the other.
    pub(crate) fn output(&self) -> String {
        let text = |notice: &Notice| match notice {
            Notice::Output { text, .. } => text.clone(),
            _ => String::new(),
        };
        self.notices.lock().unwrap().iter().map(text).collect()
    }
}

/// An attempt with a log in a folder of its own.
pub(crate) struct Attempt {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) log: PathBuf,
    pub(crate) sink: Arc<Seen>,
}

impl Attempt {
    pub(crate) fn new() -> Self {
        use_program(PathBuf::from(env!("CARGO_BIN_EXE_relight")));
        let folder = tempfile::tempdir().unwrap();
        Self { log: folder.path().join("1.log"), sink: Arc::default(), folder }
    }

    /// The attempt of another process, in its folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { log: folder.join("1.log"), ..Self::new() }
    }

    pub(crate) fn io(&self) -> Io {
        let (hand, cancel) = Cancel::new();
        // Nobody cancels; a signal whose hand is gone never comes.
        drop(hand);
        self.io_with(cancel)
    }

    pub(crate) fn io_with(&self, cancel: Cancel) -> Io {
        Io::new(AttemptId(1), cancel, self.log.clone(), Arc::clone(&self.sink) as Arc<dyn Sink>)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn beside(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}{ending}", self.log.display()))
    }
}

/// A shell script to run.
pub(crate) fn sh(script: &str) -> Spec {
    Spec::new("run a script", "this host", ["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

/// A named pipe: opening one end waits for the other, by which processes wait for one another.
pub(crate) fn fifo(path: &Path) -> PathBuf {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
    path.to_owned()
}

/// Whether a process runs; one that has ended and is not yet reaped does not.
pub(crate) fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Where an engine takes a log's lock, which it hands to the shim as standard error.
pub(crate) fn lock_of(log: &Path) -> PathBuf {
    PathBuf::from(format!("{}.lock", log.display()))
}

/// The shim with its pipes in our hands, as an engine has them.
pub(crate) fn shim(attempt: &Attempt, spec: &Spec) -> Child {
    let pairs: Vec<(String, String)> =
        spec.env.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
    let redact: Vec<&str> = spec.redact.iter().map(secrecy::ExposeSecret::expose_secret).collect();
    let order = serde_json::json!({
        "what": spec.what, "log": attempt.log, "argv": spec.argv, "env": pairs, "env_remove": [], "cwd": null,
        "timeout_ms": null, "grace_ms": 10_000, "redact": redact, "rows": "anywhere",
    });
    let lock = File::options().read(true).write(true).create(true).truncate(true).open(lock_of(&attempt.log)).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut shim = Command::new(env!("CARGO_BIN_EXE_relight"))
        .arg("shim")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(lock)
        .spawn()
        .unwrap();
    let input = shim.stdin.as_mut().unwrap();
    input.write_all(format!("{order}\n").as_bytes()).unwrap();
    shim
}
