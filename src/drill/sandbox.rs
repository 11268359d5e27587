//! The sandbox process: builds the drill's world in a folder of its own, serves it, and takes it down again.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::control::End;
use super::error::SandboxError;
use super::folder;
use super::programs::Account;
use super::ready::Ready;
use super::scenario::Scenario;
use super::world::World;

/// The file in the sandbox's folder that names its second folder, so that the next sandbox can clear up after a killed one.
const RUN_FOLDER: &str = "run-folder";
/// What a sandbox makes in its folder.
const OWN: [&str; 8] = ["s3", "secrets", "records", "work", "ready.json", "config.toml", "kubeconfig.yaml", RUN_FOLDER];

/// How to build a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The sandbox's folder; made when missing, removed at an orderly end.
    pub dir: PathBuf,
    /// Which scenario.
    pub scenario: Scenario,
    /// End after this long without a client.
    pub idle: Duration,
    /// The relight program, for the configured commands.
    pub program: PathBuf,
}

impl SandboxOptions {
    /// The built-in scenario, an hour of idleness, this very program.
    ///
    /// # Errors
    /// When the scenario does not hold together or this program's path is unknown.
    pub fn new(dir: &Path) -> Result<Self, SandboxError> {
        let here = Path::new("/proc/self/exe");
        Ok(Self {
            dir: std::path::absolute(dir).map_err(SandboxError::io("resolve", dir))?,
            scenario: Scenario::named("bad-migration")?,
            idle: Duration::from_hours(1),
            program: std::env::current_exe().map_err(SandboxError::io("resolve", here))?,
        })
    }
}

/// Builds the world, writes `config.toml` and `ready.json`, and serves until SIGTERM, `POST /_control/stop`, or idleness.
/// Then all children are ended and the folders removed. When this process is killed instead, its children get a signal from
/// the kernel; the folders stay until the next sandbox in the same folder.
///
/// # Errors
/// When something is missing or fails while building; what was built is taken down before it returns.
pub async fn serve(options: SandboxOptions) -> Result<End, SandboxError> {
    folder::make(&options.dir, 0o700)?;
    let _lock = lock(&options.dir)?;
    clear(&options.dir);
    let account = Account::unprivileged()?;
    let run = folder::make_run_folder(account.is_some())?;
    let result = async {
        folder::write_private(&options.dir.join(RUN_FOLDER), run.as_os_str().as_bytes())?;
        let mut stop = Signals::listen()?;
        let (end, mut ended) = mpsc::channel(4);
        let world = tokio::select! {
            world = World::build(&options, account.as_ref(), &run, end) => world?,
            () = stop.arrived() => return Err(SandboxError::Ended),
        };
        announce();
        let why = tokio::select! {
            why = ended.recv() => why.unwrap_or(End::Asked),
            () = stop.arrived() => End::Signal,
        };
        world.stop().await;
        Ok(why)
    }
    .await;
    clear(&options.dir);
    // Whatever a person put there stays.
    let _ = fs::remove_file(options.dir.join("lock"));
    let _ = fs::remove_dir(&options.dir);
    result
}

/// Tells whoever started this process, with one line on standard output, that `ready.json` is there. End of file without it
/// means that the sandbox failed; standard error says why. Nothing else is ever printed, so the reader may go away.
fn announce() {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    let _ = out.write_all(b"ready\n").and_then(|()| out.flush());
}

/// SIGTERM, and SIGINT for one that runs in a terminal.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, SandboxError> {
        let failed = || SandboxError::io("listen for", Path::new("signals"));
        let term = signal(SignalKind::terminate()).map_err(failed())?;
        Ok(Self { term, int: signal(SignalKind::interrupt()).map_err(failed())? })
    }

    async fn arrived(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Holds the folder; the lock ends with the process, however it ends.
fn lock(dir: &Path) -> Result<fs::File, SandboxError> {
    let path = dir.join("lock");
    let file = crate::private::create(&path).map_err(SandboxError::io("open", &path))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let pid = Ready::read(dir).ok().flatten().map_or(0, |ready| ready.process.pid);
        SandboxError::Running { dir: dir.to_owned(), pid }
    })?;
    Ok(file)
}

/// Removes what a sandbox made: this one's own at its end, or a killed one's at the beginning.
fn clear(dir: &Path) {
    if let Ok(run) = fs::read(dir.join(RUN_FOLDER)) {
        let run = Path::new(std::ffi::OsStr::from_bytes(&run));
        let ours = run.file_name().is_some_and(|name| name.as_bytes().starts_with(b"relight-drill-"));
        if ours {
            let _ = fs::remove_dir_all(run);
        }
    }
    for name in OWN {
        let path = dir.join(name);
        if path.is_dir() {
            let _ = fs::remove_dir_all(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}
