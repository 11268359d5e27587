//! The keys that matter here and now; a message in their place until the next key.

use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Clear;

use crate::incident::{Level, StepStatus};
use crate::tui::action::UiAction;
use crate::tui::app::{App, Pane};
use crate::tui::history;
use crate::tui::overlay::Overlay;
use crate::tui::text;

use super::Canvas;

/// Columns beside a message.
const BESIDE: usize = 4;
/// Rows that a message may take.
const LONGEST: usize = 3;

/// Where it is, if `row` is the last row of the screen: a message that is longer than a row lies over the panes, but not over
/// anything that has to be read.
pub(super) fn area(row: Rect, app: &App) -> Rect {
    let Some(toast) = app.ui.toast.as_ref().filter(|_| app.ui.overlay.is_none()) else { return row };
    let room = usize::from(row.width).saturating_sub(BESIDE);
    let above = text::cells(text::wrap(&toast.text, room).len().clamp(1, LONGEST) - 1).min(row.y);
    Rect { y: row.y - above, height: row.height + above, ..row }
}

pub(super) fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let columns = usize::from(area.width);
    if let Some(Overlay::Search(editor)) = &app.ui.overlay {
        let line = format!(" /{}", editor.text());
        let column = editor.column();
        super::put(canvas, area, &[Line::from(text::fit(&line, columns, ""))]);
        let x = area.x.saturating_add(text::cells(column + 2)).min(area.right().saturating_sub(1));
        canvas.set_cursor_position(Position { x, y: area.y });
        return;
    }
    if let Some(toast) = &app.ui.toast {
        let (glyph, style) = if toast.bad {
            app.theme.gravity(crate::incident::Gravity::Warning)
        } else {
            (app.theme.bullet(), app.theme.active())
        };
        let mut before = Span::styled(format!(" {glyph} "), style);
        let line = |words| Line::from(vec![std::mem::replace(&mut before, Span::raw("   ")), Span::raw(words)]);
        let lines: Vec<Line<'_>> =
            text::rows(&toast.text, columns.saturating_sub(BESIDE), usize::from(area.height), app.theme.ellipsis())
                .into_iter()
                .map(line)
                .collect();
        canvas.render_widget(Clear, area);
        super::put(canvas, area, &lines);
        return;
    }
    let mut line = Line::default();
    if app.ui.overlay.is_some() {
        line.push_span(Span::styled(" Ctrl-C", app.theme.dim()));
        line.push_span(Span::styled(" detach, everything goes on", app.theme.dim()));
        super::put(canvas, area, &[line]);
        return;
    }
    let last = [UiAction::Help];
    let room = columns.saturating_sub(width(app, UiAction::Help));
    for action in hints(app) {
        if line.width() + width(app, action) > room {
            break;
        }
        push(&mut line, action, app);
    }
    for action in last {
        push(&mut line, action, app);
    }
    super::put(canvas, area, &[line]);
}

fn width(app: &App, action: UiAction) -> usize {
    text::width(&app.keymap.shown(action)) + text::width(action.name()) + 3
}

fn push(line: &mut Line<'static>, action: UiAction, app: &App) {
    line.push_span(Span::styled(format!(" {}", app.keymap.shown(action)), app.theme.key()));
    line.push_span(Span::raw(format!(" {} ", action.name())));
}

/// What can be done with what is selected, the likeliest first.
fn hints(app: &App) -> Vec<UiAction> {
    let mut hints = Vec::new();
    match app.ui.pane {
        Pane::Checklist => {
            if let Some(step) = app.step() {
                match app.status(&step.id) {
                    StepStatus::Pending if app.state.as_ref().is_some_and(|state| !state.is_ready(step)) => {
                        hints.extend([UiAction::Skip, UiAction::ByHand]);
                    }
                    StepStatus::Pending => hints.extend([UiAction::Approve, UiAction::Skip, UiAction::ByHand]),
                    StepStatus::Running(attempt) => {
                        if app.progress.get(&attempt).is_some_and(|progress| progress.stalled.is_some()) {
                            hints.push(UiAction::Unblock);
                        }
                        hints.push(UiAction::Stop);
                    }
                    StepStatus::Failed(_) | StepStatus::Stopped(_) => {
                        hints.extend([UiAction::Retry, UiAction::Skip, UiAction::ByHand]);
                    }
                    StepStatus::InDoubt(_) => hints.push(UiAction::Approve),
                    _ if step.repeat => hints.push(UiAction::Approve),
                    _ => hints.push(UiAction::Retry),
                }
                if step.undo.is_some() && app.status(&step.id).attempt().is_some() {
                    hints.push(UiAction::Undo);
                }
            } else {
                hints.extend([UiAction::Approve, UiAction::Fold]);
            }
            hints.push(UiAction::Details);
        }
        Pane::Snapshots => hints.extend([
            UiAction::Approve,
            UiAction::Details,
            UiAction::Search,
            UiAction::Sort,
            UiAction::Compare,
            UiAction::Retry,
        ]),
        Pane::Output => {
            hints.extend([
                UiAction::Follow,
                UiAction::Search,
                UiAction::NextMatch,
                UiAction::Left,
                UiAction::Wrap,
                UiAction::Save,
            ]);
        }
        Pane::Timeline => {
            if history::entry(app).is_some_and(|entry| entry.level == Level::Note) {
                hints.push(UiAction::Correct);
            }
            hints.extend([UiAction::Details, UiAction::Export, UiAction::Milestones, UiAction::LocalTime]);
        }
    }
    hints.push(UiAction::Note);
    if app.ui.zoom {
        hints.push(UiAction::Zoom);
    }
    hints.extend([UiAction::NextPane, UiAction::Escalation, UiAction::Palette, UiAction::Detach]);
    // Nothing is offered that cannot be done from here, or has no key.
    let lists_again = |action: UiAction| action == UiAction::Retry && app.ui.pane == Pane::Snapshots;
    let closed = app.state.as_ref().is_some_and(|state| state.closed_at.is_some());
    hints.retain(|action| {
        let may = (app.watching.is_none() && !closed) || !action.acts() || lists_again(*action);
        may && app.keymap.keys(*action).next().is_some()
    });
    hints
}
