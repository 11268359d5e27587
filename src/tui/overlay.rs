//! What lies over the panes: one thing at a time.

use crate::incident::{AttemptId, Digest, MessageId};
use crate::runbook::StepId;

use super::app::App;
use super::card::Card;
use super::draft::Draft;
use super::edit::Editor;
use super::export::Exporting;
use super::perform;

/// What a prompt's text is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Skip(StepId),
    ByHand(StepId),
    Note,
    /// Another text for the note that is this event.
    Correct {
        note: u64,
    },
    Settle {
        attempt: AttemptId,
        happened: bool,
    },
    SettleMessage {
        message: MessageId,
        arrived: bool,
    },
    Escalate {
        role: String,
    },
}

/// A question, and what is answered to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) purpose: Purpose,
    pub(super) draft: Draft,
    /// It was sent as the command of this number, and the engine has not answered yet.
    pub(super) sent: Option<u64>,
    pub(super) fault: Option<String>,
}

impl Prompt {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self::with(purpose, "")
    }

    /// With something to change already in it.
    pub(super) fn with(purpose: Purpose, words: &str) -> Self {
        Self { purpose, draft: Draft::new(words), sent: None, fault: None }
    }
}

/// What a `y` confirms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Confirm {
    Stop(AttemptId),
    Retry(StepId),
    /// Take the first of two approvals back.
    Withdraw(StepId),
}

/// Something over the panes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Overlay {
    Card(Box<Card>),
    Prompt(Prompt),
    Confirm {
        confirm: Confirm,
        scroll: usize,
    },
    Settle {
        attempt: AttemptId,
        scroll: usize,
    },
    Search(Editor),
    Palette {
        editor: Editor,
        selected: usize,
    },
    Help {
        scroll: usize,
    },
    Phases {
        scroll: usize,
    },
    Escalation {
        selected: usize,
    },
    Details {
        step: StepId,
        scroll: usize,
    },
    Snapshot {
        key: String,
        scroll: usize,
    },
    Compare {
        keys: [String; 2],
        scroll: usize,
    },
    Text {
        title: String,
        text: String,
        scroll: usize,
    },
    Export(Box<Exporting>),
    Outbox {
        selected: usize,
        scroll: usize,
    },
    /// A page that waits to be taken over, or one that would be written.
    Handover {
        page: String,
        offered: bool,
        scroll: usize,
    },
    Log,
}

impl Overlay {
    /// A question of this kind, read from its beginning.
    pub(super) fn confirm(confirm: Confirm) -> Self {
        Self::Confirm { confirm, scroll: 0 }
    }

    /// What a `y` consents to here, besides the plan of a card; nothing for what a `y` does nothing to. How long something took
    /// so far makes it no other thing.
    pub(super) fn asked(&self, app: &App) -> Option<Digest> {
        let words = match self {
            _ if app.is_too_small() => return None,
            Self::Confirm { confirm: Confirm::Retry(step), .. } => {
                let others = app.state.as_ref().map(|state| perform::settled_dependents(state, step));
                format!("retry {step} {others:?}")
            }
            Self::Confirm { confirm, .. } => format!("{confirm:?}"),
            Self::Handover { page, offered, .. } => format!("{offered} {page}"),
            _ => return None,
        };
        Some(Digest::of(words.as_bytes()))
    }

    /// What is known of an attempt in doubt, read from its beginning.
    pub(super) fn settle(attempt: AttemptId) -> Self {
        Self::Settle { attempt, scroll: 0 }
    }

    /// How far its text is scrolled; none for a card, whose stages differ, and for what is answered or draws itself.
    pub(super) fn scroll(&mut self) -> Option<&mut usize> {
        match self {
            Self::Export(exporting) => Some(&mut exporting.scroll),
            Self::Help { scroll }
            | Self::Phases { scroll }
            | Self::Details { scroll, .. }
            | Self::Snapshot { scroll, .. }
            | Self::Compare { scroll, .. }
            | Self::Outbox { scroll, .. }
            | Self::Handover { scroll, .. }
            | Self::Confirm { scroll, .. }
            | Self::Settle { scroll, .. }
            | Self::Text { scroll, .. } => Some(scroll),
            Self::Card(_)
            | Self::Prompt(_)
            | Self::Search(_)
            | Self::Palette { .. }
            | Self::Escalation { .. }
            | Self::Log => None,
        }
    }
}
