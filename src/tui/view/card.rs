//! The plan card: what will happen to what, and what it takes to let it happen.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{Ask, AskKind, Gravity, Plan, clock, duration_text};
use crate::runbook::{Approval, Step, StepId};
use crate::tui::app::App;
use crate::tui::card::{Card, Stage, expected_name, takes_name};
use crate::tui::form::question;
use crate::tui::text;

use super::form;
use super::prompt::MOMENT;
use super::sheet::{Sheet, hang, heading};

pub(super) fn sheet(app: &App, card: &Card, width: usize) -> Sheet {
    let step = app.state.as_ref().and_then(|state| state.runbook.step(&card.step));
    let name = step.map_or_else(|| card.step.to_string(), |step| step.title.clone());
    let undone = card.undoes.as_ref().and_then(|id| app.state.as_ref()?.runbook.step(id));
    let title = match undone {
        Some(undone) => format!("{name} (takes back {})", undone.title),
        None => name,
    };
    let mut sheet = match &card.stage {
        Stage::Loading | Stage::Overtaken(_) => loading(app, width),
        Stage::Form(form) => form::sheet(app, form, card, width),
        Stage::Review | Stage::Approving => review(app, card, step, width),
        Stage::Failed(problem) => {
            let (glyph, style) = app.theme.gravity(Gravity::Blocking);
            let mut body = hang(glyph, style, &format!("{} on {}", problem.what, problem.target), style, width);
            body.push(Line::default());
            body.extend(hang(" ", style, &problem.why, Style::new(), width));
            body.push(Line::default());
            body.extend(hang(" ", style, &problem.next, app.theme.strong(), width));
            Sheet { body, foot: keys(app, &[("a", "try again"), ("Esc", "close")], width), ..Sheet::default() }
        }
        Stage::Refused(why) => {
            let (glyph, style) = app.theme.gravity(Gravity::Blocking);
            let mut body = vec![Line::from(Span::styled("Refused; nothing was done.", style)), Line::default()];
            body.extend(hang(glyph, style, why, Style::new(), width));
            Sheet { body, foot: keys(app, &[("a", "plan again"), ("Esc", "close")], width), ..Sheet::default() }
        }
    };
    if let Stage::Overtaken(words) = &card.stage {
        let (glyph, style) = app.theme.gravity(Gravity::Warning);
        let mut body = hang(glyph, style, words, Style::new(), width);
        body.push(Line::default());
        body.extend(hang(" ", style, "Nothing of what you typed here was taken.", Style::new(), width));
        sheet = Sheet { body, foot: keys(app, &[("Esc", "close")], width), ..Sheet::default() };
    }
    sheet.title = title;
    sheet.scroll = card.scroll;
    sheet
}

/// Keys and what they do, on as many lines as it takes.
pub(super) fn keys(app: &App, keys: &[(&str, &str)], width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for (key, does) in keys {
        let taken = text::width(key) + text::width(does) + 1;
        if lines.last().is_some_and(|line| line.width() > 0 && line.width() + taken > width) {
            lines.push(Line::default());
        }
        if let Some(line) = lines.last_mut() {
            line.push_span(Span::styled((*key).to_owned(), app.theme.key()));
            line.push_span(Span::raw(format!(" {does}   ")));
        }
    }
    lines
}

fn loading(app: &App, width: usize) -> Sheet {
    let words = "Looking at the target and working out what would happen. Nothing is changed.";
    Sheet {
        body: hang(" ", app.theme.dim(), words, app.theme.dim(), width),
        foot: keys(app, &[("Esc", "cancel")], width),
        ..Sheet::default()
    }
}

fn review(app: &App, card: &Card, step: Option<&Step>, width: usize) -> Sheet {
    let Some((plan, _)) = &card.plan else { return loading(app, width) };
    let theme = app.theme;
    let mut body = Vec::new();
    if card.changed {
        let words = "The plan changed while it was on screen. Read it again.";
        body.extend(hang(theme.gravity(Gravity::Warning).0, theme.warning(), words, theme.warning(), width));
        body.push(Line::default());
    }
    let consent = app.state.as_ref().and_then(|state| state.consents.get(&card.step));
    if let Some(consent) =
        consent.filter(|consent| card.plan.as_ref().is_some_and(|(_, it)| consent.plan.digest() == *it))
    {
        let by = if consent.by == app.you { "You" } else { consent.by.name.as_str() };
        let words = format!(
            "{by} approved exactly this {} ago. It takes a second person, from another account.",
            duration_text(app.now.duration_since(consent.at))
        );
        body.extend(hang(theme.gravity(Gravity::Warning).0, theme.warning(), &words, theme.warning(), width));
        body.push(Line::default());
    } else if step.is_some_and(|step| step.approval == Approval::TwoPerson) {
        let words = "It takes two people: you approve it first, then somebody else from another account.";
        body.extend(hang(theme.gravity(Gravity::Warning).0, theme.warning(), words, theme.warning(), width));
        body.push(Line::default());
    }
    body.extend(target(app, plan, width));
    if let Some(undone) = &plan.undoes {
        let title = app.state.as_ref().and_then(|state| state.runbook.step(undone));
        let title = title.map_or_else(|| undone.to_string(), |step| step.title.clone());
        body.extend(hang("takes back", theme.warning(), &title, theme.strong(), width));
    }
    body.extend(findings(app, plan, &[Gravity::Blocking, Gravity::Warning], width));
    if let Some(reason) = &plan.nothing_to_do {
        body.extend(heading("Nothing to do", app));
        body.extend(hang(theme.gravity(Gravity::Good).0, theme.good(), reason, Style::new(), width));
    }
    if !plan.effects.is_empty() {
        body.extend(heading("What will happen", app));
        for effect in &plan.effects {
            body.extend(hang(theme.bullet(), theme.active(), effect, Style::new(), width));
        }
    }
    if !plan.asks.is_empty() {
        body.extend(heading("What you said", app));
        for ask in &plan.asks {
            let value = said(ask);
            // What is to be sent, a card says once.
            let stands_above = |line: &str| plan.effects.iter().any(|effect| effect.contains(line.trim()));
            let value = if ask.kind == AskKind::Text && !value.is_empty() && value.lines().all(stands_above) {
                "as above".to_owned()
            } else {
                value
            };
            let mut lines = value.lines();
            let asked = question(ask);
            let colon = if asked.ends_with('?') { "" } else { ":" };
            let words = format!("{asked}{colon} {}", lines.next().unwrap_or(theme.dash()));
            body.extend(hang(theme.bullet(), theme.dim(), &words, Style::new(), width));
            for line in lines {
                body.extend(hang("   ", theme.dim(), line, Style::new(), width));
            }
        }
    }
    let essential = body.len();
    body.extend(findings(app, plan, &[Gravity::Good], width));
    body.extend(the_last_time(app, &card.step, width));
    if !plan.undo.is_empty() {
        body.extend(heading("The way back", app));
        body.extend(hang(" ", theme.dim(), &plan.undo, Style::new(), width));
    }
    if !plan.commands.is_empty() {
        // On a card that takes a name, c is a letter of it.
        let copies = if takes_name(plan, step) && !theme.is_read_out() { "Ctrl-T" } else { "c" };
        body.extend(heading(&format!("The same by hand ({copies} copies)"), app));
        for command in &plan.commands {
            body.extend(hang("$", theme.dim(), command, theme.dim(), width));
        }
    }
    let mut sheet = Sheet { body, essential, grave: is_live(app), ..Sheet::default() };
    // Where no key approves yet, none is offered.
    let why = if card.stage != Stage::Review || plan.obstacle().is_some() {
        None
    } else if !card.is_shown() {
        Some(Span::styled(MOMENT, app.theme.dim()))
    } else if sheet.essential > card.seen && card.scroll > card.seen {
        Some(Span::styled("k: what lies above was not on screen yet", app.theme.warning()))
    } else if sheet.essential > card.seen {
        Some(Span::styled("j: read on, there is more to see", app.theme.warning()))
    } else {
        None
    };
    foot(app, card, plan, step, width, why.map(Line::from), &mut sheet);
    sheet
}

/// What a step took in an earlier incident or drill; nothing where none is known.
pub(super) fn the_last_time(app: &App, step: &StepId, width: usize) -> Vec<Line<'static>> {
    let Some(before) = app.precedents.get(step) else { return Vec::new() };
    let mut lines = heading("The last time", app).to_vec();
    lines.extend(hang(" ", app.theme.dim(), &format!("It took {}.", before.says(app.now)), Style::new(), width));
    lines
}

/// An answer as people read it.
fn said(ask: &Ask) -> String {
    match (&ask.kind, ask.value.parse()) {
        (AskKind::Time, Ok(at)) => clock(at),
        (AskKind::Choice(choices), _) => choices
            .iter()
            .find(|choice| choice.value == ask.value)
            .map_or_else(|| ask.value.clone(), |choice| choice.label.clone()),
        _ => ask.value.clone(),
    }
}

/// The incident is about something real.
fn is_live(app: &App) -> bool {
    app.state.as_ref().is_some_and(|state| !state.environment.eq_ignore_ascii_case("drill"))
}

fn target(app: &App, plan: &Plan, width: usize) -> Vec<Line<'static>> {
    let theme = app.theme;
    let environment = app.state.as_ref().map_or("", |state| state.environment.as_str());
    let plate = theme.plate(environment);
    let word = text::fit(&environment.to_uppercase(), 16, theme.ellipsis());
    let mut lines = hang("on", theme.dim(), &plan.target.name, theme.strong(), width);
    // A name is never cut on this card; the plate goes under it where both do not fit.
    if lines.last().is_none_or(|line| line.width() + text::width(&word) + 4 > width) {
        lines.push(Line::default());
    }
    if let Some(line) = lines.last_mut() {
        line.push_span(Span::raw("  "));
        line.push_span(Span::styled(format!(" {word} "), plate));
    }
    for (proof, value) in &plan.target.proofs {
        lines.extend(hang("  ", theme.dim(), &format!("{proof} {value}"), theme.dim(), width));
    }
    lines
}

fn findings(app: &App, plan: &Plan, wanted: &[Gravity], width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for gravity in wanted {
        let found = plan.findings.iter().filter(|finding| finding.gravity == *gravity);
        for finding in found {
            if lines.is_empty() {
                let words = if *gravity == Gravity::Good { "Checked" } else { "Look at this first" };
                lines.extend(heading(words, app));
            }
            let (glyph, style) = app.theme.gravity(*gravity);
            let words = if *gravity == Gravity::Good { Style::new() } else { style };
            lines.extend(hang(glyph, style, &finding.text, words, width));
        }
    }
    lines
}

/// The keys that the plan takes; `not_yet` stands in their place while they do not count.
fn foot(
    app: &App,
    card: &Card,
    plan: &Plan,
    step: Option<&Step>,
    width: usize,
    not_yet: Option<Line<'static>>,
    sheet: &mut Sheet,
) {
    let theme = app.theme;
    if card.stage == Stage::Approving {
        sheet.foot.push(Line::from(Span::styled("Approved; waiting for the engine.", theme.active())));
        return;
    }
    if let Some(why) = plan.obstacle() {
        let (glyph, style) = theme.gravity(Gravity::Blocking);
        sheet.foot.extend(hang(glyph, style, &format!("Cannot be approved: {why}"), style, width));
        let mut offered = vec![("Esc", "close")];
        if !plan.asks.is_empty() {
            offered.push(("i", "change the answers"));
        }
        sheet.foot.extend(keys(app, &offered, width));
        return;
    }
    if let Some(fault) = &card.fault {
        sheet.foot.extend(hang("!", theme.bad(), fault, theme.bad(), width));
    }
    if takes_name(plan, step) {
        let name = expected_name(plan);
        let counts = not_yet.is_none();
        let words = text::wrap(&format!("Type {name} and press Enter to approve; Esc cancels."), width);
        let words = words.into_iter().map(|line| Line::from(Span::styled(line, theme.strong())));
        sheet.foot.extend(not_yet.map_or_else(|| words.collect(), |line| vec![line]));
        let column = card.typed.column();
        let shift = (column + 3).saturating_sub(width);
        let typed: String = card.typed.text().chars().skip(shift).collect();
        sheet.foot_cursor = counts.then_some((sheet.foot.len(), column + 2 - shift));
        sheet.foot.push(Line::from(vec![
            Span::styled("> ", theme.key()),
            Span::raw(text::fit(&typed, width.saturating_sub(2), "")),
        ]));
        return;
    }
    if let Some(line) = not_yet {
        sheet.foot.push(line);
        return;
    }
    let does = if plan.nothing_to_do.is_some() { "skip the step with this as the reason" } else { "approve this plan" };
    let mut offered = vec![("y", does)];
    if !plan.asks.is_empty() {
        offered.push(("i", "answers"));
    }
    offered.extend([("j k", "scroll"), ("any other key", "cancel")]);
    sheet.foot.extend(keys(app, &offered, width));
}
