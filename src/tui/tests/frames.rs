//! Every pane and every card, at the three sizes. Look at a difference before you accept it.

use super::histories::{Story, measured, plan, with_questions};
use super::{press, show};
use crate::incident::{AttemptId, EventKind, Notice};
use crate::runbook::StepId;
use crate::tui::app::App;
use crate::tui::card::Card;
use crate::tui::frame::{drawn, frame_text};
use crate::tui::msg::Msg;
use crate::tui::theme::{Look, Theme};
use crate::tui::update::update;
use crate::wire::FromEngine;

const SIZES: [(u16, u16); 3] = [(120, 32), (80, 24), (40, 10)];

/// The frames of one situation at every size, as one snapshot.
fn look(name: &str, app: &mut App) {
    let mut frames = String::new();
    for (columns, rows) in SIZES {
        let (now, read) = (app.now, app.card().is_none_or(Card::is_shown));
        update(app, Msg::Resize(columns, rows), now);
        if read {
            show(app);
        }
        let size = format!("── {columns}x{rows}\n");
        frames.push_str(&size);
        frames.push_str(&frame_text(app, columns, rows));
    }
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, frames);
    });
}

#[test]
fn panes() {
    let mut story = Story::restoring("production");
    for (key, name) in [("1", "checklist"), ("2", "snapshots"), ("3", "output"), ("4", "timeline")] {
        press(&mut story.app, key);
        look(name, &mut story.app);
    }
}

#[test]
fn the_timeline_with_notes_and_what_was_sent() {
    let mut story = Story::restoring("production");
    story.told();
    press(&mut story.app, "4kk");
    look("timeline_told", &mut story.app);
    press(&mut story.app, "<enter>");
    look("timeline_details", &mut story.app);
    press(&mut story.app, "<esc>fC");
    look("timeline_correct", &mut story.app);
    press(&mut story.app, "<esc>M");
    look("timeline_milestones", &mut story.app);
    story.app.zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    press(&mut story.app, "Mt");
    look("timeline_local", &mut story.app);
}

#[test]
fn a_draft_is_edited_in_place() {
    let mut story = Story::restoring("production");
    press(&mut story.app, "1/post to<enter>a");
    let draft = "We are restoring financecopilot from the backup of 06:00 UTC. Writes are stopped; \
                 reading works again at about 09:48 UTC.\n数据库: the next update follows in 30 minutes.";
    story.planned(&super::exports::message("communicate.status", draft));
    look("draft", &mut story.app);
    press(&mut story.app, "<up><up> Sorry.<c-s>");
    look("draft_sent_off", &mut story.app);
}

#[test]
fn a_fresh_drill() {
    let mut story = Story::new("drill");
    look("fresh_drill", &mut story.app);
    press(&mut story.app, "G");
    look("fresh_drill_end", &mut story.app);
}

#[test]
fn ascii_without_colour() {
    let mut story = Story::themed("production", Theme::new(Look::None, true)).on_to_the_restore();
    look("ascii", &mut story.app);
    for (columns, rows) in SIZES {
        // Texts of the outside too: a database, a note.
        assert!(frame_text(&story.app, columns, rows).is_ascii());
    }
}

/// Production's plate is like no other, and is on screen at every size.
#[test]
fn an_environment_is_told_by_word_and_colour() {
    let plates: Vec<_> = ["production", "staging", "drill"]
        .into_iter()
        .map(|environment| {
            let theme = Theme::new(Look::Dark, false);
            let mut story = Story::themed(environment, theme).on_to_the_restore();
            let mut styles = std::collections::BTreeSet::new();
            for (columns, rows) in SIZES {
                let now = story.app.now;
                update(&mut story.app, Msg::Resize(columns, rows), now);
                let (screen, _) = drawn(&story.app, columns, rows);
                let line = frame_text(&story.app, columns, rows);
                let word = environment.to_uppercase();
                let column = line.lines().next().and_then(|line| line.find(&word)).expect("its word");
                let cell = &screen[(u16::try_from(column).expect("small"), 0)];
                styles.insert(format!("{:?}", cell.style()));
            }
            assert_eq!(styles.len(), 1, "{environment}: {styles:?}");
            styles
        })
        .collect();
    assert!(plates[0] != plates[1] && plates[1] != plates[2] && plates[0] != plates[2], "{plates:?}");
}

/// What is at work says how fast and how long, as a range where that is known; what is owed is told however small the screen.
#[test]
fn what_is_at_work_says_how_fast_and_how_long() {
    let mut story = Story::restoring("production");
    story.told();
    for done in [1_000_000_000, 1_400_000_000, 1_600_000_000] {
        story.wait(60);
        story.notice(Notice::Progress {
            attempt: AttemptId(19),
            label: "restoring table data".to_owned(),
            done,
            total: Some(4_499_000_000),
            unit: "bytes".to_owned(),
            left: Some((300, 540)),
            stalled: None,
        });
    }
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("5m00s to 9m00s left"), "{frame}");
    press(&mut story.app, "3");
    let frame = frame_text(&story.app, 120, 32);
    assert!(frame.contains("throughput") && frame.contains("MiB/s"), "{frame}");
    let frame = frame_text(&story.app, 80, 24);
    assert!(frame.lines().next().is_some_and(|header| header.contains("unsent")), "{frame}");
}

#[test]
fn outcomes() {
    let mut story = Story::restoring("production");
    story.fail(AttemptId(19));
    press(&mut story.app, "E");
    look("escalation", &mut story.app);
    press(&mut story.app, "<esc><enter>");
    look("details_of_a_failure", &mut story.app);
    press(&mut story.app, "<esc>r");
    let mut story = Story::restoring("production");
    story.doubt(AttemptId(19));
    look("in_doubt", &mut story.app);
    press(&mut story.app, "a");
    look("settle", &mut story.app);
    press(&mut story.app, "nkubectl says 6 replicas");
    look("settle_why", &mut story.app);
}

#[test]
fn a_stall_is_named_with_the_key_that_ends_it() {
    let mut story = Story::restoring("production");
    let why = "no progress for 1m00s: it waits for Lock/relation, held by session 4711 of fc_app \"psql\"; b shows and ends it";
    story.notice(Notice::Progress {
        attempt: AttemptId(19),
        label: "loading public.transactions".to_owned(),
        done: 2_744_000_000,
        total: Some(4_499_000_000),
        unit: "of the work".to_owned(),
        left: None,
        stalled: Some(why.to_owned()),
    });
    look("stalled", &mut story.app);
    assert!(frame_text(&story.app, 80, 24).contains(" b unblock"), "the key is offered");
}

#[test]
fn measured_numbers() {
    let mut story = Story::restoring("production");
    let step = StepId::new("verify.dashboard");
    story.begin("verify.dashboard");
    story.notice(Notice::Measured { step, series: measured() });
    press(&mut story.app, "/grafana: <enter>3");
    look("measured", &mut story.app);
}

#[test]
fn the_plan_card() {
    let mut story = Story::new("production");
    story.checked();
    story.declared();
    press(&mut story.app, "a");
    look("card_loading", &mut story.app);
    story.planned(&with_questions("select.snapshot"));
    look("card_questions", &mut story.app);
    press(&mut story.app, "<enter>");
    look("card_question_missing", &mut story.app);
    let mut story = Story::restoring("production");
    press(&mut story.app, "1/flush<enter>a");
    story.planned(&plan("dependents.cache"));
    look("card_not_yet_read", &mut story.app);
    show(&mut story.app);
    look("card_by_name", &mut story.app);
    press(&mut story.app, "<esc>/rehydrate<enter>a");
    story.planned(&plan("dependents.objects"));
    show(&mut story.app);
    look("card_confirm", &mut story.app);
    let mut other = plan("dependents.objects");
    other.findings.push(crate::incident::Finding::blocking("The bucket lies in another region (eu-west-1)."));
    story.planned(&other);
    look("card_changed_and_blocked", &mut story.app);
}

/// A form whose foot leaves no row for its questions.
#[test]
fn a_form_is_drawn_however_small_the_screen_is() {
    let mut story = Story::new("production");
    story.checked();
    story.declared();
    press(&mut story.app, "a");
    story.planned(&with_questions("select.snapshot"));
    press(&mut story.app, "<enter>");
    let now = story.clock;
    update(&mut story.app, Msg::FromEngine(FromEngine::Lost("it ended, and said why at some length".to_owned())), now);
    for (columns, rows) in (1..60).flat_map(|columns| (1..16).map(move |rows| (columns, rows))) {
        story.app.size = (columns, rows);
        assert_eq!(frame_text(&story.app, columns, rows).lines().count(), usize::from(rows));
    }
}

#[test]
fn small_cards() {
    let mut story = Story::restoring("production");
    for (keys, name) in [
        ("1x", "stop"),
        ("w", "note"),
        ("?", "help"),
        ("T", "phases"),
        (":", "palette"),
        (":copy", "palette_filtered"),
        ("e", "export"),
        ("e2", "export_slack"),
        ("e3", "export_markdown"),
        ("e1s500<enter>n", "export_parts"),
        ("e1s20", "export_size"),
        ("e1s20<enter>", "export_no_size"),
        ("2<enter>", "snapshot_details"),
        ("2=jj=", "compare_unread"),
        ("2/0300", "filtering"),
        ("2SS", "sorted"),
        ("3/table<enter>", "search"),
        ("3/tab", "searching"),
        ("4<enter>", "event"),
        ("L", "log"),
    ] {
        press(&mut story.app, keys);
        look(name, &mut story.app);
        press(&mut story.app, "<esc><esc>");
    }
    press(&mut story.app, "1k");
    press(&mut story.app, "r");
    look("retry", &mut story.app);
}

#[test]
fn an_archive_that_was_opened() {
    let mut story = Story::restoring("production");
    press(&mut story.app, "2<enter>");
    story.opened("financecopilot-20261123T0600Z", 1);
    look("snapshot_opened", &mut story.app);
    press(&mut story.app, "<esc>=j=");
    story.opened("financecopilot-20261123T0300Z", 3);
    look("compare", &mut story.app);
    let now = story.clock;
    update(&mut story.app, Msg::Resize(200, 50), now);
    press(&mut story.app, "<esc>");
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("snapshots_large", frame_text(&story.app, 200, 50));
    });
}

#[test]
fn a_lost_engine_and_an_ended_incident() {
    let mut story = Story::restoring("production");
    story.notice(Notice::OutboxWaits { why: "PagerDuty: 429, next try in 30s".to_owned() });
    update(&mut story.app, Msg::FromEngine(FromEngine::Lost("the engine ended".to_owned())), story.clock);
    look("lost", &mut story.app);
    let mut story = Story::restoring("production");
    story.event(EventKind::Closed {});
    update(&mut story.app, Msg::FromEngine(FromEngine::Lost("the engine ended".to_owned())), story.clock);
    look("closed", &mut story.app);
}

#[test]
fn a_large_screen() {
    let mut story = Story::restoring("drill");
    let now = story.clock;
    update(&mut story.app, Msg::Resize(200, 50), now);
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("large", frame_text(&story.app, 200, 50));
    });
}

#[test]
fn a_screen_that_is_too_small_says_so() {
    let story = Story::restoring("production");
    assert_eq!(frame_text(&story.app, 39, 3), "relight needs 40x10 (now 39x3)\n\n\n");
    assert_eq!(frame_text(&story.app, 1, 1).chars().count(), 2);
    assert_eq!(frame_text(&story.app, 0, 0), "");
}

#[test]
fn a_message_longer_than_a_row_is_shown_whole_but_never_over_a_card() {
    let mut story = Story::restoring("drill");
    let path = format!("/home/ana/.local/state/relight/incidents/{}/INC-7F3K-copied.txt", "folder/".repeat(9));
    let said = || Msg::Exported(Ok(format!("copied by tmux; written to {path}")));
    let now = story.app.now;
    update(&mut story.app, said(), now);
    let rows: Vec<String> = frame_text(&story.app, 80, 24).lines().map(str::to_owned).collect();
    let said_whole: String = rows[21..].iter().map(|row| row.trim()).collect();
    assert!(said_whole.contains(&path), "{rows:#?}");
    assert!(rows[20].starts_with('│'), "the pane is above it: {rows:#?}");
    press(&mut story.app, "j");
    assert!(
        frame_text(&story.app, 80, 24).lines().nth(22).is_some_and(|row| row.starts_with('└')),
        "a key takes it away"
    );
    press(&mut story.app, "?");
    let before = frame_text(&story.app, 80, 24);
    let now = story.app.now;
    update(&mut story.app, said(), now);
    let after = frame_text(&story.app, 80, 24);
    assert!(before.lines().take(23).eq(after.lines().take(23)), "{after}");
    let row = after.lines().last().expect("rows");
    assert!(row.contains("copied by tmux; written to /") && row.ends_with("/INC-7F3K-copied.txt"), "{row}");
}
