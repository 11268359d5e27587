//! Every way to lose a cockpit while a program floods its output: the cockpit is gone at once, the engine and its program
//! go on, and nothing is left in the end.

use std::time::{Duration, Instant};

use relight::incident::{EventKind, StepStatus};
use relight::runbook::StepId;
use rustix::fs::inotify;
use rustix::process::{Pid, Signal};

use super::process::{changes, child, ends, memory, of, runs, signal, stands_in_a_write, used};
use super::tally::{amount, tell};
use super::terminal::{Person, Terminal};

/// It prints until it is told to end: as fast as it can, or, where `calm` lies in its folder, a hundred thousand lines a
/// second.
const FLOOD: &str = "while [ ! -e over ]; do yes 'launching item 3507 TABLE DATA transactions of a large table' | head -n 20000; \
                     if [ -e calm ]; then sleep 0.2; fi; done; echo the flood is over";

const RUNBOOK: &str = r#"
id = "test"
title = "Test"
[[phase]]
id = "noise"
title = "Make noise"
[[phase.step]]
id = "noise.flood"
title = "Flood the output"
why = "It must go on whatever becomes of the terminal."
approval = "none"
action.run_command = { command = "command.flood" }
"#;

/// A person before whom a program floods the output.
struct Flood {
    person: Person,
    first: Option<Terminal>,
    engine: Pid,
}

/// A person with a config and a runbook; the words that start an incident with them.
pub(super) fn prepared(person: &Person) -> Vec<String> {
    let cwd = person.folder().display();
    let config = format!(
        "environment = 'test'\n[command.flood]\nargv = ['/bin/sh', '-c', \"{FLOOD}\"]\ncwd = '{cwd}'\ntimeout = '30m'"
    );
    std::iter::once("start".to_owned()).chain(person.prepare(&config, RUNBOOK)).collect()
}

impl Flood {
    fn begin() -> Self {
        let person = Person::new();
        let words = prepared(&person);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut first = Terminal::start(&person, &words, 32, 120);
        first.until_shown("Flood the output");
        first.keys("gja");
        first.until("output of the flood", |_| {
            let log = person.incident_folder()?.join("output/1.log");
            std::fs::metadata(log).ok().filter(|meta| meta.len() > 0).map(|_| ())
        });
        let engine = person.engine();
        Self { person, first: Some(first), engine }
    }

    fn first(&mut self) -> Terminal {
        self.first.take().expect("it was not lost yet")
    }

    fn attach(&self) -> Terminal {
        let mut terminal = Terminal::start(&self.person, &["attach"], 32, 120);
        terminal.until_shown("Flood the output");
        terminal
    }

    /// Bytes that the flood has printed, all of them on disk.
    fn printed(&self) -> u64 {
        let log = self.person.incident_folder().expect("an incident").join("output/1.log");
        std::fs::metadata(log).expect("a log").len()
    }

    /// Waits until so much more was printed.
    fn goes_on(&self, bytes: u64) {
        let wanted = self.printed() + bytes;
        let log = self.person.incident_folder().expect("an incident").join("output/1.log");
        // Between two looks it is quiet here until the log has grown.
        let grows = inotify::init(inotify::CreateFlags::CLOEXEC).expect("the system tells of files");
        inotify::add_watch(&grows, log, inotify::WatchFlags::MODIFY).expect("a log");
        let mut told = [0; 4096];
        while self.printed() < wanted {
            assert!(changes(&grows), "the flood stands still at {} of {wanted}", self.printed());
            rustix::io::read(&grows, &mut told).expect("it was told");
        }
        assert!(runs(self.engine), "the engine goes on");
    }

    /// Ends the flood: its step succeeds, and when the engine has ended nothing is left.
    fn end(self, mut terminal: Terminal) {
        std::fs::write(self.person.folder().join("over"), "").expect("written");
        let step = StepId::new("noise.flood");
        terminal.until("the end of the flood", |screen| {
            let state = self.person.incident()?;
            let done = matches!(state.status(&step), StepStatus::Succeeded(_));
            (done && screen.contains("the flood is over")).then_some(())
        });
        let state = self.person.incident().expect("an incident");
        assert_eq!(state.steps[&step].attempts.len(), 1, "it ran once");
        let log = std::fs::read(self.person.incident_folder().expect("a folder").join("output/1.log")).expect("a log");
        assert!(log.ends_with(b"the flood is over\n"));
        terminal.keys("q");
        assert_eq!(terminal.ended(), 0);
        let others: Vec<_> = of(self.person.folder())
            .into_iter()
            .filter(|(pid, words)| *pid != self.engine && !words.starts_with("script "))
            .collect();
        assert_eq!(others, []);
        ends(self.engine, || signal(self.engine, Signal::TERM));
    }
}

/// The cockpit on a terminal.
fn cockpit(on: &Terminal) -> Pid {
    child(on.holder()).expect("a cockpit runs")
}

#[test]
fn a_closed_terminal_and_every_signal_end_the_cockpit_and_nothing_else() {
    let mut flood = Flood::begin();
    let first = flood.first();
    ends(cockpit(&first), || first.hang_up());
    flood.goes_on(1 << 20);
    for number in [Signal::HUP, Signal::TERM, Signal::KILL] {
        let terminal = flood.attach();
        let pid = cockpit(&terminal);
        ends(pid, || signal(pid, number));
        flood.goes_on(1 << 20);
    }
    let last = flood.attach();
    flood.end(last);
}

#[test]
fn a_terminal_that_nobody_reads_holds_up_neither_the_engine_nor_the_end_of_the_cockpit() {
    let mut flood = Flood::begin();
    for number in [Signal::HUP, Signal::TERM] {
        let terminal = flood.first.take().unwrap_or_else(|| flood.attach());
        let pid = cockpit(&terminal);
        signal(terminal.holder(), Signal::STOP);
        let since = Instant::now();
        while !stands_in_a_write(pid) {
            assert!(since.elapsed().as_secs() < 60, "the terminal takes all that is written");
            std::thread::yield_now();
        }
        let (before, since) = (used(pid), Instant::now());
        flood.goes_on(20 << 20);
        let (used, passed) = (used(pid).saturating_sub(before), since.elapsed());
        assert!(used * 2 < passed, "it used {used:?} of {passed:?} while nobody read");
        ends(pid, || signal(pid, number));
        signal(terminal.holder(), Signal::CONT);
    }
    let last = flood.attach();
    flood.end(last);
}

#[test]
fn a_terminal_that_nobody_reads_for_long_costs_no_memory() {
    let long = Duration::from_secs(amount(3, 600));
    let mut flood = Flood::begin();
    let terminal = flood.first();
    let pid = cockpit(&terminal);
    signal(terminal.holder(), Signal::STOP);
    // Until what stands between them is full.
    flood.goes_on(40 << 20);
    std::fs::write(flood.person.folder().join("calm"), "").expect("written");
    // What is in flight at a moment comes and goes: the least of a quarter of the time is what is kept. In the first half an
    // engine that has just begun comes to the memory that a flood takes, read or not.
    let mut least = [[u64::MAX; 2]; 4];
    for quarter in &mut least {
        let since = Instant::now();
        while since.elapsed() < long / 4 {
            flood.goes_on(1 << 20);
            *quarter = [quarter[0].min(memory(pid)), quarter[1].min(memory(flood.engine))];
        }
    }
    for (at, who) in ["cockpit", "engine"].into_iter().enumerate() {
        let all = least.map(|quarter| quarter[at]);
        assert!(all[3] <= all[2] + (1 << 20), "bytes of the {who}, quarter by quarter: {all:?}");
    }
    signal(terminal.holder(), Signal::CONT);
    flood.end(terminal);
    let seconds = long.as_secs();
    tell("seconds of a flood that nobody reads, in the last quarter of which no memory is added", seconds, seconds);
}

#[test]
fn a_terminal_that_is_read_again_shows_how_things_are_now() {
    let mut flood = Flood::begin();
    let terminal = flood.first();
    signal(terminal.holder(), Signal::STOP);
    flood.goes_on(20 << 20);
    signal(terminal.holder(), Signal::CONT);
    flood.end(terminal);
}

/// What goes on without the engine that started it is waited for by the next one, and ends when a person says so.
#[test]
fn what_outlived_its_engine_is_stopped_through_the_next_one() {
    let mut flood = Flood::begin();
    let mut terminal = flood.first();
    ends(flood.engine, || signal(flood.engine, Signal::KILL));
    terminal.until_shown("The engine is lost");
    let printed = flood.printed();
    terminal.keys("r");
    terminal.until_shown("in doubt");
    terminal.until("more output", |_| (flood.printed() > printed).then_some(()));
    terminal.keys("gja");
    terminal.until_shown("stop what still runs of it");
    // Nobody may call it undone while it is being done.
    terminal.keys("n");
    terminal.until_shown("the target has not answered yet");
    terminal.keys("ax");
    terminal.until_shown("y stop it");
    terminal.keys("y");
    let step = StepId::new("noise.flood");
    let next = terminal.until("its end", |_| {
        let history = flood.person.history()?;
        let state = flood.person.incident()?;
        let attempt = state.attempts.values().next()?;
        (!attempt.is_being_asked() && attempt.stop_requested && attempt.outcome.is_some()).then_some(())?;
        history.events.iter().rev().find_map(|event| match event.kind {
            EventKind::EngineStarted { pid, .. } => i32::try_from(pid).ok().and_then(Pid::from_raw),
            _ => None,
        })
    });
    assert_ne!(next, flood.engine);
    assert_eq!(flood.person.incident().expect("an incident").steps[&step].attempts.len(), 1);
    let printed = flood.printed();
    terminal.keys("q");
    terminal.ended();
    let left: Vec<_> = of(flood.person.folder())
        .into_iter()
        .filter(|(pid, words)| *pid != next && !words.starts_with("script "))
        .collect();
    assert_eq!(left, []);
    assert_eq!(flood.printed(), printed);
    ends(next, || signal(next, Signal::TERM));
}

/// Ctrl-Z gives the terminal to the shell as it was, and `fg` brings the cockpit back as things are by then.
#[test]
fn a_shell_has_the_terminal_for_a_while_and_gives_it_back() {
    let mut flood = Flood::begin();
    flood.first().hang_up();
    let commands = "set -m; $RELIGHT attach; stty -a | grep -c -- -icanon; echo the shell has it; read line; echo \"got $line\"; fg; stty sane";
    let mut terminal = Terminal::shell(&flood.person, commands, 32, 120);
    terminal.until_shown("Flood the output");
    terminal.keys("\x1a");
    terminal.until_shown("the shell has it");
    assert!(!terminal.text().contains("Checklist"), "{}", terminal.text());
    assert!(terminal.text().lines().any(|line| line == "0"), "lines are edited again:\n{}", terminal.text());
    flood.goes_on(1 << 20);
    terminal.keys("fine\n");
    terminal.until_shown("Flood the output");
    terminal.keys("?");
    terminal.until_shown("Keys");
    terminal.keys("\x1b");
    flood.end(terminal);
}

/// Nobody could continue what no shell started: it is not stopped.
#[test]
fn a_cockpit_that_no_shell_could_bring_back_stays() {
    let mut flood = Flood::begin();
    let mut terminal = flood.first();
    terminal.keys("\x1a");
    terminal.keys("?");
    terminal.until_shown("Keys");
    terminal.keys("\x1b");
    flood.end(terminal);
}

#[test]
fn a_cockpit_that_is_stopped_for_a_while_holds_nothing_up_and_goes_on() {
    let mut flood = Flood::begin();
    let terminal = flood.first();
    let pid = cockpit(&terminal);
    signal(pid, Signal::STOP);
    flood.goes_on(20 << 20);
    signal(pid, Signal::CONT);
    // Its holder stops itself with it.
    signal(terminal.holder(), Signal::CONT);
    flood.end(terminal);
}
