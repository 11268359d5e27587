//! Nothing that comes from outside makes a terminal do anything, whichever command prints it.

use std::fmt::Write as _;
use std::path::PathBuf;

use relight::incident::{
    Actor, AttemptId, Event, EventKind, Fact, MessageId, Outcome, Plan, Problem, State, TargetIdentity,
};
use relight::journal::Journal;
use relight::runbook::StepId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::support::{Engine, ID, Person, id, opening};
use super::tally::{Dice, amount, seed, tell};

/// What terminals obey, in pieces of which any order is as bad.
const PIECES: [&str; 22] = [
    "\u{1b}",
    "\u{1b}[2J",
    "\u{1b}[31m",
    "\u{1b}]0;owned\u{7}",
    "\u{1b}]52;c;aGk=\u{1b}\\",
    "\u{1b}P$qm\u{1b}\\",
    "\u{9b}5n",
    "\u{9d}0;owned\u{9c}",
    "\u{90}+q\u{9c}",
    "\u{7}",
    "\u{8}\u{8}\u{8}",
    "\r",
    "\n",
    "\t",
    "\u{b}",
    "\u{e}",
    "\u{7f}",
    "\u{85}",
    "\u{202e}",
    "\u{2066}",
    "\u{1b}[6n",
    "\u{0}",
];

fn hostile(dice: &mut Dice) -> String {
    let mut bytes = Vec::new();
    for _ in 0..dice.below(12) + 4 {
        match dice.below(3) {
            0 => bytes.push(u8::try_from(dice.below(256)).unwrap()),
            _ => bytes.extend(PIECES[usize::try_from(dice.below(22)).unwrap()].as_bytes()),
        }
        bytes.extend(b"x");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value with every text in it made hostile that may be any text, as far as `fine` accepts it.
fn spoiled<T: Serialize + DeserializeOwned>(value: &T, bad: &str, fine: impl Fn(&T) -> bool) -> T {
    let mut json = serde_json::to_value(value).unwrap();
    for path in texts(&json, String::new()) {
        let mut changed = json.clone();
        let leaf = changed.pointer_mut(&path).unwrap();
        *leaf = Value::String(format!("{bad}{}{bad}", leaf.as_str().unwrap()));
        if serde_json::from_value(changed.clone()).is_ok_and(|value| fine(&value)) {
            json = changed;
        }
    }
    serde_json::from_value(json).unwrap()
}

fn texts(json: &Value, at: String) -> Vec<String> {
    match json {
        Value::String(_) => vec![at],
        Value::Array(all) => all.iter().enumerate().flat_map(|(key, it)| texts(it, format!("{at}/{key}"))).collect(),
        Value::Object(all) => all
            .iter()
            .flat_map(|(key, it)| texts(it, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))))
            .collect(),
        _ => Vec::new(),
    }
}

/// TOML may hold any character, escaped.
fn toml(text: &str) -> String {
    let unit = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\U{:08X}", u32::from(c)) };
    text.chars().map(unit).collect()
}

fn problem() -> Problem {
    let text = |text: &str| text.to_owned();
    Problem { what: text("what"), target: text("target"), why: text("why"), next: text("next") }
}

/// Something of everything that an incident can be told.
fn kinds() -> Vec<EventKind> {
    let text = |text: &str| text.to_owned();
    let plan = |step: &str| {
        let mut plan = Plan::new(
            StepId::new(step),
            TargetIdentity { name: text("target"), proofs: [(text("id"), text("1"))].into() },
        );
        plan.effects = vec![text("it is done")];
        Box::new(plan)
    };
    let approved =
        |attempt, step: &str| EventKind::Approved { attempt: AttemptId(attempt), plan: plan(step), first: None };
    let finished = |attempt, outcome| EventKind::Finished { attempt: AttemptId(attempt), outcome };
    let pagerduty = Fact::PagerDuty { id: text("P1"), number: 1, url: text("https://u"), adopted: false };
    vec![
        EventKind::Noted { text: text("a note") },
        EventKind::Corrected { note: 2, text: text("another") },
        approved(1, "a"),
        finished(1, Outcome::Succeeded { evidence: vec![text("proved")], facts: vec![pagerduty] }),
        approved(2, "b"),
        finished(2, Outcome::Failed { problem: problem() }),
        approved(3, "c"),
        finished(3, Outcome::InDoubt { problem: problem() }),
        EventKind::Skipped { step: StepId::new("d"), reason: text("reason") },
        EventKind::DoneByHand { step: StepId::new("e"), note: text("note") },
        EventKind::Escalated { role: text("role"), note: text("note") },
        EventKind::MessageQueued {
            message: MessageId(1),
            channel: relight::incident::Channel::PagerDutyNote,
            text: text("message"),
            about: 2,
        },
        EventKind::MessageFailed { message: MessageId(1), problem: problem() },
        EventKind::HandoverOffered { text: text("the page\nand more of it") },
    ]
}

/// An incident whose every text is hostile.
fn incident(person: &Person, bad: &str) -> State {
    let mut runbook = format!("id = 'test'\ntitle = \"{0}\"\n[[phase]]\nid = 'p'\ntitle = \"{0}\"\n", toml(bad));
    for step in ["a", "b", "c", "d", "e", "f"] {
        let _ = write!(
            runbook,
            "[[phase.step]]\nid = '{step}'\ntitle = \"{step}{0}\"\nwhy = \"{0}\"\napproval = 'confirm'\n\
             action.run_command = {{ command = 'command.effect', changes = true }}\n",
            toml(bad)
        );
    }
    let first =
        spoiled(&opening(&runbook, "test"), bad, |event| State::open(event).is_ok_and(|state| state.id == id()));
    let mut state = State::open(&first).unwrap();
    person.home().create(&id(), &first).unwrap();
    let (mut journal, _) = Journal::open(&person.incident()).unwrap();
    let mut spoilt = 0;
    for kind in kinds() {
        let actor = Actor { name: "ana".to_owned(), uid: Some(1000) };
        let event = Event { seq: state.seq + 1, at: first.at, actor, kind };
        let accepts = |event: &Event| state.clone().apply(event).is_ok();
        assert!(accepts(&event), "{event:?}");
        let event = spoiled(&event, bad, accepts);
        spoilt += serde_json::to_string(&event).unwrap().matches('x').count();
        state.apply(&event).unwrap();
        journal.append(std::slice::from_ref(&event)).unwrap();
    }
    assert!(spoilt > 50, "{spoilt}");
    state
}

/// Nothing but what is printed as it is, ends of lines, and tabs.
fn harmless(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let bad = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let found = text.lines().find(|line| line.chars().any(bad));
    assert_eq!(found, None, "{what}");
}

#[test]
fn no_command_prints_what_a_terminal_would_obey() {
    let mut dice = Dice::new(seed());
    let tried = amount(5, 200);
    for _ in 0..tried {
        let bad = hostile(&mut dice);
        let person = Person::new();
        let config = person.path("config.toml");
        std::fs::write(&config, "environment = 'test'\n[command.effect]\nargv = ['true']\n").unwrap();
        let state = incident(&person, &bad);
        let file = person.path("out");
        let file = file.to_str().unwrap();
        let mut command = person.command(&["engine", ID, "--config"]);
        command.arg(&config).stderr(std::process::Stdio::null());
        let engine = Engine::start(command);
        for words in [
            &["list", "--all"][..],
            &["list", "--json"],
            &["audit", ID],
            &["audit", ID, "--json"],
            &["export", ID],
            &["export", ID, "--format", "markdown"],
            &["export", ID, "--format", "json"],
            &["export", ID, "--output", file],
            &["handover", ID],
            &["handover", ID, "--take"],
            &["handover", ID, "--take", "--confirm", "0"],
        ] {
            let output = person.run(words);
            let case = format!("{words:?} with {bad:?}");
            harmless(&case, &output.stdout);
            harmless(&case, &output.stderr);
            assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{case}: {output:?}");
            if words.ends_with(&["--json"]) || words.ends_with(&["json"]) {
                let said: Value = serde_json::from_slice(&output.stdout).unwrap();
                // It is escaped, not left out: a program reads what was there.
                let database = said.pointer("/0/database").or_else(|| said.pointer("/database"));
                assert!(words[0] == "audit" || database.and_then(Value::as_str) == Some(&state.database), "{case}");
            }
        }
        harmless("the file of an export", &std::fs::read(file).unwrap());
        drop(engine);
    }
    tell("hostile texts in every field of an incident, printed by every command", tried, tried);
}

/// Names of files and what is in them come back in errors.
#[test]
fn no_error_prints_what_a_terminal_would_obey() {
    let person = Person::new();
    let name = |ending: &str| -> PathBuf { person.path(&format!("a\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}{ending}")) };
    let config = name(".toml");
    for text in ["environment = 'a'\n\"b\\u001B[2J\\u009B5n\" = 1\n", "environment = 1\n", "x = [\u{9b}2J\n"] {
        std::fs::write(&config, text).unwrap();
        let output = person.command(&["check", "--config"]).arg(&config).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        harmless(text, &output.stderr);
        let output = person.command(&["runbook", "validate"]).arg(&config).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        harmless(text, &output.stderr);
    }
    let output = person.command(&["check", "--config"]).arg(name("none")).output().unwrap();
    harmless("no such file", &output.stderr);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no config at"));
    let output = person.command(&["list", "--state-dir"]).arg(name("state")).output().unwrap();
    harmless("no such folder", &output.stdout);
    // A journal that cannot be read, in a folder of such a name.
    let home = relight::engine::Home::find(Some(&name("state"))).unwrap();
    home.create(&id(), &opening(relight::runbook::BUILT_IN, "test")).unwrap();
    std::fs::write(home.folder(&id()).join("journal.jsonl"), "{\u{1b}[2J}\n").unwrap();
    for words in [&["list"][..], &["audit", ID], &["export", ID], &["engine", ID]] {
        let output = person.command(words).arg("--state-dir").arg(name("state")).output().unwrap();
        harmless("a damaged journal", &output.stdout);
        harmless("a damaged journal", &output.stderr);
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty());
    }
}
