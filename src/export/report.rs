//! What a report says, whatever it is written in: impact, goals, decisions, failures, where the time went.

use jiff::Timestamp;

use crate::incident::{Fact, Outcome, State, StepStatus, TimelineEntry, clock, duration_text, loss};
use crate::runbook::Step;

use super::chart::Chart;

/// A goal of the restore, and whether it was reached.
pub(super) struct Goal {
    pub(super) name: &'static str,
    /// What was reached, in words.
    pub(super) reached: String,
    /// What was wanted; none where nobody said.
    pub(super) target: Option<String>,
    /// Whether it was; none where that cannot be told (yet).
    pub(super) met: Option<bool>,
}

impl Goal {
    /// As a sentence's end: `56m10s, within the target of 1h00m`.
    pub(super) fn words(&self) -> String {
        match (&self.target, self.met) {
            (Some(target), Some(true)) => format!("{}, within the target of {target}", self.reached),
            (Some(target), Some(false)) => format!("{}, over the target of {target}", self.reached),
            (Some(target), None) => format!("{}; the target is {target}", self.reached),
            (None, _) => format!("{}; no target is set", self.reached),
        }
    }
}

/// Something that did not succeed.
pub(super) struct Failure {
    pub(super) at: Timestamp,
    pub(super) step: String,
    pub(super) target: String,
    pub(super) words: String,
}

/// A step's line.
pub(super) struct StepLine {
    pub(super) title: String,
    pub(super) outcome: String,
    pub(super) by: String,
    pub(super) took: String,
    pub(super) proof: String,
}

/// Everything that a report says.
pub(super) struct Report<'a> {
    pub(super) title: String,
    pub(super) impact: Vec<(&'static str, String)>,
    pub(super) goals: [Goal; 2],
    pub(super) decisions: Vec<&'a TimelineEntry>,
    pub(super) failures: Vec<Failure>,
    pub(super) chart: Chart,
    pub(super) steps: Vec<StepLine>,
}

impl<'a> Report<'a> {
    pub(super) fn of(state: &'a State) -> Self {
        Self {
            title: format!("{}: {}", state.id, state.runbook.title),
            impact: impact(state),
            goals: goals(state),
            decisions: state.timeline.iter().filter(|entry| entry.decision).collect(),
            failures: failures(state),
            chart: Chart::of(state),
            steps: state.runbook.steps().map(|step| step_line(state, step)).collect(),
        }
    }
}

/// From when to when there were no writes, each time; the last may go on. What was taken back happened nevertheless.
fn without_writes(state: &State) -> Vec<(Timestamp, Option<Timestamp>)> {
    let mut times: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
    for (_, fact) in state.all_facts() {
        let going_on = times.last_mut().filter(|(_, end)| end.is_none());
        match (fact, going_on) {
            (Fact::WritesStopped { at, .. }, None) => times.push((*at, None)),
            (Fact::WritesStarted { at }, Some((_, end))) => *end = Some(*at),
            _ => {}
        }
    }
    times
}

/// Time to service, and the writes that were lost, against what was wanted.
pub(super) fn goals(state: &State) -> [Goal; 2] {
    let took = state.onset().zip(state.service_back_at()).map(|(onset, back)| back.duration_since(onset));
    let reached = match (took, state.onset()) {
        (Some(took), _) => duration_text(took),
        (None, Some(onset)) => format!("service is not back; the damage began {}", clock(onset)),
        (None, None) => "not known: nobody said when the damage began".to_owned(),
    };
    let rto = Goal {
        name: "Time to service (RTO)",
        reached,
        target: Some(duration_text(state.rto)),
        met: took.map(|took| took <= state.rto),
    };
    let chosen = state.snapshot_time();
    let ended = chosen.and_then(|taken| state.loss_ended_at(taken));
    let lost = chosen.zip(ended).map(|(taken, ended)| loss(taken, Some(ended), ended));
    let rpo = Goal {
        name: "Writes lost (RPO)",
        reached: lost.map_or_else(|| "not known: no snapshot is chosen, or writes run".to_owned(), duration_text),
        target: state.rpo.map(duration_text),
        met: lost.zip(state.rpo).map(|(lost, most)| lost <= most),
    };
    [rto, rpo]
}

fn impact(state: &State) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("Environment", state.environment.clone()),
        ("Database", state.database.clone()),
        ("Opened", clock(state.opened_at)),
        ("Damage began", state.onset().map_or_else(|| "not said".to_owned(), clock)),
    ];
    let words: Vec<String> = without_writes(state)
        .into_iter()
        .map(|(stop, back)| match back {
            Some(back) => {
                format!("{} to {}, {}", clock(stop), clock(back), duration_text(back.duration_since(stop)))
            }
            None => format!("since {}", clock(stop)),
        })
        .collect();
    if !words.is_empty() {
        rows.push(("No writes", words.join("; ")));
    }
    let chosen = state.standing_facts().rev().find_map(|(_, fact)| match fact {
        Fact::Snapshot { object, taken_at } => Some(format!("{} of {}", object.key, clock(*taken_at))),
        _ => None,
    });
    rows.extend(chosen.map(|chosen| ("Snapshot", chosen)));
    // A snapshot that is only chosen has restored nothing yet.
    let restored = state.standing_facts().rev().find_map(|(_, fact)| match fact {
        Fact::Restored { taken_at, .. } => Some(*taken_at),
        _ => None,
    });
    if let Some(taken) = restored {
        rows.push(match state.unvalidated().len() {
            0 => ("Restored to", clock(taken)),
            left => ("Serving", format!("the data of {}, {left} constraints unvalidated", clock(taken))),
        });
    }
    let regulated = match state.regulated() {
        Some(true) => "concerned",
        Some(false) => "not concerned",
        None => "not said",
    };
    rows.push(("Regulated data", regulated.to_owned()));
    for (_, fact) in state.standing_facts() {
        match fact {
            Fact::Agreement { who, place, at, .. } => {
                rows.push(("Agreed by", format!("{who} ({place}) at {}", clock(*at))));
            }
            Fact::PagerDuty { number, url, .. } => rows.push(("PagerDuty", format!("#{number} {url}"))),
            Fact::Swapped { kept, .. } => rows.push(("Kept database", kept.clone())),
            _ => {}
        }
    }
    rows.push(("Closed", state.closed_at.map_or_else(|| "still open".to_owned(), clock)));
    rows
}

fn failures(state: &State) -> Vec<Failure> {
    let failure = |attempt: &crate::incident::Attempt| match &attempt.outcome {
        Some(Outcome::Failed { problem } | Outcome::InDoubt { problem }) => Some(Failure {
            at: attempt.finished_at.unwrap_or(attempt.started_at),
            step: state.runbook.step(&attempt.step).map_or_else(|| attempt.step.to_string(), |step| step.title.clone()),
            target: problem.target.clone(),
            words: format!("{} {}", problem.why, problem.next),
        }),
        _ => None,
    };
    state.attempts.values().filter_map(failure).collect()
}

fn step_line(state: &State, step: &Step) -> StepLine {
    let status = state.status(&step.id);
    // What was opened again had its effect nevertheless.
    let before = || {
        let mut ended = state.attempts.values().rev().filter(|attempt| attempt.step == step.id);
        ended.find(|attempt| matches!(attempt.outcome, Some(Outcome::Succeeded { .. })))
    };
    let attempt = match status {
        StepStatus::Pending => before(),
        _ => status.attempt().and_then(|id| state.attempts.get(&id)),
    };
    let outcome = match status {
        StepStatus::Pending if attempt.is_some() => "succeeded, and opened again".to_owned(),
        StepStatus::Pending => "not done".to_owned(),
        StepStatus::Running(_) => "at work".to_owned(),
        StepStatus::Succeeded(_) => "succeeded".to_owned(),
        StepStatus::Failed(_) => "failed".to_owned(),
        StepStatus::Stopped(_) => "stopped".to_owned(),
        StepStatus::InDoubt(_) => "in doubt".to_owned(),
        StepStatus::Skipped(reason) => format!("skipped: {reason}"),
        StepStatus::DoneByHand(note) => format!("done by hand: {note}"),
    };
    let took = attempt
        .and_then(|attempt| Some(duration_text(attempt.finished_at?.duration_since(attempt.started_at))))
        .unwrap_or_default();
    let proof = match attempt.and_then(|attempt| attempt.outcome.as_ref()) {
        Some(Outcome::Succeeded { evidence, .. }) => evidence.join("; "),
        Some(Outcome::Failed { problem } | Outcome::InDoubt { problem }) => problem.why.clone(),
        Some(Outcome::Stopped { detail }) => detail.clone(),
        None => String::new(),
    };
    let by = attempt.map(|attempt| attempt.by.name.clone()).unwrap_or_default();
    StepLine { title: step.title.clone(), outcome, by, took, proof }
}

/// What stands behind an entry's words: who, and whether they were corrected.
pub(super) fn remarks(entry: &TimelineEntry) -> String {
    let who = (entry.actor != "relight").then_some(entry.actor.as_str());
    let corrected = entry.corrected.map(|_| "corrected");
    who.into_iter().chain(corrected).collect::<Vec<_>>().join(", ")
}

/// The same, and where it was sent.
pub(super) fn all_remarks(state: &State, entry: &TimelineEntry) -> String {
    let own = Some(remarks(entry)).filter(|own| !own.is_empty());
    let told = state.told(entry).into_iter().map(|told| format!("{} {}", told.channel.name(), told.how.name()));
    own.into_iter().chain(told).collect::<Vec<_>>().join(", ")
}

/// `2026-11-23 08:52:10Z`.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
