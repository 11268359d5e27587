//! Which key does what. Footer, palette and help are made from this table.

mod chord;
mod user;

pub(super) use chord::Chord;
pub use user::{Binding, KeymapError};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::UiAction;
use chord::{control, key, named};

/// The keys of the main screen. The first one of an action is the one that is shown.
const KEYS: &[(Chord, UiAction)] = &[
    (key('a'), UiAction::Approve),
    (key('r'), UiAction::Retry),
    (key('s'), UiAction::Skip),
    (key('m'), UiAction::ByHand),
    (key('u'), UiAction::Undo),
    (key('x'), UiAction::Stop),
    (key('b'), UiAction::Unblock),
    (named(KeyCode::Enter), UiAction::Details),
    (key('w'), UiAction::Note),
    (key('C'), UiAction::Correct),
    (key('M'), UiAction::Milestones),
    (key('t'), UiAction::LocalTime),
    (key('c'), UiAction::Copy),
    (key('e'), UiAction::Export),
    (key('E'), UiAction::Escalation),
    (key('o'), UiAction::Outbox),
    (key('H'), UiAction::Handover),
    (key('S'), UiAction::Sort),
    (key('='), UiAction::Compare),
    (key('f'), UiAction::Follow),
    (key('/'), UiAction::Search),
    (key('n'), UiAction::NextMatch),
    (key('N'), UiAction::PreviousMatch),
    (key('T'), UiAction::Phases),
    (key('W'), UiAction::Wrap),
    (key('<'), UiAction::LeftPart),
    (key('>'), UiAction::RightPart),
    (control('s'), UiAction::Save),
    (key(':'), UiAction::Palette),
    (key('?'), UiAction::Help),
    (key('L'), UiAction::Log),
    (key('k'), UiAction::Up),
    (named(KeyCode::Up), UiAction::Up),
    (key('j'), UiAction::Down),
    (named(KeyCode::Down), UiAction::Down),
    (control('u'), UiAction::PageUp),
    (named(KeyCode::PageUp), UiAction::PageUp),
    (control('d'), UiAction::PageDown),
    (named(KeyCode::PageDown), UiAction::PageDown),
    (key('g'), UiAction::Top),
    (named(KeyCode::Home), UiAction::Top),
    (key('G'), UiAction::Bottom),
    (named(KeyCode::End), UiAction::Bottom),
    (named(KeyCode::Left), UiAction::Left),
    (named(KeyCode::Right), UiAction::Right),
    (named(KeyCode::Tab), UiAction::NextPane),
    (named(KeyCode::BackTab), UiAction::PreviousPane),
    (key('1'), UiAction::Checklist),
    (key('2'), UiAction::Snapshots),
    (key('3'), UiAction::Output),
    (key('4'), UiAction::Timeline),
    (key('z'), UiAction::Zoom),
    (key(' '), UiAction::Fold),
    (named(KeyCode::Esc), UiAction::Back),
    (control('l'), UiAction::Redraw),
    (control('z'), UiAction::Suspend),
    (key('d'), UiAction::Detach),
    (key('q'), UiAction::Detach),
    (control('c'), UiAction::Detach),
];

/// Keys that nobody can give another meaning.
const FIXED: &[(Chord, UiAction)] = &[
    (control('c'), UiAction::Detach),
    (control('z'), UiAction::Suspend),
    (control('l'), UiAction::Redraw),
    (named(KeyCode::Esc), UiAction::Back),
];

/// Keys of cards, for help: they are the same for everybody, so that approving is.
pub(super) const CARDS: &[(&str, &str)] = &[
    ("y", "plan card: approve exactly what is shown; only a key typed after your terminal had it counts"),
    ("name, Enter", "plan card that asks for a name: approve"),
    ("j k, arrows", "plan card, question: scroll"),
    ("i", "plan card: change the answers"),
    ("c", "plan card: copy the commands (Ctrl-T where it asks for a name)"),
    ("any other key", "plan card: cancel; nothing happens"),
    ("Tab", "questions: next field"),
    ("Enter", "questions: work the plan out (Ctrl-S in a text of several lines)"),
    ("Ctrl-U Ctrl-Y", "texts: take the line before the cursor out, put it back"),
    ("1-5 Tab", "export: choose the form"),
    ("c w", "export: copy and write to a file, write only"),
    ("n N s", "export: other parts, their size"),
    ("h n", "doubt: it happened, it did not"),
    ("r", "doubt: ask the target again"),
    ("j k - +", "program log: choose a part of the program, show less or more of it"),
    ("o f", "program log: only that part, the newest lines"),
    ("t", "escalation: record that they were told"),
];

/// The keys of the main screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keymap {
    keys: Vec<(Chord, UiAction)>,
}

impl Default for Keymap {
    fn default() -> Self {
        Self { keys: KEYS.to_vec() }
    }
}

impl Keymap {
    /// What a key on the main screen does.
    pub(super) fn action(&self, event: KeyEvent) -> Option<UiAction> {
        if event.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        let chord = Chord::of(event);
        self.keys.iter().find(|(known, _)| *known == chord).map(|(_, action)| *action)
    }

    /// The keys of an action, the shown one first.
    pub(super) fn keys(&self, action: UiAction) -> impl Iterator<Item = Chord> {
        self.keys.iter().filter(move |(_, known)| *known == action).map(|(chord, _)| *chord)
    }

    /// The key of an action that is shown; nothing for one that only the palette has.
    pub(super) fn shown(&self, action: UiAction) -> String {
        self.keys(action).next().map(Chord::name).unwrap_or_default()
    }

    /// The key of an action within a sentence.
    pub(super) fn named(&self, action: UiAction) -> String {
        let key = self.shown(action);
        if key.is_empty() { format!("`{}` in the commands", action.name()) } else { key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_key_and_every_key_one_action() {
        for action in UiAction::ALL {
            assert!(Keymap::default().keys(action).next().is_some(), "{action:?} has no key");
        }
        for (at, (chord, _)) in KEYS.iter().enumerate() {
            assert!(!KEYS[..at].iter().any(|(other, _)| other == chord), "{} twice", chord.name());
        }
    }
}
