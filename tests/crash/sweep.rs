//! The journal cut at every byte that a death or a power cut may leave, in this process.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use relight::engine::{Changes, Core, Home};
use relight::incident::{
    Actor, AttemptId, Command, Effect, Event, Fact, IncidentId, Outcome, Plan, Problem, Report, State, StepStatus,
    TargetIdentity,
};
use relight::journal::{FILE, Journal};

use super::opening::opening;
use super::tally::amount;
use super::trials::Trials;

const RUNBOOK: &str = r#"
id = "test"
title = "Test"
[[phase]]
id = "p"
title = "Phase"
[[phase.step]]
id = "declare"
title = "Declare"
why = "w"
approval = "confirm"
milestone = true
action.declare_incident = { incident_type = "Data Loss", title = "t", details = "d" }
[[phase.step]]
id = "flush"
title = "Flush"
why = "w"
approval = "two_person"
needs = ["declare"]
milestone = true
action.flush_cache = { cache = "redis.cache" }
[[phase.step]]
id = "close"
title = "Close"
why = "w"
approval = "confirm"
needs = ["flush"]
action.close_incident = { incident = "declare", resolution = "r" }
"#;

fn now() -> Timestamp {
    "2026-11-23T08:48:00Z".parse().unwrap()
}

fn person(name: &str, uid: u32) -> Actor {
    Actor { name: name.to_owned(), uid: Some(uid) }
}

fn problem() -> Problem {
    Problem { what: "do it".into(), target: "t".into(), why: "It said no.".into(), next: "Ask again.".into() }
}

/// Does the next thing that can be done; none when the incident is over. Every kind of thing comes up on the way: an
/// attempt that fails and one that is in doubt, two approvals, notes and a correction, messages that arrive and such that
/// nobody knows of.
fn advance(core: &mut Core) -> Option<Changes> {
    let (ana, bob) = (person("ana", 1000), person("bob", 1001));
    let state = core.state().clone();
    let by = |core: &mut Core, actor: &Actor, command: Command| {
        let (result, changes) = core.command(actor, &command, now());
        result.unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
        Some(changes)
    };
    for attempt in state.attempts.values() {
        let id = attempt.id;
        match &attempt.outcome {
            None if id.0 == 2 => {
                let outcome = Outcome::Failed { problem: problem() };
                return Some(core.report(&Report::Finished { attempt: id, outcome }, now()).unwrap());
            }
            None => {
                let outcome = match id.0 {
                    3 => Outcome::InDoubt { problem: problem() },
                    _ => {
                        Outcome::Succeeded { evidence: vec!["proved".to_owned()], facts: facts(attempt.step.as_str()) }
                    }
                };
                return Some(core.report(&Report::Finished { attempt: id, outcome }, now()).unwrap());
            }
            Some(Outcome::InDoubt { .. }) if !attempt.asked => {
                let outcome = match id.0 % 2 {
                    0 => Outcome::Succeeded {
                        evidence: vec!["it is there".to_owned()],
                        facts: facts(attempt.step.as_str()),
                    },
                    _ => Outcome::InDoubt { problem: problem() },
                };
                return Some(core.report(&Report::Probed { attempt: id, outcome }, now()).unwrap());
            }
            Some(Outcome::InDoubt { .. }) => {
                let note = "looked".to_owned();
                return by(core, &ana, Command::Settle { attempt: id, happened: false, note });
            }
            Some(_) => {}
        }
    }
    if let Some(message) = state.doubtful_messages().next().map(|message| message.id) {
        return by(core, &bob, Command::SettleMessage { message, arrived: true, note: "it is there".to_owned() });
    }
    if let Some(message) = state.unsent().next().map(|message| message.id) {
        let report = match message.0 {
            2 => Report::SentInDoubt { message, problem: problem() },
            _ => Report::Sent { message, result: Ok(format!("N{message}")) },
        };
        return Some(core.report(&report, now()).unwrap());
    }
    let noted = |text: &str| state.timeline.iter().find(|entry| entry.text == text).map(|entry| entry.seq);
    if noted("a note").is_none() && noted("a better note").is_none() {
        return by(core, &ana, Command::Note { text: "a note".to_owned() });
    }
    if let Some(note) = noted("a note") {
        return by(core, &ana, Command::Correct { note, text: "a better note".to_owned() });
    }
    for step in state.runbook.steps() {
        match state.status(&step.id) {
            StepStatus::Failed(_) | StepStatus::Stopped(_) => {
                return by(core, &ana, Command::Retry { step: step.id.clone() });
            }
            StepStatus::Pending if state.is_ready(step) => {
                let identity = TargetIdentity { name: "target".to_owned(), ..TargetIdentity::default() };
                let mut plan = Plan::new(step.id.clone(), identity);
                plan.effects = vec!["something happens".to_owned()];
                let plan = match state.consents.get(&step.id) {
                    Some(first) => (*first.plan).clone(),
                    None => plan,
                };
                let plan = core.keep_plan(plan, state.footing(&step.id), now());
                let typed = plan.type_name.clone().or_else(|| Some("target".to_owned()));
                let actor = if state.consents.contains_key(&step.id) { &bob } else { &ana };
                return by(core, actor, Command::Approve { step: step.id.clone(), digest: plan.digest(), typed });
            }
            _ => {}
        }
    }
    assert!(state.closed_at.is_some(), "it goes on until the end: {:?}", state.steps);
    None
}

fn facts(step: &str) -> Vec<Fact> {
    match step {
        "declare" => vec![Fact::PagerDuty { id: "PD1".to_owned(), number: 1, url: "u".to_owned(), adopted: false }],
        _ => Vec::new(),
    }
}

/// A played incident: its journal's bytes, and after each acknowledged change the journal's length and events.
struct Played {
    bytes: Vec<u8>,
    acknowledged: Vec<(usize, usize)>,
    events: Vec<Event>,
}

fn play() -> Played {
    let folder = tempfile::tempdir().unwrap();
    let id = IncidentId::new("INC-TEST").unwrap();
    let opening = Event { at: now(), ..opening(id.as_str(), "test", "db", RUNBOOK) };
    let incident = Home::find(Some(folder.path())).unwrap().create(&id, &opening).unwrap();
    let (journal, history) = Journal::open(&incident).unwrap();
    let mut core = Core::new(journal, &history).unwrap();
    let mut acknowledged = vec![(usize::try_from(core.journal_length()).unwrap(), 1)];
    core.start(1, 0, now()).unwrap();
    loop {
        let length = usize::try_from(core.journal_length()).unwrap();
        acknowledged.push((length, usize::try_from(core.state().seq).unwrap()));
        if advance(&mut core).is_none() {
            break;
        }
    }
    let events = relight::journal::read(&incident.join(FILE)).unwrap().events;
    Played { bytes: std::fs::read(incident.join(FILE)).unwrap(), acknowledged, events }
}

/// What a new engine makes of a journal that ends after `length` bytes.
fn start(folder: &Path, bytes: &[u8]) -> (Core, Vec<Event>, Changes) {
    std::fs::write(folder.join(FILE), bytes).unwrap();
    let (journal, history) = Journal::open(folder).unwrap();
    let mut core = Core::new(journal, &history).unwrap();
    let changes = core.start(2, history.torn, now()).unwrap();
    (core, history.events, changes)
}

/// Everything that was at work is in doubt and asked about, everything owed is sent, and nothing is run.
fn stated(state: &State, changes: &Changes) {
    assert_eq!(state.running().count(), 0);
    assert!(!changes.effects.iter().any(|effect| matches!(effect, Effect::Run { .. })), "{changes:?}");
    let probed: BTreeSet<AttemptId> = changes
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Probe { attempt } = effect { Some(*attempt) } else { None })
        .collect();
    let doubtful: BTreeSet<AttemptId> = state
        .attempts
        .values()
        .filter(|attempt| matches!(attempt.outcome, Some(Outcome::InDoubt { .. })))
        .map(|attempt| attempt.id)
        .collect();
    assert_eq!(probed, doubtful);
    let sent: Vec<_> = changes
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Send { message } = effect { Some(*message) } else { None })
        .collect();
    assert_eq!(sent, state.unsent().map(|message| message.id).collect::<Vec<_>>());
}

#[test]
fn a_journal_cut_at_any_byte_keeps_what_was_acknowledged_and_goes_on_to_the_end() {
    let played = play();
    assert!(played.events.len() > 30, "the scenario has every kind of event: {}", played.events.len());
    let folder = tempfile::tempdir().unwrap();
    let first = played.acknowledged[0].0;
    // Every cut is opened; from some of them the incident is played to its end.
    let to_the_end = usize::try_from(amount(97, 3)).unwrap();
    let mut trials = Trials::of("journal cut at a byte, then started anew");
    for end in first..=played.bytes.len() {
        let cut = &played.bytes[..end];
        let boundary = cut.last() == Some(&b'\n');
        if !boundary && end % usize::try_from(amount(7, 1)).unwrap() != 0 {
            continue;
        }
        trials.begin();
        let (mut core, kept, changes) = start(folder.path(), cut);
        let acknowledged = played.acknowledged.iter().filter(|(length, _)| *length <= end).map(|(_, events)| *events);
        let acknowledged = acknowledged.max().unwrap();
        assert!(kept.len() >= acknowledged, "byte {end}: {} of {acknowledged} are left", kept.len());
        assert_eq!(kept, played.events[..kept.len()], "byte {end}");
        stated(core.state(), &changes);
        if boundary || end % to_the_end == 0 {
            let before = core.state().attempts.len();
            let mut runs = 0;
            while let Some(changes) = advance(&mut core) {
                runs += changes.effects.iter().filter(|effect| matches!(effect, Effect::Run { .. })).count();
            }
            let state = core.state();
            assert_eq!(runs, state.attempts.len() - before, "one run for each approval, none for an old one");
            let told: BTreeSet<u64> = state.messages.values().map(|message| message.about).collect();
            assert_eq!(told.len(), state.messages.len(), "byte {end}: no entry is told twice");
        }
        trials.survived();
    }
}
