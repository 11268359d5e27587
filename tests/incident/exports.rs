//! What is sent out: the same incident in five forms, safe in each of them.

use jiff::SignedDuration;
use relight::export::{Format, LEAST, export, parts};
use relight::incident::{
    Channel, Command, EventKind, Fact, MessageState, Outcome, Problem, Report, Seal, Sending, State, StepStatus, react,
};
use relight::runbook::StepId;

use super::{World, account, at, failed, object, stopped};

/// Words that are markup, orders and code somewhere.
const HOSTILE: &str =
    "<!channel> & `rm` | \"><script>alert('x')</script><img src=x onerror=y> *bold* \u{1b}[31m\n## two\u{202e} 数据";

fn seal() -> Seal {
    Seal { seq: 99, head: "3f9a2c1b7d0e4455".repeat(4) }
}

/// A whole restore with a failure, a skip, notes and a correction.
fn told() -> World {
    let mut world = World::new();
    world.state.rpo = Some(SignedDuration::from_hours(4));
    world.up_to_restore();
    world.now = at(20);
    let plan = world.plan("restore.database", |_| {});
    world.approve(&plan).expect("approved");
    world.now = at(25);
    world.finish("restore.database", failed());
    world.ask(&Command::Retry { step: StepId::new("restore.database") }).expect("opened again");
    world.now = at(30);
    let restored = Fact::Restored { object: object("postgres/a.dump"), taken_at: at(-180), at: world.now };
    world.succeed("restore.database", vec![restored]);
    for step in ["restore.prove", "dependents.objects"] {
        world.succeed(step, Vec::new());
    }
    world.actor = account("ben", 1001);
    world.ask(&Command::Skip { step: StepId::new("dependents.cache"), reason: HOSTILE.to_owned() }).expect("skipped");
    world.ask(&Command::Note { text: HOSTILE.to_owned() }).expect("noted");
    let note = world.state.timeline.last().expect("the note").seq;
    world.ask(&Command::Correct { note, text: format!("better: {HOSTILE}") }).expect("corrected");
    world.now = at(40);
    let back = Fact::WritesStarted { at: world.now };
    world.succeed("restore.start-writes", vec![back]);
    world
}

#[test]
fn no_form_holds_an_order_to_a_terminal() {
    let world = told();
    for format in Format::ALL {
        let text = export(&world.state, format, Some(&seal()));
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(bad, None, "{format:?}");
        assert!(text.contains("数据") && text.ends_with('\n'), "{format:?}");
        assert!(text.contains(&seal().short()), "{format:?} lacks the seal");
    }
    let page = relight::export::handover(&world.state, world.now, None);
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page}");
}

/// Whoever takes over reads what others have heard, in the words of what proved it.
#[test]
fn a_handover_says_who_was_told_what() {
    let mut world = World::new();
    world.up_to_the_choice();
    let plan = world.plan("communicate.status", |_| {});
    world.approve(&plan).expect("approved");
    let evidence = vec!["Posted to #status: We restore from 06:00.".to_owned()];
    world.finish(
        "communicate.status",
        Outcome::Succeeded { evidence, facts: vec![Fact::Posted { ts: "1.2".to_owned() }] },
    );
    let page = relight::export::handover(&world.state, world.now, None);
    let (_, told) = page.split_once("Who was told what\n").expect("the section");
    assert!(told.contains("declare.incident is done"), "{page}");
    assert!(told.contains("Posted to #status: We restore from 06:00."), "{page}");
    for number in 0..9 {
        world.ask(&Command::Retry { step: StepId::new("communicate.status") }).expect("opened again");
        let plan = world.plan("communicate.status", |_| {});
        world.approve(&plan).expect("approved");
        let evidence = vec![format!("Posted to #status: number {number}.")];
        world.finish("communicate.status", Outcome::Succeeded { evidence, facts: Vec::new() });
    }
    let page = relight::export::handover(&world.state, world.now, None);
    assert!(page.contains("number 8.") && !page.contains("number 1."), "{page}");
    assert!(page.contains("5 earlier ones are in the timeline"), "{page}");
}

#[test]
fn slack_is_escaped_and_cut_at_line_ends() {
    let world = told();
    let whole = export(&world.state, Format::Slack, None);
    let note = "better: &lt;!channel&gt; &amp; 'rm' | \"&gt;&lt;script&gt;";
    assert!(whole.contains(note), "{whole}");
    assert!(!whole.contains(['<', '>']), "{whole}");
    assert!(whole.contains("• *Time to service (RTO):* 52m00s, within the target of 1h00m\n"), "{whole}");
    assert!(whole.contains("• *Writes lost (RPO):* 3h00m, within the target of 4h00m\n"), "{whole}");
    for most in [0, LEAST, 500, 4_000] {
        let cut = parts(&world.state, Format::Slack, Some(most), Some(&seal()));
        for part in &cut {
            assert!(part.len() <= most.max(LEAST), "{} bytes of {most}", part.len());
            assert!(part.starts_with("*Timeline of INC-7F3K (financecopilot, production)*, all times UTC"), "{part}");
            // Every & begins an entity that is whole.
            for (at, _) in part.match_indices('&') {
                assert!(["&amp;", "&lt;", "&gt;"].iter().any(|entity| part[at..].starts_with(entity)), "{part}");
            }
        }
    }
}

#[test]
fn pagerduty_parts_say_which_they_are_and_hold_whole_lines() {
    let world = told();
    let whole = export(&world.state, Format::PagerDuty, None);
    let cut = parts(&world.state, Format::PagerDuty, Some(900), None);
    assert!(cut.len() > 2);
    let mut lines = Vec::new();
    for (at, part) in cut.iter().enumerate() {
        let (heading, body) = part.split_once('\n').expect("a heading");
        assert!(heading.ends_with(&format!(", all times UTC, part {}/{}", at + 1, cut.len())), "{heading}");
        lines.extend(body.lines());
    }
    assert_eq!(lines, whole.lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn the_report_names_goals_decisions_failures_and_where_the_time_went() {
    let world = told();
    let markdown = export(&world.state, Format::Markdown, None);
    for words in [
        "| **Time to service (RTO)** | 52m00s, within the target of 1h00m |",
        "| **Writes lost (RPO)** | 3h00m, within the target of 4h00m |",
        "| Restored to | 2026-11-23 05:00Z |",
        "| No writes | 2026-11-23 08:00Z to 2026-11-23 08:40Z, 40m00s |",
        "## What failed\n\n- `2026-11-23 08:25:00Z` ",
        "**ana**: Restore approved by ana: does restore.database",
        "**ana**: Product agrees",
        "**ben**: Flush the ingestion cache skipped by ben: \\<!channel\\>",
        "*(ben, corrected)*",
        "40m00s in all, 35m00s of it nothing was at work.",
    ] {
        assert!(markdown.contains(words), "{words} is missing in\n{markdown}");
    }
    let chart = markdown.split("```").nth(1).expect("a chart");
    let restoring = chart.lines().find(|line| line.starts_with("Restore the database")).expect("its bar");
    assert!(restoring.contains('█') && restoring.ends_with("5m00s"), "{chart}");
    // A snapshot that is only chosen has restored nothing.
    let mut world = World::new();
    world.up_to_restore();
    let markdown = export(&world.state, Format::Markdown, None);
    assert!(
        !markdown.contains("| Restored to |") && markdown.contains("| Snapshot | postgres/a.dump of"),
        "{markdown}"
    );
    world.state.rpo = Some(SignedDuration::from_hours(2));
    let markdown = export(&world.state, Format::Markdown, None);
    assert!(markdown.contains("3h00m, over the target of 2h00m"), "{markdown}");
}

/// Tags that have no end.
const VOID: &[&str] = &["meta", "!doctype"];

#[test]
fn the_page_is_whole_loads_nothing_and_holds_no_markup_from_outside() {
    let world = told();
    let page = export(&world.state, Format::Html, Some(&seal()));
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("a tag without its end: {tag}"));
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "in {tag}");
        } else if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
        // The page's own tags are few, and none of them loads anything.
        assert!(!["script", "img", "link", "iframe", "object", "base", "form"].contains(&name), "<{tag}>");
        assert!(!tag.contains("src=") && !tag.contains("href=") && !tag.contains(" on"), "<{tag}>");
    }
    assert_eq!(open, [""; 0]);
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme:dark"));
    assert!(!page.contains("url(") && !page.contains("@import"));
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "{page}");
    assert!(page.contains("<rect class=\"work\"") && page.contains("<td class=\"met\">52m00s, within"), "{page}");
}

#[test]
fn json_says_what_was_corrected_decided_and_sent() {
    let world = told();
    let json: serde_json::Value = serde_json::from_str(&export(&world.state, Format::Json, None)).expect("JSON");
    assert_eq!(
        (&json["rto_met"], &json["rpo_met"], &json["rpo_seconds"]),
        (&true.into(), &true.into(), &14_400.into())
    );
    let entries = json["timeline"].as_array().expect("a timeline");
    let note = entries.iter().find(|entry| entry["level"] == "note").expect("the note");
    assert_eq!((&note["before"][0], &note["decision"]), (&HOSTILE.into(), &false.into()));
    assert!(note["text"].as_str().is_some_and(|text| text.starts_with("better: ")));
    let sent = entries.iter().find(|entry| entry["milestone"] == true).expect("a milestone");
    assert_eq!(sent["sent"], serde_json::json!([{ "channel": "pager_duty_note", "state": "unsent" }]));
    let work = json["phases"].as_array().expect("phases");
    assert!(work.iter().any(|phase| phase["busy_seconds"] == 300), "{work:?}");
}

/// How far each channel got with the entry of the last end of a step.
fn sending(state: &State, words: &str) -> Vec<(Channel, Sending)> {
    let entry = state.timeline.iter().rev().find(|entry| entry.text.contains(words)).expect("the entry");
    state.told(entry).iter().map(|told| (told.channel, told.how)).collect()
}

#[test]
fn an_entry_says_where_it_was_sent_and_how_far_that_got() {
    use Channel::{PagerDutyNote as Pager, SlackMessage as Slack};

    let mut world = World::new();
    // Before there is an incident in PagerDuty, nobody can be told.
    assert_eq!(sending(&world.state, "opened"), [(Pager, Sending::Planned)]);
    world.up_to_restore();
    assert_eq!(sending(&world.state, "opened"), [(Pager, Sending::Unsent)]);
    let message = world.state.unsent().next().expect("a message").id;
    let kinds = react(&world.state, &Report::Sent { message, result: Ok("N1".to_owned()) });
    world.commit(kinds);
    assert_eq!(sending(&world.state, "opened"), [(Pager, Sending::Sent)]);

    // A step that posts says it itself; what it leaves to the outbox is told by that.
    world.succeed("communicate.status", vec![Fact::Posted { ts: "1.2".to_owned() }]);
    assert_eq!(sending(&world.state, "communicate.status is done"), [(Slack, Sending::Sent), (Pager, Sending::Unsent)]);
    world.succeed("communicate.status", vec![Fact::Owed { channel: Slack, text: "later".to_owned() }]);
    assert_eq!(
        sending(&world.state, "communicate.status is done"),
        [(Slack, Sending::Unsent), (Pager, Sending::Unsent)]
    );
    let owed = world.state.messages.values().find(|message| message.channel == Slack).expect("owed").id;
    let problem = Problem { what: "post".into(), target: "Slack".into(), why: "Lost.".into(), next: "Look.".into() };
    let kinds = react(&world.state, &Report::SentInDoubt { message: owed, problem: problem.clone() });
    world.commit(kinds);
    assert_eq!(sending(&world.state, "communicate.status is done").first(), Some(&(Slack, Sending::InDoubt)));
    let kinds = vec![EventKind::MessageFailed { message: owed, problem: problem.clone() }];
    world.commit(kinds);
    assert!(matches!(world.state.messages[&owed].state, MessageState::Failed(_)));
    assert_eq!(sending(&world.state, "communicate.status is done").first(), Some(&(Slack, Sending::Failed)));
    let plan = world.plan("communicate.status", |_| {});
    world.approve(&plan).expect("approved");
    world.finish("communicate.status", Outcome::InDoubt { problem });
    assert_eq!(sending(&world.state, "is in doubt: Lost."), [(Slack, Sending::InDoubt)]);
    assert!(matches!(world.status("communicate.status"), StepStatus::InDoubt(_)));
}

/// What is opened again did happen, and starting writers that run brings nothing back.
#[test]
fn the_report_counts_what_was_done_again_and_taken_back() {
    let mut world = told();
    let again = |world: &mut World, step: &str| {
        world.ask(&Command::Retry { step: StepId::new(step) }).expect("opened again");
    };
    world.now = at(50);
    again(&mut world, "restore.start-writes");
    let runs = Fact::WritesStarted { at: world.now };
    world.succeed("restore.start-writes", vec![runs]);
    let markdown = export(&world.state, Format::Markdown, None);
    assert!(markdown.contains("| 52m00s, within the target of 1h00m |"), "{markdown}");
    assert!(markdown.contains("| No writes | 2026-11-23 08:00Z to 2026-11-23 08:40Z, 40m00s |"), "{markdown}");

    world.now = at(55);
    again(&mut world, "restore.stop-writes");
    world.succeed("restore.stop-writes", vec![stopped(at(55))]);
    let markdown = export(&world.state, Format::Markdown, None);
    let words = "| No writes | 2026-11-23 08:00Z to 2026-11-23 08:40Z, 40m00s; since 2026-11-23 08:55Z |";
    assert!(markdown.contains(words), "{markdown}");
    let line = markdown.lines().find(|line| line.starts_with("| Start writes |")).expect("its line");
    assert!(line.contains("succeeded, and opened again"), "{line}");
}
