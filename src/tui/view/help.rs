//! All keys, from the tables that also serve them.

use ratatui::text::{Line, Span};

use crate::incident::AttemptId;
use crate::incident::{Sending, StepStatus};
use crate::tui::action::UiAction;
use crate::tui::app::{App, Pane};
use crate::tui::keymap;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang, heading};

pub(super) fn sheet(app: &App, scroll: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let mut body = Vec::new();
    let column = 16.min(width / 3);
    // The pane that somebody stands in comes first.
    let here = UiAction::of_pane(app.ui.pane);
    let elsewhere = |action: &UiAction| Pane::ALL.iter().any(|pane| UiAction::of_pane(*pane).contains(action));
    let (others, everywhere): (Vec<UiAction>, Vec<UiAction>) =
        UiAction::ALL.into_iter().filter(|action| !here.contains(action)).partition(elsewhere);
    for (title, actions) in [(None, here), (Some("Everywhere"), &everywhere), (Some("In other panes"), &others)] {
        body.extend(title.into_iter().flat_map(|title| heading(title, app)));
        for action in actions {
            let names: Vec<String> = app.keymap.keys(*action).map(keymap::Chord::name).collect();
            let key = text::left(&names.join(" "), column, theme.ellipsis());
            body.extend(hang(&key, theme.key(), action.about(), ratatui::style::Style::new(), width));
        }
    }
    body.extend(heading("On cards", app));
    for (key, about) in keymap::CARDS {
        let key = text::left(key, column, theme.ellipsis());
        body.extend(hang(&key, theme.key(), about, ratatui::style::Style::new(), width));
    }
    body.extend(heading("Marks", app));
    let attempt = AttemptId(0);
    let marks = [
        (StepStatus::Pending, true, "can be begun"),
        (StepStatus::Pending, false, "waits for other steps"),
        (StepStatus::Running(attempt), false, "at work"),
        (StepStatus::Succeeded(attempt), false, "done, and proved"),
        (StepStatus::Failed(attempt), false, "failed"),
        (StepStatus::Stopped(attempt), false, "stopped"),
        (StepStatus::InDoubt(attempt), false, "in doubt: nobody knows whether it had its effect"),
        (StepStatus::Skipped(String::new()), false, "left out"),
        (StepStatus::DoneByHand(String::new()), false, "done outside relight"),
    ];
    for (status, ready, about) in marks {
        let (glyph, style) = theme.step(&status, ready);
        body.push(Line::from(vec![Span::styled(text::left(glyph, column + 1, ""), style), Span::raw(about)]));
    }
    for how in [Sending::Sent, Sending::Planned, Sending::Unsent, Sending::InDoubt, Sending::Failed] {
        let (glyph, style) = theme.sending(how);
        let about = format!("told to PagerDuty or Slack: {}", how.name());
        body.push(Line::from(vec![Span::styled(text::left(glyph, column + 1, ""), style), Span::raw(about)]));
    }
    let foot = keys(app, &[("j k", "scroll"), ("Esc", "close")], width);
    Sheet { title: format!("Keys in {}", app.ui.pane.title()), body, foot, scroll, ..Sheet::default() }
}
