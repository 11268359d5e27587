//! Every command, found by its name: by letters with gaps, and by whole words of what it does.

use std::ops::Range;

use crossterm::event::{KeyCode, KeyEvent};

use super::action::UiAction;
use super::app::App;
use super::edit::Editor;
use super::fuzzy::Fuzzy;
use super::msg::Out;
use super::perform;

/// A command that was found, and where the letters of the match are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) action: UiAction,
    pub(super) name: Vec<Range<usize>>,
    pub(super) about: Vec<Range<usize>>,
}

/// The commands that a filter leaves, the best match first: by their name, then by what they do.
pub(super) fn found(filter: &str) -> Vec<Found> {
    let mut names = Fuzzy::new(filter);
    // In a sentence nearly all letters are somewhere: only words count.
    let words: Vec<String> =
        filter.split_whitespace().map(|word| format!("'{}", word.trim_start_matches('\''))).collect();
    let mut sentences = Fuzzy::new(&words.join(" "));
    let mut all: Vec<(bool, u32, Found)> = Vec::new();
    for action in UiAction::ALL {
        let found = Found { action, name: names.places(action.name()), about: Vec::new() };
        if let Some(score) = names.score(action.name()) {
            all.push((false, score, found));
        } else if let Some(score) = sentences.score(action.about()) {
            all.push((true, score, Found { about: sentences.places(action.about()), ..found }));
        }
    }
    if !words.is_empty() {
        all.sort_by_key(|(by_sentence, score, _)| (*by_sentence, std::cmp::Reverse(*score)));
    }
    all.into_iter().map(|(_, _, found)| found).collect()
}

pub(super) fn key(app: &mut App, editor: &mut Editor, selected: &mut usize, event: KeyEvent) -> (bool, Vec<Out>) {
    let last = found(editor.text()).len().saturating_sub(1);
    match event.code {
        KeyCode::Esc => return (false, Vec::new()),
        KeyCode::Down | KeyCode::Tab => *selected = (*selected + 1).min(last),
        KeyCode::Up | KeyCode::BackTab => *selected = selected.saturating_sub(1),
        KeyCode::Enter => {
            let action = found(editor.text()).get(*selected).map(|found| found.action);
            return (false, action.map(|action| perform::perform(app, action)).unwrap_or_default());
        }
        _ => {
            editor.key(event);
            *selected = 0;
        }
    }
    (true, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(filter: &str) -> Option<UiAction> {
        found(filter).first().map(|found| found.action)
    }

    #[test]
    fn the_best_match_comes_first_and_says_by_which_letters() {
        assert_eq!(found("").iter().map(|found| found.action).collect::<Vec<_>>(), UiAction::ALL);
        assert_eq!(first("copy"), Some(UiAction::Copy));
        assert_eq!(first("hndovr"), Some(UiAction::Handover));
        assert_eq!(first("time local"), Some(UiAction::LocalTime));
        assert_eq!(first("whom to call"), Some(UiAction::Escalation));
        assert_eq!(first("nothing like it"), None);
        let found = found("prlog");
        let best = found.first().expect("the log");
        assert_eq!((best.action, best.name.clone()), (UiAction::Log, vec![0..2, 8..11]));
    }
}
