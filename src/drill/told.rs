//! What the services outside were told, by their own word: all of it, and each thing once.

use serde_json::Value;

use crate::incident::{Attempt, Channel, Fact, MessageState, Outcome, State};
use crate::runbook::Action;

use super::ready::Ready;
use super::rehearsal::{Proof, RehearsalError};

/// The deploy lock and the environment that the drill's stand-in and config name.
const DEPLOY_LOCK: &str = "deployments_locked";
const ENVIRONMENT: &str = "production";

/// Every milestone of the timeline must be a note on the PagerDuty incident, once.
pub(super) async fn timeline(state: &State, ready: &Ready) -> Result<Proof, RehearsalError> {
    let service = "pagerduty";
    let told = ask(ready, service).await?;
    let notes: Vec<&str> = items(&told["incidents"])
        .flat_map(|incident| items(&incident["notes"]))
        .filter_map(|note| note["content"].as_str())
        .collect();
    let mut milestones = 0;
    let mut missing = Vec::new();
    for entry in state.timeline.iter().filter(|entry| entry.milestone) {
        milestones += 1;
        let marker = format!("[{} #{}]", state.id, entry.seq);
        match notes.iter().filter(|note| note.contains(&marker)).count() {
            1 => {}
            0 => missing.push(format!("{marker} is missing")),
            more => missing.push(format!("{marker} is there {more} times")),
        }
    }
    let unsent = state.messages.values().filter(|message| !matches!(message.state, MessageState::Sent(_))).count();
    let good = milestones > 0 && missing.is_empty() && unsent == 0 && state.closed_at.is_some();
    let detail = if good {
        format!("{milestones} milestones, each noted once in PagerDuty; incident closed")
    } else {
        format!("{unsent} unsent; {}", missing.join("; "))
    };
    Ok(Proof { what: "timeline complete", good, detail })
}

/// Whether the deploy lock is on.
pub(super) async fn flag(ready: &Ready) -> Result<bool, RehearsalError> {
    let service = "launchdarkly";
    let state = ask(ready, service).await?;
    items(&state["flags"])
        .find(|flag| flag["key"] == DEPLOY_LOCK)
        .and_then(|flag| flag["environments"][ENVIRONMENT]["on"].as_bool())
        .ok_or_else(|| RehearsalError::StandIn { service, why: format!("no flag {DEPLOY_LOCK} in {state}") })
}

/// The items of an array; none of anything else.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

async fn ask(ready: &Ready, service: &'static str) -> Result<Value, RehearsalError> {
    let fault = |why: String| RehearsalError::StandIn { service, why };
    let fact = ready.services.get(service).ok_or_else(|| fault("it is not in ready.json".to_owned()))?;
    let reply =
        reqwest::get(format!("{}/_control/state", fact.control_url)).await.map_err(|error| fault(error.to_string()))?;
    reply.json().await.map_err(|error| fault(error.to_string()))
}

/// What cannot be taken back was done as often as the journal says, and no more: pages, messages, flushes, incidents.
pub(super) async fn once(state: &State, ready: &Ready) -> Result<Proof, RehearsalError> {
    let pagerduty = ask(ready, "pagerduty").await?;
    let slack = ask(ready, "slack").await?;
    let ours = |message: &&Value| message["metadata"]["event_payload"]["incident"] == state.id.as_str();
    let messages = items(&slack["channels"]).flat_map(|channel| items(&channel["messages"])).filter(ours).count();
    let requests = items(&pagerduty["incidents"]).map(|incident| items(&incident["responder_requests"]).count()).sum();
    // Ours bears a key that begins with its name; the other one is the alert's.
    let key = |incident: &&Value| incident["incident_key"].as_str().is_some_and(|key| key.contains(state.id.as_str()));
    let incidents = items(&pagerduty["incidents"]).filter(key).count();
    let flushes = usize::try_from(ready.redis.flushes().await?).unwrap_or(usize::MAX);
    let owed = state.messages.values().filter(|owed| owed.channel == Channel::SlackMessage).count();
    let posted = state.all_facts().filter(|(_, fact)| matches!(fact, Fact::Posted { .. })).count();
    let pairs: [(&str, usize, usize); 4] = [
        ("pages", successes(state, |action| matches!(action, Action::CallResponders { .. })), requests),
        ("messages to Slack", posted + owed, messages),
        ("flushes", successes(state, |action| matches!(action, Action::FlushCache { .. })), flushes),
        ("incidents in PagerDuty", 1, incidents),
    ];
    let wrong = pairs.iter().filter(|(_, wanted, found)| wanted != found);
    let wrong: Vec<String> = wrong.map(|(what, wanted, found)| format!("{found} {what} instead of {wanted}")).collect();
    let detail = if wrong.is_empty() {
        let found = pairs.map(|(what, _, found)| format!("{found} {what}"));
        found.join(", ")
    } else {
        wrong.join("; ")
    };
    Ok(Proof { what: "nothing done twice", good: wrong.is_empty(), detail })
}

/// Attempts of such steps that succeeded.
fn successes(state: &State, of: impl Fn(&Action) -> bool) -> usize {
    let succeeded = |attempt: &&Attempt| matches!(attempt.outcome, Some(Outcome::Succeeded { .. }));
    let such = |attempt: &&Attempt| state.runbook.step(&attempt.step).is_some_and(|step| of(&step.action));
    state.attempts.values().filter(succeeded).filter(such).count()
}
