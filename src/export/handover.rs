//! One page for whoever takes the incident over: how it stands, what is under way, what is open, who was told.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::incident::{
    Channel, Fact, MessageState, Outcome, Seal, State, StepStatus, clock, duration_text, escalations,
};
use crate::plain;
use crate::runbook::Action;

/// The page as it is at `now`, in plain text of at most 100 columns where the incident's own words allow it.
#[must_use]
pub fn handover(state: &State, now: Timestamp, seal: Option<&Seal>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "HANDOVER  {}  {} ({})", state.id, state.database, state.environment);
    let _ = writeln!(out, "as of {}\n", now.strftime("%Y-%m-%d %H:%M:%SZ"));
    for (name, text) in standing(state, now) {
        let _ = writeln!(out, "{name:<12}{text}");
    }
    let sections: [(&str, Vec<String>); 6] = [
        ("At work now", at_work(state, now)),
        ("In doubt: settle these first", in_doubt(state)),
        ("Waits for a second person", waits(state)),
        ("Did not succeed", failed(state)),
        ("Next", next(state)),
        ("Who was told what", told(state, now)),
    ];
    for (title, lines) in sections {
        let _ = writeln!(out, "\n{title}");
        if lines.is_empty() {
            out.push_str("  nothing\n");
        }
        for line in lines {
            let _ = writeln!(out, "  - {line}");
        }
    }
    if let Some(seal) = seal {
        let _ = writeln!(out, "\nJournal {}", seal.short());
    }
    plain::lines(&out).into_owned()
}

fn standing(state: &State, now: Timestamp) -> Vec<(&'static str, String)> {
    let steps = || state.runbook.steps().filter(|step| !step.optional);
    let done = steps().filter(|step| state.status(&step.id).is_met()).count();
    let phase = state.current_phase().map_or("everything is done", |phase| phase.title.as_str());
    let mut rows = vec![("Stands at", format!("{phase}; {done} of {} steps are done", steps().count()))];
    match state.onset() {
        None => rows.push(("Onset", "not said yet".to_owned())),
        Some(onset) => {
            let target = match (onset.checked_add(state.rto).ok(), state.service_back_at()) {
                (_, Some(back)) => format!("service is back since {}", clock(back)),
                (Some(deadline), None) if deadline > now => {
                    format!("RTO target {}, in {}", clock(deadline), duration_text(deadline.duration_since(now)))
                }
                (Some(deadline), None) => {
                    format!(
                        "RTO target {} has passed {} ago",
                        clock(deadline),
                        duration_text(now.duration_since(deadline))
                    )
                }
                (None, None) => String::new(),
            };
            rows.push(("Onset", format!("{}; {target}", clock(onset))));
        }
    }
    let chosen = state.standing_facts().rev().find_map(|(_, fact)| match fact {
        Fact::Snapshot { object, taken_at } => Some((object, *taken_at)),
        _ => None,
    });
    if let Some((object, taken_at)) = chosen {
        let lost = duration_text(state.loses(taken_at, now));
        let agreed = state.standing_facts().rev().find_map(|(_, fact)| match fact {
            Fact::Agreement { who, at, object: agreed, .. } if agreed == object => {
                Some(format!("{who} agreed at {}", clock(*at)))
            }
            _ => None,
        });
        let agreed = agreed.unwrap_or_else(|| "nobody agreed to that yet".to_owned());
        rows.push(("Snapshot", format!("{} of {}, loses {lost}; {agreed}", object.key, clock(taken_at))));
    }
    let writes = match state.writes_stopped_at() {
        Some(at) => {
            let counts = state.all_facts().rev().find_map(|(_, fact)| match fact {
                Fact::WritesStopped { replicas, .. } => Some(
                    replicas.iter().map(|it| format!("{} {}", it.deployment, it.count)).collect::<Vec<_>>().join(", "),
                ),
                _ => None,
            });
            format!("stopped since {}; to go back to: {}", clock(at), counts.unwrap_or_default())
        }
        None => "run, as far as relight knows".to_owned(),
    };
    rows.push(("Writes", writes));
    let swapped = state.standing_facts().rev().find_map(|(_, fact)| match fact {
        Fact::Swapped { kept, at, .. } => Some((kept.clone(), *at)),
        _ => None,
    });
    if let Some((kept, at)) = swapped {
        rows.push(("Database", format!("swapped at {}; the former one is kept as {kept}", clock(at))));
    }
    rows
}

fn at_work(state: &State, now: Timestamp) -> Vec<String> {
    let line = |attempt: &crate::incident::Attempt| {
        let since = duration_text(now.duration_since(attempt.started_at));
        let stop = if attempt.stop_requested { ", asked to stop" } else { "" };
        format!(
            "{} on {}: attempt {}, for {since}, approved by {}{stop}",
            title(state, &attempt.step),
            attempt.plan.target.name,
            attempt.id,
            attempt.by.name
        )
    };
    state.running().map(line).collect()
}

fn in_doubt(state: &State) -> Vec<String> {
    let doubtful = state.runbook.steps().filter_map(|step| match state.status(&step.id) {
        StepStatus::InDoubt(id) => match state.attempts.get(id)?.outcome.as_ref()? {
            Outcome::InDoubt { problem } => Some(format!("{}: {} {}", step.title, problem.why, problem.next)),
            _ => None,
        },
        _ => None,
    });
    let messages = state.doubtful_messages().filter_map(|message| match &message.state {
        MessageState::InDoubt(problem) => {
            Some(format!("a message to {}: {} {}", message.channel.name(), problem.why, problem.next))
        }
        _ => None,
    });
    doubtful.chain(messages).collect()
}

fn waits(state: &State) -> Vec<String> {
    let line = |(step, consent): (&crate::runbook::StepId, &crate::incident::Consent)| {
        format!("{}: {} approved it at {}", title(state, step), consent.by.name, clock(consent.at))
    };
    state.consents.iter().map(line).collect()
}

fn failed(state: &State) -> Vec<String> {
    let line = |step: &crate::runbook::Step| {
        let attempt = state.attempts.get(&state.status(&step.id).attempt()?)?;
        match (state.status(&step.id), attempt.outcome.as_ref()?) {
            (StepStatus::Failed(_), Outcome::Failed { problem }) => {
                Some(format!("{}: {} {}", step.title, problem.why, problem.next))
            }
            (StepStatus::Stopped(_), Outcome::Stopped { detail }) => {
                Some(format!("{} was stopped: {detail}", step.title))
            }
            _ => None,
        }
    };
    state.runbook.steps().filter_map(line).collect()
}

fn next(state: &State) -> Vec<String> {
    let ready = state
        .runbook
        .steps()
        .filter(|step| !step.optional && state.status(&step.id) == &StepStatus::Pending && state.is_ready(step));
    ready.take(3).map(|step| format!("{}: {}", step.title, step.why)).collect()
}

/// So many of the last things that were said to others are on the page.
const SAID: usize = 6;

/// What was said to others, oldest first: in the words of what proved it.
fn said(state: &State) -> Vec<String> {
    let mut said: Vec<(Timestamp, String)> = state
        .attempts
        .values()
        .filter_map(|attempt| {
            let step = state.runbook.step(&attempt.step)?;
            let Some(Outcome::Succeeded { evidence, .. }) = &attempt.outcome else { return None };
            let tells = matches!(
                step.action,
                Action::DeclareIncident { .. }
                    | Action::CallResponders { .. }
                    | Action::PostStatusUpdate { .. }
                    | Action::PostMessage { .. }
            );
            let (at, words) = (attempt.finished_at?, evidence.first().unwrap_or(&step.title));
            tells.then(|| (at, format!("{}: {words}", clock(at))))
        })
        .collect();
    // What waited in the outbox first.
    said.extend(state.messages.values().filter_map(|message| match (&message.channel, &message.state) {
        (Channel::SlackMessage, MessageState::Sent(_)) => {
            Some((message.at, format!("{}: Slack, {}", clock(message.at), message.text)))
        }
        _ => None,
    }));
    said.sort();
    said.into_iter().map(|(_, words)| words).collect()
}

fn told(state: &State, now: Timestamp) -> Vec<String> {
    let mut lines: Vec<String> = escalations(state, now)
        .into_iter()
        .filter_map(|one| match (one.told_at, one.due) {
            (Some(at), _) => Some(format!("{} ({}) at {}", one.contact.role, one.contact.reach, clock(at))),
            (None, Some(why)) => Some(format!("NOT YET: {} ({}), because {why}", one.contact.role, one.contact.reach)),
            (None, None) => None,
        })
        .collect();
    let said = said(state);
    if said.len() > SAID {
        lines.push(format!("{} earlier ones are in the timeline", said.len() - SAID));
    }
    lines.extend(said.into_iter().rev().take(SAID).rev());
    let unsent = state.unsent().count();
    if unsent > 0 {
        lines.push(format!("{unsent} messages are waiting to be sent"));
    }
    lines
}

fn title(state: &State, step: &crate::runbook::StepId) -> String {
    state.runbook.step(step).map_or_else(|| step.to_string(), |step| step.title.clone())
}
