//! The report after the incident, in Markdown.

use std::fmt::Write as _;

use crate::incident::{Fact, Outcome, Seal, State, StepStatus, clock, duration_text, loss};

pub(super) fn report(state: &State, seal: Option<&Seal>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# {}: {}\n", state.id, escape(&state.runbook.title));
    let _ = writeln!(out, "| | |\n|---|---|");
    for (name, value) in summary(state) {
        let _ = writeln!(out, "| {name} | {} |", escape(&value));
    }
    let _ = writeln!(out, "\n## Steps\n\n| step | outcome | by | took | proof |\n|---|---|---|---|---|");
    for phase in &state.runbook.phases {
        for step in &phase.steps {
            let _ = writeln!(out, "{}", step_row(state, step));
        }
    }
    let failures: Vec<String> = state
        .attempts
        .values()
        .filter_map(|attempt| match &attempt.outcome {
            Some(Outcome::Failed { problem } | Outcome::InDoubt { problem }) => Some(format!(
                "- {} `{}` on {}: {} {}",
                clock(attempt.finished_at.unwrap_or(attempt.started_at)),
                attempt.step,
                escape(&problem.target),
                escape(&problem.why),
                escape(&problem.next)
            )),
            _ => None,
        })
        .collect();
    if !failures.is_empty() {
        let _ = writeln!(out, "\n## What failed\n\n{}", failures.join("\n"));
    }
    let _ = writeln!(out, "\n## Timeline (UTC)\n");
    for entry in &state.timeline {
        let _ = writeln!(
            out,
            "- `{}` {} *({})*",
            entry.at.strftime("%Y-%m-%d %H:%M:%SZ"),
            escape(&entry.text),
            escape(&entry.actor)
        );
    }
    if let Some(seal) = seal {
        let _ = writeln!(
            out,
            "\nJournal `{seal}`. `relight audit {} --against` proves that it still holds this.",
            state.id
        );
    }
    out
}

fn summary(state: &State) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("Environment", state.environment.clone()),
        ("Database", state.database.clone()),
        ("Opened", clock(state.opened_at)),
    ];
    if let Some(onset) = state.onset() {
        rows.push(("Onset", clock(onset)));
        if let Some(back) = state.service_back_at() {
            let took = back.duration_since(onset);
            let verdict = if took <= state.rto { "within" } else { "over" };
            rows.push((
                "Time to service (RTO)",
                format!("{}, {verdict} the target of {}", duration_text(took), duration_text(state.rto)),
            ));
        }
    }
    let stopped = state.all_facts().find_map(|(_, fact)| match fact {
        Fact::WritesStopped { at, .. } => Some(*at),
        _ => None,
    });
    if let (Some(taken), Some(stopped)) = (state.snapshot_time(), stopped) {
        rows.push(match state.unvalidated().len() {
            0 => ("Restored to", clock(taken)),
            left => ("Serving", format!("the data of {}, {left} constraints unvalidated", clock(taken))),
        });
        rows.push(("Writes lost (RPO)", duration_text(loss(taken, Some(stopped), stopped))));
    }
    for (_, fact) in state.standing_facts() {
        match fact {
            Fact::Agreement { who, place, at, .. } => {
                rows.push(("Agreed by", format!("{who} ({place}) at {}", clock(*at))));
            }
            Fact::PagerDuty { number, url, .. } => {
                rows.push(("PagerDuty", format!("#{number} {url}")));
            }
            _ => {}
        }
    }
    let closed = state.closed_at.map_or_else(|| "still open".to_owned(), clock);
    rows.push(("Closed", closed));
    rows
}

fn step_row(state: &State, step: &crate::runbook::Step) -> String {
    let status = state.status(&step.id);
    let attempt = status.attempt().and_then(|id| state.attempts.get(&id));
    let outcome = match status {
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
    format!("| {} | {} | {} | {took} | {} |", escape(&step.title), escape(&outcome), escape(&by), escape(&proof))
}

/// Text that came from outside must not become markup, and must stay in its table cell.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
