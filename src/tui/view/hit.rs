//! What lies under a place on the screen.

use ratatui::layout::Position;

use crate::tui::app::{App, Pane};

use super::{checklist, inside, pane_areas, snapshots, tabs, under_alarm};

/// A pane, and the row of its that was hit where a row can be selected by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tui) struct Hit {
    pub(in crate::tui) pane: Pane,
    pub(in crate::tui) row: Option<usize>,
}

/// What a column and row of the screen show; none for header, footer and alarm.
pub(in crate::tui) fn hit(app: &App, column: u16, row: u16) -> Option<Hit> {
    let at = Position::new(column, row);
    let body = under_alarm(app);
    if !app.is_wide() && row == body.y {
        return tabs::at(app, body.width, column).map(|pane| Hit { pane, row: None });
    }
    // Neighbours share a line: it belongs to the pane that is drawn last.
    let (pane, area) = pane_areas(body, app).into_iter().rfind(|(_, area)| area.contains(at))?;
    let inside = inside(area);
    let line = usize::from(row.saturating_sub(inside.y));
    let row = inside.contains(at).then(|| match pane {
        Pane::Checklist => checklist::row_at(app, inside, line),
        Pane::Snapshots => snapshots::row_at(app, inside, line),
        Pane::Output | Pane::Timeline => None,
    });
    Some(Hit { pane, row: row.flatten() })
}
