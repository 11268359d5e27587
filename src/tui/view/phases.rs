//! Where the time went: every phase on one axis.

use ratatui::text::{Line, Span};

use crate::export;
use crate::incident::duration_text;
use crate::tui::app::App;
use crate::tui::text;

use super::card::keys;
use super::sheet::Sheet;

/// The name of the time between the phases.
const NOBODY: &str = "nobody and nothing was at work";

pub(super) fn sheet(app: &App, scroll: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let Some(state) = &app.state else { return Sheet::default() };
    // The bars have the longest names' room where there is not enough for both.
    let named = state.runbook.phases.iter().map(|phase| text::width(&phase.title));
    let title = named.chain([text::width(NOBODY)]).max().unwrap_or_default().min(width * 9 / 20);
    let columns = width.saturating_sub(title + 11);
    let (full, empty) = theme.bar();
    let body = export::phase_times(state, app.now, text::cells(columns))
        .into_iter()
        .map(|phase| {
            let name = phase.title.as_deref().unwrap_or(NOBODY);
            let style = if phase.title.is_some() { theme.active() } else { theme.dim() };
            let bar = phase.bar.replace('█', full).replace('░', empty);
            Line::from(vec![
                Span::raw(text::left(name, title, theme.ellipsis())),
                Span::raw(" "),
                Span::styled(text::left(&bar, columns, ""), style),
                Span::raw(text::right(&duration_text(phase.busy), 10, theme.ellipsis())),
            ])
        })
        .collect();
    let foot = keys(app, &[("j k", "scroll"), ("Esc", "close")], width);
    Sheet { title: "Where the time went".to_owned(), body, foot, scroll, ..Sheet::default() }
}
