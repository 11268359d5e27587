//! The incident in lines: the same cards, and nothing is approved by whoever has not been shown the plan.

use proptest::prelude::*;

use super::histories::{Story, answered, contents, plan, with_questions};
use super::{approval, approvals, commands};
use crate::incident::{Command, EventKind, Inputs, Notice, Plan};
use crate::runbook::StepId;
use crate::tui::app::App;
use crate::tui::linear::talk::Talk;
use crate::tui::msg::{Msg, Out};
use crate::tui::theme::Theme;
use crate::wire::{FromEngine, ToClient};

struct Lines {
    talk: Talk,
    heard: Vec<String>,
}

impl Lines {
    fn of(story: Story) -> Self {
        let now = story.clock;
        let mut app: App = story.app;
        app.size = (100, 10_000);
        let mut lines = Self { talk: Talk::new(app), heard: Vec::new() };
        lines.talk.hear(Msg::Tick, now);
        lines.heard = lines.talk.lines();
        lines
    }

    /// At the declaration, whose plan takes a `y`.
    fn declaring() -> Self {
        let mut story = Story::themed("production", Theme::in_words());
        story.checked();
        Self::of(story)
    }

    fn typed(&mut self, line: &str) -> Vec<Out> {
        let now = self.talk.app.now;
        let outs = self.talk.typed(&format!("{line}\n"), now);
        self.heard = self.talk.lines();
        outs
    }

    fn planned(&mut self, plan: &Plan) -> Vec<Out> {
        let notice = Notice::Planned { step: plan.step.clone(), result: Ok(Box::new(plan.clone())) };
        self.hears(ToClient::Notice { notice })
    }

    fn hears(&mut self, message: ToClient) -> Vec<Out> {
        let now = self.talk.app.now;
        let outs = self.talk.hear(Msg::FromEngine(FromEngine::Message(message)), now);
        self.heard = self.talk.lines();
        outs
    }

    fn said(&self, words: &str) -> bool {
        self.heard.iter().any(|line| line.contains(words))
    }
}

fn letters(plan: &Plan) -> String {
    plan.digest().0.chars().take(3).collect()
}

#[test]
fn a_plan_is_approved_by_the_letters_that_were_read_out_with_it_and_by_nothing_else() {
    let mut lines = Lines::declaring();
    assert!(lines.said("Next: 11 open, "), "{:?}", lines.heard);
    let made = plan("declare.incident");
    let code = letters(&made);
    // What is typed before the plan is there is for nothing, even the right letters.
    assert_eq!(commands(&lines.typed("a")).len(), 1);
    assert!(lines.typed(&format!("y {code}")).is_empty());
    assert!(approvals(&lines.planned(&made)).is_empty());
    for effect in &made.effects {
        assert!(lines.said(effect), "{effect} is not in {:?}", lines.heard);
    }
    assert!(lines.said(&made.target.name) && lines.said(&made.undo) && lines.said(&made.commands[0]));
    assert!(lines.said(&format!("Type y {code} to approve exactly this")), "{:?}", lines.heard);
    for line in ["", "y", "y ", "y zzz", &format!("y {}", code.to_uppercase() + "0")] {
        assert!(approvals(&lines.typed(line)).is_empty(), "{line:?}");
    }
    assert_eq!(approvals(&lines.typed(&format!("y {code}"))), [approval(&made, None)]);
}

#[test]
fn anything_else_cancels_and_what_was_read_out_counts_no_more() {
    let mut lines = Lines::declaring();
    let made = plan("declare.incident");
    lines.typed("a");
    lines.planned(&made);
    assert!(lines.typed("no").is_empty());
    assert!(lines.said("Cancelled; nothing was done."));
    assert!(lines.typed(&format!("y {}", letters(&made))).is_empty());
    assert!(lines.talk.app.card().is_none());
}

#[test]
fn another_plan_is_read_out_anew_and_the_letters_of_the_first_are_void() {
    let mut lines = Lines::declaring();
    let old = plan("declare.incident");
    let mut new = old.clone();
    new.effects.push("And one thing more.".to_owned());
    lines.typed("a");
    lines.planned(&old);
    lines.planned(&new);
    assert!(lines.said("The plan changed") && lines.said("And one thing more."), "{:?}", lines.heard);
    assert!(approvals(&lines.typed(&format!("y {}", letters(&old)))).is_empty());
    assert_eq!(approvals(&lines.typed(&format!("y {}", letters(&new)))), [approval(&new, None)]);
}

#[test]
fn an_approval_by_name_takes_the_name_and_the_letters() {
    let story = Story::themed("production", Theme::in_words()).on_to_the_restore();
    let mut lines = Lines::of(story);
    lines.typed("a dependents.cache");
    let mut made = plan("dependents.cache");
    made.type_name = Some("redis ingestion".to_owned());
    lines.planned(&made);
    let code = letters(&made);
    assert!(lines.said(&format!("Type redis ingestion {code}")), "{:?}", lines.heard);
    for line in ["redis ingestion".to_owned(), format!("y {code}"), format!("redis {code}")] {
        assert!(approvals(&lines.typed(&line)).is_empty(), "{line:?}");
        if lines.talk.app.card().is_none() {
            lines.typed("a dependents.cache");
            lines.planned(&made);
        }
    }
    let outs = lines.typed(&format!("redis ingestion {code}"));
    assert_eq!(approvals(&outs), [approval(&made, Some("redis ingestion"))]);
}

#[test]
fn an_obstacle_is_said_and_cannot_be_approved() {
    let mut lines = Lines::declaring();
    let mut made = plan("declare.incident");
    made.findings.push(crate::incident::Finding::blocking("PagerDuty says 401."));
    lines.typed("a");
    lines.planned(&made);
    assert!(lines.said("Cannot be approved: PagerDuty says 401"));
    assert!(approvals(&lines.typed(&format!("y {}", letters(&made)))).is_empty());
}

#[test]
fn questions_are_asked_one_after_the_other() {
    let mut story = Story::themed("production", Theme::in_words());
    story.checked();
    story.declared();
    let mut lines = Lines::of(story);
    lines.typed("a select.snapshot");
    lines.planned(&with_questions("select.snapshot"));
    assert!(lines.said("Question 1 of 4: When did the damage begin?"), "{:?}", lines.heard);
    assert!(lines.typed("nonsense").is_empty());
    assert!(!lines.said("Question 2"));
    lines.typed("40m ago");
    assert!(lines.said("2: 2026-11-23 03:00Z  4.18 GiB  loses 6h02m"), "{:?}", lines.heard);
    lines.typed("3");
    assert!(lines.said("a number from 1 to 2"));
    lines.typed("2");
    lines.typed("n");
    assert!(lines.said("| We restore from backup."), "{:?}", lines.heard);
    lines.typed("Now:");
    lines.typed("");
    lines.typed("we restore.");
    let outs = lines.typed(".");
    let onset = crate::incident::read_time("40m ago", lines.talk.app.now).expect("a time").to_string();
    let inputs = Inputs::from(
        [("onset", &*onset), ("snapshot", "postgres/b.dump"), ("regulated", "no"), ("note", "Now:\n\nwe restore.")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let step = StepId::new("select.snapshot");
    assert_eq!(commands(&outs), [Command::Prepare { step, inputs: inputs.clone(), undoes: None }]);
    let made = answered(&inputs);
    lines.planned(&made);
    assert_eq!(approvals(&lines.typed(&format!("y {}", letters(&made)))), [approval(&made, None)]);
}

#[test]
fn the_last_note_is_corrected() {
    let mut lines = Lines::declaring();
    assert!(commands(&lines.typed("C it was the pump")).is_empty());
    assert!(lines.said("only notes can be corrected"), "{:?}", lines.heard);
    let mut story = Story::themed("production", Theme::in_words());
    story.checked();
    story.event(EventKind::Noted { text: "the disk was full".to_owned() });
    let seq = story.app.state.as_ref().map_or(0, |state| state.seq);
    let mut lines = Lines::of(story);
    let corrected = [Command::Correct { note: seq, text: "the disk is gone".to_owned() }];
    assert_eq!(commands(&lines.typed("C the disk is gone")), corrected);
    let mut story = Story::themed("production", Theme::in_words());
    story.checked();
    story.event(EventKind::Noted { text: "the disk was full".to_owned() });
    let mut lines = Lines::of(story);
    lines.typed("C");
    assert!(lines.said("the disk was full"), "{:?}", lines.heard);
    assert_eq!(commands(&lines.typed("the disk is gone")), corrected);
}

#[test]
fn what_was_typed_behind_a_refused_line_is_no_answer_to_its_question() {
    let mut lines = Lines::of(Story::themed("production", Theme::in_words()).on_to_the_restore());
    lines.typed("s dependents.cache");
    let outs = lines.typed("because");
    assert!(matches!(commands(&outs).as_slice(), [Command::Skip { .. }]), "{outs:?}");
    assert!(lines.typed("a 4").is_empty(), "it waits");
    let refused = crate::incident::Refusal::Closed;
    let outs = lines.hears(ToClient::Reply { id: super::number(&outs), result: Err(refused) });
    assert!(commands(&outs).is_empty(), "{outs:?}");
    assert!(lines.said("Not taken, since the line before it was refused: a 4"), "{:?}", lines.heard);
}

#[test]
fn a_dot_is_no_reason_and_no_note() {
    let mut lines = Lines::of(Story::themed("production", Theme::in_words()).on_to_the_restore());
    for begun in ["s dependents.cache", "m dependents.cache", "w"] {
        lines.typed(begun);
        assert!(lines.said("a dot, cancels") && commands(&lines.typed(".")).is_empty(), "{begun}");
        assert!(lines.talk.app.ui.overlay.is_none(), "{begun}");
    }
}

#[test]
fn notes_reasons_stops_and_doubts_are_lines() {
    let story = Story::themed("production", Theme::in_words()).on_to_the_restore();
    let mut lines = Lines::of(story);
    let note = Command::Note { text: "the disk was full".to_owned() };
    let outs = lines.typed("w the disk was full");
    assert_eq!(commands(&outs), [note]);
    // A line that comes before the engine's answer is not lost; it waits.
    assert!(lines.typed("1").is_empty() && lines.heard.is_empty(), "{:?}", lines.heard);
    lines.hears(ToClient::Reply { id: super::number(&outs), result: Ok(()) });
    assert!(lines.said("17 at work, Restore beside"), "{:?}", lines.heard);
    let outs = lines.typed("x");
    assert!(commands(&outs).is_empty() && lines.said("What it did so far stays done."), "{:?}", lines.heard);
    let ask = lines.heard.iter().find(|line| line.starts_with("Type y ")).expect("a question").clone();
    let code = ask.split(' ').nth(2).expect("letters").to_owned();
    assert!(commands(&lines.typed("y")).is_empty());
    let attempt = crate::incident::AttemptId(19);
    assert_eq!(commands(&lines.typed(&format!("y {code}"))), [Command::Stop { attempt }]);

    let mut story = Story::themed("production", Theme::in_words()).on_to_the_restore();
    story.doubt(attempt);
    let mut lines = Lines::of(story);
    lines.typed("a");
    assert!(lines.said("Nobody knows whether this attempt had its effect."), "{:?}", lines.heard);
    lines.typed("h");
    assert!(lines.said("How do you know?"));
    let outs = lines.typed("kubectl says so");
    let note = "kubectl says so".to_owned();
    assert_eq!(commands(&outs), [Command::Settle { attempt, happened: true, note }]);
}

#[test]
fn what_can_be_typed_is_listed_and_what_is_no_command_does_nothing() {
    let mut lines = Lines::declaring();
    lines.typed("?");
    assert!(lines.said("a or approve [STEP]: show what the step would do now"), "{:?}", lines.heard);
    for (line, words) in [
        ("", "Next: 11 open"),
        ("1", "12 waits, Executive bridge"),
        ("4 3", "Grafana dashboard: "),
        ("2", "not listed yet"),
        ("approve 99", "no step `99`"),
        ("go", "`go` is no command"),
    ] {
        assert!(commands(&lines.typed(line)).is_empty(), "{line}");
        assert!(lines.said(words), "{line:?}: {:?}", lines.heard);
    }
    lines.typed("details 11");
    assert!(lines.said("declare.incident") && lines.talk.app.ui.overlay.is_none(), "{:?}", lines.heard);
}

#[test]
fn dumps_are_found_opened_and_compared_by_lines() {
    let mut story = Story::themed("production", Theme::in_words());
    story.checked();
    story.listed();
    let mut lines = Lines::of(story);
    lines.typed("2");
    assert!(lines.heard[1].starts_with("1: 2026-11-23 09:00"), "{:?}", lines.heard);
    assert!(lines.said("3: ") && lines.said("eligible; zone?"), "{:?}", lines.heard);
    lines.typed("2 usual");
    assert!(lines.heard.len() == 2 && lines.heard[1].starts_with("4: "), "{:?}", lines.heard);
    lines.typed("2 by size");
    assert!(lines.heard.last().is_some_and(|line| line.starts_with("5: ")), "{:?}", lines.heard);
    lines.typed("2 9");
    assert!(lines.said("There is no snapshot 9."));

    // It is read out when it is there.
    let [newer, older] = ["financecopilot-20261123T0600Z", "financecopilot-20261123T0300Z"];
    let asks = |outs: &[Out]| super::queries(outs);
    let query = |name: &str| crate::incident::Query::Contents { key: format!("postgres/{name}.dump") };
    assert_eq!(asks(&lines.typed("2 2")), [query(newer)]);
    assert_eq!(lines.heard, ["Opening it. A dot alone closes this."]);
    let come = |name: &str| {
        let contents = contents(name, 12);
        ToClient::Notice { notice: Notice::Contents { key: contents.key.clone(), result: Ok(contents) } }
    };
    lines.hears(come(newer));
    assert!(lines.said("public.accounts") && lines.said("1,204,311"), "{:?}", lines.heard);
    assert!(lines.heard.iter().all(|line| !line.contains("   ")), "no columns: {:?}", lines.heard);
    assert!(lines.talk.app.ui.overlay.is_none());
    assert_eq!(asks(&lines.typed("2 2 3")), [query(older)]);
    lines.hears(come(older));
    assert!(lines.said("verdict, newest eligible, eligible; zone?"), "{:?}", lines.heard);
    assert!(lines.talk.app.ui.overlay.is_none());
}

#[test]
fn entries_are_found_by_words_and_output_is_written_whole() {
    let mut lines = Lines::of(Story::restoring("drill"));
    // How far the restore is comes of its own accord.
    let answers = |lines: &Lines| -> Vec<String> {
        lines.heard.iter().filter(|line| !line.starts_with("restoring")).cloned().collect()
    };
    lines.typed("4 SNAPSHOT");
    let found = answers(&lines);
    assert!(found.len() > 1 && found.iter().all(|line| line.to_lowercase().contains("snapshot")), "{found:?}");
    lines.typed("4 nowhere to be found");
    assert_eq!(answers(&lines), ["No entry contains nowhere to be found."]);
    lines.typed("milestones");
    lines.typed("4 1000");
    let milestones = answers(&lines).len();
    lines.typed("M");
    lines.typed("4 1000");
    assert!(milestones < answers(&lines).len(), "{:?}", lines.heard);
    assert!(matches!(lines.typed("save").as_slice(), [Out::Save { name, .. }] if name.ends_with("-output-19.txt")));
    let mut story = Story::restoring("drill");
    story.app.watching = Some("root only looks on".to_owned());
    let mut lines = Lines::of(story);
    lines.typed("");
    assert!(!lines.said("shows its plan"), "{:?}", lines.heard);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_line_approves_by_chance_and_every_line_that_is_said_is_harmless(
        typed in prop::collection::vec(prop_oneof![
            "[a-zA-Z?.0-9]{0,2}", "y [0-9a-f]{3}", Just("a 11".to_owned()), Just("y".to_owned()), any::<String>(),
        ], 1..40),
        bad in any::<String>(),
    ) {
        let mut story = Story::themed("production", Theme::in_words()).spoiled(&bad);
        story.checked();
        let mut lines = Lines::of(story);
        let mut made = plan("declare.incident");
        made.effects.push(bad);
        let code = format!("y {}", letters(&made));
        for line in typed {
            let outs = lines.typed(&line);
            prop_assert!(line.trim() == code || approvals(&outs).is_empty(), "{line:?} approves");
            for said in &lines.heard {
                prop_assert!(!said.chars().any(char::is_control), "{said:?}");
            }
            lines.planned(&made);
            for said in &lines.heard {
                prop_assert!(!said.chars().any(char::is_control), "{said:?}");
            }
        }
    }
}
