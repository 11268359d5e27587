//! Hands that do with keys what a person does: read the card, answer, approve, look what became of it.

use relight::incident::{State, StepStatus};
use relight::runbook::{Begins, Step, StepId};

use super::terminal::{Person, Terminal};

/// What the card on the screen wants.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Card {
    /// Questions; the words of the one that tells which. What else is on the screen changes meanwhile, and a form that was
    /// answered must not be answered again: the next card would take the keys. Unless it says that an answer is missing.
    Form(&'static str, bool),
    /// A key.
    Confirm,
    /// This name.
    Name(String),
    /// To be read to its end first; the text says how much is left.
    Unread(String),
    /// It will not be.
    Bad(String),
}

fn card(screen: &str) -> Option<Card> {
    if screen.contains("Refused; nothing was done")
        || screen.contains("Cannot be approved")
        || screen.contains("try again")
    {
        return Some(Card::Bad(screen.to_owned()));
    }
    // No key approves before everything was on screen; which part was shows in how much is left.
    let unread = screen.contains("read on, there is more to see");
    if let (true, Some((_, left))) = (unread, screen.split_once("\u{2193} more (")) {
        return Some(Card::Unread(left.split(')').next().unwrap_or_default().to_owned()));
    }
    if let Some((_, rest)) = screen.split_once("Type ") {
        let name = rest.split(" and press Enter").next().unwrap_or_default();
        return Some(Card::Name(name.to_owned()));
    }
    if screen.contains("y approve this plan") || screen.contains("y skip the step") {
        return Some(Card::Confirm);
    }
    let question = || QUESTIONS.into_iter().find(|words| screen.contains(words)).unwrap_or("");
    screen.contains("show the plan").then(|| Card::Form(question(), screen.contains("an answer is needed")))
}

/// Questions by what tells them; of several on one card the first here.
const QUESTIONS: [&str; 5] =
    ["Which snapshot?", "When did the damage begin", "regulated data", "agrees? (name)", "Ctrl-S"];

/// The step that the cockpit's cursor stands on by itself: the first that is ready.
pub(super) fn current(state: &State) -> Option<Step> {
    state
        .runbook
        .steps()
        .filter(|step| !step.optional)
        .find(|step| state.is_ready(step) && !is_done(state, &step.id))
        .cloned()
}

fn is_done(state: &State, step: &StepId) -> bool {
    state.status(step).is_met()
}

/// Prepares and approves the step under the cursor, and waits until it has ended well.
pub(super) fn carry_out(person: &Person, terminal: &mut Terminal, step: &Step, onset: &str) {
    if step.begins == Begins::Asked {
        approve(person, terminal, step, onset);
    }
    wait_until_done(person, terminal, step);
}

pub(super) fn wait_until_done(person: &Person, terminal: &mut Terminal, step: &Step) {
    terminal.until(&format!("the end of {}", step.title), |_| {
        let state = person.incident()?;
        match state.status(&step.id) {
            status if status.is_met() => Some(()),
            StepStatus::Failed(_) | StepStatus::Stopped(_) | StepStatus::InDoubt(_) => {
                let attempt = state.status(&step.id).attempt().and_then(|id| state.attempts.get(&id));
                panic!("{} ended badly: {:?}", step.title, attempt.and_then(|attempt| attempt.outcome.clone()))
            }
            _ => None,
        }
    });
}

/// Prepares and approves the step under the cursor.
pub(super) fn approve(person: &Person, terminal: &mut Terminal, step: &Step, onset: &str) {
    // The cursor goes to the next step by itself, as soon as the cockpit has heard of the end of the last one.
    let title: String = step.title.chars().take(20).collect();
    terminal.until(&format!("the cursor on {}", step.title), |screen| {
        screen.lines().any(|line| line.contains('\u{203a}') && line.contains(&title)).then_some(())
    });
    terminal.keys("a");
    let begun = |person: &Person| person.incident().is_some_and(|state| state.status(&step.id) != &StepStatus::Pending);
    let mut answered: Vec<Card> = Vec::new();
    loop {
        let wanted = terminal.until(&format!("a card for {}", step.title), |screen| {
            if begun(person) {
                return Some(None);
            }
            card(screen).filter(|card| answered.last() != Some(card)).map(Some)
        });
        let Some(wanted) = wanted else { return };
        match &wanted {
            Card::Bad(screen) => panic!("{} cannot be approved:\n{screen}", step.title),
            Card::Unread(_) => terminal.keys("\x1b[6~"),
            Card::Confirm => terminal.keys("y"),
            Card::Name(name) => {
                let keys = format!("{name}\r");
                terminal.keys(&keys);
            }
            Card::Form(question, _) => answer(terminal, question, onset),
        }
        answered.push(wanted);
    }
}

fn answer(terminal: &mut Terminal, question: &str, onset: &str) {
    match question {
        "When did the damage begin" => terminal.keys(&format!("{onset}\r")),
        "regulated data" => terminal.keys("n\r"),
        "agrees? (name)" => terminal.keys("Dana Reyes\tthe bridge call\r"),
        "Ctrl-S" => terminal.keys("\x13"),
        _ => terminal.keys("\r"),
    }
}
