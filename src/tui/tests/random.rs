//! Any keys, sizes and events in any order: no panic, nothing wider than the screen, no control byte on it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;

use super::histories::{Story, measured, plan, with_questions};
use crate::incident::{AttemptId, Channel, Command, EventKind, MessageId, Notice};
use crate::runbook::StepId;
use crate::tui::frame::frame_text;
use crate::tui::msg::{Msg, Out};
use crate::tui::text;
use crate::tui::theme::{Look, Theme};
use crate::tui::update::update;
use crate::wire::{FromEngine, ToEngine};

#[derive(Debug, Clone)]
enum Turn {
    Key(KeyEvent),
    Paste(String),
    Resize(u16, u16),
    Output(u64, String),
    Planned(usize, bool, String),
    Fail,
    Doubt,
    Note(String),
    Corrected(u64, String),
    Queued(u32, u64, String),
    Series,
    Lost,
    Shown,
    Wait(i64),
}

fn turn() -> impl Strategy<Value = Turn> {
    let code = prop_oneof![
        8 => prop::char::range(' ', '~').prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
        4 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Backspace,
            KeyCode::Delete,
        ]),
    ];
    let modifiers = prop::sample::select(vec![KeyModifiers::NONE, KeyModifiers::NONE, KeyModifiers::CONTROL]);
    prop_oneof![
        30 => (code, modifiers).prop_map(|(code, modifiers)| Turn::Key(KeyEvent::new(code, modifiers))),
        2 => any::<String>().prop_map(Turn::Paste),
        3 => (0_u16..150, 0_u16..60).prop_map(|(columns, rows)| Turn::Resize(columns, rows)),
        3 => (0_u64..5_000, any::<String>()).prop_map(|(offset, text)| Turn::Output(offset, text)),
        4 => (0_usize..40, any::<bool>(), any::<String>()).prop_map(|(at, asks, text)| Turn::Planned(at, asks, text)),
        1 => Just(Turn::Fail),
        1 => Just(Turn::Doubt),
        1 => any::<String>().prop_map(Turn::Note),
        1 => (40_u64..60, any::<String>()).prop_map(|(note, text)| Turn::Corrected(note, text)),
        1 => (1_u32..9, 1_u64..60, any::<String>()).prop_map(|(id, about, text)| Turn::Queued(id, about, text)),
        1 => Just(Turn::Series),
        1 => Just(Turn::Lost),
        4 => Just(Turn::Shown),
        2 => (-100_i64..10_000).prop_map(Turn::Wait),
    ]
}

fn take(story: &mut Story, turn: Turn) -> Vec<Out> {
    let now = story.clock;
    let attempt = AttemptId(19);
    match turn {
        Turn::Key(key) => update(&mut story.app, Msg::Key(key), now),
        Turn::Paste(text) => update(&mut story.app, Msg::Paste(text), now),
        Turn::Resize(columns, rows) => update(&mut story.app, Msg::Resize(columns, rows), now),
        Turn::Output(offset, text) => story.notice(Notice::Output { attempt, offset, text }),
        Turn::Planned(at, asks, text) => {
            let state = story.app.state.as_ref().expect("an incident");
            let step = state.runbook.steps().nth(at).map_or("none", |step| step.id.as_str()).to_owned();
            let mut made = if asks { with_questions(&step) } else { plan(&step) };
            made.effects.push(text.clone());
            made.target.name.push_str(&text);
            story.planned(&made)
        }
        Turn::Fail => {
            story.fail(attempt);
            Vec::new()
        }
        Turn::Doubt => {
            story.doubt(attempt);
            Vec::new()
        }
        Turn::Note(text) => story.event(EventKind::Noted { text }),
        Turn::Corrected(note, text) => story.event(EventKind::Corrected { note, text }),
        Turn::Queued(id, about, text) => {
            let (message, channel) = (MessageId(id), Channel::SlackMessage);
            story.event(EventKind::MessageQueued { message, channel, text, about })
        }
        Turn::Series => {
            let step = StepId::new("restore.database");
            story.notice(Notice::Measured { step, series: measured() })
        }
        Turn::Lost => update(&mut story.app, Msg::FromEngine(FromEngine::Lost("gone".to_owned())), now),
        Turn::Shown => {
            let shown = story.app.unshown();
            shown.map(|digest| update(&mut story.app, Msg::Shown(digest), now)).unwrap_or_default()
        }
        Turn::Wait(seconds) => {
            story.wait(seconds);
            Vec::new()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_breaks_the_screen(ascii in any::<bool>(), turns in prop::collection::vec(turn(), 1..60)) {
        let mut story = Story::themed("production", Theme::new(if ascii { Look::None } else { Look::HighContrast }, ascii)).on_to_the_restore();
        for turn in turns {
            let is_input = matches!(turn, Turn::Key(_));
            let card = story.app.card().cloned();
            let outs = take(&mut story, turn);
            for out in &outs {
                if let Out::Send(ToEngine::Command { command: Command::Approve { digest, step, .. }, .. }) = out {
                    let reads = story.app.state.as_ref().and_then(|state| state.runbook.step(step))
                        .is_some_and(|step| step.approval == crate::runbook::Approval::None);
                    let consented = card.as_ref().is_some_and(|card| card.shown.as_ref() == Some(digest));
                    prop_assert!(reads || (is_input && consented), "approved without consent");
                }
            }
            let (columns, rows) = story.app.size;
            let frame = frame_text(&story.app, columns, rows);
            prop_assert_eq!(frame.lines().count(), usize::from(rows));
            for line in frame.lines() {
                prop_assert!(text::width(line) <= usize::from(columns), "{:?}", line);
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            }
        }
    }
}
