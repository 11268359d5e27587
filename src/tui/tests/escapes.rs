//! The cockpit's bytes, as the real backend writes them: no escape sequence but those with which it draws, whatever text
//! from outside stands in every field.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::histories::Story;
use super::press;
use crate::incident::{AttemptId, EventKind, LogLevel, Notice, Refusal};
use crate::runbook::StepId;
use crate::tui::frame::frame_text;
use crate::tui::msg::Msg;
use crate::tui::painter::Painter;
use crate::tui::theme::{Look, Theme};
use crate::tui::update::update;
use crate::wire::FromEngine;

/// Text that a terminal obeys, and any bytes.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(b"\x1b[2J".to_vec()),
        Just(b"\x1b]0;owned\x07".to_vec()),
        Just(b"\x1b]52;c;aGk=\x1b\\".to_vec()),
        Just(b"\x1bP$qm\x1b\\".to_vec()),
        Just("\u{9b}5n".as_bytes().to_vec()),
        Just("\u{9d}0;owned\u{9c}".as_bytes().to_vec()),
        Just("\u{202e}\u{2066}".as_bytes().to_vec()),
        Just(b"\x1b".to_vec()),
        Just(b"\r\n\x08\x07\x0e\x7f\x00".to_vec()),
        prop::collection::vec(any::<u8>(), 1..6),
    ];
    prop::collection::vec(piece, 1..8).prop_map(|pieces| String::from_utf8_lossy(&pieces.join(&b"x"[..])).into_owned())
}

/// Where the backend writes to.
#[derive(Clone, Default)]
pub(super) struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    /// What was written since the last time.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().expect("nobody panicked"))
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes with which the real backend draws this frame.
fn drawn(story: &Story) -> Vec<u8> {
    let bytes = Bytes::default();
    let mut painter = Painter::new(bytes.clone(), story.app.area());
    painter.draw(&story.app).expect("a frame");
    bytes.take()
}

/// What is wrong with a drawing: anything but text, and sequences that place the cursor, set a style or hide the cursor.
fn fault(drawn: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(drawn) {
        Ok(text) => text,
        Err(error) => return Some(error.to_string()),
    };
    let mut parts = text.split('\u{1b}');
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some(sequence) = part.strip_prefix('[') else { return Some(format!("ESC {part:?}")) };
        let end = sequence.find(|c: char| !(c.is_ascii_digit() || matches!(c, ';' | ':' | '?')))?;
        match (&sequence[..end], sequence[end..].chars().next()) {
            ("?25", Some('l' | 'h')) => {}
            (place, Some('H' | 'm')) if !place.contains('?') => {}
            other => return Some(format!("CSI {other:?}")),
        }
        rest.push_str(&sequence[end + 1..]);
    }
    let bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    rest.chars().find(|c| bad(*c)).map(|c| format!("{c:?} in the text"))
}

/// Everything that an incident can be told, all of it hostile.
fn story(bad: &str, theme: Theme) -> Story {
    let mut story = Story::themed("production", theme).spoiled(bad).on_to_the_restore();
    let attempt = AttemptId(19);
    story.event(EventKind::Noted { text: bad.to_owned() });
    story.notice(Notice::Log { at: story.clock, level: LogLevel::Error, text: bad.to_owned() });
    let step = StepId::new("restore.database");
    story.notice(Notice::Measured { step, series: super::histories::measured() });
    story.doubt(attempt);
    story
}

#[test]
fn a_drawing_with_an_escape_of_somebody_else_is_told_apart() {
    for bad in
        ["\u{1b}]0;x\u{7}", "\u{1b}[2J", "\u{1b}[6n", "a\u{9b}5n", "\u{7}", "\u{202e}", "\u{1b}c", "\u{1b}[?1049l"]
    {
        assert!(fault(format!("\u{1b}[1;1H\u{1b}[0mtext{bad}more").as_bytes()).is_some(), "{bad:?}");
    }
    assert_eq!(fault("\u{1b}[1;1H\u{1b}[38;2;1;2;3m\u{1b}[?25ltext 数据".as_bytes()), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_from_outside_is_obeyed(bad in hostile(), ascii in any::<bool>(), columns in 20_u16..140, rows in 8_u16..50) {
        let mut story = story(&bad, Theme::new(if ascii { Look::None } else { Look::Sixteen }, ascii));
        let now = story.clock;
        update(&mut story.app, Msg::Resize(columns, rows), now);
        // Every pane, pop-over and question, one after the other.
        for keys in ["", "1", "2", "3", "4", "5", "6", "7", "?", "<esc>", ":", "<esc>", "/x<enter>", "<esc>", "n", "<esc>", "a", "<esc>", "D", "<esc>", "s", "<esc>", "r", "<esc>", "<tab>", "jjj<enter>", "<esc>", "G", "gg", "e", "<esc>", "p", "<esc>"] {
            press(&mut story.app, keys);
            let bytes = drawn(&story);
            prop_assert_eq!(fault(&bytes), None, "after {:?}", keys);
            prop_assert!(!frame_text(&story.app, columns, rows).chars().any(|c| c.is_control() && c != '\n'));
        }
        for plan in [super::histories::plan("restore.database"), super::histories::with_questions("select.snapshot")] {
            story.planned(&plan);
            prop_assert_eq!(fault(&drawn(&story)), None);
        }
        story.reply(1, Err(Refusal::JournalStopped { why: bad.clone() }));
        prop_assert_eq!(fault(&drawn(&story)), None);
        update(&mut story.app, Msg::Paste(bad.clone()), now);
        prop_assert_eq!(fault(&drawn(&story)), None);
        update(&mut story.app, Msg::FromEngine(FromEngine::Lost(bad.clone())), now);
        prop_assert_eq!(fault(&drawn(&story)), None);
    }
}
