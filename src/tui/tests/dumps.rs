//! The pane of snapshots: filter, order, comparison, and a hundred thousand of them.

use super::histories::{Story, at, listing};
use super::{press, queries};
use crate::incident::{Listing, Notice, Query, SnapshotRow};
use crate::tui::frame::frame_text;
use crate::tui::msg::{Msg, Out};
use crate::tui::overlay::Overlay;
use crate::tui::update::update;

/// Times of the dumps on screen, top to bottom.
fn times(story: &Story) -> Vec<String> {
    let frame = frame_text(&story.app, 80, 24);
    let rows = frame
        .lines()
        .filter(|line| !line.contains("onset 2026"))
        .filter_map(|line| line.get(line.find("11-2")?..)?.get(..11));
    rows.filter(|time| time.contains(':')).map(str::to_owned).collect()
}

fn story() -> Story {
    let mut story = Story::new("drill");
    story.listed();
    let now = story.clock;
    update(&mut story.app, Msg::Resize(80, 24), now);
    press(&mut story.app, "2");
    story
}

#[test]
fn a_filter_shows_what_matches_as_it_is_typed_and_esc_shows_all_again() {
    let mut story = story();
    press(&mut story.app, "/usual");
    assert_eq!(times(&story), ["11-22 21:00"], "{}", frame_text(&story.app, 80, 24));
    press(&mut story.app, "<bs><bs><bs><bs><bs>0300");
    assert_eq!(times(&story).first().map(String::as_str), Some("11-23 03:00"));
    press(&mut story.app, "<enter>");
    let key = "postgres/financecopilot-20261123T0300Z.dump";
    assert_eq!(story.app.snapshot().map(|row| row.key.as_str()), Some(key));
    press(&mut story.app, "/xyz");
    assert!(frame_text(&story.app, 80, 24).contains("nothing matches 0300xyz"));
    assert!(press(&mut story.app, "<enter>a").is_empty(), "what is not shown is not chosen");
    press(&mut story.app, "<esc>");
    assert_eq!(times(&story).len(), 5, "{}", frame_text(&story.app, 80, 24));
    press(&mut story.app, "/0300<esc>");
    assert_eq!(times(&story).len(), 5);
}

#[test]
fn a_wide_screen_says_which_version_of_an_object_is_listed() {
    let mut story = story();
    let now = story.clock;
    update(&mut story.app, Msg::Resize(200, 50), now);
    let frame = frame_text(&story.app, 200, 50);
    assert!(frame.contains("VERSION") && frame.contains("3sL4kqtJlcp…"), "{frame}");
    assert!(frame.lines().any(|line| line.contains("3sL4kqtJlcp…  newest eligible")), "{frame}");
}

#[test]
fn the_onset_lies_among_them_by_time_and_nowhere_else() {
    let mut story = story();
    let frame = frame_text(&story.app, 80, 24);
    let line = |words: &str| frame.lines().position(|line| line.contains(words)).expect(words);
    assert_eq!(line("11-23 09:00") + 1, line("onset 2026"));
    assert_eq!(line("onset 2026") + 1, line("11-23 06:00"));
    press(&mut story.app, "S");
    assert_eq!(times(&story), ["11-23 09:00", "11-23 06:00", "11-23 03:00", "11-22 21:00", "11-22 15:00"]);
    assert!(!frame_text(&story.app, 80, 24).contains("onset 2026"));
    press(&mut story.app, "S");
    assert_eq!(times(&story), ["11-23 06:00", "11-23 03:00", "11-22 21:00", "11-22 15:00", "11-23 09:00"]);
    press(&mut story.app, "Sg");
    assert_eq!(times(&story).len(), 5);
    assert!(frame_text(&story.app, 80, 24).contains("onset 2026"));
}

#[test]
fn two_are_compared_and_what_differs_comes_first() {
    let mut story = story();
    press(&mut story.app, "gj=");
    press(&mut story.app, "j");
    assert!(frame_text(&story.app, 80, 24).contains(" = 11-23 06:00"));
    let outs = press(&mut story.app, "=");
    let key = |time: &str| format!("postgres/financecopilot-20261123T{time}Z.dump");
    assert_eq!(queries(&outs), [Query::Contents { key: key("0600") }, Query::Contents { key: key("0300") }]);
    story.opened("financecopilot-20261123T0600Z", 5);
    story.opened("financecopilot-20261123T0300Z", 4);
    let frame = frame_text(&story.app, 120, 32);
    let line =
        |words: &str| frame.lines().position(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {frame}"));
    assert!(line("900 B, 5 rows") == line("900 B, 4 rows"));
    assert!(line("public.settings") < line("public.accounts"), "{frame}");
    assert!(line("Tables: 2 of 3 differ") < line("The same in both"));
    press(&mut story.app, "<esc>");
    assert!(story.app.ui.overlay.is_none() && story.app.ui.marked.is_some(), "it can be compared with others");
    assert!(queries(&press(&mut story.app, "=")).is_empty(), "what was opened stays open");
    assert!(matches!(story.app.ui.overlay, Some(Overlay::Compare { .. })));
    press(&mut story.app, "<esc><esc>");
    assert!(story.app.ui.marked.is_none());
}

#[test]
fn an_archive_is_opened_once_and_its_fault_is_shown() {
    let mut story = story();
    let outs = press(&mut story.app, "gj<enter>");
    assert_eq!(queries(&outs).len(), 1);
    assert!(queries(&press(&mut story.app, "<esc><enter>")).is_empty(), "it is on its way");
    let key = "postgres/financecopilot-20261123T0600Z.dump".to_owned();
    story.notice(Notice::Contents { key, result: Err("it cannot be read: 403".to_owned()) });
    assert!(frame_text(&story.app, 80, 24).contains("it cannot be read: 403"));
}

/// As many dumps as this, one a minute, of which one has a name of its own.
fn many(count: usize) -> Listing {
    let pattern = listing();
    let like = pattern.rows.get(2).expect("a row");
    let row = |number: usize| SnapshotRow {
        key: format!("postgres/{}-{number:06}.dump", if number == 77_777 { "before-migration" } else { "nightly" }),
        taken_at: at("08:00:00") - jiff::SignedDuration::from_mins(i64::try_from(number).expect("small")),
        proposed: number == 3,
        ..like.clone()
    };
    Listing::new(pattern.place.clone(), (0..count).map(row).collect(), pattern.onset)
}

#[test]
fn a_long_listing_comes_in_pages_and_is_ranked_elsewhere() {
    let mut story = Story::new("drill");
    let whole = Listing { number: 7, ..many(100_000) };
    let mut outs = story.notice(Notice::Snapshots(whole.page(0)));
    let mut pages = 1;
    while let [Query::SnapshotsFrom { listing: 7, from }] = queries(&outs)[..] {
        pages += 1;
        let Some(Out::Send(crate::wire::ToEngine::Query { id, .. })) = outs.first() else { panic!("{outs:?}") };
        // A page that was dropped on its way is asked for again.
        if pages == 3 {
            outs = story.reply(*id, Ok(()));
            assert_eq!(queries(&outs), [Query::SnapshotsFrom { listing: 7, from }]);
            continue;
        }
        assert!(story.notice(Notice::Snapshots(whole.page(from))).is_empty());
        outs = story.reply(*id, Ok(()));
    }
    assert!(pages > 50 && story.app.dumps.shown() == 100_000, "{pages} pages, {}", story.app.dumps.shown());
    let outs = press(&mut story.app, "2/bfmigr");
    let rankings: Vec<_> =
        outs.iter().filter_map(|out| if let Out::Rank(it) = out { Some(it) } else { None }).collect();
    let [first, .., last] = rankings[..] else { panic!("a ranking for each key") };
    assert_eq!(first.run(&|| false), None, "one that nobody waits for ends");
    assert!(frame_text(&story.app, 120, 32).contains("/bfmigr"));
    let now = story.clock;
    update(&mut story.app, Msg::Ranked(first.number, vec![5]), now);
    assert_eq!(story.app.dumps.shown(), 100_000, "an old ranking is not shown");
    let rows = last.run(&|| true).expect("it is wanted");
    update(&mut story.app, Msg::Ranked(last.number, rows), now);
    assert_eq!(story.app.snapshot().map(|row| row.key.as_str()), Some("postgres/before-migration-077777.dump"));
    press(&mut story.app, "<esc>G");
    assert_eq!(story.app.snapshot().map(|row| row.key.as_str()), Some("postgres/nightly-099999.dump"));
}
