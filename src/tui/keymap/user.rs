//! A person's own keys: read from the config, and refused where they could harm.

use super::chord::{Chord, control, key, named};
use super::{FIXED, Keymap};
use crate::tui::action::UiAction;
use crossterm::event::KeyCode;

/// What the config says about one action.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The action's name: that of its command, with `_` for spaces.
    pub action: &'a str,
    /// Its keys; they replace the ones it has.
    pub keys: &'a [String],
    /// Where in the file.
    pub line: usize,
}

/// Why a person's keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: cockpit.keys.{action}: {fault}")]
pub struct KeymapError {
    line: usize,
    action: String,
    fault: String,
}

/// The action of this name in the config.
fn action(name: &str) -> Option<UiAction> {
    UiAction::ALL.into_iter().find(|action| id(*action) == name)
}

/// What an action is called in the config.
pub(super) fn id(action: UiAction) -> String {
    action.name().replace(' ', "_")
}

/// Why an action may not have a key.
fn danger(action: UiAction, chord: Chord) -> Option<String> {
    let name = chord.name();
    if let Some((_, does)) = FIXED.iter().find(|(fixed, does)| *fixed == chord && *does != action) {
        return Some(format!("{name} is always {}", does.name()));
    }
    if chord == key('y') || chord == control('y') {
        return Some(format!("{name} is kept for approving on a card, and does nothing elsewhere"));
    }
    if chord == named(KeyCode::Enter) && action != UiAction::Details {
        return Some("Enter never does anything but show details".to_owned());
    }
    if action.acts() && chord.is_too_easy() {
        return Some(format!("{name} moves and scrolls, and is pressed once too often; an action takes another key"));
    }
    None
}

impl Keymap {
    /// The usual keys with a person's own in their place.
    ///
    /// # Errors
    /// An unknown action, a key that cannot be read or is not to be had, or one key for two actions; with the line.
    pub fn with<'a>(bindings: impl IntoIterator<Item = Binding<'a>>) -> Result<Self, KeymapError> {
        let mut map = Self::default();
        let mut own: Vec<(UiAction, Binding<'a>)> = Vec::new();
        for binding in bindings {
            let fail = |fault: String| KeymapError { line: binding.line, action: binding.action.to_owned(), fault };
            let Some(action) = action(binding.action) else {
                let all: Vec<String> = UiAction::ALL.into_iter().map(id).collect();
                return Err(fail(format!("there is no such action. There are: {}", all.join(", "))));
            };
            let fixed = FIXED.iter().filter(|(_, does)| *does == action).map(|(chord, _)| *chord);
            let mut chords = Vec::new();
            for written in binding.keys {
                let chord = Chord::parse(written).map_err(|why| fail(format!("{written:?} is no key: {why}")))?;
                if let Some(why) = danger(action, chord) {
                    return Err(fail(why));
                }
                chords.push(chord);
            }
            if chords.is_empty() && matches!(action, UiAction::Help | UiAction::Palette) {
                return Err(fail("it needs a key: it is the way to everything else".to_owned()));
            }
            chords.extend(fixed);
            map.keys.retain(|(_, does)| *does != action);
            map.keys.extend(chords.into_iter().map(|chord| (chord, action)));
            own.push((action, binding));
        }
        // Only now: keys may change places with each other.
        for (action, binding) in own {
            for (chord, _) in map.keys.iter().filter(|(_, does)| *does == action) {
                let other = map.keys.iter().find(|(known, does)| known == chord && *does != action);
                if let Some((_, other)) = other {
                    let (name, other) = (chord.name(), id(*other));
                    let fault =
                        format!("{name} is the key of {other} too: give {other} another one, or choose another here");
                    return Err(KeymapError { line: binding.line, action: binding.action.to_owned(), fault });
                }
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bindings: &[(&str, &[&str])]) -> Result<Keymap, String> {
        let keys: Vec<Vec<String>> =
            bindings.iter().map(|(_, keys)| keys.iter().map(|key| (*key).to_owned()).collect()).collect();
        let bindings = bindings.iter().zip(&keys).enumerate();
        Keymap::with(bindings.map(|(at, ((action, _), keys))| Binding { action, keys, line: at + 7 }))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_shown_can_be_written() {
        let usual = Keymap::default();
        for (chord, _) in &usual.keys {
            assert_eq!(Chord::parse(&chord.name()), Ok(*chord));
        }
        for (at, action) in UiAction::ALL.into_iter().enumerate() {
            assert!(!UiAction::ALL[..at].iter().any(|other| id(*other) == id(action)), "{action:?}");
        }
    }

    #[test]
    fn keys_are_replaced_and_may_change_places() {
        let map = with(&[("stop", &["r"]), ("retry", &["x", "ctrl-R"]), ("unblock", &[])]).expect("sound");
        assert_eq!((map.shown(UiAction::Stop), map.shown(UiAction::Retry)), ("r".to_owned(), "x".to_owned()));
        assert_eq!(map.shown(UiAction::Unblock), "");
        let map = with(&[("detach", &["Q"])]).expect("sound");
        let names: Vec<String> = map.keys(UiAction::Detach).map(Chord::name).collect();
        assert_eq!(names, ["Q", "Ctrl-c"], "what is fixed stays");
    }

    #[test]
    fn what_could_harm_is_refused_with_its_line() {
        for (action, key, why) in [
            ("approve", "y", "kept for approving"),
            ("down", "y", "kept for approving"),
            ("approve", "Enter", "Enter never does anything but show details"),
            ("retry", "Ctrl-m", "as Enter"),
            ("stop", "Space", "moves and scrolls"),
            ("skip", "Down", "moves and scrolls"),
            ("undo", "j", "moves and scrolls"),
            ("approve", "Esc", "Esc is always back"),
            ("stop", "Ctrl-C", "Ctrl-c is always detach"),
            ("stop", "F5", "is no key"),
            ("stop", "Alt-x", "Alt is not read"),
            ("stop", "", "is no key"),
            ("aprove", "A", "there is no such action. There are: approve, retry"),
            ("stop", "a", "a is the key of approve too"),
        ] {
            let error = with(&[("follow", &["f"]), (action, &[key])]).expect_err(key);
            assert!(error.starts_with(&format!("line 8: cockpit.keys.{action}: ")) && error.contains(why), "{error}");
        }
        let error = with(&[("stop", &["X"]), ("zoom", &["X"])]).expect_err("twice");
        assert!(error.contains("X is the key of zoom too"), "{error}");
        assert!(with(&[("help", &[])]).is_err());
    }
}
