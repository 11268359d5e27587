//! How long a key takes, from the key to the frame that answers it, with as many snapshots as the first argument says, and held to
//! what no eye sees; exit status 1 where one takes longer. `cargo run --profile chaos --example many_snapshots 100000`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::{SignedDuration, Timestamp};
use relight::incident::{Listing, Notice, SnapshotRow};
use relight::tui::{App, Look, Msg, Out, Theme, frame_text, update};
use relight::wire::{FromEngine, ToClient};

/// A frame of a screen that is drawn sixty times a second.
const LIMIT: Duration = Duration::from_millis(16);

fn main() -> ExitCode {
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
        doubtful: false,
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
    let moved = say("moving", &mut app, &"2jjjjjjjGkkkkkkkkgjjjj".repeat(10));
    let filtered = say("filtering", &mut app, &"/0012345\u{8}\u{8}\u{8}99".repeat(10));
    if moved.max(filtered) > LIMIT {
        println!("OVER: a key took longer than {LIMIT:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Presses keys, does what they ask for, and prints how long they and that took; the slowest hundredth of the keys.
fn say(what: &str, app: &mut App, keys: &str) -> Duration {
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
    print(&format!("{what}: ranking, elsewhere"), rankings);
    print(&format!("{what}: key to frame"), times)
}

fn print(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let (Some(median), Some(worst)) = (at(50), at(99)) else { return Duration::ZERO };
    println!("{what}: p50 {median:?}, p99 {worst:?}, of {}", times.len());
    *worst
}
