//! What a terminal is told beyond what it draws, and what a person of a new account sees.

use rustix::process::Signal;

use super::process::{ends, signal};
use super::terminal::{Person, Terminal};

const RUNBOOK: &str = r#"
id = "test"
title = "Test"
[[phase]]
id = "noise"
title = "Make noise"
[[phase.step]]
id = "noise.fail"
title = "Fail at once"
why = "Somebody must be called."
approval = "none"
action.run_command = { command = "command.fail" }
"#;

/// A person's config, with more behind it, and runbook; the words that start an incident with them.
fn words(person: &Person, more: &str) -> String {
    let config = format!("environment = 'test'\n[command.fail]\nargv = ['/bin/false']\n{more}");
    format!("start {}", person.prepare(&config, RUNBOOK).join(" "))
}

/// The engine of a person's only incident ends.
fn end(person: &Person, mut terminal: Terminal) {
    terminal.keys("q");
    terminal.ended();
    let engine = person.engine();
    ends(engine, || signal(engine, Signal::TERM));
}

#[test]
fn a_failure_rings_the_bell_and_the_title_says_that_somebody_is_needed() {
    let person = Person::new();
    let mut terminal = Terminal::start(&person, &[&words(&person, "")], 32, 120);
    // Nobody has seen a cockpit here before; the next key ends the hint.
    terminal.until_shown("New here? ? all keys");
    let id = person.incident().expect("an incident").id;
    terminal.until_titled(&format!("relight {id}: needs you"));
    assert!(!terminal.tells_of_its_mouse(), "it is the terminal's own where nobody asked for it");
    assert_eq!(terminal.told().bells, 0);
    terminal.keys("gja");
    terminal.until_titled(&format!("relight {id}: failed, needs you"));
    assert_eq!(terminal.told().bells, 1);
    assert!(!terminal.text().contains("New here?"), "{}", terminal.text());
    terminal.keys("q");
    terminal.ended();
    let mut again = Terminal::start(&person, &["attach"], 32, 120);
    again.until_titled(&format!("relight {id}: failed, needs you"));
    assert!(!again.text().contains("New here?"), "{}", again.text());
    assert_eq!(again.told().bells, 0, "nothing happened since");
    end(&person, again);
}

#[test]
fn the_mouse_is_told_of_where_the_config_asks_and_chooses_what_it_presses() {
    let person = Person::new();
    let mut terminal = Terminal::start(&person, &[&words(&person, "[cockpit]\nmouse = true\n")], 32, 120);
    terminal.until_shown("Fail at once");
    assert!(terminal.tells_of_its_mouse());
    let row = terminal.text().lines().position(|line| line.contains("Fail at once")).expect("its row") + 1;
    // Pressed and let go in the form of xterm's SGR mode.
    terminal.keys(&format!("\x1b[<0;8;{row}M\x1b[<0;8;{row}m"));
    let on = |screen: &str| screen.lines().any(|line| line.contains('\u{203a}') && line.contains("Fail at once"));
    terminal.until("the cursor on the step", |screen| on(screen).then_some(()));
    assert!(person.incident().expect("an incident").attempts.is_empty(), "a press acts on nothing");
    end(&person, terminal);
}

#[test]
fn the_log_of_the_program_is_cut_down_by_part_and_level() {
    let person = Person::new();
    let mut terminal = Terminal::start(&person, &[&words(&person, "")], 32, 120);
    terminal.until_shown("Fail at once");
    terminal.keys("gja");
    terminal.until_shown("exit code 1");
    terminal.keys("L");
    let began = "attempt 1 begins: noise.fail";
    terminal.until_shown(began);
    // The only part that has said anything; debug and information go, all at once.
    terminal.keys("j--");
    terminal.until("no word of the engine's below a warning", |screen| (!screen.contains(began)).then_some(()));
    terminal.keys("++");
    terminal.until_shown(began);
    terminal.keys("\x1b");
    terminal.until("the checklist", |screen| (!screen.contains("Program log")).then_some(()));
    end(&person, terminal);
}
