//! The incident as one JSON object. Times are RFC 3339 in UTC, durations seconds.

use serde_json::json;

use crate::incident::{Level, MessageState, Seal, State, StepStatus, TimelineEntry};
use crate::plain;

use super::chart::Chart;
use super::report::goals;

/// Where an entry was sent, and how far that got.
fn sent(state: &State, entry: &TimelineEntry) -> Vec<serde_json::Value> {
    state.told(entry).iter().map(|told| json!({ "channel": told.channel, "state": told.how.name() })).collect()
}

pub(super) fn report(state: &State, seal: Option<&Seal>) -> String {
    let steps: Vec<_> = state
        .runbook
        .phases
        .iter()
        .flat_map(|phase| phase.steps.iter().map(move |step| (phase, step)))
        .map(|(phase, step)| {
            let status = state.status(&step.id);
            let (word, detail) = match status {
                StepStatus::Pending => ("pending", None),
                StepStatus::Running(_) => ("running", None),
                StepStatus::Succeeded(_) => ("succeeded", None),
                StepStatus::Failed(_) => ("failed", None),
                StepStatus::Stopped(_) => ("stopped", None),
                StepStatus::InDoubt(_) => ("in_doubt", None),
                StepStatus::Skipped(reason) => ("skipped", Some(reason)),
                StepStatus::DoneByHand(note) => ("done_by_hand", Some(note)),
            };
            json!({ "id": step.id, "phase": phase.id, "title": step.title, "status": word, "detail": detail })
        })
        .collect();
    let attempts: Vec<_> = state
        .attempts
        .values()
        .map(|attempt| {
            json!({
                "id": attempt.id,
                "step": attempt.step,
                "by": attempt.by,
                "plan": attempt.plan.digest(),
                "target": attempt.plan.target,
                "effects": attempt.plan.effects,
                "started_at": attempt.started_at,
                "finished_at": attempt.finished_at,
                "result": attempt.outcome,
            })
        })
        .collect();
    let timeline: Vec<_> = state
        .timeline
        .iter()
        .map(|entry| {
            let level = match entry.level {
                Level::Normal => "normal",
                Level::Note => "note",
                Level::Warning => "warning",
                Level::Failure => "failure",
            };
            json!({
                "seq": entry.seq, "at": entry.at, "actor": entry.actor, "text": entry.text,
                "milestone": entry.milestone, "level": level, "decision": entry.decision,
                "corrected": entry.corrected, "before": entry.before, "sent": sent(state, entry),
            })
        })
        .collect();
    let messages: Vec<_> = state
        .messages
        .values()
        .map(|message| {
            let (word, reference) = match &message.state {
                MessageState::Unsent => ("unsent", None),
                MessageState::Sent(reference) => ("sent", Some(reference.clone())),
                MessageState::InDoubt(problem) => ("in_doubt", Some(problem.to_string())),
                MessageState::Failed(problem) => ("failed", Some(problem.to_string())),
            };
            json!({ "id": message.id, "channel": message.channel, "about": message.about, "text": message.text, "state": word, "reference": reference })
        })
        .collect();
    let chart = Chart::of(state);
    let phases: Vec<_> = chart
        .rows
        .iter()
        .map(|row| json!({ "title": row.title, "busy_seconds": row.busy.as_secs(), "work": row.work }))
        .collect();
    let [rto, rpo] = goals(state);
    let report = json!({
        "incident": state.id,
        "environment": state.environment,
        "database": state.database,
        "runbook": state.runbook.id,
        "opened_at": state.opened_at,
        "onset": state.onset(),
        "snapshot_time": state.snapshot_time(),
        "service_back_at": state.service_back_at(),
        "rto_seconds": state.rto.as_secs(),
        "rto_met": rto.met,
        "rpo_seconds": state.rpo.map(|most| most.as_secs()),
        "rpo_met": rpo.met,
        "idle_seconds": chart.idle.as_secs(),
        "phases": phases,
        "closed_at": state.closed_at,
        "steps": steps,
        "attempts": attempts,
        "timeline": timeline,
        "messages": messages,
        "journal": seal.map(ToString::to_string),
    });
    format!("{}\n", plain::json(&serde_json::to_string_pretty(&report).unwrap_or_default()))
}
