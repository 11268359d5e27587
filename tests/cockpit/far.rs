//! A terminal far away: what is on its way to it has not been read by anybody.

use rustix::process::Signal;

use super::process::{ends, signal};
use super::terminal::{Person, Terminal};

const RUNBOOK: &str = r#"
id = "test"
title = "Test"
[[phase]]
id = "make"
title = "Make something"
[[phase.step]]
id = "make.file"
title = "Make a file"
why = "It is missing."
approval = "confirm"
action.run_command = { command = "command.file" }
"#;

/// The cockpit before its only step.
fn cockpit(person: &Person) -> Terminal {
    let cwd = person.folder().display();
    let config = format!("environment = 'test'\n[command.file]\nargv = ['/bin/touch', 'file']\ncwd = '{cwd}'\n");
    let words = format!("start {}", person.prepare(&config, RUNBOOK).join(" "));
    let mut terminal = Terminal::start(person, &[&words], 32, 120);
    terminal.until_shown("Make a file");
    terminal
}

fn end(person: &Person, mut terminal: Terminal) {
    terminal.keys("q");
    terminal.ended();
    let engine = person.engine();
    ends(engine, || signal(engine, Signal::TERM));
}

/// The answer is behind what was typed while the plan was on its way.
#[test]
fn a_key_typed_before_the_terminal_has_the_plan_approves_nothing() {
    let person = Person::new();
    let mut terminal = cockpit(&person);
    // It answers, so that nothing counts from then on before it has.
    terminal.keys("1gja");
    terminal.until_shown("y approve this plan");
    terminal.keys("\x1b");
    terminal.until("the card closed", |screen| (!screen.contains("What will happen")).then_some(()));
    terminal.answer_later();
    terminal.keys("a");
    terminal.until_shown("only what is typed after this is on screen counts");
    terminal.keys("y");
    terminal.answer_again();
    terminal.until_shown("y approve this plan");
    assert!(!person.folder().join("file").exists());
    terminal.keys("y");
    terminal.until_shown("Make a file: file succeeded");
    assert!(person.folder().join("file").exists());
    end(&person, terminal);
}

/// Somebody has to be able to use a terminal that answers nothing.
#[test]
fn on_a_terminal_that_never_answers_a_plan_counts_once_it_is_written() {
    let person = Person::new();
    let mut terminal = cockpit(&person);
    terminal.answer_later();
    terminal.keys("1gja");
    terminal.until_shown("y approve this plan");
    terminal.keys("y");
    terminal.until_shown("Make a file: file succeeded");
    end(&person, terminal);
}
