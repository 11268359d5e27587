//! A home of its own for a drill, its engines and their journals.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use relight::incident::Event;
use relight::journal;
use tokio::process::Command;

pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("rl").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relight"));
        command
            .args(words)
            .env("XDG_STATE_HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("XDG_RUNTIME_DIR", self.run())
            .env("RELIGHT_DIED_AT", self.died_at())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Where incidents and drills are.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("relight")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn died_at(&self) -> PathBuf {
        self.folder.path().join("died-at")
    }

    /// The points at which engines died, the last one last.
    pub(crate) fn died(&self) -> Vec<String> {
        let died = std::fs::read_to_string(self.died_at()).unwrap_or_default();
        died.lines().map(str::to_owned).collect()
    }

    /// The only incident's folder; none before there is one.
    pub(crate) fn incident(&self) -> Option<PathBuf> {
        let mut folders = std::fs::read_dir(self.root().join("incidents")).ok()?;
        Some(folders.next()?.ok()?.path())
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        journal::read(&self.incident().expect("an incident").join(journal::FILE)).unwrap().events
    }

    /// The folder of a sandbox, where `relight drill --stop` finds it.
    pub(crate) fn sandbox(&self) -> PathBuf {
        let drills = self.root().join("drills");
        make_private(&self.root());
        make_private(&drills);
        drills.join("world")
    }
}

fn make_private(folder: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).unwrap();
}

impl Drop for Place {
    fn drop(&mut self) {
        // A failed test must not leave servers behind.
        let mut stop = std::process::Command::new(env!("CARGO_BIN_EXE_relight"));
        stop.args(["drill", "--stop"]).env("XDG_STATE_HOME", self.folder.path());
        let _ = stop.env("XDG_RUNTIME_DIR", self.run()).output();
    }
}
