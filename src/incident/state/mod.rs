//! What is so, because of what happened: the fold of events that everybody shares.

mod attempts;
mod fold;
mod known;
mod messages;

pub use fold::Fold;
pub use messages::{MessageState, OwedMessage, Sending, Told};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::runbook::{Action, Runbook, RunbookError, Step, StepId};

use super::timeline::{self, TimelineEntry};
use super::{Actor, AttemptId, Digest, Event, EventKind, Fact, IncidentId, Inputs, MessageId, Outcome, Plan};

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
    /// Its target was asked what became of it, and cannot tell: a person must.
    pub asked: bool,
}

/// The first of two approvals of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Consent {
    /// What was approved.
    pub plan: Arc<Plan>,
    /// Who approved it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// A page that waits for somebody to take the incident over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// What it says.
    pub page: String,
    /// Who wrote it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// What a step's plan rests on: where the steps before it stand and what they found, each as a digest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Footing {
    /// By step.
    pub steps: BTreeMap<StepId, Digest>,
    /// How often the step itself was begun.
    pub attempts: usize,
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
    /// The most that may be lost, where somebody said so.
    pub rpo: Option<SignedDuration>,
    /// Steps by id; every step of the runbook is there.
    pub steps: BTreeMap<StepId, StepState>,
    /// Attempts by id.
    pub attempts: BTreeMap<AttemptId, Attempt>,
    /// Which of them to look at.
    notable: attempts::Notable,
    /// Messages by id.
    pub messages: BTreeMap<MessageId, OwedMessage>,
    /// Where among them to look: a long history has thousands, and every frame asks.
    places: messages::Places,
    /// What people care about, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// Milestones for which no note is queued yet, by their events' numbers.
    pub untold: BTreeSet<u64>,
    /// Contacts that were told, by role.
    pub escalated: BTreeMap<String, Timestamp>,
    /// Steps that one person approved and that wait for a second.
    pub consents: BTreeMap<StepId, Consent>,
    /// Two approvals may come from one account, and are recorded as asserted then.
    pub one_account: bool,
    /// A page that waits to be taken over.
    pub handover: Option<Handover>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

impl State {
    /// The state after the first event.
    ///
    /// # Errors
    /// The event is not an opening, or its runbook cannot be read.
    pub fn open(event: &Event) -> Result<Self, ReplayError> {
        let EventKind::Opened {
            id, environment, runbook, origin, database, rto_seconds, rpo_seconds, one_account, ..
        } = &event.kind
        else {
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
            rpo: rpo_seconds.map(SignedDuration::from_secs),
            steps,
            attempts: BTreeMap::new(),
            notable: attempts::Notable::default(),
            messages: BTreeMap::new(),
            places: messages::Places::default(),
            timeline: Vec::new(),
            untold: BTreeSet::new(),
            escalated: BTreeMap::new(),
            consents: BTreeMap::new(),
            one_account: *one_account,
            handover: None,
            closed_at: None,
        };
        if let Some(entry) = timeline::entry(&state, event) {
            state.tell(entry);
        }
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
        self.take(event.clone())
    }

    /// Folds one event that nobody else needs.
    ///
    /// # Errors
    /// As [`State::apply`].
    pub fn take(&mut self, event: Event) -> Result<(), ReplayError> {
        if event.seq != self.seq + 1 {
            return Err(ReplayError::Gap { after: self.seq, found: event.seq });
        }
        self.seq = event.seq;
        // The entry is worded from the state before the event, which still knows what the event changes.
        if let Some(entry) = timeline::entry(self, &event) {
            self.tell(entry);
        }
        let Event { seq, at, actor, kind } = event;
        match kind {
            EventKind::Consented { plan } => {
                let step = plan.step.clone();
                self.consents.insert(step, Consent { plan: Arc::from(plan), by: actor, at });
            }
            EventKind::ConsentWithdrawn { step, .. } => {
                self.consents.remove(&step);
            }
            EventKind::Approved { attempt, plan, .. } => {
                self.consents.remove(&plan.step);
                self.begin(attempt, Arc::from(plan), actor, at);
            }
            EventKind::Finished { attempt, outcome } | EventKind::Settled { attempt, outcome, .. } => {
                self.finish(attempt, outcome, at);
            }
            EventKind::StillInDoubt { attempt, problem } => {
                self.stay_in_doubt(attempt, problem);
            }
            EventKind::StopRequested { attempt } => {
                if let Some(attempt) = self.attempts.get_mut(&attempt) {
                    attempt.stop_requested = true;
                }
            }
            EventKind::Skipped { step, reason } => self.set(&step, StepStatus::Skipped(reason)),
            EventKind::DoneByHand { step, note } => self.set(&step, StepStatus::DoneByHand(note)),
            EventKind::Reopened { step, .. } => self.set(&step, StepStatus::Pending),
            EventKind::Corrected { note, text } => {
                let at = self.timeline.binary_search_by_key(&note, |entry| entry.seq);
                if let Some(entry) = at.ok().and_then(|at| self.timeline.get_mut(at)) {
                    entry.corrected = Some(seq);
                    entry.before.push(std::mem::replace(&mut entry.text, text));
                }
            }
            EventKind::HandoverOffered { text } => {
                self.handover = Some(Handover { page: text, by: actor, at });
            }
            EventKind::TakenOver { .. } => self.handover = None,
            EventKind::Escalated { role, .. } => {
                self.escalated.insert(role, at);
            }
            EventKind::Closed {} => self.closed_at = Some(at),
            EventKind::Opened { .. }
            | EventKind::EngineStarted { .. }
            | EventKind::JournalRepaired { .. }
            | EventKind::Noted { .. }
            | EventKind::Remarked { .. }
            | EventKind::Alarm { .. } => {}
            message @ (EventKind::MessageQueued { .. }
            | EventKind::MessageSent { .. }
            | EventKind::MessageInDoubt { .. }
            | EventKind::MessageSettled { .. }
            | EventKind::MessageFailed { .. }) => self.take_message(message, at),
        }
        Ok(())
    }

    fn tell(&mut self, entry: TimelineEntry) {
        if entry.milestone {
            self.untold.insert(entry.seq);
        }
        self.timeline.push(entry);
    }

    /// The entry of an event; entries lie in the order of their numbers.
    #[must_use]
    pub fn entry(&self, seq: u64) -> Option<&TimelineEntry> {
        let at = self.timeline.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.timeline.get(at)
    }

    fn set(&mut self, step: &StepId, status: StepStatus) {
        // Whatever became of a step, the first of two approvals of its former plan is void.
        self.consents.remove(step);
        if let Some(step) = self.steps.get_mut(step) {
            step.status = status;
        }
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
        open && self.closed_at.is_none() && step.needs.iter().all(|need| self.status(need).is_met())
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

    /// What a step's plan rests on: where the steps before it stand and what they found.
    #[must_use]
    pub fn footing(&self, step: &StepId) -> Footing {
        let used: Vec<StepId> = self
            .runbook
            .step(step)
            .map(|step| step.action.uses().into_iter().map(|(id, _)| id.clone()).collect())
            .unwrap_or_default();
        let ancestors = self.runbook.ancestors(step).into_iter().map(|step| step.id.clone());
        let steps = ancestors
            .chain(used)
            .map(|id| {
                let status = format!("{:?}", self.status(&id));
                let facts: Vec<&Fact> = self.facts_of(&id).collect();
                let digest = Digest::of_json(&(status, facts));
                (id, digest)
            })
            .collect();
        let attempts = self.steps.get(step).map_or(0, |state| state.attempts.len());
        Footing { steps, attempts }
    }

    /// Digest of [`State::footing`]. An approval of a plan made on another footing is void.
    #[must_use]
    pub fn context(&self, step: &StepId) -> Digest {
        self.footing(step).digest()
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

impl Footing {
    /// By which two of them are compared.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }
}
