//! End to end: the real program on a pseudo-terminal, driven by keys, on real servers.

mod calls;
mod far;
mod logout;
mod lost;
mod operator;
mod plain;
mod process;
mod sending;
#[path = "../crash/tally.rs"]
#[expect(dead_code, reason = "nothing is left to chance here")]
mod tally;
mod terminal;

use relight::drill::ready::Ready;
use relight::drill::scorecard;
use relight::incident::{Fact, MessageState, State, StepStatus};
use relight::runbook::StepId;

use operator::{approve, carry_out, current, wait_until_done};
use terminal::{Person, Terminal};

/// The only drill's facts.
fn ready(person: &Person) -> Ready {
    let mut drills = std::fs::read_dir(person.state().join("drills")).expect("a folder of drills");
    drills
        .find_map(|entry| Ready::read(&entry.expect("an entry").path()).ok().flatten())
        .expect("a sandbox that is ready")
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn incident(person: &Person) -> State {
    person.incident().expect("an incident")
}

/// Does steps by keys until `stop` says so, or the incident is closed.
fn drive(person: &Person, terminal: &mut Terminal, onset: &str, mut stop: impl FnMut(&StepId) -> bool) {
    loop {
        let state = incident(person);
        if state.closed_at.is_some() {
            return;
        }
        let next = current(&state).expect("a step that is ready");
        if stop(&next.id) {
            return;
        }
        carry_out(person, terminal, &next, onset);
    }
}

#[test]
fn the_whole_runbook_by_keys_brings_everything_back() {
    let person = Person::new();
    let mut terminal = Terminal::start(&person, &["drill"], 32, 120);
    terminal.until_shown("Check the prerequisites");
    let ready = ready(&person);
    let onset = ready.onset.to_string();

    drive(&person, &mut terminal, &onset, |step| step.as_str() == "restore.start-writes");
    let before = block(scorecard::measure(&ready)).expect("measured");
    let state = incident(&person);
    let restored = state.all_facts().find_map(|(_, fact)| match fact {
        Fact::Restored { object, .. } => Some(object.key.clone()),
        _ => None,
    });
    let manifest = ready.dumps.iter().find(|dump| Some(&dump.key) == restored.as_ref()).expect("a dump of the drill");
    assert!(manifest.taken < ready.onset, "the snapshot is from before the damage");
    assert_eq!(before.table_differences(manifest), Vec::<String>::new());
    assert_eq!((before.redis_keys, before.redis_neighbours), (0, ready.redis_neighbours));

    drive(&person, &mut terminal, &onset, |_| false);
    let after = block(scorecard::measure(&ready)).expect("measured");
    assert_eq!(after.objects.wrong, Vec::<String>::new());
    assert_eq!(after.objects.rolled_back, Vec::<String>::new());
    for (name, wanted) in &ready.deployments {
        assert_eq!(after.deployments[name].available, i64::from(wanted.replicas), "{name}");
    }

    // The engine ends when nothing is owed; the cockpit says so and leaves at a key.
    terminal.until("nothing unsent", |_| incident(&person).unsent().next().is_none().then_some(()));
    terminal.keys("q");
    assert_eq!(terminal.ended(), 0);
    let state = incident(&person);
    assert!(state.messages.values().all(|message| matches!(message.state, MessageState::Sent(_))));
    let id = state.id.to_string();
    let exported = person.run(&["export", &id]);
    let timeline = String::from_utf8(exported.stdout).expect("text");
    for milestone in [
        "Freeze deploys:",
        "Choose the snapshot:",
        "Stop writes:",
        "Safety dump:",
        "Restore beside:",
        "Prove the tables:",
        "Swap:",
        "Start writes:",
        "closed",
    ] {
        assert!(timeline.contains(milestone), "{milestone} is missing in\n{timeline}");
    }
    let audit = person.run(&["audit", &id]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    let flag = std::fs::read_to_string(ready.records.join("launchdarkly.jsonl")).expect("records");
    assert!(flag.contains("turnFlagOn") && flag.contains("turnFlagOff"));
}

#[test]
fn a_terminal_that_closes_during_the_restore_does_not_stop_it() {
    let person = Person::new();
    let mut terminal = Terminal::start(&person, &["drill"], 24, 80);
    terminal.until_shown("Check the prerequisites");
    let onset = ready(&person).onset.to_string();
    drive(&person, &mut terminal, &onset, |step| step.as_str() == "restore.database");
    let step = current(&incident(&person)).expect("the restore");
    approve(&person, &mut terminal, &step, &onset);
    terminal.hang_up();
    let mut again = Terminal::start(&person, &["attach"], 32, 120);
    again.until_shown("Restore the database");
    wait_until_done(&person, &mut again, &step);
    let state = incident(&person);
    let attempts = &state.steps[&StepId::new("restore.database")].attempts;
    assert_eq!(attempts.len(), 1, "it ran once");
    assert!(matches!(state.status(&StepId::new("restore.database")), StepStatus::Succeeded(_)));
    again.keys("q");
    assert_eq!(again.ended(), 0);
}
