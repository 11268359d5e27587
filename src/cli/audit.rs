//! `relight audit`: proves the journal's chain and a seal that was kept elsewhere, and prints who approved what with which
//! plan, when, and what came of it.

use color_eyre::Result;
use serde_json::{Value, json};

use crate::incident::{Actor, Event, EventKind, IncidentId, Outcome, Seal, State, clock};
use crate::journal::{self, History, JournalError};

use super::Exit;
use super::arguments::Common;
use super::exit::Usage;
use super::incidents::home;
use super::out::{self, outln};

/// What is asked of an audit.
pub(super) struct Wanted {
    pub(super) seal: bool,
    pub(super) against: Option<Seal>,
    pub(super) json: bool,
}

pub(super) fn audit(common: &Common, id: &IncidentId, wanted: &Wanted) -> Result<Exit> {
    let home = home(common)?;
    let path = home.folder(id).join(journal::FILE);
    if !path.exists() {
        let root = home.root().display();
        return Err(Usage(format!("there is no incident {id} in {root}; `relight list --all` shows them")).into());
    }
    let history = match journal::read(&path) {
        Ok(history) => history,
        Err(JournalError::Damaged { .. }) => return damaged(id, &path, wanted),
        Err(error) => return Err(error.into()),
    };
    let seal = Seal { seq: history.events.len() as u64, head: history.head.clone() };
    if wanted.seal {
        outln!("{seal}");
        return Ok(Exit::Done);
    }
    let against = wanted.against.as_ref().map(|seal| (seal, holds(&path, &history, seal)));
    let state = State::replay(&history.events)?;
    let fine = against.as_ref().is_none_or(|(_, holds)| holds.is_ok());
    if wanted.json {
        let rows: Vec<Value> = history.events.iter().filter_map(row).collect();
        let kept = against
            .map(|(seal, holds)| json!({ "seal": seal.to_string(), "holds": holds.is_ok(), "why": holds.err() }));
        let report = json!({
            "incident": id, "whole": true, "seal": seal.to_string(), "torn_bytes": history.torn, "against": kept,
            "closed_at": state.closed_at, "events": rows,
        });
        out::json(&report)?;
        return Ok(if fine { Exit::Done } else { Exit::Unverified });
    }
    for event in &history.events {
        print(event);
    }
    outln!(
        "\n{} events, chain whole{}. Seal: {seal}",
        history.events.len(),
        if history.torn > 0 { format!(", and {} bytes of an unfinished line", history.torn) } else { String::new() }
    );
    outln!(
        "{}",
        state.closed_at.map_or_else(|| "The incident is open.".to_owned(), |at| format!("Closed {}.", clock(at)))
    );
    match against {
        None => outln!(
            "Whether the end is missing shows only against a seal that was kept elsewhere: --against, from a note in PagerDuty or an export."
        ),
        Some((seal, Ok(()))) => outln!("It holds what was sealed as {seal}."),
        Some((_, Err(why))) => outln!("{why}"),
    }
    Ok(if fine { Exit::Done } else { Exit::Unverified })
}

/// Says everything that is wrong with a journal.
fn damaged(id: &IncidentId, path: &std::path::Path, wanted: &Wanted) -> Result<Exit> {
    let faults = journal::inspect(path)?;
    if wanted.json {
        let rows: Vec<Value> = faults.iter().map(|fault| json!({ "line": fault.line, "what": fault.what })).collect();
        out::json(&json!({ "incident": id, "whole": false, "faults": rows }))?;
        return Ok(Exit::Unverified);
    }
    outln!("The journal {} is not as it was written:", path.display());
    for fault in &faults {
        outln!("  line {}: {}", fault.line, fault.what);
    }
    outln!("Nothing was changed. Keep the file as it is, and compare it with an export or a copy of this time.");
    Ok(Exit::Unverified)
}

/// Whether the journal still holds what was sealed.
fn holds(path: &std::path::Path, history: &History, seal: &Seal) -> Result<(), String> {
    let last = history.events.len() as u64;
    if seal.seq > last {
        return Err(format!(
            "The end is missing: event {} was sealed, and the journal ends with event {last}.",
            seal.seq
        ));
    }
    let digest = journal::digest_of(path, seal.seq).map_err(|error| error.to_string())?;
    if seal.holds(&digest) {
        return Ok(());
    }
    Err(format!(
        "It is another journal up to event {}: that was sealed as {} and is {} here.",
        seal.seq,
        seal.head,
        digest.get(..seal.head.len()).unwrap_or(&digest)
    ))
}

fn by(actor: &Actor) -> String {
    actor.uid.map_or_else(|| actor.name.clone(), |uid| format!("{} (uid {uid})", actor.name))
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded { evidence, .. } => format!("succeeded: {}", evidence.first().map_or("", String::as_str)),
        Outcome::Failed { problem } => format!("failed: {}", problem.why),
        Outcome::Stopped { detail } => format!("stopped: {detail}"),
        Outcome::InDoubt { problem } => format!("in doubt: {}", problem.why),
    }
}

/// What an event says in an audit: who, what, and lines below it. None where nobody decided anything.
fn words(event: &Event) -> Option<(String, Vec<String>)> {
    let who = by(&event.actor);
    Some(match &event.kind {
        EventKind::Opened { environment, version, .. } => {
            (format!("{who} opened the incident in {environment}, relight {version}"), Vec::new())
        }
        EventKind::Consented { plan } => {
            let line = format!("{who} approved {} on {} as the first of two", plan.step, plan.target.name);
            (line, vec![format!("plan {}", plan.digest())])
        }
        EventKind::ConsentWithdrawn { step, because } => {
            (format!("{who}: the first approval of {step} is void: {because}"), Vec::new())
        }
        EventKind::Approved { attempt, plan, first } => {
            let mut lines = vec![format!("plan {}", plan.digest())];
            let proofs = plan.target.proofs.iter().map(|(name, value)| format!("target {name} {value}"));
            lines.extend(proofs);
            if let Some(first) = first {
                let how = if first.asserted { "asserted, from one account" } else { "another account" };
                lines.push(format!("{} approved it first, {} ({how})", by(&first.by), first.at.strftime("%H:%M:%SZ")));
            }
            lines.extend(plan.effects.iter().map(|effect| format!("- {effect}")));
            (format!("{who} approved attempt {attempt} of {} on {}", plan.step, plan.target.name), lines)
        }
        EventKind::Finished { attempt, outcome } => (format!("attempt {attempt} {}", said(outcome)), Vec::new()),
        EventKind::StillInDoubt { attempt, problem } => {
            (format!("attempt {attempt} stays in doubt: {}", problem.why), Vec::new())
        }
        EventKind::Settled { attempt, by: settlement, outcome } => {
            let how = match settlement {
                crate::incident::Settlement::Probe => "the target was asked".to_owned(),
                crate::incident::Settlement::Person => format!("{who} says so"),
            };
            (format!("attempt {attempt} {} ({how})", said(outcome)), Vec::new())
        }
        EventKind::StopRequested { attempt } => (format!("{who} asked to stop attempt {attempt}"), Vec::new()),
        EventKind::Skipped { step, reason } => (format!("{who} skipped {step}: {reason}"), Vec::new()),
        EventKind::DoneByHand { step, note } => (format!("{who} did {step} by hand: {note}"), Vec::new()),
        EventKind::Reopened { step, because } => (format!("{who} opened {step} again: {because}"), Vec::new()),
        EventKind::Corrected { note, text } => (format!("{who} corrected note {note}: {text}"), Vec::new()),
        EventKind::Escalated { role, note } => (format!("{who} told {role}: {note}"), Vec::new()),
        EventKind::HandoverOffered { .. } => (format!("{who} offered a handover"), Vec::new()),
        EventKind::TakenOver { .. } => (format!("{who} took the incident over"), Vec::new()),
        EventKind::MessageSettled { message, arrived, note } => (
            format!(
                "{who} says that message {message} {}: {note}",
                if *arrived { "arrived" } else { "did not arrive" }
            ),
            Vec::new(),
        ),
        EventKind::JournalRepaired { bytes } => {
            (format!("{bytes} bytes of an unfinished line were cut off"), Vec::new())
        }
        EventKind::Closed {} => (format!("{who}: the incident is closed"), Vec::new()),
        EventKind::EngineStarted { .. }
        | EventKind::Noted { .. }
        | EventKind::Remarked { .. }
        | EventKind::Alarm { .. }
        | EventKind::MessageQueued { .. }
        | EventKind::MessageSent { .. }
        | EventKind::MessageInDoubt { .. }
        | EventKind::MessageFailed { .. } => return None,
    })
}

fn print(event: &Event) {
    let Some((line, below)) = words(event) else { return };
    outln!("{:>5}  {}  {line}", event.seq, event.at.strftime("%Y-%m-%d %H:%M:%SZ"));
    for line in below {
        outln!("                             {line}");
    }
}

fn row(event: &Event) -> Option<Value> {
    let (line, below) = words(event)?;
    Some(
        json!({ "seq": event.seq, "at": event.at, "by": event.actor.name, "uid": event.actor.uid, "what": line, "lines": below }),
    )
}
