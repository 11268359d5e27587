//! Which key does what. Footer, palette and help are made from this table.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::UiAction;

/// A key with or without Ctrl. Shift is in the character itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chord {
    code: KeyCode,
    control: bool,
}

const fn key(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), control: false }
}

const fn control(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), control: true }
}

const fn named(code: KeyCode) -> Chord {
    Chord { code, control: false }
}

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
    (key('f'), UiAction::Follow),
    (key('/'), UiAction::Search),
    (key('n'), UiAction::NextMatch),
    (key('N'), UiAction::PreviousMatch),
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

/// Keys of cards, for help: they belong to the card, not to the table above.
pub(super) const CARDS: &[(&str, &str)] = &[
    ("y", "plan card: approve exactly what is shown; only a key typed after it was drawn counts"),
    ("name, Enter", "plan card that asks for a name: approve"),
    ("j k, arrows", "plan card: scroll"),
    ("i", "plan card: change the answers"),
    ("c", "plan card: copy the commands"),
    ("any other key", "plan card: cancel; nothing happens"),
    ("Tab", "questions: next field"),
    ("Enter", "questions: work the plan out (Ctrl-S in a text of several lines)"),
    ("Ctrl-U Ctrl-Y", "texts: take the line before the cursor out, put it back"),
    ("1-5 Tab", "export: choose the form"),
    ("c w", "export: copy and write to a file, write only"),
    ("n N s", "export: other parts, their size"),
    ("h n", "doubt: it happened, it did not"),
    ("r", "doubt: ask the target again"),
    ("t", "escalation: record that they were told"),
];

impl Chord {
    fn of(event: KeyEvent) -> Self {
        Self { code: event.code, control: event.modifiers.contains(KeyModifiers::CONTROL) }
    }

    /// The key as people call it.
    pub(super) fn name(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "S-Tab".to_owned(),
            code => format!("{code:?}"),
        };
        if self.control { format!("Ctrl-{name}") } else { name }
    }
}

/// What a key on the main screen does.
pub(super) fn action(event: KeyEvent) -> Option<UiAction> {
    if event.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    let chord = Chord::of(event);
    KEYS.iter().find(|(known, _)| *known == chord).map(|(_, action)| *action)
}

/// The keys of an action, the shown one first.
pub(super) fn keys(action: UiAction) -> impl Iterator<Item = Chord> {
    KEYS.iter().filter(move |(_, known)| *known == action).map(|(chord, _)| *chord)
}

/// The key of an action that is shown.
pub(super) fn shown(action: UiAction) -> String {
    keys(action).next().map(Chord::name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_key_and_every_key_one_action() {
        for action in UiAction::ALL {
            assert!(keys(action).next().is_some(), "{action:?} has no key");
        }
        for (at, (chord, _)) in KEYS.iter().enumerate() {
            assert!(!KEYS[..at].iter().any(|(other, _)| other == chord), "{} twice", chord.name());
        }
    }
}
