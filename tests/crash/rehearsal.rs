//! The whole runbook against the drill's real servers, with an engine that dies: between every effect and its report, and at
//! random. The drill's own scorecard proves from outside what became of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use relight::incident::{Event, EventKind, Outcome, Settlement, State};
use relight::journal;
use relight::runbook::{BUILT_IN, Runbook};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::{Child, Command};

use super::tally::{Dice, amount, seed, tell};

/// Messages that a drill owes, and more.
const MESSAGES: u64 = 60;

struct Rehearsal {
    folder: tempfile::TempDir,
}

impl Rehearsal {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("rl").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relight"));
        command
            .args(words)
            .env("XDG_STATE_HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .env("RELIGHT_DIED_AT", self.died_at())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn died_at(&self) -> PathBuf {
        self.folder.path().join("died-at")
    }

    /// The only incident's folder; none before there is one.
    fn incident(&self) -> Option<PathBuf> {
        let mut folders = std::fs::read_dir(self.folder.path().join("relight/incidents")).ok()?;
        Some(folders.next()?.ok()?.path())
    }

    fn events(&self) -> Vec<Event> {
        journal::read(&self.incident().expect("an incident").join(journal::FILE)).unwrap().events
    }

    /// The drill was passed: by its own scorecard, which asks the world how often it was told what.
    async fn passed(&self, drill: Child, what: &str) -> State {
        let output = drill.wait_with_output().await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{what}: {said}");
        assert!(said.contains("ok   nothing done twice"), "{what}: {said}");
        let state = State::replay(&self.events()).unwrap();
        assert!(state.closed_at.is_some() && state.unsent().next().is_none());
        state
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // A failed test must not leave servers behind.
        let mut stop = std::process::Command::new(env!("CARGO_BIN_EXE_relight"));
        stop.args(["drill", "--stop"]).env("XDG_STATE_HOME", self.folder.path());
        let _ = stop.env("XDG_RUNTIME_DIR", self.folder.path().join("run")).output();
    }
}

/// The step that has nothing to do where the world is as it wants it.
const QUIET: &str = "restore.quiet";

/// Effects that must not come twice: their second attempt, which died after its effect, is found to have happened.
const ONCE: [&str; 11] = [
    "declare.incident",
    "declare.responders",
    "declare.freeze",
    "restore.database",
    "restore.stop-writes",
    QUIET,
    "restore.swap",
    "restore.start-writes",
    "dependents.cache",
    "communicate.status",
    "verify.unfreeze",
];

#[tokio::test]
async fn a_death_between_any_effect_and_its_report_repeats_nothing() {
    let rehearsal = Rehearsal::new();
    let runbook = Runbook::parse("built-in", BUILT_IN).unwrap();
    let swap = ["guarded", "fenced", "ended-sessions", "renamed"].map(|point| format!("swap.{point}"));
    let points: Vec<String> = runbook
        .steps()
        .flat_map(|step| [format!("run.before:{}", step.id), format!("run.after:{}", step.id)])
        .chain(swap.clone())
        .chain((1..=MESSAGES).map(|message| format!("sent:{message}")))
        .collect();
    let failpoints: Vec<String> = points.iter().map(|point| format!("{point}=return")).collect();
    let drill = rehearsal.command(&["drill", "--auto"]).env("FAILPOINTS", failpoints.join(";")).spawn().unwrap();
    let state = rehearsal.passed(drill, "an engine that dies at every point").await;

    let died = std::fs::read_to_string(rehearsal.died_at()).unwrap();
    let died: BTreeSet<&str> = died.lines().collect();
    assert!(swap.iter().all(|point| died.contains(point.as_str())), "{died:?}");
    for message in state.messages.keys() {
        assert!(died.contains(format!("sent:{message}").as_str()), "message {message}");
    }
    let settled: BTreeMap<_, _> = rehearsal
        .events()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Settled { attempt, by: Settlement::Probe, outcome } => Some((attempt, outcome)),
            _ => None,
        })
        .collect();
    for (step, known) in state.steps.iter().filter(|(_, known)| !known.attempts.is_empty()) {
        // One that died earlier, in the middle or where the world was as wanted already, has no second attempt to die after.
        let last = known.attempts.last().unwrap();
        let found = matches!(settled.get(last), Some(Outcome::Succeeded { .. }));
        // A message's death before the first attempt had begun finds the database quiet: nobody else is on it in a drill.
        let was_so = found && step.as_str() == QUIET;
        assert!(was_so || died.contains(format!("run.before:{step}").as_str()), "{step}, died at {died:?}");
        let outcomes: Vec<_> = known.attempts.iter().map(|id| (id, &state.attempts[id].outcome)).collect();
        assert!(found || died.contains(format!("run.after:{step}").as_str()), "{step}: {outcomes:?}, died at {died:?}");
    }
    for step in ONCE {
        let attempts = &state.steps.iter().find(|(id, _)| id.as_str() == step).unwrap().1.attempts;
        let last = attempts.last().unwrap();
        assert!(matches!(settled.get(last), Some(Outcome::Succeeded { .. })), "{step}: {:?}", settled.get(last));
        for attempt in &attempts[..attempts.len() - 1] {
            let outcome = settled.get(attempt);
            assert!(matches!(outcome, Some(Outcome::Stopped { .. })), "{step}, attempt {attempt}: {outcome:?}");
        }
    }
    let count = u64::try_from(died.len()).unwrap();
    tell("engine killed before and after every effect of a drill", count, count);
}

/// The engine that runs now, by the journal; none while none does.
fn engine(incident: &Path) -> Option<Pid> {
    let events = journal::read(&incident.join(journal::FILE)).ok()?.events;
    let pid = events.iter().rev().find_map(|event| match event.kind {
        EventKind::EngineStarted { pid, .. } => i32::try_from(pid).ok().and_then(Pid::from_raw),
        _ => None,
    })?;
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let id = incident.file_name()?.to_str()?;
    line.split(|byte| *byte == 0).any(|word| word == id.as_bytes()).then_some(pid)
}

#[tokio::test]
async fn an_engine_that_is_killed_at_random_brings_everything_back() {
    let mut dice = Dice::new(seed());
    let wanted = amount(6, 50);
    let mut killed = 0;
    while killed < wanted {
        let rehearsal = Rehearsal::new();
        let mut drill = rehearsal.command(&["drill", "--auto"]).spawn().unwrap();
        loop {
            // A drill takes some seconds: a few kills in each.
            let moment = Duration::from_micros(dice.below(1_500_000));
            if let Ok(ended) = tokio::time::timeout(moment, drill.wait()).await {
                ended.unwrap();
                break;
            }
            let Some(pid) = rehearsal.incident().as_deref().and_then(engine) else { continue };
            let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if killed < wanted && pidfd_send_signal(handle, Signal::KILL).is_ok() {
                killed += 1;
            }
        }
        rehearsal.passed(drill, &format!("after {killed} kills, seed {}", seed())).await;
    }
    tell("engine of a drill killed at random", killed, killed);
}
