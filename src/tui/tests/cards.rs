//! Questions and answers on the plan card.

use super::histories::{Story, answered, plan, with_questions};
use super::{approval, approvals, commands, press, show};
use crate::incident::{Command, EventKind, IncidentId, Inputs, Notice, Precedent, Problem, Refusal};
use crate::runbook::StepId;
use crate::tui::card::{Sight, Stage};
use crate::tui::frame::frame_text;
use crate::tui::msg::{Msg, Out};
use crate::tui::update::update;

fn asking() -> Story {
    let mut story = Story::new("drill");
    story.checked();
    story.declared();
    press(&mut story.app, "a");
    story.planned(&with_questions("select.snapshot"));
    story
}

#[test]
fn answers_make_a_new_plan_which_is_then_approved() {
    let mut story = asking();
    let outs = press(&mut story.app, "40m ago<tab>j<tab>n<tab><c-a>Now: <c-s>");
    let onset = crate::incident::read_time("40m ago", story.app.now).expect("a time").to_string();
    let inputs = Inputs::from(
        [
            ("onset", onset.as_str()),
            ("snapshot", "postgres/b.dump"),
            ("regulated", "no"),
            ("note", "We restore from backup.\nNow: Next update soon."),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let step = StepId::new("select.snapshot");
    assert_eq!(commands(&outs), [Command::Prepare { step, inputs: inputs.clone(), undoes: None }]);
    let plan = answered(&inputs);
    story.planned(&plan);
    show(&mut story.app);
    let frame = frame_text(&story.app, 120, 32);
    let said = format!("When did the damage begin? {}", crate::incident::clock(onset.parse().expect("a time")));
    assert!(frame.contains(&said), "{frame}");
    let outs = press(&mut story.app, "y");
    assert_eq!(commands(&outs), [approval(&plan, None)]);
    assert!(story.app.ui.overlay.is_some(), "until it is in the journal");
    let attempt = story.app.state.as_ref().expect("an incident").next_attempt();
    story.app.you = super::histories::ana();
    story.event(EventKind::Approved { attempt, plan: Box::new(plan), first: None });
    assert!(story.app.ui.overlay.is_none(), "the next key is for what is behind it");
    assert!(story.reply(super::number(&outs), Ok(())).is_empty());
    assert!(story.app.ui.overlay.is_none());
}

#[test]
fn what_a_step_took_the_last_time_is_on_its_card_and_in_its_details() {
    let mut story = Story::new("drill");
    story.checked();
    story.declared();
    let precedent = Precedent {
        incident: IncidentId::new("INC-7").expect("an id"),
        environment: "production".to_owned(),
        at: story.app.now - jiff::SignedDuration::from_hours(24 * 12),
        took_ms: 250_000,
    };
    let step = StepId::new("select.snapshot");
    story.notice(Notice::Precedents { steps: [(step.clone(), precedent)].into() });
    press(&mut story.app, "a");
    story.planned(&plan(step.as_str()));
    let said = "It took 4m10s in INC-7 (production), 12 days ago.";
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains(said), "{frame}");
    press(&mut story.app, "<esc><enter>");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains(said), "{frame}");
}

#[test]
fn what_was_written_before_esc_is_kept() {
    let mut story = asking();
    press(&mut story.app, "50m ago<tab><tab><tab><c-a>Now: <esc>");
    assert!(frame_text(&story.app, 80, 24).contains("what you wrote is kept"));
    let outs = press(&mut story.app, "a");
    let Some(Command::Prepare { inputs, .. }) = commands(&outs).pop() else { panic!("{outs:?}") };
    let onset = crate::incident::read_time("50m ago", story.app.now).expect("a time").to_string();
    assert_eq!(inputs.get("onset"), Some(&onset));
    assert!(inputs.get("note").is_some_and(|note| note.contains("Now: ")), "{inputs:?}");
    assert!(!inputs.contains_key("regulated"), "what nobody answered is asked");
    press(&mut story.app, "<esc>");
}

#[test]
fn answers_are_there_when_the_card_is_opened_again() {
    let mut story = asking();
    press(&mut story.app, "40m ago<enter><esc>");
    // A minute later the answer still is the moment that was meant.
    let meant = crate::incident::read_time("40m ago", story.app.now).expect("a time").to_string();
    story.app.now += jiff::SignedDuration::from_mins(1);
    let outs = press(&mut story.app, "a");
    let Some(Command::Prepare { inputs, .. }) = commands(&outs).pop() else { panic!("{outs:?}") };
    assert_eq!(inputs.get("onset").map(String::as_str), Some(meant.as_str()));
    story.planned(&answered(&inputs));
    show(&mut story.app);
    press(&mut story.app, "i");
    assert!(frame_text(&story.app, 120, 32).contains(&format!("| {meant}")));
}

#[test]
fn problems_and_refusals_are_said_in_full() {
    let mut story = asking();
    press(&mut story.app, "40m ago<enter>");
    let problem = Problem {
        what: "list the dumps".to_owned(),
        target: "s3://financecopilot-backups".to_owned(),
        why: "403 AccessDenied.".to_owned(),
        next: "Refresh the credentials, then press a.".to_owned(),
    };
    story.notice(Notice::Planned { step: StepId::new("select.snapshot"), result: Err(problem) });
    let frame = frame_text(&story.app, 80, 24);
    assert!(frame.contains("403 AccessDenied.") && frame.contains("Refresh the credentials"), "{frame}");
    let outs = press(&mut story.app, "a");
    assert_eq!(commands(&outs).len(), 1);
    story.reply(super::number(&outs), Err(Refusal::NotReady { title: "X".to_owned(), waits_for: "Y".to_owned() }));
    let frame = frame_text(&story.app, 80, 24);
    assert!(frame.contains("Refused; nothing was done.") && frame.contains("`X` waits for: Y"), "{frame}");
}

#[test]
fn an_obstacle_cannot_be_approved() {
    let mut story = Story::new("drill");
    story.checked();
    press(&mut story.app, "a");
    let mut blocked = plan("declare.incident");
    blocked.findings.push(crate::incident::Finding::blocking("PagerDuty says 401."));
    story.planned(&blocked);
    show(&mut story.app);
    assert!(frame_text(&story.app, 80, 24).contains("Cannot be approved: PagerDuty says 401."));
    assert!(press(&mut story.app, "y").is_empty());
}

#[test]
fn a_reading_step_is_approved_as_its_plan_arrives_unless_something_is_open() {
    let mut story = Story::new("drill");
    press(&mut story.app, "ja");
    let read = plan("check.backups");
    press(&mut story.app, "gja");
    let outs = story.planned(&plan("check.database"));
    assert_eq!(approvals(&outs), [approval(&plan("check.database"), None)]);
    // Nobody here asked for this one.
    let outs = story.planned(&plan("check.cache"));
    assert!(approvals(&outs).is_empty());
    let mut blocked = read;
    blocked.findings.push(crate::incident::Finding::blocking("The bucket is not there."));
    story.app.at_once.push(blocked.step.clone());
    let outs = story.planned(&blocked);
    assert!(approvals(&outs).is_empty());
    assert!(frame_text(&story.app, 80, 24).contains("Cannot be approved: The bucket is not there."));
}

#[test]
fn a_reading_step_never_takes_the_screen_from_somebody_who_types() {
    let mut story = Story::new("drill");
    press(&mut story.app, "gjawthe n");
    let mut blocked = plan("check.database");
    blocked.findings.push(crate::incident::Finding::blocking("No."));
    story.planned(&blocked);
    let outs = press(&mut story.app, "ote<enter>");
    assert_eq!(commands(&outs), [Command::Note { text: "the note".to_owned() }]);
}

#[test]
fn a_plan_that_comes_late_does_not_open_a_closed_card() {
    let mut story = Story::new("drill");
    story.checked();
    press(&mut story.app, "a<esc>");
    story.planned(&plan("declare.incident"));
    assert!(story.app.ui.overlay.is_none());
    let now = story.clock;
    let sight = Sight { digest: plan("declare.incident").digest(), size: story.app.size, rows: 0..100 };
    update(&mut story.app, Msg::Shown(sight), now);
    assert!(press(&mut story.app, "y").is_empty());
}

/// The same by hand is copied off the card, also where letters are a name's; neither approves or closes anything.
#[test]
fn a_card_gives_its_commands_to_copy() {
    for (by_name, key) in [(false, "c"), (true, "<c-t>")] {
        let mut story = Story::new("drill");
        story.checked();
        story.declared();
        press(&mut story.app, "a");
        let mut wanted = plan("select.snapshot");
        wanted.by_name = by_name;
        wanted.commands = vec!["aws s3 ls".to_owned(), "pg_restore".to_owned()];
        story.planned(&wanted);
        show(&mut story.app);
        let frame = frame_text(&story.app, 120, 50);
        assert!(frame.contains(if by_name { "(Ctrl-T copies)" } else { "(c copies)" }), "{frame}");
        assert_eq!(press(&mut story.app, key), [Out::Copy("aws s3 ls\npg_restore".to_owned())]);
        assert!(story.app.card().is_some_and(|card| card.stage == Stage::Review && card.typed.text().is_empty()));
    }
}
