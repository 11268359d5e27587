//! The incident in lines: a whole runbook by prompts through pipes, on a real engine; and looking without touching.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use relight::incident::{EventKind, State, StepStatus};
use relight::runbook::StepId;
use rustix::process::{Pid, Signal};

use super::process::{ends, runs, signal};
use super::terminal::{Person, Terminal};

/// A test that waits longer than this for a line has failed.
const PATIENCE: Duration = Duration::from_mins(1);

const RUNBOOK: &str = r#"
id = "test"
title = "Test"
[[phase]]
id = "make"
title = "Make things"
[[phase.step]]
id = "make.look"
title = "Look around"
why = "To know."
approval = "none"
action.run_command = { command = "command.look" }
[[phase.step]]
id = "make.file"
title = "Make a file"
why = "It is wanted."
approval = "confirm"
needs = ["make.look"]
undo = "make.unfile"
action.run_command = { command = "command.file" }
[[phase.step]]
id = "make.named"
title = "Make a grave file"
why = "It is wanted."
approval = "type"
needs = ["make.file"]
action.run_command = { command = "command.named" }
[[phase.step]]
id = "make.mended"
title = "Use what is mended"
why = "It fails until it is mended."
approval = "confirm"
needs = ["make.named"]
action.run_command = { command = "command.mended" }
[[phase.step]]
id = "make.left"
title = "Leave this out"
why = "Nobody wants it."
approval = "confirm"
needs = ["make.mended"]
action.run_command = { command = "command.look" }
[[phase.step]]
id = "make.long"
title = "Wait for ever"
why = "It is stopped."
approval = "confirm"
needs = ["make.left"]
action.run_command = { command = "command.long" }
[[phase.step]]
id = "make.unfile"
title = "Take the file away"
why = "It was not wanted."
approval = "confirm"
optional = true
action.run_command = { command = "command.unfile" }
"#;

/// Writes a config and the runbook; the words that name them.
fn prepared(person: &Person) -> [String; 4] {
    let cwd = person.folder().display();
    let mut text = "environment = 'test'\n".to_owned();
    for (name, words) in [
        ("look", "echo all is there"),
        ("file", "touch file"),
        ("unfile", "rm file"),
        ("named", "touch named"),
        ("mended", "test -e mended"),
        ("long", "echo waiting; exec sleep 600"),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[command.{name}]\nargv = ['/bin/sh', '-c', '{words}']\ncwd = '{cwd}'\ntimeout = '10m'");
    }
    person.prepare(&text, RUNBOOK)
}

/// The program between two pipes.
struct Lines {
    child: Child,
    keyboard: Option<ChildStdin>,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Lines {
    fn start(person: &Person, words: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_relight"))
            .args(words)
            .envs(person.environment())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (send, said) = channel();
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { keyboard: child.stdin.take(), child, said, heard: Vec::new() }
    }

    fn types(&mut self, line: &str) {
        let keyboard = self.keyboard.as_mut().expect("it is open");
        keyboard.write_all(format!("{line}\n").as_bytes()).expect("a line is taken");
    }

    /// The first line from here on that holds these words.
    fn until(&mut self, words: &str) -> String {
        loop {
            let line = self
                .said
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|ended| panic!("`{words}` was not said ({ended}), but:\n{}", self.heard.join("\n")));
            assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
            self.heard.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Reads the card that is put, and consents to it as it says.
    fn consent(&mut self) {
        let ask = self.until("Type ");
        let (yes, _) = ask.strip_prefix("Type ").and_then(|ask| ask.split_once(" to ")).expect("what it takes");
        let yes = yes.to_owned();
        self.types(&yes);
    }

    /// Closes the pipe, and waits for the end.
    fn leaves(mut self) -> Vec<String> {
        drop(self.keyboard.take());
        assert!(self.child.wait().expect("it ends").success());
        self.heard.extend(self.said.iter());
        self.heard
    }
}

fn state(person: &Person) -> State {
    person.incident().expect("an incident")
}

fn status(person: &Person, step: &str) -> StepStatus {
    state(person).status(&StepId::new(step)).clone()
}

fn engine(person: &Person) -> Pid {
    let events = person.history().expect("a journal").events;
    let mut pids = events.iter().filter_map(|event| match event.kind {
        EventKind::EngineStarted { pid, .. } => i32::try_from(pid).ok().and_then(Pid::from_raw),
        _ => None,
    });
    pids.next_back().expect("an engine")
}

#[test]
fn a_whole_runbook_is_done_by_lines() {
    let person = Person::new();
    let options = prepared(&person);
    let mut words = vec!["start", "--plain"];
    words.extend(options.iter().map(String::as_str));
    let mut lines = Lines::start(&person, &words);
    let there = |name: &str| person.folder().join(name).exists();

    lines.until("Next: 1 open, Look around (reads)");
    lines.types("a");
    lines.until("Look around: ");
    lines.until("Next: 2 open, Make a file");
    lines.types("a");
    lines.until("What will happen");
    let ask = lines.until("Type y ");
    // A yes that names no plan, and Enter alone, do nothing.
    lines.types("y");
    lines.until("Nothing was done");
    lines.types("");
    lines.until("to approve exactly this");
    assert_eq!(status(&person, "make.file"), StepStatus::Pending);
    assert!(!there("file"));
    let yes = ask.strip_prefix("Type ").and_then(|ask| ask.split_once(" to ")).expect("what it takes").0.to_owned();
    lines.types(&yes);
    lines.until("Next: 3 open, Make a grave file (by name)");
    assert!(there("file"));

    lines.types("a");
    lines.consent();
    lines.until("Next: 4 open, Use what is mended");
    assert!(there("named"));

    lines.types("a");
    lines.consent();
    lines.until("What to do: ");
    lines.until("Needs you: 4 failed, Use what is mended");
    assert!(matches!(status(&person, "make.mended"), StepStatus::Failed(_)));
    lines.types("w the disk was mended at 04:12");
    lines.until("the disk was mended at 04:12");
    std::fs::write(person.folder().join("mended"), "").expect("written");
    lines.types("r");
    lines.until("Next: 4 open, Use what is mended");
    lines.types("a 4");
    lines.consent();
    lines.until("Next: 5 open, Leave this out");

    everything_else(&person, &mut lines);
    let engine = engine(&person);
    let heard = lines.leaves();
    assert!(heard.iter().any(|line| line.contains("everything goes on")), "{heard:?}");
    assert!(runs(engine), "the engine goes on");
    ends(engine, || signal(engine, Signal::TERM));
}

/// Skips, stops, does by hand, takes back, exports and hands over.
fn everything_else(person: &Person, lines: &mut Lines) {
    lines.types("s");
    lines.until("Why is it left out?");
    lines.types("nobody wants it");
    lines.until("Next: 6 open, Wait for ever");
    assert!(matches!(status(person, "make.left"), StepStatus::Skipped(_)));

    lines.types("a");
    lines.consent();
    lines.until("Wait for ever approved by");
    lines.types("x");
    lines.consent();
    lines.until("Needs you: 6 stopped, Wait for ever");
    lines.types("m");
    lines.until("What was done, and where?");
    lines.types("waited on another host");
    lines.until("done by hand by");
    assert!(matches!(status(person, "make.long"), StepStatus::DoneByHand(_)));

    lines.types("u 2");
    lines.until("Take the file away (takes back Make a file)");
    lines.consent();
    lines.until("Take the file away: ");
    assert!(!person.folder().join("file").exists());

    lines.types("e");
    lines.until("Type w ");
    lines.types("w");
    let written = lines.until("written to ");
    let (_, path) = written.split_once("written to ").expect("a path");
    assert!(std::fs::read_to_string(path).expect("a file").contains("the disk was mended"));
    lines.types(".");
    lines.until("Closed.");
    lines.types("H");
    lines.consent();
    lines.until("hands the incident over");
    let page = state(person).handover.expect("a page").page;
    assert!(page.contains("- Make a file: It is wanted."), "{page}");
}

#[test]
fn whoever_only_looks_starts_nothing_and_is_refused_by_the_engine() {
    let person = Person::new();
    let options = prepared(&person);
    let with = |words: &[&'static str]| -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).chain(options.iter().cloned()).collect()
    };
    let run = |words: &[&'static str]| {
        let words = with(words);
        person.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // No incident is started, by no way of asking.
    let bare = run(&["--read-only", "--plain"]);
    assert!(bare.status.success());
    assert!(String::from_utf8_lossy(&bare.stdout).contains("--read-only starts none"));
    for verb in ["start", "drill", "rehearse", "handover"] {
        let refused = run(&[verb, "--read-only"]);
        assert_eq!(refused.status.code(), Some(2), "{verb}");
    }
    assert!(person.incident_folder().is_none());

    let words = with(&["start", "--plain"]);
    let mut first = Lines::start(&person, &words.iter().map(String::as_str).collect::<Vec<_>>());
    first.until("Next: 1 open");
    let mut other = Lines::start(&person, &["--plain", "--read-only"]);
    other.until("You only look on");
    for line in ["a", "s", "m", "w a note", "r"] {
        other.types(line);
        other.until("You only look on");
    }
    other.types("1");
    other.until("1 open, Look around");
    // What happens is told to whoever looks on.
    first.types("w from the one who may");
    other.until("from the one who may");
    // Whoever is attached is counted; the engine said so before it told of the note.
    other.types("");
    other.until("2 people");
    let notes = person.history().expect("a journal").events.into_iter();
    assert_eq!(notes.filter(|event| matches!(event.kind, EventKind::Noted { .. })).count(), 1);

    // No engine is started either.
    let engine = engine(&person);
    ends(engine, || signal(engine, Signal::TERM));
    other.until("The engine is gone");
    let refused = run(&["attach", "--read-only", "--plain"]);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("--read-only starts none") && why.contains("relight attach"), "{why}");
    assert_eq!(self::engine(&person), engine, "no other was started");
}

#[test]
fn a_terminal_that_cannot_show_a_screen_is_told_in_lines() {
    let person = Person::new();
    let options = prepared(&person);
    let mut words = vec!["start"];
    words.extend(options.iter().map(String::as_str));
    let mut terminal = Terminal::start_as("dumb", &person, &words, 24, 200);
    terminal.until_shown("cannot show a full screen");
    terminal.until_shown("Next: 1 open, Look around (reads)");
    terminal.keys("a\r");
    terminal.until_shown("Next: 2 open, Make a file");
    let engine = engine(&person);
    // Ctrl-C leaves, as everywhere.
    terminal.keys("\x03");
    terminal.until_shown("everything goes on");
    assert_eq!(terminal.ended(), 0);
    assert!(runs(engine), "the engine goes on");
    ends(engine, || signal(engine, Signal::TERM));
}
