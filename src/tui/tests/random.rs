//! Any keys, pastes, presses of a mouse, sizes and news of the engine in any order, on the real update and the real drawing: no panic, no row
//! wider than the screen, the cursor inside it, no control byte on it, and nothing approved but by a key on a plan that
//! was seen. `make test` runs a seeded sample, `make chaos` a million turns.

mod glass;
#[path = "../../../tests/crash/tally.rs"]
#[expect(dead_code, reason = "the sweeps of crashes throw dice, this one has proptest's")]
mod tally;
mod turn;

use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::histories::Story;
use crate::incident::Command;
use crate::tui::app::App;
use crate::tui::frame::{drawn, text_of};
use crate::tui::msg::{Msg, Out};
use crate::tui::text;
use crate::tui::theme::{Look, Theme};
use crate::wire::ToEngine;
use glass::Glass;
use turn::{Turn, take, turn};

/// Turns that one incident lives through.
const LENGTH: usize = 250;
const SAMPLE: u64 = 1_500;
const WHOLE: u64 = 1_000_000;

/// Who sits there, and what happens.
type Case = ((Look, bool, bool), Vec<Turn>);

fn case() -> impl Strategy<Value = Case> {
    let setting = (prop::sample::select(Look::ALL.to_vec()), any::<bool>(), prop::bool::weighted(0.05));
    (setting, prop::collection::vec(turn(), LENGTH))
}

fn holds(((look, ascii, watches), turns): Case) -> Result<(), TestCaseError> {
    let mut story = Story::themed("production", Theme::new(look, ascii)).on_to_the_restore();
    story.app.watching = watches.then(|| "You only look on.".to_owned());
    let mut glass = Glass::new(story.app.size);
    for (at, turn) in turns.into_iter().enumerate() {
        let news = matches!(turn, Turn::News(..) | Turn::Wait(_));
        let moves = matches!(&turn, Turn::Key(key) if story.app.only_moves(&Msg::Key(*key)));
        let is_key = matches!(turn, Turn::Key(_));
        let is_mouse = matches!(turn, Turn::Mouse(_));
        let card = story.app.card().cloned();
        for out in take(&mut story, turn) {
            let Out::Send(ToEngine::Command { command, .. }) = out else { continue };
            prop_assert!(!is_mouse, "a mouse asks for {:?}", command);
            prop_assert!(
                !watches || matches!(command, Command::Escalate { .. }),
                "who looks on asks for {:?}",
                command
            );
            let Command::Approve { step, digest, .. } = command else { continue };
            let state = story.app.state.as_ref();
            let reads = state
                .and_then(|state| state.runbook.step(&step))
                .is_some_and(|step| step.approval == crate::runbook::Approval::None);
            let consented = card.as_ref().is_some_and(|card| card.shown.as_ref() == Some(&digest));
            prop_assert!(reads || (is_key && consented), "approved without consent");
        }
        seen(&story.app, ascii)?;
        // News may wait for the next frame, a key does not.
        glass.follow(&story.app, moves, at % 3 != 0 || !news)?;
    }
    Ok(())
}

/// What is on the screen fits it and is harmless.
fn seen(app: &App, ascii: bool) -> Result<(), TestCaseError> {
    let (columns, rows) = app.size;
    let (buffer, cursor) = drawn(app, columns, rows);
    let frame = text_of(&buffer);
    prop_assert_eq!(frame.lines().count(), usize::from(rows));
    for line in frame.lines() {
        prop_assert!(text::width(line) <= usize::from(columns), "wider than {} columns: {:?}", columns, line);
        prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
        prop_assert!(!ascii || line.is_ascii(), "{:?}", line);
    }
    if let Some(cursor) = cursor {
        prop_assert!(cursor.x < columns && cursor.y < rows, "the cursor at {} of {}x{}", cursor, columns, rows);
    }
    Ok(())
}

/// Lives through so many turns, as the seed has them.
fn live(seed: u64, turns: u64) {
    let cases = u32::try_from(turns.div_ceil(LENGTH as u64)).expect("not so many");
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_time: 30_000, ..ProptestConfig::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match runner.run(&case(), holds) {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("RELIGHT_CHAOS_SEED={seed}: {why}"),
        Err(TestError::Fail(why, (setting, turns))) => {
            panic!("RELIGHT_CHAOS_SEED={seed}: {why}\nwith {setting:?} and {} turns: {turns:#?}", turns.len())
        }
    }
}

#[test]
fn nothing_breaks_the_screen() {
    let (turns, seed) = (tally::amount(SAMPLE, WHOLE), tally::seed());
    let lives = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    thread::scope(|scope| {
        for life in 0..lives {
            scope.spawn(move || live(seed.wrapping_add(life), turns.div_ceil(lives)));
        }
    });
    tally::tell("random keys, pastes, resizes and news of the engine", turns, turns);
}
