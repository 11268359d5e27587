//! How long a key takes, from the key to the frame that answers it, with as many snapshots as the first argument says.
//! `cargo run --release --example many_snapshots 100000`

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::{SignedDuration, Timestamp};
use relight::incident::{Listing, Notice, SnapshotRow};
use relight::tui::{App, Look, Msg, Out, Theme, frame_text, update};
use relight::wire::{FromEngine, ToClient};

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let now = Timestamp::now();
    let mut app = App::new(Theme::new(Look::Dark, false), (120, 32), now);
    let row = |number: i64| SnapshotRow {
        key: format!("postgres/production/financecopilot-{number:07}.dump"),
        version_id: None,
        size: 4_499_000_000,
        last_modified: now,
        taken_at: now - SignedDuration::from_mins(number),
        taken_from: "last modified".to_owned(),
        storage_class: None,
        usual: Some(4_499_000_000),
        eligible: true,
        proposed: number == 3,
        verdict: "eligible".to_owned(),
        detail: "eligible: its content has not been read yet.".to_owned(),
        tables: Vec::new(),
    };
    let whole = Listing::new("s3://backups/postgres/".to_owned(), (0..count).map(row).collect(), None);
    let mut from = 0;
    let began = Instant::now();
    while from < whole.count {
        let page = whole.page(from);
        from += page.rows.len();
        let notice = Notice::Snapshots(page);
        update(&mut app, Msg::FromEngine(FromEngine::Message(ToClient::Notice { notice })), now);
    }
    println!("{count} snapshots taken in {:?}", began.elapsed());
    say("moving", &mut app, &"2jjjjjjjGkkkkkkkkgjjjj".repeat(10));
    say("filtering", &mut app, &"/0012345\u{8}\u{8}\u{8}99".repeat(10));
}

/// Presses keys, does what they ask for, and prints how long they and that took.
fn say(what: &str, app: &mut App, keys: &str) {
    let (mut times, mut rankings) = (Vec::new(), Vec::new());
    for key in keys.chars() {
        let code = if key == '\u{8}' { KeyCode::Backspace } else { KeyCode::Char(key) };
        let began = Instant::now();
        let outs = update(app, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)), Timestamp::now());
        let frame = frame_text(app, 120, 32);
        times.push(began.elapsed());
        assert!(!frame.is_empty());
        for out in outs {
            let Out::Rank(ranking) = out else { continue };
            let began = Instant::now();
            let done = ranking.answer();
            rankings.push(began.elapsed());
            update(app, done, Timestamp::now());
        }
    }
    print(&format!("{what}: key to frame"), times);
    print(&format!("{what}: ranking, elsewhere"), rankings);
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    if let (Some(median), Some(worst)) = (at(50), at(99)) {
        println!("{what}: p50 {median:?}, p99 {worst:?}, of {}", times.len());
    }
}
