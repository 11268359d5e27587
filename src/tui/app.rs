//! Everything that the cockpit knows. Events are folded into it; panes read it.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::layout::Rect;

use crate::incident::{
    Actor, Attempt, AttemptId, Contents, Digest, Escalation, Fact, Inputs, Person, Plan, Precedent, Seal, Series,
    SnapshotRow, State, StepStatus, escalations, is_call_due, loss,
};
use crate::runbook::{Phase, Step, StepId};

use super::action::UiAction;
use super::card::{Card, Sight};
use super::checklist::{Calls, Folding, Place, Row};
use super::dumps::Dumps;
use super::keymap::Keymap;
use super::log::LogView;
use super::msg::Msg;
use super::output::Outputs;
use super::overlay::Overlay;
use super::pace::Pace;
use super::seek::Search;
use super::theme::Theme;
use super::view;

/// The smallest screen that anything is shown on.
pub(super) const SMALLEST: (u16, u16) = (40, 10);

/// One of the four panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Checklist,
    Snapshots,
    Output,
    Timeline,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Checklist, Self::Snapshots, Self::Output, Self::Timeline];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Checklist => "Checklist",
            Self::Snapshots => "Snapshots",
            Self::Output => "Output",
            Self::Timeline => "Timeline",
        }
    }

    pub(super) fn number(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).map_or(1, |at| at + 1)
    }
}

/// How far a running attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) label: String,
    pub(super) done: u64,
    pub(super) total: Option<u64>,
    pub(super) unit: String,
    /// When this label was first heard, and how much was done then.
    pub(super) since: (Timestamp, u64),
    /// The least and the most seconds that are left, as the worker says.
    pub(super) left: Option<(u64, u64)>,
    /// Nothing moves; since when and why.
    pub(super) stalled: Option<String>,
}

/// What a question to the engine was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Prepare(StepId),
    Approve(StepId),
    Prompt,
    Retry,
    Stop,
    /// Something whose answer is only shown where it is no.
    Plain,
    Snapshots,
    /// More of a long listing.
    Page,
    /// What the archive of this key holds.
    Contents(String),
    Output(AttemptId),
    /// More of a search through a log.
    Find,
}

/// A line above the keys that says how something went, until the next key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toast {
    pub(super) text: String,
    pub(super) bad: bool,
}

/// How output is shown that is wider than its pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LongLines {
    /// From this column on, a row a line.
    From(usize),
    /// On several rows.
    Wrapped,
}

/// What the person chose to look at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ui {
    pub(super) pane: Pane,
    pub(super) zoom: bool,
    pub(super) folds: BTreeMap<String, bool>,
    /// The selected row of the checklist; none follows the current step.
    pub(super) row: Option<Place>,
    pub(super) snapshot: Option<String>,
    /// The snapshot that another one is to be compared with.
    pub(super) marked: Option<String>,
    /// The selected entry of the timeline; none follows the end.
    pub(super) entry: Option<u64>,
    /// The timeline shows milestones only.
    pub(super) milestones: bool,
    /// The timeline shows this host's time, not UTC.
    pub(super) local: bool,
    /// The attempt whose output is shown; none follows the checklist.
    pub(super) attempt: Option<AttemptId>,
    /// Offset of the selected line; none follows the end.
    pub(super) line: Option<u64>,
    pub(super) needle: String,
    pub(super) long: LongLines,
    pub(super) overlay: Option<Overlay>,
    pub(super) toast: Option<Toast>,
    /// What is asked and was on screen before the keys that come now were typed.
    pub(super) read: Option<Digest>,
}

/// The cockpit's whole state.
#[derive(Debug)]
pub struct App {
    pub(super) theme: Theme,
    pub(super) keymap: Keymap,
    pub(super) now: Timestamp,
    /// Whose time is shown where UTC is not wanted.
    pub(super) zone: TimeZone,
    pub(super) size: (u16, u16),
    pub(super) state: Option<State>,
    /// What of the incident calls for a look.
    pub(super) calls: Calls,
    pub(super) caught_up: bool,
    /// Why the engine is gone.
    pub(super) lost: Option<String>,
    /// Something that stays on screen until it is mended.
    pub(super) alarm: Option<String>,
    pub(super) outbox_waits: Option<String>,
    /// Who the engine takes us for.
    pub(super) you: Actor,
    /// Why nothing can be done from here; none where something can.
    pub(super) watching: Option<String>,
    /// Who is attached.
    pub(super) people: Vec<Person>,
    /// The journal's end, for exports.
    pub(super) seal: Option<Seal>,
    pub(super) plans: BTreeMap<StepId, Plan>,
    /// What was answered to each step's questions.
    pub(super) answers: BTreeMap<StepId, Inputs>,
    /// Steps without approval whose plan is approved as it arrives.
    pub(super) at_once: Vec<StepId>,
    pub(super) dumps: Dumps,
    /// Archives that were opened, by their keys.
    pub(super) contents: BTreeMap<String, Result<Contents, String>>,
    pub(super) listing_fault: Option<String>,
    pub(super) progress: BTreeMap<AttemptId, Progress>,
    /// How fast attempts have been.
    pub(super) paces: BTreeMap<AttemptId, Pace>,
    pub(super) series: BTreeMap<StepId, Vec<Series>>,
    /// What steps took the last time.
    pub(super) precedents: BTreeMap<StepId, Precedent>,
    pub(super) output: Outputs,
    /// The search through a whole log.
    pub(super) search: Option<Search>,
    pub(super) log: LogView,
    /// Logs that were asked for, so that each is asked for once.
    pub(super) fetched: Vec<AttemptId>,
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) next_id: u64,
    pub(super) ui: Ui,
}

impl App {
    /// A cockpit that has heard nothing yet.
    #[must_use]
    pub fn new(theme: Theme, size: (u16, u16), now: Timestamp) -> Self {
        Self {
            theme,
            keymap: Keymap::default(),
            now,
            zone: TimeZone::UTC,
            size,
            state: None,
            calls: Calls::default(),
            caught_up: false,
            lost: None,
            alarm: None,
            outbox_waits: None,
            you: Actor::engine(),
            watching: None,
            people: Vec::new(),
            seal: None,
            plans: BTreeMap::new(),
            answers: BTreeMap::new(),
            at_once: Vec::new(),
            dumps: Dumps::default(),
            contents: BTreeMap::new(),
            listing_fault: None,
            progress: BTreeMap::new(),
            paces: BTreeMap::new(),
            series: BTreeMap::new(),
            precedents: BTreeMap::new(),
            output: Outputs::default(),
            search: None,
            log: LogView::default(),
            fetched: Vec::new(),
            asked: BTreeMap::new(),
            next_id: 1,
            ui: Ui {
                pane: Pane::Checklist,
                zoom: false,
                folds: BTreeMap::new(),
                row: None,
                snapshot: None,
                marked: None,
                entry: None,
                milestones: false,
                local: false,
                attempt: None,
                line: None,
                needle: String::new(),
                long: LongLines::From(0),
                overlay: None,
                toast: None,
                read: None,
            },
        }
    }

    /// What to press first; it goes with the first key.
    pub(super) fn hint(&mut self) {
        let [help, approve, leave] =
            [UiAction::Help, UiAction::Approve, UiAction::Detach].map(|action| self.key(action));
        self.say(format!("New here? {help} all keys, {approve} what a step would do, {leave} leaves; it goes on"));
    }

    /// How things stand, in a word, for whoever sees no more than a window's title.
    pub(super) fn title(&self) -> String {
        let Some(state) = &self.state else { return "relight".to_owned() };
        let needs = match self.calls.current.as_ref().map(|step| state.status(step)) {
            _ if state.closed_at.is_some() => "closed",
            _ if self.lost.is_some() => "engine lost",
            Some(StepStatus::Failed(_) | StepStatus::Stopped(_) | StepStatus::InDoubt(_)) => "failed, needs you",
            Some(StepStatus::Running(_)) => "at work",
            _ => "needs you",
        };
        format!("relight {}: {needs}", state.id)
    }

    /// The key of an action, within a sentence.
    pub(super) fn key(&self, action: UiAction) -> String {
        self.keymap.named(action)
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.ui.toast = Some(Toast { text: text.into(), bad: false });
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.ui.toast = Some(Toast { text: text.into(), bad: true });
    }

    /// The screen is too small to show anything on it.
    pub(super) fn is_too_small(&self) -> bool {
        self.size.0 < SMALLEST.0 || self.size.1 < SMALLEST.1
    }

    /// The message is a key that moves the cursor of the focused pane, with nothing over the panes.
    pub(super) fn only_moves(&self, message: &Msg) -> bool {
        let Msg::Key(key) = message else { return false };
        self.ui.overlay.is_none() && !self.is_too_small() && self.keymap.action(*key).is_some_and(UiAction::moves)
    }

    /// Nothing lies over the panes.
    pub(super) fn is_bare(&self) -> bool {
        self.ui.overlay.is_none() && self.ui.toast.is_none()
    }

    /// The screen.
    pub(super) fn area(&self) -> Rect {
        Rect::new(0, 0, self.size.0, self.size.1)
    }

    /// All four panes are on screen.
    pub(super) fn is_wide(&self) -> bool {
        !self.ui.zoom && self.size.0 >= 100 && self.size.1 >= 24
    }

    pub(super) fn card(&self) -> Option<&Card> {
        match &self.ui.overlay {
            Some(Overlay::Card(card)) => Some(card),
            _ => None,
        }
    }

    pub(super) fn card_mut(&mut self) -> Option<&mut Card> {
        match &mut self.ui.overlay {
            Some(Overlay::Card(card)) => Some(card),
            _ => None,
        }
    }

    /// What the next drawing shows of a plan for the first time.
    #[must_use]
    pub fn unshown(&self) -> Option<Sight> {
        let sight = view::sight(self)?;
        let is_new = match self.card() {
            Some(card) => card.is_new(&sight),
            None => self.ui.read.as_ref() != Some(&sight.digest),
        };
        is_new.then_some(sight)
    }

    /// What is asked was on screen before the keys that come now were typed.
    pub(super) fn is_read(&self) -> bool {
        let asked = self.ui.overlay.as_ref().and_then(|overlay| overlay.asked(self));
        asked.is_some() && self.ui.read == asked
    }

    /// Takes what a frame has shown.
    pub(super) fn saw(&mut self, sight: Sight) {
        let size = self.size;
        if let Some(card) = self.card_mut() {
            card.saw(sight, size);
            return;
        }
        // A late answer says nothing about what is not asked any more.
        let asked = self.ui.overlay.as_ref().and_then(|overlay| overlay.asked(self));
        if asked.as_ref() == Some(&sight.digest) {
            self.ui.read = asked;
        }
    }

    /// What was on screen is there no more.
    pub(super) fn unseen(&mut self) {
        self.ui.read = None;
        if let Some(card) = self.card_mut() {
            card.unseen();
        }
    }

    /// Which phases are folded.
    pub(super) fn folding(&self) -> Option<Folding<'_>> {
        self.state.as_ref().map(|state| Folding::of(state, &self.ui.folds, &self.calls))
    }

    /// The selected row of the checklist.
    pub(super) fn row(&self) -> Option<Row<'_>> {
        self.folding()?.selected(self.ui.row.as_ref())
    }

    /// The selected step.
    pub(super) fn step(&self) -> Option<&Step> {
        match self.row()? {
            Row::Step(step) => Some(step),
            Row::Phase(_) => None,
        }
    }

    /// The selected phase, where no step is.
    pub(super) fn phase(&self) -> Option<&Phase> {
        match self.row()? {
            Row::Phase(phase) => Some(phase),
            Row::Step(_) => None,
        }
    }

    /// The attempt whose output is shown.
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        let state = self.state.as_ref()?;
        if let Some(attempt) = self.ui.attempt.and_then(|id| state.attempts.get(&id)) {
            return Some(attempt);
        }
        let own = self.step().and_then(|step| state.steps.get(&step.id)?.attempts.last().copied());
        own.and_then(|id| state.attempts.get(&id))
            .or_else(|| state.running().last())
            .or_else(|| state.attempts.values().next_back())
    }

    /// The selected snapshot's row: what the person selected, else the chosen one, the proposed one or the first; of those
    /// that are shown.
    pub(super) fn snapshot_row(&self) -> Option<usize> {
        let is_shown = |row: &usize| self.dumps.place_of(*row).is_some();
        let by_key = |key: &str| self.dumps.find(key).filter(is_shown);
        let usual = || {
            // A filter's best match is what was searched for.
            if !self.dumps.filter().is_empty() {
                return None;
            }
            self.chosen().and_then(by_key).or_else(|| self.dumps.proposed().filter(is_shown))
        };
        self.ui.snapshot.as_deref().and_then(by_key).or_else(usual).or_else(|| self.dumps.at(0))
    }

    /// The selected snapshot.
    pub(super) fn snapshot(&self) -> Option<&SnapshotRow> {
        self.dumps.get(self.snapshot_row()?)
    }

    /// The key of the chosen snapshot.
    pub(super) fn chosen(&self) -> Option<&str> {
        self.state.as_ref()?.standing_facts().rev().find_map(|(_, fact)| match fact {
            Fact::Snapshot { object, .. } => Some(object.key.as_str()),
            _ => None,
        })
    }

    /// What a snapshot of this time costs.
    pub(super) fn loses(&self, taken_at: Timestamp) -> SignedDuration {
        self.state.as_ref().map_or_else(|| loss(taken_at, None, self.now), |state| state.loses(taken_at, self.now))
    }

    /// The onset: as it was said in this incident, else as the listing was judged.
    pub(super) fn onset(&self) -> Option<Timestamp> {
        self.state.as_ref().and_then(State::onset).or_else(|| self.dumps.onset())
    }

    /// The target of an attempt in doubt has not told yet what became of it.
    pub(super) fn is_being_asked(&self, attempt: AttemptId) -> bool {
        let attempt = self.state.as_ref().and_then(|state| state.attempts.get(&attempt));
        attempt.is_some_and(Attempt::is_being_asked)
    }

    /// Somebody should be called now.
    pub(super) fn is_call_due(&self) -> bool {
        self.state.as_ref().is_some_and(|state| is_call_due(state, self.now))
    }

    pub(super) fn escalations(&self) -> Vec<Escalation> {
        self.state.as_ref().map(|state| escalations(state, self.now)).unwrap_or_default()
    }

    pub(super) fn unsent(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.unsent().count())
    }

    pub(super) fn status(&self, step: &StepId) -> StepStatus {
        self.state.as_ref().map_or(StepStatus::Pending, |state| state.status(step).clone())
    }
}
