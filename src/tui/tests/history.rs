//! The timeline: corrections, the filter, local time, what was sent where.

use super::histories::Story;
use super::{commands, number, press};
use crate::incident::{Command, Refusal};
use crate::tui::frame::frame_text;
use crate::tui::history;

fn told() -> Story {
    let mut story = Story::restoring("production");
    story.told();
    press(&mut story.app, "4");
    story
}

#[test]
fn a_note_is_corrected_with_what_it_says_already_there() {
    let mut story = told();
    press(&mut story.app, "/primary<enter>");
    let note = history::entry(&story.app).expect("the note").seq;
    let outs = press(&mut story.app, "C and its battery<enter>");
    let text = "primary lost its disk and its battery".to_owned();
    assert_eq!(commands(&outs), [Command::Correct { note, text }]);
    story.reply(number(&outs), Err(Refusal::Closed));
    assert!(frame_text(&story.app, 80, 24).contains("this incident is closed"));
    press(&mut story.app, "<esc>");
    // What has several lines keeps them.
    let outs = press(&mut story.app, "/10:00<enter>C!<enter>");
    let Some(Command::Correct { text, .. }) = commands(&outs).pop() else { panic!("{outs:?}") };
    assert_eq!(text, "取引先 asks when reports work\nagain; told them 10:00!");
    press(&mut story.app, "<esc>");
    // What machines wrote is theirs.
    assert!(press(&mut story.app, "gC").is_empty());
    assert!(frame_text(&story.app, 80, 24).contains("only notes can be corrected"));
}

#[test]
fn what_it_said_before_is_shown() {
    let mut story = told();
    press(&mut story.app, "/primary<enter>");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("ana: primary lost its disk (corrected)"), "{frame}");
    press(&mut story.app, "<enter>");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("Before, it said:") && frame.contains("replica lost its disk"), "{frame}");
}

#[test]
fn milestones_alone_are_walked() {
    let mut story = told();
    let all = history::shown(&story.app).len();
    press(&mut story.app, "M");
    let milestones = history::shown(&story.app).len();
    assert!(milestones > 3 && milestones < all, "{milestones} of {all}");
    // The cursor goes to a milestone, whatever was selected, and stays among them.
    for keys in ["k", "g", "j", "<c-d>", "G", "/Stop writes<enter>"] {
        press(&mut story.app, keys);
        assert!(history::entry(&story.app).is_some_and(|entry| entry.milestone), "{keys}");
    }
    assert!(frame_text(&story.app, 80, 24).contains("milestones only"));
    press(&mut story.app, "M/primary<enter>M");
    assert!(history::entry(&story.app).is_some_and(|entry| entry.milestone));
    press(&mut story.app, "M");
    assert!(history::entry(&story.app).is_some_and(|entry| entry.text.contains("primary")), "it is selected again");
}

#[test]
fn a_search_says_which_of_how_many_matches_it_is_at() {
    let mut story = told();
    let matching = |story: &Story| {
        let state = story.app.state.as_ref().expect("an incident");
        state.timeline.iter().filter(|entry| history::words(entry).to_lowercase().contains("snapshot")).count()
    };
    press(&mut story.app, "4G/snapshot<enter>");
    let count = matching(&story);
    assert!(count > 1);
    let said = |story: &Story, place: usize| {
        frame_text(&story.app, 120, 32).contains(&format!("match {place} of {count} for snapshot"))
    };
    // The newest one first.
    assert!(said(&story, count), "{}", frame_text(&story.app, 120, 32));
    press(&mut story.app, "n");
    assert!(said(&story, 1), "from the other end on");
    press(&mut story.app, "N");
    assert!(said(&story, count));
    press(&mut story.app, "1/cache may<enter>");
    assert!(!frame_text(&story.app, 120, 32).contains("match 1"), "the keys are shown");
    press(&mut story.app, "n");
    assert!(frame_text(&story.app, 120, 32).contains("the only match for cache may"));
}

#[test]
fn local_time_is_told_from_utc() {
    let mut story = told();
    press(&mut story.app, "t");
    assert!(frame_text(&story.app, 120, 32).contains("this host's time is UTC"));
    press(&mut story.app, "t");
    for (name, is_utc) in [("Etc/UTC", true), ("Zulu", true), ("Africa/Abidjan", false)] {
        story.app.zone = jiff::tz::TimeZone::get(name).expect("the zone database");
        press(&mut story.app, "t");
        assert_eq!(frame_text(&story.app, 120, 32).contains("this host's time is UTC"), is_utc, "{name}");
        press(&mut story.app, "t");
    }
    story.app.zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(16 - 24));
    press(&mut story.app, "gt");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("2026-11-23 UTC-08:00") && frame.contains("00:52:00  "), "{frame}");
    press(&mut story.app, "t");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("2026-11-23 UTC\u{20}") && frame.contains("08:52:00Z"), "{frame}");
}

#[test]
fn where_an_event_was_sent_is_on_its_line() {
    let story = told();
    let state = story.app.state.as_ref().expect("an incident");
    let lines: Vec<String> = state
        .timeline
        .iter()
        .flat_map(|entry| state.told(entry).into_iter().map(|told| told.how.name().to_owned()))
        .collect();
    for how in ["sent", "unsent", "in doubt", "not told yet"] {
        assert!(lines.iter().any(|line| line == how), "{how} in {lines:?}");
    }
    let mut story = story;
    press(&mut story.app, "gz");
    let frame = frame_text(&story.app, 120, 60);
    for words in ["✓ PagerDuty", "○ PagerDuty unsent", "? Slack in doubt", "· PagerDuty"] {
        assert!(frame.contains(words), "{words} in\n{frame}");
    }
}
