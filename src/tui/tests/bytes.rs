//! What a change on screen costs on a slow link.

use super::escapes::Bytes;
use super::histories::Story;
use crate::incident::{AttemptId, Notice};
use crate::tui::msg::Msg;
use crate::tui::painter::Painter;
use crate::tui::update::update;

/// What goes around a frame, so that a terminal shows it at once: `ESC [ ? 2026 h` and `l`.
const FRAME: usize = 16;

/// The bar, its percentage, the time that is left, the throughput and the clocks, where they have changed.
#[test]
fn a_step_of_progress_is_a_few_hundred_bytes_at_most() {
    for (columns, rows) in [(80, 24), (120, 32), (200, 50)] {
        let mut story = Story::restoring("production");
        let now = story.app.now;
        update(&mut story.app, Msg::Resize(columns, rows), now);
        let bytes = Bytes::default();
        let mut painter = Painter::new(bytes.clone(), story.app.area());
        let mut costs = Vec::new();
        for second in 0..60 {
            story.wait(1);
            story.notice(Notice::Progress {
                attempt: AttemptId(19),
                label: "restoring table data".to_owned(),
                done: 1_000_000_000 + second * 37_000_000,
                total: Some(4_499_000_000),
                unit: "bytes".to_owned(),
                left: Some((300 - second, 540 - second)),
                stalled: None,
            });
            painter.draw(&story.app).expect("a frame");
            costs.push(bytes.take().len() + FRAME);
        }
        // The first frames draw everything, and the line of the throughput when there is one.
        costs.drain(..3);
        costs.sort_unstable();
        let half = costs[costs.len() / 2];
        assert!(half > FRAME && half <= 300, "{columns}x{rows}: {costs:?}");
    }
}
