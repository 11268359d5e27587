//! What may happen next, and how it is told to a cockpit.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::histories::{Story, at, dump, listing, measured, plan, with_questions};
use crate::incident::{
    AttemptId, Channel, Contents, Digest, EventKind, Fact, Finding, LogLevel, MessageId, Notice, Outcome, Person, Plan,
    Problem, Refusal, Seal, Settlement, SnapshotRow, TableContents,
};
use crate::runbook::StepId;
use crate::tui::msg::{Msg, Out};
use crate::tui::update::update;
use crate::wire::{FromEngine, ToClient};

#[derive(Debug, Clone)]
pub(super) enum Turn {
    Key(KeyEvent),
    Paste(String),
    Mouse(MouseEvent),
    Resize(u16, u16),
    Shown,
    Wait(i64),
    /// Something of this number happens; numbers, and a text that stands in every text of it.
    News(News, [u64; 3], String),
}

/// What an engine may tell, and what comes back from the system.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    Planned,
    NoPlan,
    Reply,
    Refused,
    Output,
    Progress,
    Snapshots,
    Measured,
    People,
    OutboxWaits,
    JournalStopped,
    Log,
    Begun,
    Succeeded,
    Failed,
    Doubt,
    Stopped,
    Settled,
    StillInDoubt,
    StopRequested,
    Remarked,
    Consented,
    Withdrawn,
    Skipped,
    ByHand,
    Reopened,
    Noted,
    Corrected,
    Offered,
    TakenOver,
    Queued,
    Sent,
    MessageInDoubt,
    MessageSettled,
    MessageFailed,
    Alarm,
    Escalated,
    Closed,
    Lost,
    Sealed,
    Handover,
    Warning,
    Exported,
    NotExported,
    Found,
    Contents,
    Ranked,
    Resumed,
}

/// Any of these, as often as is written before it.
fn news() -> impl Strategy<Value = News> {
    use News as N;
    prop_oneof![
        12 => Just(N::Planned),
        14 => prop::sample::select(vec![
            N::NoPlan, N::Reply, N::Refused, N::Output, N::Progress, N::Snapshots, N::Measured, N::Begun, N::Succeeded,
            N::Failed, N::Doubt, N::Reopened, N::Noted, N::Queued, N::Found, N::Contents, N::Ranked,
        ]),
        10 => prop::sample::select(vec![
            N::People, N::OutboxWaits, N::Log, N::Stopped, N::Settled, N::StillInDoubt, N::StopRequested, N::Remarked,
            N::Consented, N::Withdrawn, N::Skipped, N::ByHand, N::Corrected, N::Offered, N::TakenOver, N::Sent,
            N::MessageInDoubt, N::MessageSettled, N::MessageFailed, N::Alarm, N::Escalated, N::Sealed, N::Handover,
            N::Warning, N::Exported, N::NotExported, N::Resumed,
        ]),
        1 => prop::sample::select(vec![N::Closed, N::Lost, N::JournalStopped]),
    ]
}

/// Texts as the outside has them: wide, combining, from right to left, with orders for terminals, long, and any bytes.
fn words() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "数据库恢复", "取引先テーブル", "ﬁnance ", "e\u{301}\u{302}\u{303}", "\u{301}", "क्षि", "ก็", "שלום עולם",
            "مرحبا بالعالم", "لا", "\u{202e}", "\u{2066}", "\u{200d}", "👩‍👩‍👧‍👦", "🇺🇦", "❤\u{fe0f}", "👍🏽", "\u{1b}[2J",
            "\u{1b}]0;owned\u{7}", "\u{1b}]52;c;aGk=\u{1b}\\", "\u{9b}5n", "\u{1b}", "\u{7}", "\u{8}\u{8}", "\r", "\n", "\t",
            "\u{0}", "\u{7f}", "\u{85}", "\u{ad}", "\u{3000}", " ", "  ", "y", "y\n", "redis-ingestion\n",
        ]).prop_map(str::to_owned),
        2 => "[a-z ]{1,40}",
        1 => "[a-zA-Z0-9/_.-]{60,200}",
        2 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

pub(super) fn turn() -> impl Strategy<Value = Turn> {
    let code = prop_oneof![
        10 => prop::char::range(' ', '~').prop_map(KeyCode::Char),
        2 => prop::sample::select(vec!['a', 'y', 'e', '?', ':', 'E', 'H', 'o', 'L']).prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
        5 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Backspace,
            KeyCode::Delete, KeyCode::Insert,
        ]),
    ];
    let modifiers = prop_oneof![
        8 => Just(KeyModifiers::NONE), 2 => Just(KeyModifiers::CONTROL), 1 => Just(KeyModifiers::ALT),
        1 => Just(KeyModifiers::SHIFT),
    ];
    let size = prop_oneof![
        3 => Just((80, 24)),
        3 => Just((120, 32)),
        6 => (36_u16..140, 8_u16..50),
        3 => (1_u16..60, 1_u16..20),
        1 => (1_u16..=500, 1_u16..=200),
    ];
    let mouse = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
    ]);
    let number = || prop_oneof![0_u64..8, 0_u64..300, any::<u64>()];
    prop_oneof![
        60 => (code, modifiers).prop_map(|(code, modifiers)| Turn::Key(KeyEvent::new(code, modifiers))),
        4 => words().prop_map(Turn::Paste),
        4 => (mouse, 0_u16..140, 0_u16..50).prop_map(|(kind, column, row)| {
            Turn::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
        }),
        6 => size.prop_map(|(columns, rows)| Turn::Resize(columns, rows)),
        8 => Just(Turn::Shown),
        2 => (-100_i64..100_000).prop_map(Turn::Wait),
        24 => (news(), [number(), number(), number()], words()).prop_map(|(news, numbers, words)| Turn::News(news, numbers, words)),
    ]
}

pub(super) fn take(story: &mut Story, turn: Turn) -> Vec<Out> {
    let now = story.clock;
    match turn {
        Turn::Key(key) => update(&mut story.app, Msg::Key(key), now),
        Turn::Paste(text) => update(&mut story.app, Msg::Paste(text), now),
        Turn::Mouse(event) => update(&mut story.app, Msg::Mouse(event), now),
        Turn::Resize(columns, rows) => update(&mut story.app, Msg::Resize(columns, rows), now),
        Turn::Shown => {
            let shown = story.app.unshown();
            shown.map(|digest| update(&mut story.app, Msg::Shown(digest), now)).unwrap_or_default()
        }
        Turn::Wait(seconds) => {
            story.wait(seconds);
            Vec::new()
        }
        Turn::News(news, numbers, words) => told(story, news, numbers, &words),
    }
}

fn told(story: &mut Story, news: News, numbers: [u64; 3], words: &str) -> Vec<Out> {
    if matches!(news, News::Ranked) {
        // What was asked for, or what nobody wants any more.
        let number = numbers[0] % 4;
        let rows = (0..numbers[1] % 9).map(|row| u32::try_from((row + numbers[2]) % 12).expect("small")).collect();
        return update(&mut story.app, Msg::Ranked(number, rows), story.clock);
    }
    if let Some(message) = from_the_system(news, words) {
        return update(&mut story.app, message, story.clock);
    }
    if let Some(notice) = notice(story, news, numbers, words) {
        story.spoil_with(words);
        let outs = story.notice(notice);
        story.spoil_no_more();
        return outs;
    }
    if let Some(kind) = event(story, news, numbers, words) {
        story.spoil_with(words);
        let outs = story.event(kind);
        story.spoil_no_more();
        return outs;
    }
    let asked = story.app.asked.keys().next().copied().unwrap_or(numbers[0]);
    match news {
        News::Reply => story.reply(asked, Ok(())),
        News::Refused => {
            let (title, waits_for) = (words.to_owned(), words.to_owned());
            story.reply(asked, Err(Refusal::NotReady { title, waits_for }))
        }
        News::Sealed => story.hear(ToClient::Sealed { seal: Seal { seq: numbers[0], head: words.to_owned() } }),
        _ => Vec::new(),
    }
}

fn from_the_system(news: News, words: &str) -> Option<Msg> {
    let words = words.to_owned();
    Some(match news {
        News::Lost => Msg::FromEngine(FromEngine::Lost(words)),
        News::Handover => Msg::Handover(words),
        News::Warning => Msg::Warning(words),
        News::Exported => Msg::Exported(Ok(words)),
        News::NotExported => Msg::Exported(Err(words)),
        News::Resumed => Msg::Resumed,
        _ => return None,
    })
}

/// The step of the card on screen, or any.
fn step(story: &Story, number: u64) -> StepId {
    let state = story.app.state.as_ref().expect("an incident");
    let steps: Vec<&StepId> = state.runbook.steps().map(|step| &step.id).collect();
    match story.app.card() {
        Some(card) if !number.is_multiple_of(4) => card.step.clone(),
        _ => steps[usize::try_from(number % steps.len() as u64).expect("few steps")].clone(),
    }
}

/// The newest attempt, or any.
fn attempt(story: &Story, number: u64) -> AttemptId {
    let known = story.app.state.as_ref().and_then(|state| state.attempts.keys().next_back().copied());
    let any = AttemptId(u32::try_from(number % 40).expect("small"));
    if number.is_multiple_of(3) { any } else { known.unwrap_or(any) }
}

fn made(step: &StepId, numbers: [u64; 3]) -> Plan {
    let mut made = if numbers[1].is_multiple_of(3) { with_questions(step.as_str()) } else { plan(step.as_str()) };
    match numbers[2] % 12 {
        0 => made.findings.push(Finding::blocking("No.")),
        1 => made.nothing_to_do = Some("It is done.".to_owned()),
        2 => made.by_name = true,
        3 => made.effects.extend((0..60).map(|at| format!("Effect {at}."))),
        4 => made.type_name = Some("redis-ingestion".to_owned()),
        _ => {}
    }
    made
}

fn problem() -> Problem {
    let text = |text: &str| text.to_owned();
    Problem { what: text("scale"), target: text("api"), why: text("403."), next: text("Look, then retry.") }
}

fn notice(story: &Story, news: News, numbers: [u64; 3], words: &str) -> Option<Notice> {
    let [one, two, three] = numbers;
    Some(match news {
        News::Planned => {
            let step = step(story, one);
            Notice::Planned { result: Ok(Box::new(made(&step, numbers))), step }
        }
        News::NoPlan => Notice::Planned { step: step(story, one), result: Err(problem()) },
        News::Output => Notice::Output { attempt: attempt(story, one), offset: two, text: format!("{words}\n") },
        News::Progress => Notice::Progress {
            attempt: attempt(story, one),
            label: "restoring".to_owned(),
            done: two,
            total: (one.is_multiple_of(2)).then_some(three),
            unit: ["bytes", "pods", "of the work"][usize::try_from(two % 3).expect("small")].to_owned(),
            left: (three.is_multiple_of(2)).then_some((one, two)),
            stalled: (two.is_multiple_of(4)).then(|| "nothing moves".to_owned()),
        },
        News::Found => Notice::Found {
            attempt: attempt(story, one),
            needle: words.to_owned(),
            at: (0..three % 5).map(|line| two.saturating_add(line * 7)).collect(),
            upto: two,
            size: three,
        },
        News::Contents => {
            let keys = ["financecopilot-20261123T0600Z", "financecopilot-20261123T0300Z"];
            let key = format!("postgres/{}.dump", keys[usize::try_from(one % 2).expect("small")]);
            let table = |at: u64| TableContents {
                name: format!("public.{words}{at}"),
                bytes: two / (at + 1),
                rows: at.is_multiple_of(2).then_some(three),
            };
            let contents = Contents {
                key: key.clone(),
                version_id: None,
                created: Some(words.to_owned()),
                database: Some(words.to_owned()),
                server: None,
                pg_dump: Some(words.to_owned()),
                compression: words.to_owned(),
                tables: (0..one % 40).map(table).collect(),
            };
            let result = if three.is_multiple_of(5) { Err(words.to_owned()) } else { Ok(contents) };
            Notice::Contents { key, result }
        }
        News::Snapshots => {
            let mut listing = listing();
            if one.is_multiple_of(5) {
                // More than a screen.
                let rows = listing.rows.clone();
                let named =
                    |at: usize| SnapshotRow { key: format!("postgres/{at}.dump"), ..rows[at % rows.len()].clone() };
                listing.rows.extend((0..60).map(named));
                listing.count = listing.rows.len();
            } else {
                listing.rows.truncate(usize::try_from(one % 6).expect("small"));
            }
            for row in &mut listing.rows {
                row.size = two;
            }
            Notice::Snapshots(listing)
        }
        News::Measured => {
            let mut series = measured();
            for series in &mut series {
                series.points.truncate(usize::try_from(one % 9).expect("small"));
            }
            Notice::Measured { step: step(story, two), series }
        }
        News::People => {
            let people = (0..one % 5).map(|at| Person { name: format!("p{at}"), uid: None, watches: at > 1 });
            Notice::People { people: people.collect() }
        }
        News::OutboxWaits => Notice::OutboxWaits { why: "503".to_owned() },
        News::JournalStopped => Notice::JournalStopped { why: "the disk is full".to_owned() },
        News::Log => Notice::Log { at: story.clock, level: LogLevel::Warn, text: "a line".to_owned() },
        _ => return None,
    })
}

fn facts(story: &Story, number: u64) -> Vec<Fact> {
    match number % 4 {
        0 => vec![Fact::Onset { at: at("08:00:00") }],
        1 => vec![Fact::Snapshot { object: dump("b"), taken_at: at("03:00:00") }],
        2 => vec![Fact::SafetyDump { object: dump("safety"), taken_at: moment(story, number) }],
        _ => Vec::new(),
    }
}

fn moment(story: &Story, number: u64) -> Timestamp {
    story.clock - SignedDuration::from_secs(i64::try_from(number % 100_000).expect("small"))
}

fn event(story: &Story, news: News, numbers: [u64; 3], words: &str) -> Option<EventKind> {
    let [one, two, three] = numbers;
    let text = || "text".to_owned();
    let attempt = || attempt(story, one);
    let step = || step(story, one);
    let message = || MessageId(u32::try_from(two % 12).expect("small"));
    let finished = |outcome| EventKind::Finished { attempt: attempt(), outcome };
    Some(match news {
        News::Begun => {
            let known = story.app.state.as_ref().map_or(0, |state| state.attempts.len());
            let attempt = AttemptId(u32::try_from(known).expect("few") + 1);
            EventKind::Approved { attempt, plan: Box::new(made(&step(), numbers)), first: None }
        }
        News::Succeeded => finished(Outcome::Succeeded { evidence: vec![text(), text()], facts: facts(story, two) }),
        News::Failed => finished(Outcome::Failed { problem: problem() }),
        News::Doubt => finished(Outcome::InDoubt { problem: problem() }),
        News::Stopped => finished(Outcome::Stopped { detail: text() }),
        News::Settled => EventKind::Settled {
            attempt: attempt(),
            by: if two.is_multiple_of(2) { Settlement::Probe } else { Settlement::Person },
            outcome: Outcome::Stopped { detail: text() },
        },
        News::StillInDoubt => EventKind::StillInDoubt { attempt: attempt(), problem: problem() },
        News::StopRequested => EventKind::StopRequested { attempt: attempt() },
        News::Remarked => EventKind::Remarked { attempt: attempt(), text: text() },
        News::Consented => EventKind::Consented { plan: Box::new(made(&step(), numbers)) },
        News::Withdrawn => EventKind::ConsentWithdrawn { step: step(), because: text() },
        News::Skipped => EventKind::Skipped { step: step(), reason: text() },
        News::ByHand => EventKind::DoneByHand { step: step(), note: text() },
        News::Reopened => EventKind::Reopened { step: step(), because: text() },
        News::Noted => EventKind::Noted { text: text() },
        News::Corrected => EventKind::Corrected { note: 40 + two % 60, text: text() },
        News::Offered => EventKind::HandoverOffered { text: format!("{words}\n{words}") },
        News::TakenOver => {
            let page = story.app.state.as_ref()?.handover.as_ref()?.page.clone();
            EventKind::TakenOver { page: Digest::of(page.as_bytes()) }
        }
        News::Queued => {
            let channel = if three.is_multiple_of(2) { Channel::SlackMessage } else { Channel::PagerDutyNote };
            EventKind::MessageQueued { message: message(), channel, text: text(), about: 1 + three % 90 }
        }
        News::Sent => EventKind::MessageSent { message: message(), reference: text() },
        News::MessageInDoubt => EventKind::MessageInDoubt { message: message(), problem: problem() },
        News::MessageSettled => {
            EventKind::MessageSettled { message: message(), arrived: three.is_multiple_of(2), note: text() }
        }
        News::MessageFailed => EventKind::MessageFailed { message: message(), problem: problem() },
        News::Alarm => EventKind::Alarm { step: step(), text: text() },
        News::Escalated => EventKind::Escalated { role: text(), note: text() },
        News::Closed => EventKind::Closed {},
        _ => return None,
    })
}
