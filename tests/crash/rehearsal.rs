//! The whole runbook against the drill's real servers, with an engine that dies: between every effect and its report, and at
//! random. The drill's own scorecard proves from outside what became of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use relight::incident::{EventKind, Outcome, Settlement, State};
use relight::journal;
use relight::runbook::{BUILT_IN, Runbook};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::Child;

use super::place::Place;
use super::tally::{Dice, amount, seed, tell};

/// Messages that a drill owes, and more.
const MESSAGES: u64 = 60;

/// The drill was passed: by its own scorecard, which asks the world how often it was told what.
async fn passed(place: &Place, drill: Child, what: &str) -> State {
    let output = drill.wait_with_output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {said}");
    assert!(said.contains("ok   nothing done twice"), "{what}: {said}");
    let state = State::replay(&place.events()).unwrap();
    assert!(state.closed_at.is_some() && state.unsent().next().is_none());
    state
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
    let place = Place::new();
    let runbook = Runbook::parse("built-in", BUILT_IN).unwrap();
    let swap = ["guarded", "fenced", "ended-sessions", "renamed"].map(|point| format!("swap.{point}"));
    let points: Vec<String> = runbook
        .steps()
        .flat_map(|step| [format!("run.before:{}", step.id), format!("run.after:{}", step.id)])
        .chain(swap.clone())
        .chain((1..=MESSAGES).map(|message| format!("sent:{message}")))
        .collect();
    let failpoints: Vec<String> = points.iter().map(|point| format!("{point}=return")).collect();
    let drill = place.command(&["drill", "--auto"]).env("FAILPOINTS", failpoints.join(";")).spawn().unwrap();
    let state = passed(&place, drill, "an engine that dies at every point").await;

    let died = place.died();
    let died: BTreeSet<&str> = died.iter().map(String::as_str).collect();
    assert!(swap.iter().all(|point| died.contains(point.as_str())), "{died:?}");
    for message in state.messages.keys() {
        assert!(died.contains(format!("sent:{message}").as_str()), "message {message}");
    }
    let settled: BTreeMap<_, _> = place
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
        let place = Place::new();
        let mut drill = place.command(&["drill", "--auto"]).spawn().unwrap();
        loop {
            // A drill takes some seconds: a few kills in each.
            let moment = Duration::from_micros(dice.below(1_500_000));
            if let Ok(ended) = tokio::time::timeout(moment, drill.wait()).await {
                ended.unwrap();
                break;
            }
            let Some(pid) = place.incident().as_deref().and_then(engine) else { continue };
            let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if killed < wanted && pidfd_send_signal(handle, Signal::KILL).is_ok() {
                killed += 1;
            }
        }
        passed(&place, drill, &format!("after {killed} kills, seed {}", seed())).await;
    }
    tell("engine of a drill killed at random", killed, killed);
}
