//! Commit, then apply, then act: the synchronous heart of the engine.

use jiff::Timestamp;

use crate::incident::{
    Actor, Command, Decision, Effect, Event, EventKind, Footing, PendingPlans, Plan, Refusal, ReplayError, Report,
    Seal, State, decide, effects, owed, react, recover,
};
use crate::journal::{History, Journal, JournalError};

/// What a command or report changed: events that are durable now, and effects that are called for.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// In the journal and in the state.
    pub events: Vec<Event>,
    /// To be run now.
    pub effects: Vec<Effect>,
}

/// The state of an incident and the journal that it comes from.
#[derive(Debug)]
pub struct Core {
    journal: Journal,
    state: State,
    plans: PendingPlans,
    stopped: Option<String>,
}

impl Core {
    /// From an opened journal.
    ///
    /// # Errors
    /// Its events make no incident.
    pub fn new(journal: Journal, history: &History) -> Result<Self, ReplayError> {
        Ok(Self::of(journal, State::replay(&history.events)?))
    }

    /// From an opened journal and the state that its events make.
    #[must_use]
    pub fn of(journal: Journal, state: State) -> Self {
        Self { journal, state, plans: PendingPlans::default(), stopped: None }
    }

    /// The incident as it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes of the journal, all of them complete lines.
    #[must_use]
    pub fn journal_length(&self) -> u64 {
        self.journal.length()
    }

    /// Why nothing is done any more, if so.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Takes up the incident: records the start, and deals with what an earlier engine left.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn start(&mut self, pid: u32, torn: u64, now: Timestamp) -> Result<Changes, JournalError> {
        let (left, mut first) = recover(&self.state);
        let mut kinds = Vec::new();
        if torn > 0 {
            kinds.push(EventKind::JournalRepaired { bytes: torn });
        }
        kinds.push(EventKind::EngineStarted { pid, version: env!("CARGO_PKG_VERSION").to_owned() });
        kinds.extend(left);
        let mut changes = self.commit(&Actor::engine(), kinds, now)?;
        // What was owed before goes out before what became owed by this start.
        first.append(&mut changes.effects);
        changes.effects = first;
        Ok(changes)
    }

    /// Deals with a command.
    pub fn command(&mut self, actor: &Actor, command: &Command, now: Timestamp) -> (Result<(), Refusal>, Changes) {
        if let Some(why) = &self.stopped {
            return (Err(Refusal::JournalStopped { why: why.clone() }), Changes::default());
        }
        let Decision { events, effects } = match decide(&self.state, &self.plans, actor, command, now) {
            Ok(decision) => decision,
            Err(refusal) => return (Err(refusal), Changes::default()),
        };
        match self.commit(actor, events, now) {
            Ok(mut changes) => {
                if let Command::Approve { step, .. } = command {
                    // An approval is used up by the attempt that it started.
                    self.plans.drop_plan(step);
                }
                changes.effects.extend(effects);
                (Ok(()), changes)
            }
            Err(error) => (Err(Refusal::JournalStopped { why: error.to_string() }), Changes::default()),
        }
    }

    /// Deals with a report.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn report(&mut self, report: &Report, now: Timestamp) -> Result<Changes, JournalError> {
        let kinds = react(&self.state, report);
        self.commit(&Actor::engine(), kinds, now)
    }

    /// Keeps a plan for approval. `footing` is what it was when the worker began to plan.
    pub fn keep_plan(&mut self, mut plan: Plan, footing: Footing, now: Timestamp) -> Plan {
        plan.context = footing.digest();
        self.plans.put(plan.clone(), footing, now);
        plan
    }

    /// The journal's end as it is now.
    #[must_use]
    pub fn seal(&self) -> Seal {
        Seal { seq: self.state.seq, head: self.journal.head().to_owned() }
    }

    fn commit(&mut self, actor: &Actor, kinds: Vec<EventKind>, now: Timestamp) -> Result<Changes, JournalError> {
        let mut changes = Changes::default();
        self.commit_batch(actor, kinds, now, &mut changes)?;
        loop {
            let owed = owed(&self.state, self.journal.head());
            if owed.is_empty() || changes.events.is_empty() {
                return Ok(changes);
            }
            self.commit_batch(&Actor::engine(), owed, now, &mut changes)?;
        }
    }

    fn commit_batch(
        &mut self,
        actor: &Actor,
        kinds: Vec<EventKind>,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<(), JournalError> {
        if kinds.is_empty() {
            return Ok(());
        }
        let events: Vec<Event> = (self.state.seq + 1..)
            .zip(kinds)
            .map(|(seq, kind)| Event { seq, at: now, actor: actor.clone(), kind })
            .collect();
        self.journal.append(&events).inspect_err(|error| self.stopped = Some(error.to_string()))?;
        for event in events {
            // The events were just counted on from the state, so there is no gap.
            if let Err(error) = self.state.apply(&event) {
                self.stopped = Some(error.to_string());
                break;
            }
            changes.effects.extend(effects(&self.state, &event));
            changes.events.push(event);
        }
        Ok(())
    }
}
