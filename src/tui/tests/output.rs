//! The output pane: paused, searched through a whole log, in colours, wrapped and sideways, saved.

use super::histories::Story;
use super::{press, queries};
use crate::incident::{AttemptId, Notice, Query};
use crate::tui::frame::{drawn, frame_text};
use crate::tui::msg::Out;
use crate::wire::ToEngine;

const ATTEMPT: AttemptId = AttemptId(19);

fn story() -> Story {
    let mut story = Story::restoring("drill");
    for id in 0..200 {
        story.reply(id, Ok(()));
    }
    press(&mut story.app, "3z");
    story
}

fn output(story: &mut Story, text: &str) {
    let offset = story.app.output.get(ATTEMPT).map_or(0, crate::tui::output::Buffer::log_end);
    story.notice(Notice::Output { attempt: ATTEMPT, offset, text: text.to_owned() });
}

fn frame(story: &Story) -> String {
    frame_text(&story.app, 120, 32)
}

/// The number of the only question to the engine.
fn asked(outs: &[Out]) -> u64 {
    let [Out::Send(ToEngine::Query { id, .. })] = outs else { panic!("{outs:?}") };
    *id
}

#[test]
fn a_pause_counts_what_comes_and_a_silence_is_said() {
    let mut story = story();
    press(&mut story.app, "kk");
    output(&mut story, "one\ntwo\nthree\n");
    assert!(frame(&story).contains("paused, 3 new, f follows"), "{}", frame(&story));
    press(&mut story.app, "f");
    assert!(frame(&story).contains("following"));
    story.wait(95);
    assert!(!frame(&story).contains("silent"), "it says how far it is");
    story.app.progress.clear();
    assert!(frame(&story).contains("silent for 1m35s"), "{}", frame(&story));
}

#[test]
fn a_whole_log_is_searched_while_one_goes_on() {
    let mut story = story();
    let outs = press(&mut story.app, "/error<enter>");
    let find = |from| Query::Find { attempt: ATTEMPT, needle: "error".to_owned(), from };
    assert_eq!(queries(&outs), [find(0)]);
    let found = |at: &[u64], upto, size| Notice::Found {
        attempt: ATTEMPT,
        needle: "error".to_owned(),
        at: at.to_vec(),
        upto,
        size,
    };
    assert!(story.notice(found(&[100, 5_000], 1 << 27, 1 << 28)).is_empty(), "the last one is not known yet");
    assert!(frame(&story).contains("/error  2, 50 % searched"), "{}", frame(&story));
    let outs = story.reply(asked(&outs), Ok(()));
    assert_eq!(queries(&outs), [find(1 << 27)]);
    // What is found last is fetched from the log, with what stands before it.
    let jump = story.notice(found(&[200_000_000], 1 << 28, 1 << 28));
    assert_eq!(queries(&jump), [Query::Output { attempt: ATTEMPT, from: Some(200_000_000 - 65_536), most: 131_072 }]);
    assert!(story.reply(asked(&outs), Ok(())).is_empty());
    let text = format!("{}\nan error here\nbehind\n", "x".repeat(65_535));
    story.notice(Notice::Output { attempt: ATTEMPT, offset: 200_000_000 - 65_536, text });
    let screen = frame(&story);
    assert!(screen.contains("/error  3 of 3 ") && screen.contains("›an error here"), "{screen}");
    press(&mut story.app, "N");
    assert!(frame(&story).contains("/error  2 of 3 "));
    press(&mut story.app, "NN");
    assert!(frame(&story).contains("error was the first one"));
    press(&mut story.app, "<esc>");
    assert!(!frame(&story).contains("/error"));
}

#[test]
fn matches_are_marked_where_they_stand_and_nothing_else_is() {
    let mut story = story();
    output(&mut story, "all is well\nan Error and another error\nthe last line\n");
    press(&mut story.app, "/error<enter>");
    let (buffer, _) = drawn(&story.app, 120, 32);
    let marked = |row: u16| -> String {
        let cells = (0..120).map(|column| &buffer[(column, row)]);
        cells
            .filter(|cell| cell.bg == story.app.theme.found().bg.expect("a ground"))
            .map(ratatui::buffer::Cell::symbol)
            .collect()
    };
    let rows: Vec<String> = (0..32).map(marked).filter(|marked| !marked.is_empty()).collect();
    assert_eq!(rows, ["Errorerror"], "{}", frame(&story));
    press(&mut story.app, "<esc>/Error<enter>");
    let (buffer, _) = drawn(&story.app, 120, 32);
    let found = buffer.content().iter().filter(|cell| cell.bg == story.app.theme.found().bg.expect("a ground"));
    assert_eq!(found.map(ratatui::buffer::Cell::symbol).collect::<String>(), "Error", "a capital is meant as one");
}

#[test]
fn a_search_that_is_no_longer_wanted_ends() {
    let mut story = story();
    let outs = press(&mut story.app, "/error<enter>");
    press(&mut story.app, "<esc>");
    let late = Notice::Found { attempt: ATTEMPT, needle: "error".to_owned(), at: vec![1], upto: 9, size: 99 };
    assert!(story.notice(late).is_empty());
    assert!(story.reply(asked(&outs), Ok(())).is_empty());
}

#[test]
fn long_lines_are_wrapped_or_moved_sideways() {
    let mut story = story();
    let long: String = (0..40).map(|number| format!("{number:03}")).collect::<Vec<_>>().join(" ") + " ";
    output(&mut story, &format!("{long}end\n"));
    assert!(frame(&story).contains("000 001") && !frame(&story).contains("end"));
    press(&mut story.app, ">>>");
    assert!(
        frame(&story).contains("from column 61")
            && frame(&story).contains("│ 015 016")
            && frame(&story).contains("end")
    );
    press(&mut story.app, "<<<");
    let narrow = frame(&story);
    assert!(narrow.contains("000 001"), "{narrow}");
    press(&mut story.app, "W");
    let wrapped = frame(&story);
    assert!(wrapped.contains("000 001") && wrapped.contains("039 end"), "{wrapped}");
}

#[test]
fn the_output_is_saved_where_it_says() {
    let mut story = story();
    let name = "INC-7F3K-output-19.txt".to_owned();
    assert_eq!(press(&mut story.app, "<c-s>"), [Out::Save { attempt: ATTEMPT, name }]);
}

#[test]
fn of_many_attempts_those_around_are_named() {
    let mut story = story();
    let first = story.begin("restore.database");
    story.fail(first);
    for _ in 0..20 {
        let attempt = story.begin("restore.database");
        story.fail(attempt);
    }
    let last = first.0 + 20;
    let text = frame(&story);
    let named = format!("attempts … {} {} {} [{last}]", last - 3, last - 2, last - 1);
    assert!(text.contains(&named), "{text}");
}
