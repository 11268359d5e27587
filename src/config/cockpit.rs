//! How the cockpit looks, and its keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::runbook::Position;

/// A set of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThemeName {
    /// For dark backgrounds.
    Dark,
    /// For light backgrounds.
    Light,
    /// White on black throughout.
    HighContrast,
    /// The terminal's own sixteen colours.
    #[serde(rename = "16")]
    Sixteen,
    /// No colour.
    None,
}

/// `[cockpit]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cockpit {
    /// The colours; without it the terminal decides.
    pub theme: Option<ThemeName>,
    /// The mouse looks around and selects. The terminal's own selecting then takes Shift, so it is off.
    #[serde(default)]
    pub mouse: bool,
    /// `[cockpit.keys]`: other keys for actions, by the actions' names. Which there are, the cockpit knows.
    #[serde(default)]
    pub keys: BTreeMap<String, ActionKeys>,
}

impl Cockpit {
    /// Turns the offsets that the reader gave into lines.
    pub(super) fn locate(&mut self, text: &str) {
        for keys in self.keys.values_mut() {
            keys.line = Position::of(text, keys.line).line;
        }
    }
}

/// The keys of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionKeys {
    /// As they are written; the first one is shown.
    pub keys: Vec<String>,
    /// Where in the file.
    pub line: usize,
}

impl<'de> Deserialize<'de> for ActionKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a key such as \"a\" or \"Ctrl-x\", or a list of keys")]
        enum OneOrMore {
            One(String),
            More(Vec<String>),
        }
        let read = toml::Spanned::<OneOrMore>::deserialize(deserializer)?;
        // An offset until the file's text is at hand, see `Cockpit::locate`.
        let line = read.span().start;
        Ok(match read.into_inner() {
            OneOrMore::One(key) => Self { keys: vec![key], line },
            OneOrMore::More(keys) => Self { keys, line },
        })
    }
}
