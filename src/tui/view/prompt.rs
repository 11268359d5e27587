//! Short questions: a line of text, a confirmation, a doubt, the form of an export.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{AttemptId, Outcome, duration_text};
use crate::tui::app::App;
use crate::tui::overlay::{Confirm, Prompt, Purpose};
use crate::tui::perform::settled_dependents;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang};

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
        Purpose::Settle { happened, .. } => {
            let word = if *happened { "It happened" } else { "It did not happen" };
            (word.to_owned(), "How do you know? This goes into the timeline.".to_owned())
        }
        Purpose::Escalate { role } => (format!("Told: {role}"), "What did you tell them?".to_owned()),
    };
    let (_, column) = prompt.editor.position();
    let room = width.saturating_sub(2);
    let shift = (column + 1).saturating_sub(room);
    let seen: String = prompt.editor.text().chars().skip(shift).collect();
    let mut body: Vec<Line<'static>> = text::wrap(&question, width).into_iter().map(Line::from).collect();
    let cursor = Some((body.len(), column - shift + 2));
    body.push(Line::from(vec![
        Span::styled("> ", theme.key()),
        Span::styled(text::fit(&seen, room, ""), theme.strong()),
    ]));
    if let Some(fault) = &prompt.fault {
        body.extend(hang("!", theme.bad(), fault, theme.bad(), width));
    }
    let foot = if prompt.sent {
        vec![Line::from(Span::styled("Waiting for the engine.", theme.active()))]
    } else {
        keys(app, &[("Enter", "record"), ("Esc", "cancel")], width)
    };
    Sheet { title, body, foot, cursor, ..Sheet::default() }
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
            let foot = keys(app, &[("y", "stop it"), ("any other key", "let it go on")], width);
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
            let foot = keys(app, &[("y", "open it again"), ("any other key", "cancel")], width);
            Sheet { title: "Retry".to_owned(), body, foot, ..Sheet::default() }
        }
    }
}

pub(super) fn settle(app: &App, id: AttemptId, width: usize) -> Sheet {
    let theme = app.theme;
    let attempt = app.state.as_ref().and_then(|state| state.attempts.get(&id));
    let mut body = Vec::new();
    let words = "Nobody knows whether this attempt had its effect. It is never run again blindly: look at the target, then say.";
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
    let foot = keys(app, &[("h", "it happened"), ("n", "it did not"), ("any other key", "decide later")], width);
    Sheet { title, body, foot, ..Sheet::default() }
}

pub(super) fn text(app: &App, title: &str, words: &str, scroll: usize, width: usize) -> Sheet {
    let body = words.lines().flat_map(|line| text::wrap(line, width)).map(Line::from).collect();
    let foot = keys(app, &[("j k", "scroll"), ("Esc", "close")], width);
    Sheet { title: title.to_owned(), body, foot, scroll, ..Sheet::default() }
}

pub(super) fn export(app: &App, width: usize) -> Sheet {
    let forms = [("p", "plain text for PagerDuty"), ("m", "report in Markdown"), ("j", "JSON")];
    let body = forms.into_iter().flat_map(|form| keys(app, &[form], width)).collect();
    let foot = keys(app, &[("any other key", "cancel")], width);
    Sheet { title: "Export the timeline to a file".to_owned(), body, foot, ..Sheet::default() }
}
