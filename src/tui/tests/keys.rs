//! Keys in, commands out.

use super::histories::{Story, at, plan};
use super::{commands, press, queries, show};
use crate::incident::{AttemptId, Command, Inputs, Notice, Query};
use crate::runbook::StepId;
use crate::tui::app::Asked;
use crate::tui::frame::frame_text;
use crate::tui::keymap::{Binding, Keymap};
use crate::tui::msg::{Msg, Out};
use crate::tui::overlay::Overlay;
use crate::tui::update::update;

fn prepare(step: &str, inputs: &[(&str, &str)], undoes: Option<&str>) -> Command {
    Command::Prepare {
        step: StepId::new(step),
        inputs: inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        undoes: undoes.map(StepId::new),
    }
}

#[test]
fn catching_up_lists_the_snapshots() {
    let mut story = Story::new("drill");
    let outs =
        story.hear(crate::wire::ToClient::CaughtUp { seal: crate::incident::Seal { seq: 2, head: "0".repeat(64) } });
    assert_eq!(queries(&outs), [Query::Snapshots]);
}

#[test]
fn a_on_a_phase_begins_all_its_ready_reading_steps() {
    let mut story = Story::new("drill");
    let outs = press(&mut story.app, "ga");
    let steps: Vec<Command> = commands(&outs);
    assert_eq!(steps.len(), 10);
    assert_eq!(steps.first(), Some(&prepare("check.database", &[], None)));
    assert!(story.app.ui.overlay.is_none());
}

#[test]
fn a_waiting_step_says_what_it_waits_for() {
    let mut story = Story::new("drill");
    press(&mut story.app, "/restore.swap<enter>");
    assert!(press(&mut story.app, "a").is_empty());
    assert!(frame_text(&story.app, 120, 32).contains("Swap waits for: Prove the tables"));
    press(&mut story.app, "1");
    let keys = frame_text(&story.app, 120, 32).lines().last().map(str::to_owned).expect("rows");
    assert!(keys.starts_with(" s skip  m by hand "), "{keys}");
}

#[test]
fn notes_skips_and_by_hand_ask_for_words() {
    let mut story = Story::restoring("drill");
    let outs = press(&mut story.app, "w  <enter>");
    assert!(outs.is_empty(), "an empty note is none");
    let outs = press(&mut story.app, "second look<enter>");
    assert_eq!(commands(&outs), [Command::Note { text: "second look".to_owned() }]);
    let id = super::number(&outs);
    assert!(press(&mut story.app, "<enter>").is_empty(), "it is sent once");
    story.reply(id, Ok(()));
    assert!(story.app.ui.overlay.is_none());
    press(&mut story.app, "/flush<enter>");
    let outs = press(&mut story.app, "sno cache here<enter>");
    let step = StepId::new("dependents.cache");
    assert_eq!(commands(&outs), [Command::Skip { step: step.clone(), reason: "no cache here".to_owned() }]);
    story.reply(super::number(&outs), Err(crate::incident::Refusal::Closed));
    assert!(frame_text(&story.app, 80, 24).contains("this incident is closed"));
    let outs = press(&mut story.app, "<esc>mredis-cli FLUSHDB<enter>");
    assert_eq!(commands(&outs), [Command::DoneByHand { step, note: "redis-cli FLUSHDB".to_owned() }]);
}

#[test]
fn stopping_needs_a_y_and_nothing_else() {
    for keys in ["x<enter>", "x<esc>", "xx", "xn", "x<c-y>"] {
        let mut story = Story::restoring("drill");
        assert!(commands(&press(&mut story.app, keys)).is_empty(), "{keys}");
    }
    // One that was typed before the question was on screen answers nothing, and cancels nothing.
    let mut story = Story::restoring("drill");
    assert!(press(&mut story.app, "xy").is_empty() && story.app.ui.overlay.is_some());
    show(&mut story.app);
    assert_eq!(commands(&press(&mut story.app, "y")), [Command::Stop { attempt: AttemptId(19) }]);
    press(&mut story.app, "x");
    assert!(press(&mut story.app, "y").is_empty(), "it was not seen again");
    // Where it does not fit, it is read on.
    show(&mut story.app);
    let frame = frame_text(&story.app, 40, 10);
    update(&mut story.app, Msg::Resize(40, 10), at("09:16:00"));
    press(&mut story.app, "<esc>x");
    show(&mut story.app);
    assert!(commands(&press(&mut story.app, "jj")).is_empty());
    assert!(frame != frame_text(&story.app, 40, 10) && story.app.ui.overlay.is_some());
    assert_eq!(commands(&press(&mut story.app, "y")), [Command::Stop { attempt: AttemptId(19) }]);
}

#[test]
fn retry_warns_before_it_opens_what_rests_on_a_step() {
    let mut story = Story::restoring("drill");
    story.fail(AttemptId(19));
    assert_eq!(commands(&press(&mut story.app, "r")), [Command::Retry { step: StepId::new("restore.database") }]);
    press(&mut story.app, "/restore.stop-writes<enter>");
    assert!(commands(&press(&mut story.app, "r")).is_empty());
    assert!(frame_text(&story.app, 120, 32).contains("their approvals are void"));
    show(&mut story.app);
    assert_eq!(commands(&press(&mut story.app, "y")), [Command::Retry { step: StepId::new("restore.stop-writes") }]);
}

#[test]
fn undo_prepares_the_step_that_takes_it_back() {
    let mut story = Story::restoring("drill");
    press(&mut story.app, "/restore.stop-writes<enter>");
    let expected = prepare("restore.start-writes", &[], Some("restore.stop-writes"));
    assert_eq!(commands(&press(&mut story.app, "u")), [expected]);
}

#[test]
fn a_snapshot_is_chosen_where_it_is_listed() {
    let mut story = Story::new("drill");
    story.checked();
    story.listed();
    let outs = press(&mut story.app, "2ja");
    let inputs = [("snapshot", "postgres/financecopilot-20261123T0300Z.dump"), ("onset", "2026-11-23T08:48:00Z")];
    assert_eq!(commands(&outs), [prepare("select.snapshot", &inputs, None)]);
    press(&mut story.app, "<esc>g");
    assert!(press(&mut story.app, "a").is_empty(), "a row that is not eligible is not chosen");
    assert_eq!(queries(&press(&mut story.app, "r")), [Query::Snapshots]);
}

/// The step that chooses an older one when the first was no good is always open: `a` on a row must not mean that one by itself.
#[test]
fn a_second_choice_is_made_on_purpose() {
    let mut story = Story::restoring("drill");
    story.listed();
    assert!(commands(&press(&mut story.app, "2gjja")).is_empty());
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("a snapshot is chosen: for another, r in the checklist on "), "{frame}");
    let outs = press(&mut story.app, "1/rollback.older-snapshot<enter>2a");
    let Some(Command::Prepare { step, .. }) = commands(&outs).into_iter().next() else { panic!("no plan: {outs:?}") };
    assert_eq!(step, StepId::new("rollback.older-snapshot"));
}

/// What somebody types on for a card that is gone, `40m ago`, settles nothing.
#[test]
fn a_step_is_skipped_or_done_by_hand_only_where_it_is_looked_at() {
    for keys in ["4m", "2s", "40m ago<enter>", "3s"] {
        let mut story = Story::restoring("drill");
        story.fail(AttemptId(19));
        assert!(commands(&press(&mut story.app, keys)).is_empty(), "{keys}");
        assert!(story.app.ui.overlay.is_none(), "{keys}");
    }
}

#[test]
fn a_phase_is_folded_and_unfolded() {
    let mut story = Story::restoring("drill");
    let shows = |story: &Story| frame_text(&story.app, 120, 32).contains("Stop writes");
    press(&mut story.app, "/restore.stop-writes<enter>");
    assert!(shows(&story));
    press(&mut story.app, " ");
    assert!(!shows(&story));
    press(&mut story.app, " ");
    assert!(shows(&story));
}

#[test]
fn a_doubt_is_settled_with_a_reason() {
    for (keys, happened) in [("ahsaw it<enter>", true), ("<enter>nsaw it<enter>", false)] {
        let mut story = Story::restoring("drill");
        story.doubt(AttemptId(19));
        let settle = Command::Settle { attempt: AttemptId(19), happened, note: "saw it".to_owned() };
        assert_eq!(commands(&press(&mut story.app, keys)), [settle]);
    }
}

/// Whoever says "it did not happen" while its program still runs would have it run twice.
#[test]
fn what_is_still_asked_is_not_settled_and_what_runs_of_it_is_stopped() {
    let mut story = Story::restoring("drill");
    story.first_doubt(AttemptId(19));
    press(&mut story.app, "a");
    assert!(frame_text(&story.app, 120, 32).contains("its target is being asked"));
    for key in ["h", "n", "r"] {
        assert!(press(&mut story.app, key).is_empty());
        assert!(frame_text(&story.app, 120, 32).contains("the target has not answered yet"));
        press(&mut story.app, "a");
    }
    press(&mut story.app, "x");
    show(&mut story.app);
    assert_eq!(commands(&press(&mut story.app, "y")), [Command::Stop { attempt: AttemptId(19) }]);
    press(&mut story.app, "<esc>x");
    show(&mut story.app);
    assert!(press(&mut story.app, "<a-y>").is_empty(), "that is no y");
    assert!(frame_text(&story.app, 120, 32).contains("cancelled; nothing was done"));
    press(&mut story.app, "x");
    show(&mut story.app);
    assert_eq!(commands(&press(&mut story.app, "y")), [Command::Stop { attempt: AttemptId(19) }]);
}

#[test]
fn telling_a_contact_is_recorded() {
    let mut story = Story::restoring("drill");
    story.fail(AttemptId(19));
    assert!(frame_text(&story.app, 120, 32).contains("E call"));
    press(&mut story.app, "Et");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("db-oncall@financecopilot.com") && frame.contains("failed:"), "what to say: {frame}");
    let outs = press(&mut story.app, "they join in 5m<enter>");
    let told = Command::Escalate { role: "Database Reliability".to_owned(), note: "they join in 5m".to_owned() };
    assert_eq!(commands(&outs), [told]);
}

#[test]
fn copies_are_what_is_selected() {
    let mut story = Story::restoring("drill");
    let command = plan("x").commands.join("\n");
    assert_eq!(press(&mut story.app, "1c"), [Out::Copy(command)]);
    let key = "s3://financecopilot-backups/postgres/financecopilot-20261123T0600Z.dump";
    assert_eq!(press(&mut story.app, "2c"), [Out::Copy(key.to_owned())]);
    let line = "pg_restore: warning: a line with escapes    taken out";
    assert_eq!(press(&mut story.app, "3kc"), [Out::Copy(line.to_owned())]);
    let outs = press(&mut story.app, "4c");
    let [Out::Copy(timeline)] = outs.as_slice() else { panic!("{outs:?}") };
    assert!(timeline.contains("2026-11-23 09:02:11Z Stop writes: api 6→0, no app session left\n"), "{timeline}");
}

#[test]
fn output_is_fetched_when_it_is_first_looked_at_and_older_when_scrolled_to() {
    let mut story = Story::new("drill");
    let attempt = AttemptId(1);
    let outs = story.event(crate::incident::EventKind::Approved {
        attempt,
        plan: Box::new(plan("check.database")),
        first: None,
    });
    assert_eq!(queries(&outs), [Query::Output { attempt, from: None, most: 262_144 }]);
    story.notice(Notice::Output { attempt, offset: 300_000, text: "late\nlater\n".to_owned() });
    let outs = press(&mut story.app, "3g");
    assert_eq!(queries(&outs), [Query::Output { attempt, from: Some(37_856), most: 262_144 }]);
    assert!(frame_text(&story.app, 120, 32).contains("paused, f follows"));
    press(&mut story.app, "f");
    assert!(frame_text(&story.app, 120, 32).contains("following"));
}

/// One answer to one question: a log that is not there is not asked for until it is.
#[test]
fn a_log_that_cannot_be_read_is_asked_for_once() {
    let mut story = Story::new("drill");
    let attempt = AttemptId(1);
    let plan = Box::new(plan("check.database"));
    let outs = story.event(crate::incident::EventKind::Approved { attempt, plan, first: None });
    assert_eq!(queries(&outs).len(), 1);
    let asked = story.app.asked.iter().find(|(_, asked)| **asked == Asked::Output(attempt)).map(|(id, _)| *id);
    let why = "the log cannot be read: No such file or directory".to_owned();
    let outs = story.reply(asked.expect("a question"), Err(crate::incident::Refusal::WrongState { why }));
    assert_eq!(queries(&outs), []);
    assert_eq!(queries(&press(&mut story.app, "3")), []);
    assert!(frame_text(&story.app, 120, 32).contains("the log cannot be read: No such file or directory"));
    story.notice(Notice::Output { attempt, offset: 0, text: "there\n".to_owned() });
    assert!(frame_text(&story.app, 120, 32).contains("there"));
}

#[test]
fn a_gap_in_a_followed_log_is_fetched_again() {
    let mut story = Story::restoring("drill");
    let attempt = AttemptId(19);
    for id in 0..200 {
        story.reply(id, Ok(()));
    }
    let outs = story.notice(Notice::Output { attempt, offset: 900_000, text: "far\n".to_owned() });
    assert_eq!(queries(&outs), [Query::Output { attempt, from: None, most: 262_144 }]);
}

#[test]
fn leaving_and_stopping_are_different_keys() {
    let mut story = Story::restoring("drill");
    for keys in ["d", "q", "<c-c>", "?<c-c>", "a<c-c>"] {
        let outs = press(&mut story.app, keys);
        assert_eq!(outs.last(), Some(&Out::Detach), "{keys}");
        press(&mut story.app, "<esc>");
    }
    assert_eq!(press(&mut story.app, "<c-z>"), [Out::Suspend]);
}

#[test]
fn the_palette_does_what_keys_do() {
    let mut story = Story::restoring("drill");
    assert_eq!(press(&mut story.app, ":detach<enter>"), [Out::Detach]);
    press(&mut story.app, ":help<enter>");
    assert!(matches!(story.app.ui.overlay, Some(Overlay::Help { .. })));
}

#[test]
fn the_clock_runs_from_the_onset_once_it_is_known() {
    let mut story = Story::new("production");
    story.wait(61);
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("RTO 00:01:01") && frame.contains("since opened"), "{frame}");
    let mut story = story.on_to_the_restore();
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("RTO 00:27:56") && frame.contains("since onset"), "{frame}");
    assert!(frame.contains("loses 3h02m"), "{frame}");
    story.clock = at("10:00:00");
    story.wait(0);
    assert!(frame_text(&story.app, 120, 32).contains("OVER"));
    assert_eq!(Inputs::new().len(), 0);
}

#[test]
fn own_keys_are_obeyed_and_shown_everywhere() {
    let bind = |action, keys| Binding { action, keys, line: 1 };
    let (stop, approve) = (["X".to_owned()], ["A".to_owned(), "Ctrl-a".to_owned()]);
    let keymap = Keymap::with([bind("stop", &stop), bind("approve", &approve), bind("skip", &[])]).expect("sound");
    let mut story = Story::restoring("drill");
    story.app.keymap = keymap;
    assert!(press(&mut story.app, "x").is_empty() && story.app.ui.overlay.is_none(), "the old key is free");
    assert!(frame_text(&story.app, 120, 32).contains(" X stop"), "{}", frame_text(&story.app, 120, 32));
    assert!(commands(&press(&mut story.app, "XX")).is_empty(), "the own key confirms nothing");
    press(&mut story.app, "X");
    show(&mut story.app);
    assert_eq!(commands(&press(&mut story.app, "y")), [Command::Stop { attempt: AttemptId(19) }]);
    press(&mut story.app, ":stop");
    assert!(frame_text(&story.app, 120, 32).contains("X       stop"));
    press(&mut story.app, "<esc>?");
    assert!(frame_text(&story.app, 120, 32).contains("A Ctrl-a"));
    press(&mut story.app, "<esc>/flush<enter>");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains(" A approve") && !frame.contains(" skip"), "what has no key is not in the footer: {frame}");
    press(&mut story.app, "A");
    story.planned(&plan("dependents.cache"));
    for keys in ["A", "<enter>", "X"] {
        assert!(super::approvals(&press(&mut story.app, keys)).is_empty(), "{keys}");
    }
}

#[test]
fn approving_takes_a_y_on_the_card_whatever_is_configured() {
    let keys = ["A".to_owned()];
    for by in ["y", "A", "<enter>", "a"] {
        let mut story = Story::restoring("production");
        story.app.keymap = Keymap::with([Binding { action: "approve", keys: &keys, line: 1 }]).expect("sound");
        press(&mut story.app, "1/rehydrate<enter>A");
        let plan = plan("dependents.objects");
        story.planned(&plan);
        super::show(&mut story.app);
        let approved = super::approvals(&press(&mut story.app, by));
        assert_eq!(approved.len(), usize::from(by == "y"), "{by}");
    }
}

#[test]
fn who_only_looks_on_is_offered_no_action() {
    let mut story = Story::restoring("production");
    press(&mut story.app, "/flush<enter>");
    assert!(frame_text(&story.app, 120, 32).contains(" a approve"));
    story.app.watching = Some("only looking on".to_owned());
    let frame = frame_text(&story.app, 120, 32);
    assert!(!frame.contains(" a approve") && !frame.contains(" w write note") && frame.contains(" details"), "{frame}");
    press(&mut story.app, "2");
    assert!(frame_text(&story.app, 120, 32).contains(" r retry"), "listing again is not acting");
}
