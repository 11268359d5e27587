//! The engine as a process of its own: starting it, and being it.

use std::ffi::OsString;
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
use crate::wire::{self, Admission, ConnectError, Link};
use color_eyre::Result;
use color_eyre::eyre::{WrapErr as _, eyre};
use tokio::net::UnixListener;

use super::arguments::Common;
use super::exit::Usage;
use super::incidents::{hide_secrets, home};
use super::log::Lines;
use super::{Exit, logout, signals};

/// The line with which a new engine says that it can be attached to.
const READY: &str = "ready";
/// For a client on a bad link to read what the engine said last.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Attaches to an incident's engine; starts one where none runs, unless the incident is somebody else's or nothing is to be
/// started. With `watch` only to look on.
pub(super) async fn connect_or_start(home: &Home, id: &IncidentId, common: &Common, watch: bool) -> Result<Link> {
    let own = rustix::process::getuid().as_raw();
    if let Some(owner) = home.owner(id).filter(|owner| *owner != own && own != 0) {
        return match wire::connect(&home.shared_socket(id)?, 0, watch).await {
            Ok(link) => Ok(link),
            Err(ConnectError::Nobody) => Err(eyre!(
                "no engine runs for {id}, or it is not shared; the incident is of uid {owner}, whose account starts one: relight attach {id}"
            )),
            Err(error) => Err(error.into()),
        };
    }
    let socket = Home::socket(id)?;
    match wire::connect(&socket, 0, watch).await {
        Ok(link) => return Ok(link),
        Err(ConnectError::Nobody) => {}
        Err(error) => return Err(error.into()),
    }
    if common.read_only {
        return Err(Usage(format!(
            "no engine runs for {id}, and --read-only starts none; `relight attach {id}` does, and `relight export {id}` tells what happened so far"
        ))
        .into());
    }
    spawn(home, id, common).await?;
    Ok(wire::connect(&socket, 0, watch).await?)
}

/// Starts an engine and waits until it says that it is ready, or why it cannot be.
async fn spawn(home: &Home, id: &IncidentId, common: &Common) -> Result<()> {
    let program = std::env::current_exe().wrap_err("this program's own file cannot be found")?;
    let log = log_file(&home.folder(id))?;
    let mut words = logout::out_of_the_session(&format!("relight {id}")).await.into_iter().map(OsString::from);
    let mut command = match words.next() {
        Some(outside) => {
            let mut command = Command::new(outside);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.arg("engine").arg(id.as_str()).arg("--state-dir").arg(home.root());
    if let Some(config) = &common.config {
        command.arg("--config").arg(std::path::absolute(config)?);
    }
    if let Some(group) = &common.share_group {
        command.arg("--share-group").arg(group);
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
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// The body of `relight engine ID`.
pub(super) fn serve(common: &Common, id: &IncidentId) -> Result<Exit> {
    // A session of its own: the terminal that started it may close. It fails only for a group leader, which
    // a child that was just started is not, unless a shell did it.
    let _ = rustix::process::setsid();
    let _failpoints = crate::failpoint::setup();
    let log = super::log::to_file_and_clients();
    let result = (|| {
        let home = home(common)?;
        let folder = home.folder(id);
        home.trusted(id)?;
        let config = Arc::new(Config::load(&config_path(common, &folder))?);
        hide_secrets(&config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let group = share_group(common, &folder, &config)?;
        let admission = Admission::of(group.as_deref(), config.people.approvers.clone())
            .wrap_err("the group that the incident is shared with")?;
        runtime.block_on(run(&home, id, config, admission, log))
    })();
    if let Err(report) = &result {
        let report: &color_eyre::Report = report;
        tracing::error!("{report:#}");
        say(&super::exit::sentence(report).replace('\n', " "));
    }
    result.map(|()| Exit::Done)
}

/// The group to share with: named now, when the incident was started, or in the config.
fn share_group(common: &Common, folder: &Path, config: &Config) -> Result<Option<String>> {
    let kept = folder.join("share-group");
    if let Some(group) = &common.share_group {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&kept)?
            .write_all(group.as_bytes())?;
    }
    let kept = std::fs::read_to_string(kept).ok();
    Ok(kept.or_else(|| config.people.group.clone()))
}

/// The sockets to listen on: the owner's, and one in the incident's folder where that is shared.
fn listeners(home: &Home, id: &IncidentId, gid: Option<u32>) -> Result<Vec<UnixListener>> {
    let own = Home::socket(id)?;
    let place = |path: &Path| format!("the socket {} cannot be made", path.display());
    let mut all = vec![wire::bind(&own, None).wrap_err_with(|| place(&own))?];
    if let Some(gid) = gid {
        home.share(id, gid)?;
        let shared = home.shared_socket(id)?;
        all.push(wire::bind(&shared, Some(gid)).wrap_err_with(|| place(&shared))?);
    }
    Ok(all)
}

async fn run(home: &Home, id: &IncidentId, config: Arc<Config>, admission: Admission, log: Lines) -> Result<()> {
    let hands = Arc::new(super::hands::Workers::new(Arc::clone(&config)));
    let mut server = None;
    let options = Options { folder: home.folder(id), config, hands };
    let admission = Arc::new(admission);
    // The journal is held when the sockets are bound, so a socket file in the way is a dead engine's.
    let ended = engine::run(options, |handle| {
        let bound = listeners(home, id, admission.gid()).map(|all| wire::serve(all, &handle, &admission));
        if bound.is_ok() {
            tokio::spawn(log.tell(handle.clone()));
            let ending = signals::asked_to_end();
            tokio::spawn(async move {
                ending.await;
                handle.send(Input::Shutdown).await;
            });
            say(READY);
        } else {
            tokio::spawn(async move { handle.send(Input::Shutdown).await });
        }
        server = Some(bound);
    })
    .await;
    let Some(server) = server else {
        // It did not come so far as to bind a socket.
        return Ok(ended?);
    };
    let server = server?;
    // Nobody new may come; whoever still looks on is told by the connection's end.
    let _ = std::fs::remove_file(Home::socket(id)?);
    if let Ok(shared) = home.shared_socket(id) {
        let _ = std::fs::remove_file(shared);
    }
    server.finish(LAST_WORDS).await;
    Ok(ended?)
}

/// Tells the process that started us, if it still listens.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
