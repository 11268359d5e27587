//! Sending out: exports, and drafts that are edited before they are sent.

use super::histories::{Story, at, plan};
use super::{approval, approvals, commands, press, show};
use crate::export::{Format, export, joined, parts};
use crate::incident::{Ask, AskKind, Command, EventKind, Inputs, Plan};
use crate::tui::export::Exporting;
use crate::tui::frame::frame_text;
use crate::tui::msg::{Msg, Out};
use crate::tui::overlay::Overlay;
use crate::tui::update::update;

/// The plan of a step that sends this text.
pub(super) fn message(step: &str, text: &str) -> Plan {
    let mut plan = plan(step);
    plan.effects = vec![format!("Posts to #status: {text}")];
    plan.asks = vec![Ask {
        name: "text".to_owned(),
        label: "Message to #status".to_owned(),
        kind: AskKind::Text,
        value: text.to_owned(),
        required: true,
        offered: false,
    }];
    plan.basis = serde_json::json!({ "text": text });
    plan
}

fn exporting(story: &Story) -> &Exporting {
    match &story.app.ui.overlay {
        Some(Overlay::Export(exporting)) => exporting,
        other => panic!("no export is on screen: {other:?}"),
    }
}

fn sent(outs: &[Out]) -> (Option<String>, String, String) {
    let [Out::Export { copy, name, text }] = outs else { panic!("{outs:?}") };
    (copy.clone(), name.clone(), text.clone())
}

#[test]
fn each_form_is_seen_copied_and_written_as_the_command_writes_it() {
    let mut story = Story::restoring("production");
    press(&mut story.app, "e");
    for (key, format, name) in [
        ("1", Format::PagerDuty, "INC-7F3K-pagerduty.txt"),
        ("2", Format::Slack, "INC-7F3K-slack.txt"),
        ("3", Format::Markdown, "INC-7F3K-report.md"),
        ("4", Format::Json, "INC-7F3K.json"),
        ("5", Format::Html, "INC-7F3K-report.html"),
    ] {
        let outs = press(&mut story.app, &format!("{key}c"));
        let state = story.app.state.as_ref().expect("an incident");
        let whole = export(state, format, story.app.seal.as_ref());
        let first = parts(state, format, None, story.app.seal.as_ref()).remove(0);
        assert_eq!(sent(&outs), (Some(first), name.to_owned(), whole.clone()), "{key}");
        assert_eq!(sent(&press(&mut story.app, "w")), (None, name.to_owned(), whole), "{key}");
    }
    // Tab goes round.
    press(&mut story.app, "1<tab>");
    assert_eq!(exporting(&story).format, Format::Slack);
    press(&mut story.app, "5<tab>");
    assert_eq!(exporting(&story).format, Format::PagerDuty);
    press(&mut story.app, "<esc>");
    assert!(story.app.ui.overlay.is_none());
}

#[test]
fn parts_are_as_large_as_was_asked_and_copied_one_by_one() {
    let mut story = Story::restoring("production");
    let outs = press(&mut story.app, "es700<enter>nc");
    let state = story.app.state.as_ref().expect("an incident");
    let cut = parts(state, Format::PagerDuty, Some(700), story.app.seal.as_ref());
    assert!(cut.len() > 2 && cut.iter().all(|part| part.len() <= 700), "{cut:?}");
    let (copy, _, text) = sent(&outs);
    assert_eq!((copy.as_ref(), text), (cut.get(1), joined(&cut)));
    let heading = format!("all times UTC, part 2/{}", cut.len());
    assert!(frame_text(&story.app, 120, 32).contains(&heading));
    // Further than to the last there is nothing, and a size that is none is not taken.
    press(&mut story.app, &"n".repeat(40));
    assert_eq!(exporting(&story).part, cut.len() - 1);
    press(&mut story.app, "<right>N<left>s<bs><bs><bs>12<enter>");
    assert!(frame_text(&story.app, 80, 24).contains("at least 300"));
    press(&mut story.app, "<esc>");
    assert_eq!(exporting(&story).size, Some(700));
    // Letters are no digits, and nothing means the usual size; the report is one piece.
    press(&mut story.app, "s<bs><bs><bs>x<enter>");
    assert_eq!((exporting(&story).size, exporting(&story).parts.len()), (None, 1));
    press(&mut story.app, "3s");
    assert!(exporting(&story).sizing.is_none());
}

#[test]
fn what_is_on_screen_goes_on_with_the_incident() {
    let mut story = Story::restoring("production");
    press(&mut story.app, "e");
    story.event(EventKind::Noted { text: "the second look".to_owned() });
    assert!(sent(&press(&mut story.app, "c")).2.contains("note: the second look (ana)"));
}

#[test]
fn the_path_is_shown_whole_and_a_closed_export_tells_it_below() {
    let mut story = Story::restoring("production");
    let path = format!("/home/ana/{}/INC-7F3K-pagerduty.txt", "deep/".repeat(20).trim_end_matches('/'));
    press(&mut story.app, "ec");
    let now = at("09:30:00");
    update(&mut story.app, Msg::Resize(60, 24), now);
    update(&mut story.app, Msg::Exported(Ok(format!("copied by tmux; written to {path}"))), now);
    let frame: String = frame_text(&story.app, 60, 24).lines().map(|line| line.trim_matches(['│', ' '])).collect();
    assert!(frame.contains(&path), "{frame}");
    press(&mut story.app, "<esc>");
    update(&mut story.app, Msg::Exported(Err("not written: no room".to_owned())), now);
    assert!(frame_text(&story.app, 80, 24).contains("not written: no room"));
}

#[test]
fn a_draft_is_edited_in_place_and_what_was_edited_is_what_is_approved() {
    let mut story = Story::restoring("production");
    press(&mut story.app, "1/post to<enter>");
    let step = story.app.step().expect("a step").id.clone();
    press(&mut story.app, "a");
    story.planned(&message(step.as_str(), "We restore.\nMore soon."));
    let outs = press(&mut story.app, "<c-u>At 10:00 we know more.<up> from backup<c-s>");
    let said = "We restore. from backup\nAt 10:00 we know more.";
    let inputs = Inputs::from([("text".to_owned(), said.to_owned())]);
    assert_eq!(commands(&outs), [Command::Prepare { step: step.clone(), inputs: inputs.clone(), undoes: None }]);
    let mut edited = message(step.as_str(), said);
    edited.inputs = inputs;
    story.planned(&edited);
    show(&mut story.app);
    assert_eq!(approvals(&press(&mut story.app, "y")), [approval(&edited, None)]);
    assert_ne!(edited.digest(), message(step.as_str(), "We restore.\nMore soon.").digest());
}
