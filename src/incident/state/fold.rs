//! A history that is folded while it is read, so that it need not be held.

use crate::incident::Event;

use super::{ReplayError, State};

/// What the events that were taken so far make.
#[derive(Debug, Default)]
pub struct Fold {
    state: Option<State>,
    fault: Option<ReplayError>,
}

impl Fold {
    /// Takes the next event. Behind one that cannot be folded nothing is.
    pub fn take(&mut self, event: Event) {
        if self.fault.is_some() {
            return;
        }
        let folded = match &mut self.state {
            Some(state) => state.take(event),
            none => State::open(&event).map(|state| *none = Some(state)),
        };
        self.fault = folded.err();
    }

    /// The state in the end.
    ///
    /// # Errors
    /// The first event was no opening, or one was missing.
    pub fn state(self) -> Result<State, ReplayError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => self.state.ok_or(ReplayError::NotOpened),
        }
    }
}
