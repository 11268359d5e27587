//! What a step took the last time, in an earlier incident or a drill on this host.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::runbook::{Runbook, StepId};

use super::{IncidentId, Outcome, State, ago, duration_text};

/// The last time that a step succeeded elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precedent {
    /// In which incident.
    pub incident: IncidentId,
    /// Where that was: `production`, or `drill`, whose data is small.
    pub environment: String,
    /// When it began there.
    pub at: Timestamp,
    /// Milliseconds from its approval to its end.
    pub took_ms: u64,
}

impl Precedent {
    /// `4m10s in INC-20261101-1 (production), 12 days ago`
    #[must_use]
    pub fn says(&self, now: Timestamp) -> String {
        let took = SignedDuration::from_millis(i64::try_from(self.took_ms).unwrap_or(i64::MAX));
        let took = match self.took_ms {
            ..1_000 => format!("{} ms", self.took_ms),
            1_000..10_000 => format!("{:.1}s", took.as_secs_f64()),
            _ => duration_text(took),
        };
        format!("{took} in {} ({}), {}", self.incident, self.environment, ago(self.at, now))
    }
}

/// The newest success of each step of a runbook in other incidents, which are given newest first. A step is the same one where
/// its id and its action are; one of this environment is worth more than a newer one of another.
#[must_use]
pub fn precedents<'a>(
    runbook: &Runbook,
    environment: &str,
    others: impl IntoIterator<Item = &'a State>,
) -> BTreeMap<StepId, Precedent> {
    let mut found: BTreeMap<StepId, Precedent> = BTreeMap::new();
    for other in others {
        for step in runbook.steps() {
            let better =
                found.get(&step.id).is_none_or(|it| it.environment != environment && other.environment == environment);
            let same = other.runbook.step(&step.id).is_some_and(|theirs| theirs.action == step.action);
            if let (true, true, Some(precedent)) = (better, same, last(other, &step.id)) {
                found.insert(step.id.clone(), precedent);
            }
        }
    }
    found
}

fn last(other: &State, step: &StepId) -> Option<Precedent> {
    let attempts = other.steps.get(step)?.attempts.iter().rev().filter_map(|id| other.attempts.get(id));
    attempts.filter(|attempt| matches!(attempt.outcome, Some(Outcome::Succeeded { .. }))).find_map(|attempt| {
        let took = attempt.finished_at?.duration_since(attempt.started_at);
        Some(Precedent {
            incident: other.id.clone(),
            environment: other.environment.clone(),
            at: attempt.started_at,
            took_ms: u64::try_from(took.as_millis()).ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line() {
        let now = "2026-11-23T01:00:00Z".parse().expect("a time");
        let of = |at: &str, took_ms| Precedent {
            incident: IncidentId::new("INC-7").expect("an id"),
            environment: "drill".to_owned(),
            at: at.parse().expect("a time"),
            took_ms,
        };
        assert_eq!(of("2026-11-22T00:00:00Z", 1_240).says(now), "1.2s in INC-7 (drill), 1 day ago");
        assert_eq!(of("2026-11-23T00:30:00Z", 250_999).says(now), "4m10s in INC-7 (drill), 30m00s ago");
        assert_eq!(of("2026-11-03T00:30:00Z", 99).says(now), "99 ms in INC-7 (drill), 20 days ago");
    }
}
