//! `relight drill`: a sandbox process, an incident in it, and the cockpit on top.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use color_eyre::Result;
use color_eyre::eyre::{WrapErr as _, eyre};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::config::Config;
use crate::drill::control::Hold;
use crate::drill::ready::Ready;
use crate::drill::rehearsal;
use crate::engine::{Found, Home};
use crate::incident::IncidentId;
use crate::wire;

use super::arguments::{Common, DrillOptions};
use super::exit::Usage;
use super::incidents::{DRILL, Loaded, create, home, need_terminal, open_cockpit};
use super::out::{self, errln, out, outln};
use super::taste::Taste;
use super::{Exit, engine};

/// The folder of a drill's sandbox; the incident's own folder is where every incident's is.
fn sandboxes(home: &Home) -> PathBuf {
    home.root().join("drills")
}

pub(super) fn drill(common: &Common, options: &DrillOptions) -> Result<Exit> {
    let home = home(common)?;
    if options.stop {
        return stop(&home);
    }
    if options.auto {
        return auto(&home, common, options.json);
    }
    need_terminal("relight drill", common)?;
    // A drill has a config of its own; the hands that rehearse keep theirs.
    let taste = Taste::find(common, None)?;
    let (id, ready) = match alive(&home)? {
        Some(running) => running,
        None => begin(&home, common, &mut |line| outln!("{line}"))?,
    };
    let common = with_config(common, &ready);
    open_cockpit(&home, &id, &common, false, &taste)
}

fn with_config(common: &Common, ready: &Ready) -> Common {
    Common { config: Some(ready.config.clone()), ..common.clone() }
}

/// An open drill whose sandbox still lives.
fn alive(home: &Home) -> Result<Option<(IncidentId, Ready)>> {
    for found in home.incidents()? {
        let open = found.state.as_ref().is_ok_and(|state| state.environment == DRILL && state.closed_at.is_none());
        if let (true, Some(ready)) = (open, ready_of(home, &found)) {
            return Ok(Some((found.id, ready)));
        }
    }
    Ok(None)
}

fn ready_of(home: &Home, found: &Found) -> Option<Ready> {
    let folder = sandbox_of(home, found)?;
    let ready = Ready::read(&folder).ok().flatten()?;
    ready.process.is_alive().then_some(ready)
}

/// The sandbox's folder is where the incident's config lies.
fn sandbox_of(home: &Home, found: &Found) -> Option<PathBuf> {
    let folder = engine::kept_config_path(&found.folder)?.parent()?.to_owned();
    folder.starts_with(sandboxes(home)).then_some(folder)
}

/// Keeps the sandbox of a drill awake for as long as the guard lives; nothing for other incidents.
pub(super) async fn hold(folder: &Path) -> Option<Hold> {
    let config = engine::kept_config_path(folder)?;
    let ready = Ready::read(config.parent()?).ok().flatten()?;
    Hold::take(&ready.control_socket).await.ok()
}

/// Builds a sandbox and opens an incident in it.
fn begin(home: &Home, common: &Common, say: &mut dyn FnMut(&str)) -> Result<(IncidentId, Ready)> {
    let folder = new_folder(home)?;
    say("Building the drill: a PostgreSQL database and its dumps, Redis, an S3 server. It takes about ten seconds.");
    start_sandbox(&folder)?;
    let ready =
        Ready::read(&folder)?.ok_or_else(|| eyre!("the sandbox says it is ready, and there is no ready.json"))?;
    say(&format!("Real:      {}", ready.real.join(", ")));
    say(&format!("Stand-ins: {}", ready.stand_ins.join(", ")));
    let loaded = Loaded { path: ready.config.clone(), config: Config::load(&ready.config)? };
    let id = create(home, &loaded, common)?;
    Ok((id, ready))
}

fn new_folder(home: &Home) -> Result<PathBuf> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).wrap_err("no random numbers")?;
    let name = format!("{:08x}", u32::from_le_bytes(bytes));
    let folder = sandboxes(home).join(name);
    crate::private::folder(&sandboxes(home)).wrap_err_with(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

fn start_sandbox(folder: &Path) -> Result<()> {
    let program = std::env::current_exe().wrap_err("this program's own file cannot be found")?;
    let log = folder.with_extension("log");
    let errors = OpenOptions::new().append(true).create(true).mode(0o600).open(&log)?;
    let mut child = Command::new(program)
        .args(["sandbox", "--dir"])
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .wrap_err("the sandbox cannot be started")?;
    let stdout = child.stdout.take().ok_or_else(|| eyre!("the sandbox has no output"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim_end() == "ready" {
        return Ok(());
    }
    child.wait()?;
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(eyre!("the drill cannot be built: {last}"))
}

/// A sandbox that was asked to end takes its servers down first; it is waited for this long.
const ENDING: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

fn stop(home: &Home) -> Result<Exit> {
    end_engines(home)?;
    let mut stopped = 0;
    for entry in std::fs::read_dir(sandboxes(home)).into_iter().flatten().filter_map(Result::ok) {
        let Ok(Some(ready)) = Ready::read(&entry.path()) else { continue };
        if stop_sandbox(&ready) {
            stopped += 1;
        }
    }
    outln!("{stopped} drill{} ended.", if stopped == 1 { "" } else { "s" });
    Ok(Exit::Done)
}

/// Ends a sandbox and waits until it is gone; false where none ran.
fn stop_sandbox(ready: &Ready) -> bool {
    // The handle is taken before the signal, so that it can be no later process of the same number.
    let handle = process(ready.process.pid).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    if !ready.stop() {
        return false;
    }
    if let Some(handle) = handle {
        let mut one = [PollFd::new(&handle, PollFlags::IN)];
        // Whether it ended in time changes nothing here: it was told to.
        let _ = rustix::event::poll(&mut one, Some(&ENDING));
    }
    true
}

/// The engines of drills end with their world.
fn end_engines(home: &Home) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for found in home.incidents()? {
        let drill = found.state.as_ref().is_ok_and(|state| state.environment == DRILL);
        let Ok(socket) = Home::socket(&found.id) else { continue };
        if let (true, Ok(link)) = (drill, runtime.block_on(wire::connect(&socket, u64::MAX, true))) {
            end_process(link.pid);
        }
    }
    Ok(())
}

/// Plays the operator, prints the scorecard, and ends the sandbox whatever came of it.
fn auto(home: &Home, common: &Common, json: bool) -> Result<Exit> {
    let mut say = |line: &str| {
        if !json {
            outln!("{line}");
        }
    };
    let (id, ready) = begin(home, common, &mut say)?;
    let common = with_config(common, &ready);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = runtime.block_on(async {
        let _hold = Hold::take(&ready.control_socket).await?;
        say(&format!("Incident {id}; its journal is {}", home.folder(&id).display()));
        let mut pid = None;
        let connect = async || {
            let link =
                engine::connect_or_start(home, &id, &common, false).await.map_err(|error| format!("{error:#}"))?;
            pid = Some(link.pid);
            Ok(link)
        };
        let played = rehearsal::play(connect, &ready, &mut say).await;
        if let (true, Some(pid)) = (played.is_err(), pid) {
            // A drill that is over leaves no engine behind; one that was closed ends by itself.
            end_process(pid);
        }
        Ok::<_, color_eyre::Report>(played)
    });
    stop_sandbox(&ready);
    let card = match played? {
        Ok(card) => card,
        Err(error) => {
            if json {
                out::json(&serde_json::json!({ "passed": false, "incident": id, "error": error.to_string() }))?;
            } else {
                errln!("relight: {error}");
                if std::io::stderr().is_terminal() {
                    errln!("relight: `relight export {id}` prints what happened");
                }
            }
            return Ok(Exit::Failed);
        }
    };
    if json {
        let mut value = serde_json::to_value(&card)?;
        value["incident"] = serde_json::json!(id);
        out::json(&value)?;
    } else {
        out!("\n{}", card.text());
    }
    Ok(if card.passed { Exit::Done } else { Exit::Unverified })
}

fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn end_process(pid: u32) {
    if let Some(pid) = process(pid) {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// `relight sandbox --dir FOLDER`: the process that is the drill's world.
pub(super) fn sandbox(folder: &Path) -> Result<Exit> {
    use crate::drill::sandbox::{SandboxOptions, serve};
    // It outlives the terminal that it was started from, as production would.
    let _ = rustix::process::setsid();
    // Its servers write files of their own making, which are nobody else's either.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { serve(SandboxOptions::new(folder)?).await })?;
    Ok(Exit::Done)
}

/// `relight stand-in smoke|deploy …`: what `npm run …` is in production.
pub(super) fn stand_in(words: &[String]) -> Result<u8> {
    use crate::drill::standin_command::{deploy, smoke};
    let environment = std::env::vars().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut out = std::io::stdout();
    let mut all = vec!["stand-in".to_owned()];
    all.extend_from_slice(words);
    match words.first().map(String::as_str) {
        Some("smoke") => Ok(runtime.block_on(smoke(&all, &environment, &mut out))),
        Some("deploy") => Ok(runtime.block_on(deploy(&all, &environment, &mut out))),
        _ => Err(Usage("a drill's stand-in command is `smoke` or `deploy`".to_owned()).into()),
    }
}
