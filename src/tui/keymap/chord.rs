//! A key, and how it is written.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::tui::text;

/// A key with or without Ctrl. Shift is in the character itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tui) struct Chord {
    pub(super) code: KeyCode,
    pub(super) control: bool,
}

pub(super) const fn key(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), control: false }
}

pub(super) const fn control(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), control: true }
}

pub(super) const fn named(code: KeyCode) -> Chord {
    Chord { code, control: false }
}

/// Keys with names, as the cockpit shows them.
const NAMES: [(&str, KeyCode); 14] = [
    ("Space", KeyCode::Char(' ')),
    ("Enter", KeyCode::Enter),
    ("Tab", KeyCode::Tab),
    ("S-Tab", KeyCode::BackTab),
    ("Esc", KeyCode::Esc),
    ("Up", KeyCode::Up),
    ("Down", KeyCode::Down),
    ("Left", KeyCode::Left),
    ("Right", KeyCode::Right),
    ("PgUp", KeyCode::PageUp),
    ("PgDn", KeyCode::PageDown),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
    ("Backspace", KeyCode::Backspace),
];

impl Chord {
    pub(super) fn of(event: KeyEvent) -> Self {
        Self { code: event.code, control: event.modifiers.contains(KeyModifiers::CONTROL) }
    }

    /// The key as people call it.
    pub(in crate::tui) fn name(self) -> String {
        let known = NAMES.iter().find(|(_, code)| *code == self.code).map(|(name, _)| (*name).to_owned());
        let name = known.unwrap_or_else(|| match self.code {
            KeyCode::Char(c) => c.to_string(),
            code => format!("{code:?}"),
        });
        if self.control { format!("Ctrl-{name}") } else { name }
    }

    /// Reads what [`Chord::name`] writes; says why where it cannot.
    pub(super) fn parse(written: &str) -> Result<Self, String> {
        if let Some((_, code)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(written)) {
            return Ok(named(*code));
        }
        let mut letters = written.chars();
        if let (Some(one), None) = (letters.next(), letters.next()) {
            return if text::width(written) > 0 && !one.is_control() {
                Ok(key(one))
            } else {
                Err("it is no character that can be seen".to_owned())
            };
        }
        match written.split_once('-') {
            Some((with, rest)) if with.eq_ignore_ascii_case("ctrl") => Self::with_control(rest),
            Some((with, _)) if with.eq_ignore_ascii_case("alt") => {
                Err("Alt is not read: many terminals send Esc before the key, and Esc cancels".to_owned())
            }
            _ => Err("a key is one character, Ctrl- and a letter, or one of Space Enter Tab S-Tab Up Down Left Right \
                      PgUp PgDn Home End Backspace"
                .to_owned()),
        }
    }

    fn with_control(rest: &str) -> Result<Self, String> {
        let mut letters = rest.chars();
        match (letters.next().map(|c| c.to_ascii_lowercase()), letters.next()) {
            // The bytes of these are those of Backspace, Tab and Enter.
            (Some('h'), None) => Err("terminals send Ctrl-h as Backspace".to_owned()),
            (Some('i'), None) => Err("terminals send Ctrl-i as Tab".to_owned()),
            (Some('j' | 'm'), None) => Err("terminals send it as Enter".to_owned()),
            (Some(c @ 'a'..='z'), None) => Ok(control(c)),
            _ => Err("Ctrl takes a letter from a to z".to_owned()),
        }
    }

    /// A key that a hand rests on, or that scrolls and leaves cards: what is pressed once too often must not act.
    pub(super) fn is_too_easy(self) -> bool {
        !matches!(self.code, KeyCode::Char(c) if c != ' ' && (self.control || !matches!(c, 'j' | 'k' | 'g' | 'G')))
    }
}
