//! Starting, finding and attaching to incidents.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use color_eyre::Result;
use color_eyre::eyre::WrapErr as _;
use jiff::Timestamp;

use crate::config::{Config, SecretSource, default_path};
use crate::engine::{Found, Home};
use crate::incident::{Actor, Event, EventKind, IncidentId, State, duration_text};
use crate::runbook::{BUILT_IN, Runbook};
use crate::{tui, wire};

use super::arguments::Common;
use super::exit::Usage;
use super::out::{self, errln, out, outln};
use super::taste::Taste;
use super::{Exit, engine};

/// What the environment of a drill is called; a bare `relight` does not attach to one.
pub(super) const DRILL: &str = "drill";

/// A config file and what it says.
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) config: Config,
}

pub(super) fn config(common: &Common) -> Result<Loaded> {
    let path = common.config.clone().unwrap_or_else(default_path);
    let path = std::path::absolute(&path).unwrap_or(path);
    let config = Config::load(&path)?;
    // Keys that are not to be had are a fault of the config, whatever it was read for.
    Taste::read(&path, &config.cockpit)?;
    hide_secrets(&config);
    Ok(Loaded { path, config })
}

/// What the config takes secrets from is no business of the programs that this process starts.
pub(super) fn hide_secrets(config: &Config) {
    config.secrets().into_iter().filter_map(SecretSource::variable).for_each(crate::private::hide);
}

/// Where incidents are: named on the command line, in the config if there is one, or the usual folder.
pub(super) fn home(common: &Common) -> Result<Home> {
    if let Some(folder) = &common.state_dir {
        return Ok(Home::find(Some(&std::path::absolute(folder)?))?);
    }
    let path = common.config.clone().unwrap_or_else(default_path);
    // Without a config there may still be incidents, of drills for instance.
    let state_dir = if path.exists() { Config::load(&path)?.state_dir } else { None };
    Ok(Home::find(state_dir.as_deref())?)
}

/// The runbook's text and what errors call its file.
pub(super) fn runbook_text(common: &Common) -> Result<(String, String)> {
    match &common.runbook {
        None => Ok(("built-in runbook".to_owned(), BUILT_IN.to_owned())),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Usage(format!("the runbook {} cannot be read: {error}", path.display())))?;
            Ok((path.display().to_string(), text))
        }
    }
}

/// Opens a new incident on disk; its engine does not run yet.
pub(super) fn create(home: &Home, loaded: &Loaded, common: &Common) -> Result<IncidentId> {
    let (origin, text) = runbook_text(common)?;
    let runbook = Runbook::parse(&origin, &text)?;
    let missing = loaded.config.missing(&runbook);
    if !missing.is_empty() {
        let list: Vec<String> = missing.iter().map(|(target, step)| format!("{target} (for \"{step}\")")).collect();
        return Err(Usage(format!(
            "the config {} lacks targets that the runbook names: {}. assets/relight.example.toml shows how each is written",
            loaded.path.display(),
            list.join(", ")
        ))
        .into());
    }
    let database = loaded
        .config
        .postgres
        .values()
        .next()
        .map_or_else(|| runbook.title.clone(), |postgres| postgres.database.clone());
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).wrap_err("no random numbers")?;
    let id = IncidentId::from_random(bytes);
    let opening = Event {
        seq: 1,
        at: Timestamp::now(),
        actor: Actor { name: wire::own_name(), uid: Some(rustix::process::getuid().as_raw()) },
        kind: EventKind::Opened {
            id: id.clone(),
            environment: loaded.config.environment.clone(),
            runbook: text,
            origin,
            database,
            rto_seconds: loaded.config.rto_target.as_secs(),
            rpo_seconds: loaded.config.rpo_target.map(|most| most.as_secs()),
            one_account: loaded.config.people.one_account,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    };
    home.create(&id, &opening)?;
    // The incident keeps the config's path, so that attaching later needs no option.
    crate::private::write(&home.folder(&id).join("config-path"), loaded.path.as_os_str().as_encoded_bytes())?;
    Ok(id)
}

pub(super) fn start(common: &Common) -> Result<Exit> {
    need_terminal("relight start", common)?;
    let loaded = config(common)?;
    let home = home(common)?;
    let id = create(&home, &loaded, common)?;
    let taste = Taste::find(common, None)?;
    open_cockpit(&home, &id, common, false, &taste)
}

pub(super) fn attach(common: &Common, id: Option<IncidentId>, watch: bool) -> Result<Exit> {
    need_terminal(if watch { "relight watch" } else { "relight attach" }, common)?;
    let home = home(common)?;
    let id = named_or_only(&home, id)?;
    let taste = Taste::find(common, Some((&home, &id)))?;
    open_cockpit(&home, &id, common, watch, &taste)
}

/// The incident that was named, or the only one that is open.
pub(super) fn named_or_only(home: &Home, id: Option<IncidentId>) -> Result<IncidentId> {
    let id = match id {
        Some(id) => id,
        None => only_open(home)?,
    };
    if !home.folder(&id).is_dir() {
        return Err(Usage(format!(
            "there is no incident {id} in {}; `relight list --all` shows them",
            home.root().display()
        ))
        .into());
    }
    Ok(id)
}

fn only_open(home: &Home) -> Result<IncidentId> {
    let mut open: Vec<Found> = home.incidents()?.into_iter().filter(is_open).collect();
    match open.len() {
        0 => Err(Usage("no incident is open; `relight start` begins one".to_owned()).into()),
        1 => Ok(open.remove(0).id),
        _ => {
            let ids: Vec<&str> = open.iter().map(|found| found.id.as_str()).collect();
            Err(Usage(format!("several incidents are open, name one: {}", ids.join(", "))).into())
        }
    }
}

fn is_open(found: &Found) -> bool {
    // One that cannot be read is shown rather than hidden: somebody must look at it.
    found.state.as_ref().map_or(true, |state| state.closed_at.is_none())
}

fn is_drill(found: &Found) -> bool {
    found.state.as_ref().is_ok_and(|state| state.environment == DRILL)
}

/// Without a command: attach to the only open incident, ask where there are several, start where there is none.
pub(super) fn bare(common: &Common) -> Result<Exit> {
    need_terminal("relight", common)?;
    let home = home(common)?;
    let open: Vec<Found> = home.incidents()?.into_iter().filter(|found| is_open(found) && !is_drill(found)).collect();
    if let [only] = open.as_slice() {
        let taste = Taste::find(common, Some((&home, &only.id)))?;
        return open_cockpit(&home, &only.id.clone(), common, false, &taste);
    }
    if open.is_empty() && common.read_only {
        outln!(
            "No incident is open, and --read-only starts none. `relight list` shows drills, `relight list --all` those that were."
        );
        return Ok(Exit::Done);
    }
    if open.is_empty() {
        if !std::io::stdin().is_terminal() {
            return Err(Usage(
                "no incident is open, and there is no terminal to ask on; `relight start --plain` begins one"
                    .to_owned(),
            )
            .into());
        }
        let loaded = config(common)?;
        out!(
            "No incident is open. Start one in {} now? Nothing is changed anywhere until you approve a step. [y/N] ",
            loaded.config.environment
        );
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !answer.trim().eq_ignore_ascii_case("y") {
            return Ok(Exit::Done);
        }
        let id = create(&home, &loaded, common)?;
        return open_cockpit(&home, &id, common, false, &Taste::find(common, None)?);
    }
    print_table(&open);
    outln!("\nSeveral incidents are open: relight attach ID");
    Ok(Exit::Usage)
}

/// Starts the incident's engine if none runs, and shows the cockpit.
pub(super) fn open_cockpit(home: &Home, id: &IncidentId, common: &Common, watch: bool, taste: &Taste) -> Result<Exit> {
    super::stay_small();
    let watch = watch || common.read_only;
    let lines = common.in_lines();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // A drill's sandbox ends an hour after the last one who looks at it.
        let _hold = super::drill::hold(&home.folder(id)).await;
        let first_time = is_first_time(home);
        let options = || tui::Options {
            ascii: common.ascii,
            look: taste.look,
            keymap: taste.keymap.clone(),
            mouse: taste.mouse,
            logs: home.folder(id).join("output"),
            first_time,
            // Whoever looks on from another account has no room in the incident's own folder.
            export_dirs: [Some(home.folder(id).join("exports")), std::env::current_dir().ok()].into_iter().flatten().collect(),
        };
        let mut link = engine::connect_or_start(home, id, common, watch).await?;
        let mut keyboard = if lines { Some(tui::Keyboard::start().wrap_err("standard input cannot be read")?) } else { None };
        if !lines {
            super::log::to_the_pane();
        } else if !common.plain {
            outln!("This terminal (TERM) cannot show a full screen: the incident is told in lines, as with --plain.");
        }
        let exit = loop {
            // Whoever only looks on need not keep it alive.
            let pid = link.pid;
            let warning = async move { if watch { None } else { super::logout::warning(pid).await } };
            let exit = match &mut keyboard {
                Some(keyboard) => tui::run_linear(link, options(), keyboard, warning).await?,
                None => tui::run(link, options(), warning).await?,
            };
            match exit {
                tui::Exit::Again => link = engine::connect_or_start(home, id, common, watch).await?,
                exit => break exit,
            }
        };
        // The screen is the terminal's own again: what is said here stays in its scrollback.
        match exit {
            tui::Exit::Closed => outln!("{id} is closed. `relight export {id}` prints its timeline."),
            tui::Exit::Detached => outln!("Detached from {id}; everything goes on. `relight attach {id}` returns to it."),
            tui::Exit::EngineLost(why) => {
                errln!("relight: the engine of {id} is gone ({why}). `relight attach {id}` starts it again and asks every target what became of what was at work.");
                return Ok(Exit::Failed);
            }
            // Nobody is there to be told; one that is attached to again is no end.
            tui::Exit::TerminalGone | tui::Exit::Again => return Ok(Exit::Interrupted),
        }
        Ok(Exit::Done)
    })
}

/// Whether nobody has seen a cockpit on this state folder before; from now on somebody has.
fn is_first_time(home: &Home) -> bool {
    let path = home.root().join("seen");
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).is_ok()
}

pub(super) fn list(common: &Common, json: bool, all: bool) -> Result<Exit> {
    let home = home(common)?;
    let found: Vec<Found> = home.incidents()?.into_iter().filter(|found| all || is_open(found)).collect();
    if json {
        let rows: Vec<serde_json::Value> = found.iter().map(row_json).collect();
        out::json(&rows)?;
    } else if found.is_empty() {
        outln!("No incident{} in {}.", if all { "" } else { " is open" }, home.root().display());
    } else {
        print_table(&found);
    }
    // The process ends here: taking a long history apart piece by piece would only take time.
    std::mem::forget(found);
    Ok(Exit::Done)
}

fn row_json(found: &Found) -> serde_json::Value {
    match &found.state {
        Ok(state) => serde_json::json!({
            "id": found.id, "environment": state.environment, "database": state.database,
            "opened_at": state.opened_at, "closed_at": state.closed_at, "phase": phase(state),
            "unsent": state.unsent().count(), "folder": found.folder,
        }),
        Err(error) => serde_json::json!({ "id": found.id, "folder": found.folder, "error": error }),
    }
}

fn print_table(found: &[Found]) {
    outln!("{:<14} {:<12} {:<20} {:>9}  STATE", "INCIDENT", "ENVIRONMENT", "DATABASE", "OPENED");
    for found in found {
        match &found.state {
            Ok(state) => {
                let ago = duration_text(Timestamp::now().duration_since(state.opened_at));
                outln!(
                    "{:<14} {:<12} {:<20} {ago:>9}  {}",
                    found.id.as_str(),
                    state.environment,
                    state.database,
                    phase(state)
                );
            }
            Err(error) => outln!("{:<14} cannot be read: {error}", found.id.as_str()),
        }
    }
}

fn phase(state: &State) -> String {
    match (state.closed_at, state.current_phase()) {
        (Some(at), _) => format!("closed {}", crate::incident::clock(at)),
        (None, Some(phase)) => phase.title.clone(),
        (None, None) => "all steps done".to_owned(),
    }
}

/// Commands that open the cockpit ask questions, so they need a terminal. Lines can be read from anywhere, for a consent
/// names what was read out.
pub(super) fn need_terminal(what: &str, common: &Common) -> Result<()> {
    if common.plain || std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Usage(format!(
        "`{what}` opens a full-screen cockpit and needs a terminal. Over ssh, add -t. Without one: --plain, or relight list, \
         export, audit, check, drill --auto"
    ))
    .into())
}
