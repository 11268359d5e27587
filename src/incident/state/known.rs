//! What steps found out, and what follows from it.

use jiff::{SignedDuration, Timestamp};

use super::{Attempt, State, StepStatus};
use crate::incident::{Fact, loss};
use crate::runbook::StepId;

impl State {
    /// The facts that a step's standing success found.
    pub fn facts_of(&self, step: &StepId) -> impl Iterator<Item = &Fact> {
        let facts = match self.status(step) {
            StepStatus::Succeeded(attempt) => self.attempts.get(attempt).and_then(Attempt::facts),
            _ => None,
        };
        facts.unwrap_or_default().iter()
    }

    /// Facts of steps whose success stands, in the order in which they were found.
    #[must_use]
    pub fn standing_facts(&self) -> impl DoubleEndedIterator<Item = (&Attempt, &Fact)> {
        self.all_facts().filter(|(attempt, _)| self.status(&attempt.step) == &StepStatus::Succeeded(attempt.id))
    }

    /// When the damage began, if that was said.
    #[must_use]
    pub fn onset(&self) -> Option<Timestamp> {
        self.all_facts().rev().find_map(|(_, fact)| if let Fact::Onset { at } = fact { Some(*at) } else { None })
    }

    /// Whether regulated data is concerned, if that was said.
    #[must_use]
    pub fn regulated(&self) -> Option<bool> {
        self.all_facts().rev().find_map(|(_, fact)| if let Fact::Regulated { yes } = fact { Some(*yes) } else { None })
    }

    /// The PagerDuty incident's id, if there is one.
    #[must_use]
    pub fn pagerduty(&self) -> Option<&str> {
        self.all_facts().rev().find_map(
            |(_, fact)| {
                if let Fact::PagerDuty { id, .. } = fact { Some(id.as_str()) } else { None }
            },
        )
    }

    /// When writes were stopped, while they are.
    #[must_use]
    pub fn writes_stopped_at(&self) -> Option<Timestamp> {
        let mut since = None;
        for (_, fact) in self.all_facts() {
            match fact {
                Fact::WritesStopped { at, .. } => since = since.or(Some(*at)),
                Fact::WritesStarted { .. } => since = None,
                _ => {}
            }
        }
        since
    }

    /// What a snapshot of this time costs. Once it is restored, that is what was written up to the stop of writes before it,
    /// or up to the restore where none was; until then it grows while writes run.
    #[must_use]
    pub fn loses(&self, taken_at: Timestamp, now: Timestamp) -> SignedDuration {
        loss(taken_at, self.loss_ended_at(taken_at), now)
    }

    /// When the writes ended that a snapshot of this time costs; none while they go on.
    #[must_use]
    pub fn loss_ended_at(&self, of: Timestamp) -> Option<Timestamp> {
        let (mut since, mut ended) = (None, None);
        for (attempt, fact) in self.all_facts() {
            match fact {
                Fact::WritesStopped { at, .. } => since = since.or(Some(*at)),
                Fact::WritesStarted { .. } => since = None,
                Fact::Restored { taken_at, at, .. }
                    if *taken_at == of && self.status(&attempt.step) == &StepStatus::Succeeded(attempt.id) =>
                {
                    ended = since.or(Some(*at));
                }
                _ => {}
            }
        }
        ended.or(since)
    }

    /// When service was back: the last time writes were started, while they run.
    #[must_use]
    pub fn service_back_at(&self) -> Option<Timestamp> {
        let mut back = None;
        for (_, fact) in self.all_facts() {
            match fact {
                Fact::WritesStopped { .. } => back = None,
                // Starting what runs already brings nothing back.
                Fact::WritesStarted { at } => back = back.or(Some(*at)),
                _ => {}
            }
        }
        back
    }

    /// Foreign keys of the database that was swapped in, that do not yet hold for certain for its older rows.
    #[must_use]
    pub fn unvalidated(&self) -> &[String] {
        let live = self.standing_facts().rev().find_map(|(_, fact)| match fact {
            Fact::Swapped { live_oid, .. } => Some(*live_oid),
            _ => None,
        });
        let facts = || self.all_facts().map(|(_, fact)| fact);
        let left = live
            .filter(|live| !facts().any(|fact| matches!(fact, Fact::ForeignKeysChecked { oid } if oid == live)))
            .and_then(|live| {
                facts().find_map(|fact| match fact {
                    Fact::RestoredBeside { oid, unchecked, .. } if *oid == live => Some(unchecked.as_slice()),
                    _ => None,
                })
            });
        left.unwrap_or_default()
    }

    /// The chosen snapshot's time: of the last choice that stands.
    #[must_use]
    pub fn snapshot_time(&self) -> Option<Timestamp> {
        self.standing_facts()
            .rev()
            .find_map(|(_, fact)| if let Fact::Snapshot { taken_at, .. } = fact { Some(*taken_at) } else { None })
    }
}
