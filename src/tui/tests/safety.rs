//! What must never approve anything.

use super::histories::{Story, plan};
use super::{approval, approvals, commands, press, show};
use crate::incident::{AttemptId, Command, Digest, EventKind, Plan};
use crate::runbook::StepId;
use crate::tui::card::Sight;
use crate::tui::frame::frame_text;
use crate::tui::msg::Msg;
use crate::tui::update::update;
use crate::tui::view;
use crate::wire::FromEngine;

/// A card that takes a `y`, and one that takes a name; the plan is there and not shown yet.
fn confirming() -> (Story, Plan) {
    let mut story = Story::new("production");
    story.checked();
    press(&mut story.app, "a");
    let plan = plan("declare.incident");
    story.planned(&plan);
    (story, plan)
}

fn naming() -> (Story, Plan) {
    let mut story = Story::restoring("production");
    press(&mut story.app, "1/flush<enter>a");
    let mut plan = plan("dependents.cache");
    plan.type_name = Some("redis-ingestion".to_owned());
    story.planned(&plan);
    (story, plan)
}

fn tell(story: &mut Story, message: Msg) {
    let now = story.clock;
    let outs = update(&mut story.app, message, now);
    assert!(approvals(&outs).is_empty());
}

#[test]
fn a_y_after_the_plan_was_shown_approves_it_with_its_digest() {
    let (mut story, plan) = confirming();
    show(&mut story.app);
    assert_eq!(approvals(&press(&mut story.app, "y")), [approval(&plan, None)]);
    // Once.
    assert!(approvals(&press(&mut story.app, "yyy")).is_empty());
}

#[test]
fn keys_typed_before_the_plan_was_shown_are_dropped() {
    let mut story = Story::new("production");
    story.checked();
    // Typed ahead while the plan was worked out, and before it was drawn.
    assert!(approvals(&press(&mut story.app, "ayyy<enter>")).is_empty());
    let plan = plan("declare.incident");
    story.planned(&plan);
    assert!(approvals(&press(&mut story.app, "yy<enter>jx")).is_empty());
    assert!(story.app.card().is_some(), "dropped keys do not cancel either");
    show(&mut story.app);
    assert_eq!(approvals(&press(&mut story.app, "y")), [approval(&plan, None)]);
}

#[test]
fn a_name_typed_before_the_plan_was_shown_is_dropped() {
    let (mut story, plan) = naming();
    assert!(approvals(&press(&mut story.app, "redis-ingestion<enter>")).is_empty());
    show(&mut story.app);
    assert!(approvals(&press(&mut story.app, "<enter>")).is_empty());
    let outs = press(&mut story.app, "redis-ingestion<enter>");
    assert_eq!(approvals(&outs), [approval(&plan, Some("redis-ingestion"))]);
}

#[test]
fn every_other_key_cancels_and_enter_never_acts() {
    for keys in ["<enter>", "Y", "<c-y>", "a", "n", "<esc>", "x", "<bs>"] {
        let (mut story, _) = confirming();
        show(&mut story.app);
        assert!(press(&mut story.app, keys).is_empty(), "{keys}");
        assert!(story.app.card().is_none(), "{keys} cancels");
        assert!(approvals(&press(&mut story.app, "y")).is_empty(), "{keys}");
    }
    for keys in ["y<enter>", "y", "<enter>", "redis-ingestio<enter>", "redis-ingestion <enter>"] {
        let (mut story, _) = naming();
        show(&mut story.app);
        assert!(approvals(&press(&mut story.app, keys)).is_empty(), "{keys}");
    }
}

#[test]
fn pastes_never_approve_and_never_fill_a_name() {
    let (mut story, _) = confirming();
    show(&mut story.app);
    for text in ["y", "y\n", "y\r\n"] {
        tell(&mut story, Msg::Paste(text.to_owned()));
    }
    let (mut story, _) = naming();
    show(&mut story.app);
    tell(&mut story, Msg::Paste("redis-ingestion\n".to_owned()));
    assert!(approvals(&press(&mut story.app, "<enter>")).is_empty());
    assert!(frame_text(&story.app, 120, 32).contains("redis-ingestion"));
    // Outside of cards a paste presses no keys.
    press(&mut story.app, "<esc>");
    tell(&mut story, Msg::Paste("ay".to_owned()));
    assert!(story.app.ui.overlay.is_none());
}

#[test]
fn a_plan_that_changed_must_be_read_again() {
    let (mut story, old) = confirming();
    show(&mut story.app);
    let mut new = old.clone();
    new.effects.push("And one thing more.".to_owned());
    story.planned(&new);
    assert!(approvals(&press(&mut story.app, "y")).is_empty(), "an old key does nothing");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("The plan changed while it was on screen. Read it again."), "{frame}");
    // The drawing of the old plan does not count for the new one.
    let sight = Sight { digest: old.digest(), size: story.app.size, rows: 0..100 };
    tell(&mut story, Msg::Shown(sight));
    assert!(approvals(&press(&mut story.app, "y")).is_empty());
    show(&mut story.app);
    assert_eq!(approvals(&press(&mut story.app, "y")), [approval(&new, None)]);
}

#[test]
fn the_same_plan_again_changes_nothing() {
    let (mut story, plan) = confirming();
    show(&mut story.app);
    story.planned(&plan);
    assert!(!frame_text(&story.app, 120, 32).contains("changed"));
    assert_eq!(approvals(&press(&mut story.app, "y")), [approval(&plan, None)]);
}

#[test]
fn an_invented_drawing_counts_for_nothing() {
    let (mut story, _) = confirming();
    let sight = Sight { digest: Digest::of(b"something else"), size: story.app.size, rows: 0..100 };
    tell(&mut story, Msg::Shown(sight));
    assert!(approvals(&press(&mut story.app, "y")).is_empty());
}

#[test]
fn a_screen_too_small_to_read_the_plan_approves_nothing() {
    let (mut story, _) = confirming();
    tell(&mut story, Msg::Resize(39, 9));
    assert_eq!(story.app.unshown(), None);
    show(&mut story.app);
    assert!(approvals(&press(&mut story.app, "y")).is_empty());
    let (mut story, _) = confirming();
    show(&mut story.app);
    tell(&mut story, Msg::Resize(20, 5));
    assert!(approvals(&press(&mut story.app, "y")).is_empty(), "what was shown is not seen any more");
}

#[test]
fn what_will_happen_must_have_been_on_screen() {
    let (mut story, mut plan) = confirming();
    plan.effects = (0..60).map(|at| format!("Effect {at} of many.")).collect();
    story.planned(&plan);
    show(&mut story.app);
    assert!(approvals(&press(&mut story.app, "y")).is_empty());
    assert!(frame_text(&story.app, 120, 32).contains("read on first (j)"));
    // Jumping to the end leaves the middle unseen.
    press(&mut story.app, "G");
    show(&mut story.app);
    assert!(approvals(&press(&mut story.app, "y")).is_empty());
    // Nor is anything seen of pages that were turned before a frame of them was out.
    assert!(approvals(&press(&mut story.app, "g<c-d><c-d><c-d><c-d><c-d>y")).is_empty());
    press(&mut story.app, "g<c-d>");
    let mut pages = 0;
    while story.app.card().is_some_and(|card| view::is_unread(&story.app, card)) {
        assert!(approvals(&press(&mut story.app, "y")).is_empty());
        show(&mut story.app);
        press(&mut story.app, "<c-d>");
        pages += 1;
    }
    assert!(pages > 2, "{pages}");
    assert_eq!(approvals(&press(&mut story.app, "y")), [approval(&plan, None)]);
}

#[test]
fn after_a_resize_or_a_stop_the_plan_must_come_on_screen_again() {
    for message in [Msg::Resize(100, 30), Msg::Resumed] {
        let (mut story, plan) = confirming();
        show(&mut story.app);
        let before = Sight { digest: plan.digest(), size: (20, 20), rows: 0..100 };
        tell(&mut story, message);
        assert!(approvals(&press(&mut story.app, "y")).is_empty());
        // A frame of another size says nothing about the rows of this one.
        tell(&mut story, Msg::Shown(before));
        assert!(approvals(&press(&mut story.app, "y")).is_empty());
        show(&mut story.app);
        assert_eq!(approvals(&press(&mut story.app, "y")), [approval(&plan, None)]);
    }
}

/// The hint names a key, and it is one: no letter of a name is taken before everything was on screen.
#[test]
fn a_name_is_typed_when_all_was_read_and_letters_read_on_until_then() {
    let (mut story, mut plan) = naming();
    plan.effects = (0..60).map(|at| format!("Effect {at} of many.")).collect();
    story.planned(&plan);
    show(&mut story.app);
    assert!(frame_text(&story.app, 120, 32).contains("j: read on, there is more to see"));
    press(&mut story.app, "redis");
    assert!(frame_text(&story.app, 120, 32).contains("j: read on, there is more to see"));
    for _ in 0..60 {
        press(&mut story.app, "j");
        show(&mut story.app);
    }
    assert!(frame_text(&story.app, 120, 32).contains("Type redis-ingestion and press Enter"));
    assert_eq!(approvals(&press(&mut story.app, "redis-ingestion<enter>")), [approval(&plan, Some("redis-ingestion"))]);
}

#[test]
fn a_step_that_somebody_else_approved_leaves_the_card_to_whoever_types() {
    let (mut story, plan) = naming();
    show(&mut story.app);
    press(&mut story.app, "redi");
    story.event(EventKind::Approved { attempt: AttemptId(11), plan: Box::new(plan), first: None });
    // What is typed on is no key for what is behind the card: its s would skip a step, its d leave.
    assert!(press(&mut story.app, "s-ingestion<enter>dyxq").is_empty());
    show(&mut story.app);
    let frame = frame_text(&story.app, 80, 24);
    assert!(frame.contains("ana approved it (attempt 11).") && frame.contains("Nothing of what you typed"), "{frame}");
    press(&mut story.app, "<esc>");
    assert!(story.app.ui.overlay.is_none());
}

#[test]
fn an_esc_with_another_key_behind_it_leaves_a_card_that_takes_a_name() {
    for key in ["<a-enter>", "<a-j>", "<a-y>"] {
        let (mut story, _) = naming();
        show(&mut story.app);
        let outs = press(&mut story.app, &format!("redis-ingestion{key}"));
        assert!(approvals(&outs).is_empty() && story.app.ui.overlay.is_none(), "{key}");
    }
    let mut story = Story::restoring("drill");
    assert!(press(&mut story.app, "wsecond look<a-enter>").is_empty());
    for key in ["<a-j>", "<a-y>", "<a-x>"] {
        let (mut story, _) = confirming();
        show(&mut story.app);
        let outs = press(&mut story.app, &format!("{key}y"));
        assert!(approvals(&outs).is_empty() && story.app.ui.overlay.is_none(), "{key}");
        let mut story = Story::restoring("drill");
        press(&mut story.app, "x");
        show(&mut story.app);
        let outs = press(&mut story.app, &format!("{key}y"));
        assert!(commands(&outs).is_empty() && story.app.ui.overlay.is_none(), "{key}");
    }
}

/// A step that needs no approval begins at once; not with what somebody wrote before they left its questions.
#[test]
fn what_was_kept_from_a_card_that_was_left_begins_nothing() {
    for kept in [false, true] {
        let mut story = Story::new("production");
        story.checked();
        let plan = plan("declare.incident");
        story.app.at_once.push(plan.step.clone());
        if kept {
            story.app.answers.insert(plan.step.clone(), [("text".to_owned(), "half a".to_owned())].into());
        }
        let outs = story.planned(&plan);
        assert_eq!((approvals(&outs).is_empty(), story.app.card().is_some()), (kept, kept));
    }
}

/// An answer that comes when the question is gone is not one to the same question asked later.
#[test]
fn a_late_answer_reads_nothing() {
    let mut story = Story::restoring("drill");
    press(&mut story.app, "x");
    let late = story.app.unshown().expect("a question");
    press(&mut story.app, "<esc>");
    tell(&mut story, Msg::Shown(late));
    assert!(commands(&press(&mut story.app, "xy")).is_empty());
    show(&mut story.app);
    press(&mut story.app, "<esc>");
    assert!(commands(&press(&mut story.app, "xy")).is_empty(), "nor is one that was read before");
}

#[test]
fn a_plan_that_takes_back_something_says_so_whoever_made_it() {
    let (mut story, mut plan) = confirming();
    show(&mut story.app);
    plan.undoes = Some(StepId::new("restore.stop-writes"));
    story.planned(&plan);
    assert!(press(&mut story.app, "y").is_empty(), "it is another plan");
    let frame = frame_text(&story.app, 80, 24);
    assert!(frame.contains("takes back Stop writes") && frame.contains("(takes back Stop writes)"), "{frame}");
}

#[test]
fn a_lost_engine_is_told_nothing() {
    let (mut story, _) = confirming();
    show(&mut story.app);
    tell(&mut story, Msg::FromEngine(FromEngine::Lost("it ended".to_owned())));
    assert!(press(&mut story.app, "y").is_empty());
    for keys in ["a", "<esc>ry", "s", "m", "u", "x", "w"] {
        let outs = press(&mut story.app, keys);
        assert!(super::commands(&outs).is_empty(), "{keys}");
    }
}

#[test]
fn another_size_begins_at_the_first_row_again() {
    let (mut story, mut plan) = confirming();
    plan.effects = (0..30).map(|at| format!("Effect {at} of many.")).collect();
    tell(&mut story, Msg::Resize(80, 24));
    story.planned(&plan);
    show(&mut story.app);
    press(&mut story.app, "G");
    let frame = frame_text(&story.app, 80, 24);
    assert!(frame.contains("k: what lies above was not on screen yet"), "{frame}");
    tell(&mut story, Msg::Resize(80, 30));
    show(&mut story.app);
    let frame = frame_text(&story.app, 80, 30);
    assert!(frame.contains("Effect 0 of many") && frame.contains("j: read on"), "{frame}");
}

#[test]
fn a_page_is_taken_over_only_by_who_was_shown_it() {
    let mut story = Story::restoring("production");
    let text = "Read this before you go on.".to_owned();
    story.event(EventKind::HandoverOffered { text: text.clone() });
    press(&mut story.app, "H");
    assert!(press(&mut story.app, "y").is_empty() && story.app.ui.overlay.is_some(), "nobody has read it yet");
    show(&mut story.app);
    let taken = Command::TakeOver { page: Digest::of(text.as_bytes()) };
    assert_eq!(commands(&press(&mut story.app, "y")), [taken]);
    assert!(story.app.ui.overlay.is_none());
}
