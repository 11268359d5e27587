//! The engine as a process of its own: starting it, and being it.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, default_path};
use crate::engine::{self, Home, Input, Options};
use crate::incident::IncidentId;
use crate::wire::{self, ConnectError, Link};
use color_eyre::Result;
use color_eyre::eyre::{WrapErr as _, eyre};

use super::arguments::Common;
use super::incidents::home;
use super::log::Lines;
use super::{Exit, signals};

/// The line with which a new engine says that it can be attached to.
const READY: &str = "ready";
/// For a client on a bad link to read what the engine said last.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Attaches to an incident's engine; starts one where none runs.
pub(super) async fn connect_or_start(home: &Home, id: &IncidentId, common: &Common) -> Result<Link> {
    let socket = Home::socket(id)?;
    match wire::connect(&socket, 0).await {
        Ok(link) => return Ok(link),
        Err(ConnectError::Nobody) => {}
        Err(error) => return Err(error.into()),
    }
    spawn(home, id, common)?;
    Ok(wire::connect(&socket, 0).await?)
}

/// Starts an engine and waits until it says that it is ready, or why it cannot be.
fn spawn(home: &Home, id: &IncidentId, common: &Common) -> Result<()> {
    let program = std::env::current_exe().wrap_err("this program's own file cannot be found")?;
    let log = log_file(&home.folder(id))?;
    let mut command = Command::new(program);
    command.arg("engine").arg(id.as_str()).arg("--state-dir").arg(home.root());
    if let Some(config) = &common.config {
        command.arg("--config").arg(std::path::absolute(config)?);
    }
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .wrap_err("the engine cannot be started")?;
    let stdout = child.stdout.take().ok_or_else(|| eyre!("the engine has no output"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match line.trim_end() {
        READY => Ok(()),
        "" => {
            let status = child.wait()?;
            Err(eyre!("the engine ended at once ({status}); {} says why", home.folder(id).join("engine.log").display()))
        }
        why => Err(eyre!("{why}")),
    }
}

fn log_file(folder: &Path) -> Result<std::fs::File> {
    let path = folder.join("engine.log");
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .wrap_err_with(|| format!("{} cannot be written", path.display()))
}

/// The config that the incident was started with, unless another is named.
pub(super) fn config_path(common: &Common, folder: &Path) -> PathBuf {
    common.config.clone().or_else(|| kept_config_path(folder)).unwrap_or_else(default_path)
}

/// The config that the incident was started with.
pub(super) fn kept_config_path(folder: &Path) -> Option<PathBuf> {
    let bytes = std::fs::read(folder.join("config-path")).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// The body of `relight engine ID`.
pub(super) fn serve(common: &Common, id: &IncidentId) -> Result<Exit> {
    // A session of its own: the terminal that started it may close. It fails only for a group leader, which
    // a child that was just started is not, unless a shell did it.
    let _ = rustix::process::setsid();
    let log = super::log::to_file_and_clients();
    let result = (|| {
        let home = home(common)?;
        let folder = home.folder(id);
        let config = Arc::new(Config::load(&config_path(common, &folder))?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(run(id, folder, config, log))
    })();
    if let Err(report) = &result {
        let report: &color_eyre::Report = report;
        tracing::error!("{report:#}");
        say(&super::exit::sentence(report).replace('\n', " "));
    }
    result.map(|()| Exit::Done)
}

async fn run(id: &IncidentId, folder: PathBuf, config: Arc<Config>, log: Lines) -> Result<()> {
    let socket = Home::socket(id)?;
    let hands = Arc::new(super::hands::Workers::new(Arc::clone(&config)));
    let mut server = Err(std::io::Error::from(std::io::ErrorKind::NotConnected));
    let options = Options { folder, config, hands };
    // The journal is held when the socket is bound, so a socket file in the way is a dead engine's.
    let ended = engine::run(options, |handle| match wire::bind(&socket) {
        Ok(listener) => {
            server = Ok(wire::serve(listener, handle.clone()));
            tokio::spawn(log.tell(handle.clone()));
            let ending = signals::asked_to_end();
            tokio::spawn(async move {
                ending.await;
                handle.send(Input::Shutdown).await;
            });
            say(READY);
        }
        Err(error) => {
            server = Err(error);
            tokio::spawn(async move { handle.send(Input::Shutdown).await });
        }
    })
    .await;
    if let (Err(_), Err(_)) = (&ended, &server) {
        // It did not come so far as to bind the socket.
        return Ok(ended?);
    }
    let server = server.wrap_err_with(|| format!("the socket {} cannot be made", socket.display()))?;
    // Nobody new may come; whoever still looks on is told by the connection's end.
    let _ = std::fs::remove_file(&socket);
    server.finish(LAST_WORDS).await;
    Ok(ended?)
}

/// Tells the process that started us, if it still listens.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
