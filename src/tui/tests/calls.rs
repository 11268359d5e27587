//! Whoever looks elsewhere is called back, and not for nothing; whoever is new is told what to press.

use super::histories::{Story, plan};
use super::press;
use crate::incident::{Actor, AttemptId, EventKind, Outcome, Problem};
use crate::tui::frame::frame_text;
use crate::tui::msg::{Msg, Out};
use crate::tui::update::update;

fn ends(story: &mut Story, attempt: AttemptId) -> Vec<Out> {
    let outcome = Outcome::Succeeded { evidence: vec!["done".to_owned()], facts: Vec::new() };
    story.event(EventKind::Finished { attempt, outcome })
}

#[test]
fn the_bell_rings_when_something_long_ended_or_went_wrong() {
    let mut story = Story::restoring("production");
    assert_eq!(story.app.title(), "relight INC-7F3K: at work");
    // The restore took twelve minutes.
    assert!(ends(&mut story, AttemptId(19)).contains(&Out::Ring));
    assert_eq!(story.app.title(), "relight INC-7F3K: needs you");

    let short = story.begin("restore.prove");
    story.wait(1);
    assert!(!ends(&mut story, short).contains(&Out::Ring), "somebody who waits a second is still there");

    let mut story = Story::restoring("production");
    let other = story.begin("verify.smoke");
    story.wait(60);
    assert!(!ends(&mut story, other).contains(&Out::Ring), "the restore is still at work");
    let problem = Problem {
        what: "restore".to_owned(),
        target: "db".to_owned(),
        why: "No.".to_owned(),
        next: "Retry.".to_owned(),
    };
    let failed = EventKind::Finished { attempt: AttemptId(19), outcome: Outcome::Failed { problem } };
    assert!(story.event(failed).contains(&Out::Ring));
    assert_eq!(story.app.title(), "relight INC-7F3K: failed, needs you");
}

#[test]
fn what_others_want_rings_and_ones_own_doing_does_not() {
    let mut story = Story::new("production");
    story.checked();
    let consented = || EventKind::Consented { plan: Box::new(plan("restore.swap")) };
    assert!(story.event(consented()).contains(&Out::Ring));
    story.app.you = Actor { name: "ana".to_owned(), uid: Some(1000) };
    assert!(!story.event(consented()).contains(&Out::Ring));
    assert!(!story.event(EventKind::Noted { text: "so".to_owned() }).contains(&Out::Ring));
    story.event(EventKind::Closed {});
    assert_eq!(story.app.title(), "relight INC-7F3K: closed");
}

#[test]
fn the_first_hint_fits_a_small_screen_and_goes_with_the_first_key() {
    let mut story = Story::new("production");
    let now = story.clock;
    update(&mut story.app, Msg::Resize(80, 24), now);
    story.app.hint();
    let hint = "New here? ? all keys, a what a step would do, d leaves; it goes on";
    assert!(frame_text(&story.app, 80, 24).contains(hint), "{}", frame_text(&story.app, 80, 24));
    press(&mut story.app, "j");
    assert!(!frame_text(&story.app, 80, 24).contains("New here?"));
}
