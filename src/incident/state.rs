//! What is so, because of what happened: the fold of events that everybody shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::runbook::{Action, Runbook, RunbookError, Step, StepId};

use super::timeline::{self, TimelineEntry};
use super::{
    Actor, AttemptId, Channel, Digest, Event, EventKind, Fact, IncidentId, Inputs, MessageId, Outcome, Plan, Problem,
};

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepStatus {
    /// Not done yet.
    Pending,
    /// At work.
    Running(AttemptId),
    /// Done, and proved.
    Succeeded(AttemptId),
    /// Not done.
    Failed(AttemptId),
    /// A person stopped it.
    Stopped(AttemptId),
    /// Nobody knows.
    InDoubt(AttemptId),
    /// Left out, and why.
    Skipped(String),
    /// Done outside relight, and what was done.
    DoneByHand(String),
}

impl StepStatus {
    /// Steps that need this one may go on.
    #[must_use]
    pub fn is_met(&self) -> bool {
        matches!(self, Self::Succeeded(_) | Self::Skipped(_) | Self::DoneByHand(_))
    }

    /// The attempt that the status speaks of.
    #[must_use]
    pub fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Running(id) | Self::Succeeded(id) | Self::Failed(id) | Self::Stopped(id) | Self::InDoubt(id) => {
                Some(*id)
            }
            Self::Pending | Self::Skipped(_) | Self::DoneByHand(_) => None,
        }
    }
}

/// A step's place in the incident.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// Where it stands.
    pub status: StepStatus,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptId>,
}

/// One execution of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The step.
    pub step: StepId,
    /// What was approved.
    pub plan: Arc<Plan>,
    /// Who approved it.
    pub by: Actor,
    /// When.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it ended; none while it runs.
    pub outcome: Option<Outcome>,
    /// A person asked it to stop.
    pub stop_requested: bool,
}

/// How far a message got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageState {
    /// It is owed.
    Unsent,
    /// It arrived; the receiver's id of it.
    Sent(String),
    /// It was given up.
    Failed(Problem),
}

/// A message owed to the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedMessage {
    /// Its id.
    pub id: MessageId,
    /// Where it goes.
    pub channel: Channel,
    /// What it says.
    pub text: String,
    /// The sequence number of the event that it tells about.
    pub about: u64,
    /// When it became owed.
    pub at: Timestamp,
    /// How far it got.
    pub state: MessageState,
}

/// Why events cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The first event does not open an incident.
    #[error("the journal does not begin with the opening of an incident")]
    NotOpened,
    /// The runbook in the journal cannot be read.
    #[error("the runbook in the journal cannot be read: {0}")]
    Runbook(#[from] RunbookError),
    /// An event is missing, or there twice.
    #[error("event {found} follows event {after}; events are counted without gaps")]
    Gap {
        /// The last event before.
        after: u64,
        /// The one that came.
        found: u64,
    },
}

/// An incident as it stands.
#[derive(Debug, Clone)]
pub struct State {
    /// The last event's number.
    pub seq: u64,
    /// The incident's id.
    pub id: IncidentId,
    /// The config's word for where we are.
    pub environment: String,
    /// The database's name in titles and messages.
    pub database: String,
    /// The procedure.
    pub runbook: Arc<Runbook>,
    /// When the incident was opened.
    pub opened_at: Timestamp,
    /// Time from the onset in which service should be back.
    pub rto: SignedDuration,
    /// Steps by id; every step of the runbook is there.
    pub steps: BTreeMap<StepId, StepState>,
    /// Attempts by id.
    pub attempts: BTreeMap<AttemptId, Attempt>,
    /// Messages by id.
    pub messages: BTreeMap<MessageId, OwedMessage>,
    /// What people care about, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// Contacts that were told, by role.
    pub escalated: BTreeMap<String, Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

impl State {
    /// The state after the first event.
    ///
    /// # Errors
    /// The event is not an opening, or its runbook cannot be read.
    pub fn open(event: &Event) -> Result<Self, ReplayError> {
        let EventKind::Opened { id, environment, runbook, origin, database, rto_seconds, .. } = &event.kind else {
            return Err(ReplayError::NotOpened);
        };
        let runbook = Runbook::parse(origin, runbook)?;
        let steps = runbook
            .steps()
            .map(|step| (step.id.clone(), StepState { status: StepStatus::Pending, attempts: Vec::new() }))
            .collect();
        let mut state = Self {
            seq: event.seq,
            id: id.clone(),
            environment: environment.clone(),
            database: database.clone(),
            runbook: Arc::new(runbook),
            opened_at: event.at,
            rto: SignedDuration::from_secs(*rto_seconds),
            steps,
            attempts: BTreeMap::new(),
            messages: BTreeMap::new(),
            timeline: Vec::new(),
            escalated: BTreeMap::new(),
            closed_at: None,
        };
        state.timeline.extend(timeline::entry(&state, event));
        Ok(state)
    }

    /// Folds a whole history.
    ///
    /// # Errors
    /// It does not begin with an opening, or has gaps.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, ReplayError> {
        let mut events = events.into_iter();
        let mut state = Self::open(events.next().ok_or(ReplayError::NotOpened)?)?;
        for event in events {
            state.apply(event)?;
        }
        Ok(state)
    }

    /// Folds one event.
    ///
    /// # Errors
    /// It is not the next one; the state is as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), ReplayError> {
        if event.seq != self.seq + 1 {
            return Err(ReplayError::Gap { after: self.seq, found: event.seq });
        }
        self.seq = event.seq;
        // The entry is worded from the state before the event, which still knows what the event changes.
        self.timeline.extend(timeline::entry(self, event));
        match &event.kind {
            EventKind::Approved { attempt, plan } => {
                self.attempts.insert(
                    *attempt,
                    Attempt {
                        id: *attempt,
                        step: plan.step.clone(),
                        plan: Arc::new((**plan).clone()),
                        by: event.actor.clone(),
                        started_at: event.at,
                        finished_at: None,
                        outcome: None,
                        stop_requested: false,
                    },
                );
                if let Some(step) = self.steps.get_mut(&plan.step) {
                    step.attempts.push(*attempt);
                    step.status = StepStatus::Running(*attempt);
                }
            }
            EventKind::Finished { attempt, outcome } | EventKind::Settled { attempt, outcome, .. } => {
                self.finish(*attempt, outcome, event.at);
            }
            EventKind::StopRequested { attempt } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.stop_requested = true;
                }
            }
            EventKind::Skipped { step, reason } => {
                self.set(step, StepStatus::Skipped(reason.clone()));
            }
            EventKind::DoneByHand { step, note } => {
                self.set(step, StepStatus::DoneByHand(note.clone()));
            }
            EventKind::Reopened { step, .. } => self.set(step, StepStatus::Pending),
            EventKind::MessageQueued { message, channel, text, about } => {
                self.messages.insert(
                    *message,
                    OwedMessage {
                        id: *message,
                        channel: *channel,
                        text: text.clone(),
                        about: *about,
                        at: event.at,
                        state: MessageState::Unsent,
                    },
                );
            }
            EventKind::MessageSent { message, reference } => {
                self.set_message(*message, MessageState::Sent(reference.clone()));
            }
            EventKind::MessageFailed { message, problem } => {
                self.set_message(*message, MessageState::Failed(problem.clone()));
            }
            EventKind::Escalated { role, .. } => {
                self.escalated.insert(role.clone(), event.at);
            }
            EventKind::Closed {} => self.closed_at = Some(event.at),
            EventKind::Opened { .. }
            | EventKind::EngineStarted { .. }
            | EventKind::JournalRepaired { .. }
            | EventKind::Noted { .. }
            | EventKind::Remarked { .. }
            | EventKind::Alarm { .. } => {}
        }
        Ok(())
    }

    fn set(&mut self, step: &StepId, status: StepStatus) {
        if let Some(step) = self.steps.get_mut(step) {
            step.status = status;
        }
    }

    fn set_message(&mut self, message: MessageId, to: MessageState) {
        if let Some(message) = self.messages.get_mut(&message) {
            message.state = to;
        }
    }

    fn finish(&mut self, id: AttemptId, outcome: &Outcome, at: Timestamp) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        attempt.outcome = Some(outcome.clone());
        attempt.finished_at = Some(at);
        let step = attempt.step.clone();
        let status = match outcome {
            Outcome::Succeeded { .. } => StepStatus::Succeeded(id),
            Outcome::Failed { .. } => StepStatus::Failed(id),
            Outcome::Stopped { .. } => StepStatus::Stopped(id),
            Outcome::InDoubt { .. } => StepStatus::InDoubt(id),
        };
        self.set(&step, status);
    }

    /// A step's status; a step that the runbook lacks is pending.
    #[must_use]
    pub fn status(&self, step: &StepId) -> &StepStatus {
        self.steps.get(step).map_or(&StepStatus::Pending, |state| &state.status)
    }

    /// The steps that `step` still waits for.
    #[must_use]
    pub fn waits_for(&self, step: &Step) -> Vec<&Step> {
        step.needs
            .iter()
            .filter(|need| !self.status(need).is_met())
            .filter_map(|need| self.runbook.step(need))
            .collect()
    }

    /// The step can be prepared: its needs are met and it is not done, or may be done again.
    #[must_use]
    pub fn is_ready(&self, step: &Step) -> bool {
        let open = match self.status(&step.id) {
            StepStatus::Pending => true,
            StepStatus::Running(_) | StepStatus::InDoubt(_) => false,
            _ => step.repeat,
        };
        open && self.closed_at.is_none() && self.waits_for(step).is_empty()
    }

    /// A step had its effect at least once, whatever became of it since.
    #[must_use]
    pub fn has_succeeded(&self, step: &StepId) -> bool {
        self.attempts.values().any(|attempt| &attempt.step == step && attempt.facts().is_some())
    }

    /// What must be taken back before a step is: nobody may write into a database that gives its name away. The step that
    /// takes back, and the one that is taken back by it.
    #[must_use]
    pub fn undo_first(&self, step: &StepId) -> Option<(&Step, &Step)> {
        let swaps = self.runbook.step(step).is_some_and(|step| matches!(step.action, Action::SwapDatabase { .. }));
        if !swaps || self.writes_stopped_at().is_some() {
            return None;
        }
        let started = self.runbook.steps().find(|step| {
            matches!(step.action, Action::StartWrites { .. })
                && matches!(self.status(&step.id), StepStatus::Succeeded(_))
        })?;
        Some((self.runbook.step(started.undo.as_ref()?)?, started))
    }

    /// Attempts at work, oldest first.
    pub fn running(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.values().filter(|attempt| attempt.outcome.is_none())
    }

    /// The target that a step changes with these answers, resolved through the step whose results it uses.
    #[must_use]
    pub fn destroys(&self, step: &Step, inputs: &Inputs) -> Option<String> {
        let resolve = |from: &StepId| self.runbook.step(from).and_then(|step| step.action.destroys());
        match &step.action {
            Action::StartWrites { from } | Action::PutBackObjects { from } | Action::RestoreFlag { from } => {
                resolve(from)
            }
            action => action.chosen(inputs).destroys(),
        }
    }

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
        self.attempts
            .values()
            .filter(|attempt| self.status(&attempt.step) == &StepStatus::Succeeded(attempt.id))
            .flat_map(|attempt| attempt.facts().unwrap_or_default().iter().map(move |fact| (attempt, fact)))
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

    /// When service was back: the last time writes were started, while they run.
    #[must_use]
    pub fn service_back_at(&self) -> Option<Timestamp> {
        let mut back = None;
        for (_, fact) in self.all_facts() {
            match fact {
                Fact::WritesStopped { .. } => back = None,
                Fact::WritesStarted { at } => back = Some(*at),
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

    /// Facts of every success, whether or not it still stands: what happened in the world happened.
    #[must_use]
    pub fn all_facts(&self) -> impl DoubleEndedIterator<Item = (&Attempt, &Fact)> {
        self.attempts
            .values()
            .flat_map(|attempt| attempt.facts().unwrap_or_default().iter().map(move |fact| (attempt, fact)))
    }

    /// Digest of what a step's plan rests on: where the steps before it stand and what they found.
    /// An approval of a plan made on another footing is void.
    #[must_use]
    pub fn context(&self, step: &StepId) -> Digest {
        let used: Vec<StepId> = self
            .runbook
            .step(step)
            .map(|step| step.action.uses().into_iter().map(|(id, _)| id.clone()).collect())
            .unwrap_or_default();
        let ancestors = self.runbook.ancestors(step).into_iter().map(|step| step.id.clone());
        let footing: BTreeMap<StepId, (String, Vec<&Fact>)> = ancestors
            .chain(used)
            .map(|id| {
                let status = format!("{:?}", self.status(&id));
                let facts = self.facts_of(&id).collect();
                (id, (status, facts))
            })
            .collect();
        let attempts = self.steps.get(step).map_or(0, |state| state.attempts.len());
        Digest::of_json(&(footing, attempts))
    }

    /// The next attempt's id.
    #[must_use]
    pub fn next_attempt(&self) -> AttemptId {
        AttemptId(self.attempts.keys().next_back().map_or(1, |last| last.0.saturating_add(1)))
    }

    /// Messages that are still owed.
    pub fn unsent(&self) -> impl Iterator<Item = &OwedMessage> {
        self.messages.values().filter(|message| message.state == MessageState::Unsent)
    }

    /// The phase of the first step that is not met, and of every step met: what the incident is at.
    #[must_use]
    pub fn current_phase(&self) -> Option<&crate::runbook::Phase> {
        self.runbook
            .phases
            .iter()
            .find(|phase| phase.steps.iter().any(|step| !step.optional && !self.status(&step.id).is_met()))
    }
}

impl Attempt {
    /// What it found, if it succeeded.
    #[must_use]
    pub fn facts(&self) -> Option<&[Fact]> {
        match &self.outcome {
            Some(Outcome::Succeeded { facts, .. }) => Some(facts),
            _ => None,
        }
    }
}
