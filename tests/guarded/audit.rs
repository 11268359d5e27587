//! `relight audit` on the journal of a real incident: whole, changed in every way, cut, and against its seal.

use std::path::{Path, PathBuf};

use relight::incident::Command;
use relight::journal::{self, FILE};

use super::support::{Client, Engine, ID, Person, opening, runbook, text};
use super::tally::{Dice, amount, seed, tell};

/// An incident that a real engine brought to where its journal has something of everything.
async fn written(person: &Person) -> PathBuf {
    let steps = runbook(&[("one", "confirm"), ("two", "confirm")]);
    person.home().create(&super::support::id(), &opening(&steps, "test")).unwrap();
    let config = "environment = 'test'\n[command.effect]\nargv = ['echo', 'it is done']\n";
    std::fs::write(person.path("config.toml"), config).unwrap();
    let mut command = person.command(&["engine", ID, "--config"]);
    command.arg(person.path("config.toml")).stderr(std::process::Stdio::null());
    let _engine = Engine::start(command);
    let mut client = Client::attach(&person.socket(), false).await.unwrap();
    for step in ["one", "two"] {
        let plan = client.plan(step).await;
        client.approve(&plan).await.unwrap();
        client.until_done(step).await;
        client.ask(Command::Note { text: format!("{step} went J well * and no more") }).await.unwrap();
    }
    person.incident().join(FILE)
}

/// What the audit says of these bytes in the journal's place.
fn audit(person: &Person, journal: &Path, bytes: &[u8], more: &[&str]) -> (Option<i32>, String) {
    std::fs::write(journal, bytes).unwrap();
    let words: Vec<&str> = ["audit", ID].iter().chain(more).copied().collect();
    let output = person.run(&words);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    (output.status.code(), text(&output.stdout))
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The lines that an audit finds fault with.
fn named(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("  line ")).collect()
}

#[tokio::test]
async fn a_whole_journal_says_who_approved_what_with_which_plan_and_what_came_of_it() {
    let person = Person::new();
    let path = written(&person).await;
    let whole = std::fs::read(&path).unwrap();
    let (code, said) = audit(&person, &path, &whole, &[]);
    assert_eq!(code, Some(0), "{said}");
    let history = journal::read(&path).unwrap();
    let state = relight::incident::State::replay(&history.events).unwrap();
    for attempt in state.attempts.values() {
        let uid = attempt.by.uid.unwrap();
        let who = format!("{} (uid {uid}) approved attempt {} of {}", attempt.by.name, attempt.id, attempt.step);
        let when = attempt.started_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        assert!(said.lines().any(|line| line.contains(&who) && line.contains(&when)), "{who}: {said}");
        assert!(said.contains(&format!("plan {}", attempt.plan.digest())), "{said}");
        assert!(said.contains(&format!("attempt {} succeeded: effect succeeded", attempt.id)), "{said}");
    }
    assert_eq!(state.attempts.len(), 2);
    assert!(said.contains(&format!("{} events, chain whole", history.events.len())), "{said}");
}

/// Every bit with `make chaos`, a sample of them else: the line is named, and the bit. The program says the first few hundred.
#[tokio::test]
async fn one_flipped_bit_is_found_and_named() {
    let person = Person::new();
    let path = written(&person).await;
    let whole = std::fs::read(&path).unwrap();
    let mut dice = Dice::new(seed());
    let bits = whole.len() as u64 * 8;
    let tried = amount(200, bits);
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at as u64 * 8);
    // Line ends are the hardest, and few: they are in every sample, as are bytes of which one bit makes a line end.
    let makes_end = |byte: u8| (0..8).find(|bit| byte ^ (1 << bit) == b'\n');
    let made = whole.iter().enumerate().filter_map(|(at, byte)| Some(at as u64 * 8 + makes_end(*byte)?)).take(8);
    let hard: Vec<u64> = ends.map(|end| end + dice.below(8)).chain(made).collect();
    let mut count = 0;
    for bit in hard
        .into_iter()
        .chain((0..tried).map(|at| if tried == bits { at } else { dice.below(bits) }))
        .collect::<Vec<_>>()
    {
        let at = usize::try_from(bit / 8).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (bit % 8);
        // Starting a program for each of all the bits would take half an hour and show no more.
        let said = if count < 400 {
            let (code, said) = audit(&person, &path, &bytes, &[]);
            assert_eq!(code, Some(4), "bit {} of byte {at}: {said}", bit % 8);
            said
        } else {
            std::fs::write(&path, &bytes).unwrap();
            let faults = journal::inspect(&path).unwrap();
            let lines: Vec<String> =
                faults.iter().map(|fault| format!("  line {}: {}\n", fault.line, fault.what)).collect();
            lines.concat()
        };
        let case = format!("bit {} of byte {at}: {said}", bit % 8);
        let line = whole[..at].split(|byte| *byte == b'\n').count();
        let column = at - whole[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1) + 1;
        let how = match (whole[at], bytes[at]) {
            (b'\n', _) if at + 1 == whole.len() => "it is whole, and another byte stands where its line end".to_owned(),
            (b'\n', _) => "stands where a line end was written, at byte".to_owned(),
            (_, b'\n') => "a line end stands where".to_owned(),
            _ => "one bit differs: byte".to_owned(),
        };
        let [only] = named(&said)[..] else { panic!("{case}") };
        assert!(only.starts_with(&format!("{line}: ")) && only.contains(&how), "{case}");
        let whole_end = at + 1 == whole.len();
        assert!(whole_end || only.contains(&format!("byte {column}")), "{case}");
        count += 1;
    }
    tell("one bit of a journal flipped, and named by the audit", count, count);
}

#[tokio::test]
async fn every_dropped_line_and_every_swapped_pair_is_found_and_named() {
    let person = Person::new();
    let path = written(&person).await;
    let whole = std::fs::read(&path).unwrap();
    let all = lines(&whole);
    let mut count = 0;
    for dropped in 0..all.len() - 1 {
        let bytes = [&all[..dropped], &all[dropped + 1..]].concat().concat();
        let (code, said) = audit(&person, &path, &bytes, &[]);
        let number = dropped + 1;
        let wanted =
            format!("{number}: event {} stands where event {number} belongs: event {number} is missing", number + 1);
        assert_eq!((code, named(&said)), (Some(4), vec![wanted.as_str()]), "{said}");
        count += 1;
    }
    for first in 0..all.len() {
        for second in first + 1..all.len() {
            let mut order = all.clone();
            order.swap(first, second);
            let (code, said) = audit(&person, &path, &order.concat(), &[]);
            let (a, b) = (first + 1, second + 1);
            let swapped = |at: usize, is: usize| {
                format!(
                    "{at}: event {is} stands where event {at} belongs, and that one in its place: they were swapped"
                )
            };
            assert_eq!(code, Some(4), "{said}");
            assert_eq!(named(&said), [swapped(a, b), swapped(b, a)], "{said}");
            count += 1;
        }
    }
    // A line that stands twice, and one that somebody wrote anew with a right checksum.
    let twice = [&all[..3], &all[2..]].concat().concat();
    let (code, said) = audit(&person, &path, &twice, &["--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let only = serde_json::json!([{ "line": 4, "what": "event 3 stands here another time" }]);
    assert_eq!((code, &said["faults"]), (Some(4), &only));
    std::fs::write(&path, &whole).unwrap();
    let mut events = journal::read(&path).unwrap().events;
    events[2].actor.name = "somebody else".to_owned();
    let before = text(&all[2][all[2].len() - 84..all[2].len() - 20]);
    let forged = journal::encode(&events[2], &before).unwrap() + "\n";
    let bytes = [&all[..2].concat(), forged.as_bytes(), &all[3..].concat()].concat();
    let (code, said) = audit(&person, &path, &bytes, &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(named(&said)[0].starts_with("4: it was written behind another event 3"), "{said}");
    tell("lines of a journal dropped or swapped, and named by the audit", count, count);
}

/// Lines that are missing at the end, or a journal written anew as a whole, show only against what was kept elsewhere.
#[tokio::test]
async fn what_the_chain_cannot_tell_shows_against_a_seal() {
    let person = Person::new();
    let path = written(&person).await;
    let whole = std::fs::read(&path).unwrap();
    let all = lines(&whole);
    let last = all.len();
    let (code, seal) = audit(&person, &path, &whole, &["--seal"]);
    let seal = seal.trim();
    assert_eq!((code, seal.split_once(':').unwrap().0), (Some(0), last.to_string().as_str()));
    let short = format!("{last}:{}", &seal.split_once(':').unwrap().1[..16]);
    // What people keep anyway has it.
    for format in ["pagerduty", "markdown", "json"] {
        let exported = text(&person.run(&["export", ID, "--format", format]).stdout);
        assert!(exported.contains(&short) || exported.contains(seal), "{format}: {exported}");
    }
    let (code, said) = audit(&person, &path, &whole, &["--against", &short]);
    assert!(code == Some(0) && said.contains(&format!("It holds what was sealed as {short}.")), "{said}");
    for kept in 1..last {
        let bytes = all[..kept].concat();
        let (code, said) = audit(&person, &path, &bytes, &[]);
        assert!(code == Some(0) && said.contains("shows only against a seal"), "{said}");
        let (code, said) = audit(&person, &path, &bytes, &["--against", &short]);
        assert_eq!(code, Some(4), "{said}");
        let missing = format!("The end is missing: event {last} was sealed, and the journal ends with event {kept}.");
        assert!(said.contains(&missing), "{said}");
    }
    std::fs::write(&path, &whole).unwrap();
    let mut events = journal::read(&path).unwrap().events;
    events[1].actor.name = "somebody else".to_owned();
    std::fs::remove_file(&path).unwrap();
    let mut forged = journal::Journal::create(&person.incident()).unwrap();
    forged.append(&events).unwrap();
    drop(forged);
    let forged = std::fs::read(&path).unwrap();
    assert_eq!(audit(&person, &path, &forged, &[]).0, Some(0), "its chain is whole");
    let (code, said) = audit(&person, &path, &forged, &["--against", seal]);
    assert!(code == Some(4) && said.contains("It is another journal up to event"), "{said}");
}
