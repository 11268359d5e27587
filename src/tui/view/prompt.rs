//! Short questions: words, a confirmation, a doubt.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{AttemptId, Channel, MessageState, Outcome, OwedMessage, duration_text};
use crate::tui::app::App;
use crate::tui::overlay::{Confirm, Prompt, Purpose};
use crate::tui::perform::settled_dependents;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang, heading};

pub(super) fn sheet(app: &App, prompt: &Prompt, width: usize) -> Sheet {
    let theme = app.theme;
    let title_of = |step: &crate::runbook::StepId| {
        app.state
            .as_ref()
            .and_then(|state| state.runbook.step(step))
            .map_or_else(|| step.to_string(), |s| s.title.clone())
    };
    let (title, question) = match &prompt.purpose {
        Purpose::Skip(step) => (format!("Skip: {}", title_of(step)), "Why is it left out?".to_owned()),
        Purpose::ByHand(step) => (format!("Done by hand: {}", title_of(step)), "What was done, and where?".to_owned()),
        Purpose::Note => ("Note".to_owned(), "What should the timeline say?".to_owned()),
        Purpose::Correct { .. } => {
            let question = "What should it say? What it says now stays in the journal.";
            ("Correct a note".to_owned(), question.to_owned())
        }
        Purpose::Settle { happened, .. } => {
            let word = if *happened { "It happened" } else { "It did not happen" };
            (word.to_owned(), "How do you know? This goes into the timeline.".to_owned())
        }
        Purpose::SettleMessage { arrived, .. } => {
            let word = if *arrived { "It arrived" } else { "It did not arrive: it is sent again" };
            (word.to_owned(), "How do you know? This goes into the timeline.".to_owned())
        }
        Purpose::Escalate { role } => (format!("Told: {role}"), "What did you tell them?".to_owned()),
    };
    // Whoever has it read out wants its lines; rows as wide as they would have to be take much memory.
    let (rows, (row, column)) = if theme.is_read_out() {
        (prompt.draft.text().lines().map(str::to_owned).collect(), (0, 0))
    } else {
        prompt.draft.rows(width.saturating_sub(2))
    };
    let mut body: Vec<Line<'static>> = Vec::new();
    // What is to be said stays in sight of whoever is on the phone.
    if let Purpose::Escalate { role } = &prompt.purpose
        && let Some(one) = app.escalations().into_iter().find(|one| one.contact.role == *role)
    {
        body.extend(hang(theme.bullet(), theme.active(), &one.contact.reach, theme.strong(), width));
        body.extend(hang("  ", theme.dim(), &one.say, Style::new(), width));
        body.push(Line::default());
    }
    // The list that it was chosen from may have changed meanwhile.
    if let Purpose::SettleMessage { message, .. } = &prompt.purpose
        && let Some(message) = app.state.as_ref().and_then(|state| state.messages.get(message))
    {
        let words = format!("{}: {}", message.channel.name(), message.text);
        body.extend(hang(theme.bullet(), theme.warning(), &words, theme.strong(), width));
        body.push(Line::default());
    }
    body.extend(text::wrap(&question, width).into_iter().map(Line::from));
    let cursor = Some((body.len() + row, column + 2));
    body.extend(rows.into_iter().enumerate().map(|(at, words)| {
        let begin = if at == 0 { "> " } else { "  " };
        Line::from(vec![Span::styled(begin, theme.key()), Span::styled(words, theme.strong())])
    }));
    if let Some(fault) = &prompt.fault {
        body.extend(hang("!", theme.bad(), fault, theme.bad(), width));
    }
    let foot = if prompt.sent.is_some() {
        vec![Line::from(Span::styled("Waiting for the engine.", theme.active()))]
    } else {
        keys(app, &[("Enter", "record"), ("Esc", "cancel")], width)
    };
    Sheet { title, body, foot, cursor, keep: cursor.map(|(row, _)| row), ..Sheet::default() }
}

/// Stands where keys will, until they count.
pub(super) const MOMENT: &str = "One moment: only what is typed after this is on screen counts.";

/// The keys of a question whose `y` does something, once they count.
fn asking(app: &App, offered: &[(&str, &str)], width: usize) -> Vec<Line<'static>> {
    if app.is_read() || app.theme.is_read_out() {
        return keys(app, offered, width);
    }
    vec![Line::from(Span::styled(MOMENT, app.theme.dim()))]
}

pub(super) fn confirm(app: &App, confirm: &Confirm, width: usize) -> Sheet {
    let theme = app.theme;
    let Some(state) = &app.state else { return Sheet::default() };
    match confirm {
        Confirm::Stop(id) => {
            let mut body = Vec::new();
            if let Some(attempt) = state.attempts.get(id) {
                let title = state.runbook.step(&attempt.step).map_or("", |step| step.title.as_str());
                let ran = duration_text(app.now.duration_since(attempt.started_at));
                let words = format!("{title}, attempt {id}, at work for {ran} on {}", attempt.plan.target.name);
                body.extend(
                    text::wrap(&words, width).into_iter().map(|line| Line::from(Span::styled(line, theme.strong()))),
                );
                body.push(Line::default());
                for effect in &attempt.plan.effects {
                    body.extend(hang(theme.bullet(), theme.warning(), effect, Style::new(), width));
                }
                body.push(Line::default());
                let words = "It is asked to stop, then made to. What it did so far stays done.";
                body.extend(text::wrap(words, width).into_iter().map(Line::from));
                if !attempt.plan.undo.is_empty() {
                    body.extend(
                        text::wrap(&format!("The way back: {}", attempt.plan.undo), width).into_iter().map(Line::from),
                    );
                }
            }
            let foot = asking(app, &[("y", "stop it"), ("any other key", "let it go on")], width);
            Sheet { title: "Stop a running step".to_owned(), body, foot, grave: true, ..Sheet::default() }
        }
        Confirm::Retry(step) => {
            let title = state.runbook.step(step).map_or("", |step| step.title.as_str());
            let mut body: Vec<Line<'static>> =
                text::wrap(&format!("{title} is opened again. Nothing is changed on its target."), width)
                    .into_iter()
                    .map(Line::from)
                    .collect();
            let others = settled_dependents(state, step);
            if !others.is_empty() {
                body.push(Line::default());
                let words = "These rest on it: they are opened too, and their approvals are void.";
                body.extend(
                    text::wrap(words, width).into_iter().map(|line| Line::from(Span::styled(line, theme.warning()))),
                );
                for other in others {
                    body.extend(hang(theme.bullet(), theme.warning(), other, Style::new(), width));
                }
            }
            let foot = asking(app, &[("y", "open it again"), ("any other key", "cancel")], width);
            Sheet { title: "Retry".to_owned(), body, foot, ..Sheet::default() }
        }
        Confirm::Withdraw(step) => {
            let title = state.runbook.step(step).map_or("", |step| step.title.as_str());
            let by = state.consents.get(step).map_or("", |consent| consent.by.name.as_str());
            let words =
                format!("{by} approved {title} as the first of two people. It is taken back: nothing was done.");
            let body = text::wrap(&words, width).into_iter().map(Line::from).collect();
            let foot = asking(app, &[("y", "take it back"), ("any other key", "let it stand")], width);
            Sheet { title: "First approval".to_owned(), body, foot, ..Sheet::default() }
        }
    }
}

pub(super) fn settle(app: &App, id: AttemptId, width: usize) -> Sheet {
    let theme = app.theme;
    let attempt = app.state.as_ref().and_then(|state| state.attempts.get(&id));
    let mut body = Vec::new();
    let is_asked = app.is_being_asked(id);
    let words = if is_asked {
        "Nobody knows yet whether this attempt had its effect: its target is being asked, and what still runs of it is waited for."
    } else {
        "Nobody knows whether this attempt had its effect. It is never run again blindly: look at the target, then say."
    };
    body.extend(text::wrap(words, width).into_iter().map(|line| Line::from(Span::styled(line, theme.warning()))));
    body.push(Line::default());
    let mut title = format!("In doubt: attempt {id}");
    if let Some(attempt) = attempt {
        let step = app.state.as_ref().and_then(|state| state.runbook.step(&attempt.step));
        title = format!("In doubt: {}, attempt {id}", step.map_or("", |step| step.title.as_str()));
        body.extend(hang("on", theme.dim(), &attempt.plan.target.name, theme.strong(), width));
        for effect in &attempt.plan.effects {
            body.extend(hang(theme.bullet(), theme.dim(), effect, Style::new(), width));
        }
        if let Some(Outcome::InDoubt { problem }) = &attempt.outcome {
            body.push(Line::default());
            body.extend(hang("why ", theme.dim(), &problem.why, Style::new(), width));
            body.extend(hang("next", theme.dim(), &problem.next, Style::new(), width));
        }
    }
    let asked = [("x", "stop what still runs of it"), ("any other key", "wait")];
    let open =
        [("h", "it happened"), ("n", "it did not"), ("r", "ask the target again"), ("any other key", "decide later")];
    let foot = keys(app, if is_asked { asked.as_slice() } else { &open }, width);
    Sheet { title, body, foot, ..Sheet::default() }
}

/// What waits to be sent, and what may have arrived.
pub(super) fn outbox(app: &App, selected: usize, scroll: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let Some(state) = &app.state else { return Sheet::default() };
    let mut body = Vec::new();
    let said = |message: &OwedMessage| format!("{}  {}", message.at.strftime("%H:%M:%SZ"), message.text);
    for channel in Channel::ALL {
        let unsent: Vec<&OwedMessage> = state.unsent().filter(|message| message.channel == channel).collect();
        if !unsent.is_empty() {
            body.extend(heading(&format!("Waiting for {}: {}", channel.name(), unsent.len()), app));
            for message in unsent {
                body.extend(hang(theme.bullet(), theme.dim(), &said(message), Style::new(), width));
            }
        }
    }
    if let Some(why) = &app.outbox_waits {
        body.extend(hang("!", theme.warning(), why, theme.warning(), width));
    }
    let doubtful: Vec<&OwedMessage> = state.doubtful_messages().collect();
    if !doubtful.is_empty() {
        body.extend(heading("In doubt: look whether it is there", app));
    }
    for (at, message) in doubtful.iter().enumerate() {
        let (style, mark) = if at == selected { (theme.selected(), theme.cursor()) } else { (Style::new(), " ") };
        body.extend(hang(
            mark,
            theme.warning(),
            &format!("{}: {}", message.channel.name(), said(message)),
            style,
            width,
        ));
        if let MessageState::InDoubt(problem) = &message.state {
            body.extend(hang("   ", theme.dim(), &format!("{} {}", problem.why, problem.next), theme.dim(), width));
        }
    }
    let failed = state.messages.values().filter_map(|message| match &message.state {
        MessageState::Failed(problem) => Some((message, problem)),
        _ => None,
    });
    for (message, problem) in failed {
        body.extend(hang("x ", theme.bad(), &format!("given up: {}", said(message)), Style::new(), width));
        body.extend(hang("   ", theme.dim(), &format!("{} {}", problem.why, problem.next), theme.dim(), width));
    }
    if body.is_empty() {
        body.push(Line::from("Nothing is waiting; everything that was owed has arrived."));
    }
    let mut offered = vec![("j k", "scroll")];
    if !doubtful.is_empty() {
        offered.extend([("h", "it arrived"), ("n", "it did not: send it again"), ("Tab", "the next one")]);
    }
    offered.push(("Esc", "close"));
    Sheet { title: "Outbox".to_owned(), body, foot: keys(app, &offered, width), scroll, ..Sheet::default() }
}

/// A page that waits to be taken over, or one that would be written.
pub(super) fn handover(app: &App, page: &str, offered: bool, scroll: usize, width: usize) -> Sheet {
    let body = page.lines().flat_map(|line| text::wrap(line, width)).map(Line::from).collect();
    let (title, does) = if offered {
        ("Take the incident over", "I read it, and take over")
    } else {
        ("Hand the incident over", "let this page wait for whoever takes over")
    };
    let foot = asking(app, &[("y", does), ("j k", "read on"), ("c", "copy"), ("Esc", "later")], width);
    Sheet { title: title.to_owned(), body, foot, scroll, ..Sheet::default() }
}

pub(super) fn text(app: &App, title: &str, words: &str, scroll: usize, width: usize) -> Sheet {
    let body = words.lines().flat_map(|line| text::wrap(line, width)).map(Line::from).collect();
    let foot = keys(app, &[("j k", "scroll"), ("Esc", "close")], width);
    Sheet { title: title.to_owned(), body, foot, scroll, ..Sheet::default() }
}
