//! What a person can do in the cockpit, by name. Keys, footer, palette and help all speak of these.

use super::app::Pane;

/// A named thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UiAction {
    Approve,
    Retry,
    Skip,
    ByHand,
    Undo,
    Stop,
    Unblock,
    Details,
    Note,
    Correct,
    Milestones,
    LocalTime,
    Copy,
    Export,
    Escalation,
    Outbox,
    Handover,
    Sort,
    Compare,
    Follow,
    Search,
    NextMatch,
    PreviousMatch,
    Phases,
    Wrap,
    LeftPart,
    RightPart,
    Save,
    Palette,
    Help,
    Log,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Left,
    Right,
    NextPane,
    PreviousPane,
    Checklist,
    Snapshots,
    Output,
    Timeline,
    Zoom,
    Fold,
    Back,
    Redraw,
    Suspend,
    Detach,
}

impl UiAction {
    /// Every action, in the order of help and palette.
    pub(super) const ALL: [Self; 51] = [
        Self::Approve,
        Self::Retry,
        Self::Skip,
        Self::ByHand,
        Self::Undo,
        Self::Stop,
        Self::Unblock,
        Self::Details,
        Self::Note,
        Self::Correct,
        Self::Milestones,
        Self::LocalTime,
        Self::Copy,
        Self::Export,
        Self::Escalation,
        Self::Outbox,
        Self::Handover,
        Self::Sort,
        Self::Compare,
        Self::Follow,
        Self::Search,
        Self::NextMatch,
        Self::PreviousMatch,
        Self::Phases,
        Self::Wrap,
        Self::LeftPart,
        Self::RightPart,
        Self::Save,
        Self::Palette,
        Self::Help,
        Self::Log,
        Self::Up,
        Self::Down,
        Self::PageUp,
        Self::PageDown,
        Self::Top,
        Self::Bottom,
        Self::Left,
        Self::Right,
        Self::NextPane,
        Self::PreviousPane,
        Self::Checklist,
        Self::Snapshots,
        Self::Output,
        Self::Timeline,
        Self::Zoom,
        Self::Fold,
        Self::Back,
        Self::Redraw,
        Self::Suspend,
        Self::Detach,
    ];

    /// What is done with the rows of a pane.
    pub(super) fn of_pane(pane: Pane) -> &'static [Self] {
        match pane {
            Pane::Checklist => &[
                Self::Approve,
                Self::Retry,
                Self::Skip,
                Self::ByHand,
                Self::Undo,
                Self::Stop,
                Self::Unblock,
                Self::Details,
                Self::Fold,
                Self::Copy,
                Self::Search,
                Self::NextMatch,
                Self::PreviousMatch,
                Self::Follow,
            ],
            Pane::Snapshots => &[
                Self::Approve,
                Self::Details,
                Self::Search,
                Self::Sort,
                Self::Compare,
                Self::Retry,
                Self::Copy,
                Self::NextMatch,
                Self::PreviousMatch,
            ],
            Pane::Output => &[
                Self::Follow,
                Self::Search,
                Self::NextMatch,
                Self::PreviousMatch,
                Self::Wrap,
                Self::LeftPart,
                Self::RightPart,
                Self::Left,
                Self::Right,
                Self::Save,
                Self::Copy,
                Self::Stop,
            ],
            Pane::Timeline => &[
                Self::Correct,
                Self::Details,
                Self::Milestones,
                Self::LocalTime,
                Self::Copy,
                Self::Search,
                Self::NextMatch,
                Self::PreviousMatch,
                Self::Follow,
            ],
        }
    }

    /// It moves the cursor of a pane, and nothing else.
    pub(super) fn moves(self) -> bool {
        matches!(self, Self::Up | Self::Down | Self::PageUp | Self::PageDown | Self::Top | Self::Bottom)
    }

    /// It asks the engine to do something, which nobody may who only looks on.
    pub(super) fn acts(self) -> bool {
        matches!(
            self,
            Self::Approve
                | Self::Retry
                | Self::Skip
                | Self::ByHand
                | Self::Undo
                | Self::Stop
                | Self::Unblock
                | Self::Note
                | Self::Correct
        )
    }

    /// One or two words, for the footer and the palette.
    pub(super) fn name(self) -> &'static str {
        self.words().0
    }

    /// What it does, in a sentence.
    pub(super) fn about(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Approve => (
                "approve",
                "show what the step would do now, in Snapshots what choosing the row means; y on that card approves it",
            ),
            Self::Retry => ("retry", "open a step again, and what rests on it; in Snapshots: list again"),
            Self::Skip => ("skip", "leave the step out; asks why"),
            Self::ByHand => ("by hand", "the step was done outside relight; asks what was done"),
            Self::Undo => ("undo", "show the plan that takes the step back"),
            Self::Stop => ("stop", "stop a running step; says first what stops"),
            Self::Unblock => ("unblock", "show who keeps a restore waiting; y on that card ends them"),
            Self::Details => ("details", "everything about the selected row; never acts"),
            Self::Note => ("write note", "write a note into the timeline"),
            Self::Copy => ("copy", "copy the step's commands, the output line, the key or the timeline"),
            Self::Correct => ("correct", "correct the selected note; what it said stays in the journal"),
            Self::Milestones => ("milestones", "only the timeline's milestones, and everything again"),
            Self::LocalTime => ("local time", "the timeline in this host's time zone (TZ), and in UTC again"),
            Self::Export => ("export", "see, copy and write the timeline or the report, in five forms"),
            Self::Escalation => ("escalate", "whom to call, and what to tell them"),
            Self::Outbox => ("outbox", "what waits to be sent, and what may have arrived"),
            Self::Handover => ("hand over", "the page for whoever takes the incident over, and taking it over"),
            Self::Follow => ("follow", "follow the live end, or the current step"),
            Self::Sort => ("sort", "snapshots by time, by size, by verdict"),
            Self::Compare => ("compare", "mark a snapshot; on another one: both side by side"),
            Self::Search => ("search", "find text in the pane; in Snapshots: show only what matches"),
            Self::NextMatch => ("next match", "go to the next match"),
            Self::PreviousMatch => ("previous match", "go to the match before"),
            Self::Phases => ("time spent", "where the time went, phase by phase"),
            Self::Wrap => ("wrap", "long lines of output on several rows, and on one again"),
            Self::LeftPart => ("scroll left", "output: what is left of the pane"),
            Self::RightPart => ("scroll right", "output: what is right of the pane"),
            Self::Save => ("save", "write the whole output to a file, and say where it is"),
            Self::Palette => ("commands", "find a command by its name"),
            Self::Help => ("help", "all keys"),
            Self::Log => ("program log", "relight's own log"),
            Self::Up => ("up", "one row up"),
            Self::Down => ("down", "one row down"),
            Self::PageUp => ("page up", "half a page up"),
            Self::PageDown => ("page down", "half a page down"),
            Self::Top => ("top", "to the first row"),
            Self::Bottom => ("bottom", "to the last row"),
            Self::Left => ("earlier attempt", "output of the attempt before"),
            Self::Right => ("later attempt", "output of the attempt after"),
            Self::NextPane => ("next pane", "to the next pane"),
            Self::PreviousPane => ("previous pane", "to the pane before"),
            Self::Checklist => ("checklist", "to the checklist"),
            Self::Snapshots => ("snapshots", "to the snapshots"),
            Self::Output => ("output", "to the output"),
            Self::Timeline => ("timeline", "to the timeline"),
            Self::Zoom => ("zoom", "give one pane the whole screen, and back"),
            Self::Fold => ("fold", "fold or unfold the phase"),
            Self::Back => ("back", "back; always cancels"),
            Self::Redraw => ("redraw", "draw everything again"),
            Self::Suspend => ("suspend", "back to the shell; fg returns"),
            Self::Detach => ("detach", "leave; everything goes on"),
        }
    }
}
