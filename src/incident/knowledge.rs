//! What a worker and a message draft may know of the incident.

use std::sync::Arc;

use jiff::Timestamp;

use crate::runbook::StepId;

use super::time::{clock, duration_text, loss};
use super::{AttemptId, Fact, IncidentId, Outcome, Plan, State, StepStatus};

/// A fact and the attempt that found it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownFact {
    /// The step that found it.
    pub step: StepId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The step's success still stands.
    pub standing: bool,
    /// The fact.
    pub fact: Fact,
}

/// An earlier attempt of the step that a worker is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct PastAttempt {
    /// Its id.
    pub id: AttemptId,
    /// What was approved.
    pub plan: Arc<Plan>,
    /// It had its effect, or nobody knows that it had not.
    pub may_have_acted: bool,
}

/// What stands in a text for something that nobody knows.
const UNKNOWN: &str = "not known yet";

/// So many of the first and of the last attempts of a step are handed to its worker: whoever asks and approves waits for it.
const PAST: usize = 50;

/// The incident as a worker sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Knowledge {
    /// The incident.
    pub incident: IncidentId,
    /// The config's word for where we are.
    pub environment: String,
    /// The database's name in titles and messages.
    pub database: String,
    /// When the damage began.
    pub onset: Option<Timestamp>,
    /// Whether regulated data is concerned.
    pub regulated: Option<bool>,
    /// When writes were stopped, while they are.
    pub writes_stopped_at: Option<Timestamp>,
    /// The time of the chosen snapshot.
    pub snapshot_time: Option<Timestamp>,
    /// When the writes ended that the chosen snapshot costs; none while they go on.
    pub loss_ended_at: Option<Timestamp>,
    /// Foreign keys of the database that serves, not yet checked for its older rows.
    pub unvalidated: Vec<String>,
    /// When service should be back.
    pub rto_deadline: Option<Timestamp>,
    /// Facts, oldest first, of successes that stand and that do not.
    pub facts: Vec<KnownFact>,
    /// Earlier attempts of the step in question, oldest first; of more than a hundred the first fifty and the last.
    pub past: Vec<PastAttempt>,
    /// Titles of the steps that are done.
    pub done: Vec<String>,
    /// Title of the phase that the incident is at.
    pub phase: String,
    /// The last failure, in words.
    pub last_failure: Option<String>,
    /// The time that all of this is meant at.
    pub now: Timestamp,
}

impl Knowledge {
    /// Of an incident that has only begun.
    #[must_use]
    pub fn at_first(incident: IncidentId, environment: &str, database: &str, now: Timestamp) -> Self {
        Self {
            incident,
            environment: environment.to_owned(),
            database: database.to_owned(),
            onset: None,
            regulated: None,
            writes_stopped_at: None,
            snapshot_time: None,
            loss_ended_at: None,
            unvalidated: Vec::new(),
            rto_deadline: None,
            facts: Vec::new(),
            past: Vec::new(),
            done: Vec::new(),
            phase: String::new(),
            last_failure: None,
            now,
        }
    }

    /// What is known at `now`, for a worker that looks at `step`.
    #[must_use]
    pub fn of(state: &State, step: &StepId, now: Timestamp) -> Self {
        let facts = state
            .all_facts()
            .map(|(attempt, fact)| KnownFact {
                step: attempt.step.clone(),
                attempt: attempt.id,
                standing: state.status(&attempt.step) == &StepStatus::Succeeded(attempt.id),
                fact: fact.clone(),
            })
            .collect();
        let attempts = state.steps.get(step).map(|known| known.attempts.as_slice()).unwrap_or_default();
        let last = attempts.len().saturating_sub(PAST).max(PAST.min(attempts.len()));
        let past = attempts
            .iter()
            .take(PAST)
            .chain(&attempts[last..])
            .filter_map(|id| state.attempts.get(id))
            .map(|attempt| PastAttempt {
                id: attempt.id,
                plan: Arc::clone(&attempt.plan),
                may_have_acted: matches!(
                    attempt.outcome,
                    None | Some(Outcome::InDoubt { .. } | Outcome::Succeeded { .. })
                ),
            })
            .collect();
        let done = state
            .runbook
            .steps()
            .filter(|step| {
                step.milestone && matches!(state.status(&step.id), StepStatus::Succeeded(_) | StepStatus::DoneByHand(_))
            })
            .map(|step| step.title.clone())
            .collect();
        let last_failure = state.attempts.values().rev().find_map(|attempt| match &attempt.outcome {
            Some(Outcome::Failed { problem } | Outcome::InDoubt { problem }) => {
                Some(problem.why.trim_end_matches('.').to_owned())
            }
            _ => None,
        });
        Self {
            incident: state.id.clone(),
            environment: state.environment.clone(),
            database: state.database.clone(),
            onset: state.onset(),
            regulated: state.regulated(),
            writes_stopped_at: state.writes_stopped_at(),
            snapshot_time: state.snapshot_time(),
            loss_ended_at: state.snapshot_time().and_then(|taken_at| state.loss_ended_at(taken_at)),
            unvalidated: state.unvalidated().to_vec(),
            rto_deadline: state.onset().and_then(|onset| onset.checked_add(state.rto).ok()),
            facts,
            past,
            done,
            phase: state.current_phase().map_or_else(|| "All done".to_owned(), |phase| phase.title.clone()),
            last_failure,
            now,
        }
    }

    /// The facts that the standing success of `step` found.
    pub fn facts_of<'a>(&'a self, step: &'a StepId) -> impl Iterator<Item = &'a Fact> {
        self.facts.iter().filter(move |known| known.standing && &known.step == step).map(|known| &known.fact)
    }

    /// The newest fact of its kind that `step` ever found. That the step was opened again since takes nothing back in the
    /// world, so whoever uses it looks there whether it is still so.
    pub fn last_of<'a>(&'a self, step: &StepId, wanted: impl Fn(&Fact) -> bool) -> Option<&'a Fact> {
        self.facts.iter().rev().filter(|known| &known.step == step).map(|known| &known.fact).find(|fact| wanted(fact))
    }

    fn expected_downtime(&self) -> String {
        let back = self.facts.iter().rev().find_map(|known| match &known.fact {
            Fact::WritesStopped { .. } => Some(None),
            Fact::WritesStarted { at } => Some(Some(*at)),
            _ => None,
        });
        match (back.flatten(), self.rto_deadline) {
            (Some(back), _) => format!("over, writes run again since {}", clock(back)),
            (None, None) => UNKNOWN.to_owned(),
            (None, Some(deadline)) if deadline > self.now => format!("until about {} (target)", clock(deadline)),
            (None, Some(deadline)) => format!("longer than the target, which passed at {}", clock(deadline)),
        }
    }

    /// Fills in a template of the runbook from what is known.
    ///
    /// Variables: `database`, `incident`, `environment`, `onset`, `snapshot_time`, `snapshot_key`, `loses`, `done`,
    /// `phase`, `restored`, `serving` (restored, perhaps with foreign keys that are still to be checked), `unvalidated`
    /// (how many of those), `expected_downtime`, `last_failure`. Unknown ones are false in a condition, and in a text "not known
    /// yet".
    ///
    /// # Errors
    /// The template engine's words.
    pub fn fill(&self, template: &str) -> Result<String, String> {
        if !template.contains("{{") && !template.contains("{%") {
            return Ok(template.to_owned());
        }
        let serving = self.facts.iter().any(|known| known.standing && matches!(known.fact, Fact::Restored { .. }));
        let key = self.facts.iter().rev().find_map(|known| match &known.fact {
            Fact::Snapshot { object, .. } if known.standing => Some(object.key.clone()),
            _ => None,
        });
        let values = minijinja::context! {
            database => &self.database,
            incident => self.incident.as_str(),
            environment => &self.environment,
            onset => self.onset.map(clock),
            snapshot_time => self.snapshot_time.map(clock),
            snapshot_key => key,
            loses => self.snapshot_time.map(|taken| duration_text(loss(taken, self.loss_ended_at, self.now))),
            done => if self.done.is_empty() { vec!["nothing yet".to_owned()] } else { self.done.clone() },
            phase => &self.phase,
            restored => serving && self.unvalidated.is_empty(),
            serving => serving,
            unvalidated => self.unvalidated.len(),
            expected_downtime => self.expected_downtime(),
            last_failure => &self.last_failure,
        };
        let mut templates = minijinja::Environment::new();
        // Read out on a telephone, an empty place would be no word, and the engine's own word for nothing a wrong one.
        templates.set_formatter(|out, state, value| {
            if value.is_none() || value.is_undefined() {
                return out.write_str(UNKNOWN).map_err(minijinja::Error::from);
            }
            minijinja::escape_formatter(out, state, value)
        });
        templates.render_str(template, values).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said_so_and_is_false() {
        let id = IncidentId::new("INC-1").expect("an id");
        let known = Knowledge::at_first(id, "test", "db", Timestamp::UNIX_EPOCH);
        let text =
            "{{ snapshot_key }}, {{ last_failure }}, {{ no_such_word }}{% if onset %} since {{ onset }}{% endif %}.";
        assert_eq!(known.fill(text).expect("a text"), "not known yet, not known yet, not known yet.");
    }

    #[test]
    fn the_downtime_is_over_when_writes_run_again_and_not_before() {
        let at = |text: &str| -> Timestamp { text.parse().expect("a time") };
        let id = IncidentId::new("INC-1").expect("an id");
        let mut known = Knowledge::at_first(id, "test", "db", at("2026-11-23T09:00:00Z"));
        let said = |known: &Knowledge| known.fill("{{ expected_downtime }}").expect("a text");
        assert_eq!(said(&known), "not known yet");
        known.rto_deadline = Some(at("2026-11-23T09:30:00Z"));
        assert_eq!(said(&known), "until about 2026-11-23 09:30Z (target)");
        let mut happens = |fact| {
            known.facts.push(KnownFact { step: StepId::new("s"), attempt: AttemptId(1), standing: true, fact });
            said(&known)
        };
        let stopped = || Fact::WritesStopped { at: at("2026-11-23T08:55:00Z"), replicas: Vec::new() };
        assert_eq!(happens(stopped()), "until about 2026-11-23 09:30Z (target)");
        let started = Fact::WritesStarted { at: at("2026-11-23T08:58:00Z") };
        assert_eq!(happens(started), "over, writes run again since 2026-11-23 08:58Z");
        assert_eq!(happens(stopped()), "until about 2026-11-23 09:30Z (target)", "they were stopped once more");
        known.now = at("2026-11-23T10:00:00Z");
        assert_eq!(said(&known), "longer than the target, which passed at 2026-11-23 09:30Z");
    }
}
