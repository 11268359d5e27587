//! Carries out what a person asked for on the main screen.

use crate::incident::{Attempt, AttemptId, Command, Digest, Inputs, Level, Query, State, StepStatus, clock};
use crate::runbook::{Action, Approval, Step, StepId};
use crate::wire::ToEngine;

use super::action::UiAction;
use super::app::{App, Asked, LongLines, Pane};
use super::browse;
use super::card::{Card, Stage};
use super::checklist::{self, Place, Row};
use super::edit::Editor;
use super::export::Exporting;
use super::heard;
use super::history;
use super::movement;
use super::msg::Out;
use super::overlay::{Confirm, Overlay, Prompt, Purpose};
use super::seek;

/// Columns that output moves sideways at once.
const SIDE: usize = 20;

impl App {
    pub(super) fn ask(&mut self, asked: Asked) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, asked);
        id
    }

    pub(super) fn command(&mut self, asked: Asked, command: Command) -> Out {
        let id = self.ask(asked);
        Out::Send(ToEngine::Command { id, command })
    }
}

/// The command that consents to a plan.
pub(super) fn approve(app: &mut App, step: StepId, digest: Digest, typed: Option<String>) -> Out {
    app.command(Asked::Approve(step.clone()), Command::Approve { step, digest, typed })
}

/// The command that asks for a plan.
pub(super) fn prepare(app: &mut App, step: StepId, inputs: Inputs, undoes: Option<StepId>) -> Out {
    app.command(Asked::Prepare(step.clone()), Command::Prepare { step, inputs, undoes })
}

pub(super) fn perform(app: &mut App, action: UiAction) -> Vec<Out> {
    // Listing the snapshots again is not acting.
    let acts = action.acts() && !(action == UiAction::Retry && app.ui.pane == Pane::Snapshots);
    if let (true, Some(_)) = (acts, &app.lost) {
        let closed = app.state.as_ref().is_some_and(|state| state.closed_at.is_some());
        if action == UiAction::Retry && !closed {
            return vec![Out::Reattach];
        }
        app.warn(if closed {
            format!("the incident is closed: {} leaves", app.key(UiAction::Detach))
        } else {
            format!("the engine is gone: {} starts it again", app.key(UiAction::Retry))
        });
        return Vec::new();
    }
    if let Some(why) = app.watching.clone().filter(|_| acts) {
        app.warn(why);
        return Vec::new();
    }
    match action {
        UiAction::Approve => return begin(app),
        UiAction::Retry => return retry(app),
        UiAction::Skip => on_step(app, Purpose::Skip),
        UiAction::ByHand => on_step(app, Purpose::ByHand),
        UiAction::Undo => return undo(app),
        UiAction::Stop => stop(app),
        UiAction::Unblock => return unblock(app),
        UiAction::Details => return details(app),
        UiAction::Note => app.ui.overlay = Some(Overlay::Prompt(Prompt::new(Purpose::Note))),
        UiAction::Copy => return copy(app),
        UiAction::Correct => correct(app),
        UiAction::Milestones => {
            app.ui.milestones = !app.ui.milestones;
            app.say(if app.ui.milestones {
                "the timeline shows milestones only"
            } else {
                "the timeline shows everything"
            });
        }
        UiAction::LocalTime => local_time(app),
        UiAction::Export => {
            let exporting = app.state.as_ref().map(|state| Exporting::new(state, app.seal.as_ref()));
            app.ui.overlay = exporting.map(|exporting| Overlay::Export(Box::new(exporting)));
        }
        UiAction::Outbox => app.ui.overlay = Some(Overlay::Outbox { selected: 0, scroll: 0 }),
        UiAction::Handover => return handover(app),
        UiAction::Escalation => {
            let due = app.escalations().iter().position(|one| one.due.is_some()).unwrap_or(0);
            app.ui.overlay = Some(Overlay::Escalation { selected: due });
        }
        UiAction::Sort => return browse::sort(app),
        UiAction::Compare => return browse::compare(app),
        UiAction::Follow => return follow(app),
        UiAction::Search => {
            let begun = if app.ui.pane == Pane::Snapshots { app.dumps.filter() } else { "" };
            app.ui.overlay = Some(Overlay::Search(Editor::line(begun)));
        }
        UiAction::NextMatch => return seek::step(app, true),
        UiAction::PreviousMatch => return seek::step(app, false),
        UiAction::Wrap => {
            app.ui.long = if app.ui.long == LongLines::Wrapped { LongLines::From(0) } else { LongLines::Wrapped };
        }
        UiAction::LeftPart | UiAction::RightPart => {
            let from = if let LongLines::From(from) = app.ui.long { from } else { 0 };
            let right = action == UiAction::RightPart;
            // Nothing of a line is further out than its longest.
            app.ui.long = LongLines::From(if right { (from + SIDE).min(16 << 10) } else { from.saturating_sub(SIDE) });
        }
        UiAction::Save => return seek::save(app),
        UiAction::Palette => app.ui.overlay = Some(Overlay::Palette { editor: Editor::line(""), selected: 0 }),
        UiAction::Phases => app.ui.overlay = Some(Overlay::Phases { scroll: 0 }),
        UiAction::Help => app.ui.overlay = Some(Overlay::Help { scroll: 0 }),
        UiAction::Log => app.ui.overlay = Some(Overlay::Log),
        UiAction::NextPane => cycle(app, 1),
        UiAction::PreviousPane => cycle(app, Pane::ALL.len() - 1),
        UiAction::Checklist => app.ui.pane = Pane::Checklist,
        UiAction::Snapshots => app.ui.pane = Pane::Snapshots,
        UiAction::Output => app.ui.pane = Pane::Output,
        UiAction::Timeline => app.ui.pane = Pane::Timeline,
        UiAction::Zoom => app.ui.zoom = !app.ui.zoom,
        UiAction::Fold => fold(app),
        UiAction::Back => {
            app.ui.needle.clear();
            app.ui.zoom = false;
            app.ui.marked = None;
            app.search = None;
            return browse::filtered(app, "");
        }
        UiAction::Redraw => return vec![Out::Redraw],
        UiAction::Suspend => return vec![Out::Suspend],
        UiAction::Detach => return vec![Out::Detach],
        UiAction::Up
        | UiAction::Down
        | UiAction::PageUp
        | UiAction::PageDown
        | UiAction::Top
        | UiAction::Bottom
        | UiAction::Left
        | UiAction::Right => return movement::go(app, action),
    }
    Vec::new()
}

fn cycle(app: &mut App, by: usize) {
    let at = app.ui.pane.number() - 1 + by;
    app.ui.pane = Pane::ALL.get(at % Pane::ALL.len()).copied().unwrap_or(Pane::Checklist);
}

fn fold(app: &mut App) {
    let (Some(state), Some(folding)) = (&app.state, app.folding()) else { return };
    if let Some(phase) = app.row().and_then(|row| row.phase(state)) {
        let (id, folded) = (phase.id.clone(), folding.holds(phase));
        app.ui.folds.insert(id.clone(), !folded);
        app.ui.row = Some(Place::Phase(id));
    }
}

/// `a`: shows what would happen, or begins what needs no approval.
fn begin(app: &mut App) -> Vec<Out> {
    if app.ui.pane == Pane::Snapshots {
        return browse::choose(app);
    }
    let Some(state) = &app.state else { return Vec::new() };
    if let Some(phase) = app.phase() {
        let steps: Vec<StepId> = checklist::ready_reads(state, phase).map(|step| step.id.clone()).collect();
        if steps.is_empty() {
            app.warn("nothing in this phase can be begun without a look at its plan: select a step");
            return Vec::new();
        }
        let count = steps.len();
        app.ui.row = None;
        app.say(format!("{count} checks begin; they only read"));
        return steps.into_iter().map(|step| at_once(app, step)).collect();
    }
    let Some(step) = app.step().cloned() else { return Vec::new() };
    if let StepStatus::InDoubt(attempt) = state.status(&step.id) {
        app.ui.overlay = Some(Overlay::settle(*attempt));
        return Vec::new();
    }
    if let Some(why) = why_not(app, state, &step) {
        app.warn(why);
        return Vec::new();
    }
    if let Some(consent) = state.consents.get(&step.id).cloned() {
        // The second person reads and approves what the first one did, and no plan of their own.
        let mut card = Card::new(step.id.clone(), consent.plan.undoes.clone(), consent.plan.inputs.clone());
        card.take((*consent.plan).clone());
        card.stage = Stage::Review;
        app.ui.overlay = Some(Overlay::Card(Box::new(card)));
        return Vec::new();
    }
    if step.approval == Approval::None {
        app.say(format!("{}: it needs no approval and begins at once", step.title));
        app.ui.row = None;
        return vec![at_once(app, step.id)];
    }
    let inputs = app.answers.get(&step.id).cloned().unwrap_or_default();
    vec![open_card(app, step.id, inputs, None)]
}

/// `b`: who keeps a restore waiting, and ending them once the person agrees.
fn unblock(app: &mut App) -> Vec<Out> {
    let Some(state) = &app.state else { return Vec::new() };
    let Some(step) = state.runbook.steps().find(|step| matches!(step.action, Action::EndBlockers { .. })).cloned()
    else {
        app.warn("this runbook has no step that ends sessions in the way");
        return Vec::new();
    };
    if let Some(why) = why_not(app, state, &step) {
        app.warn(why);
        return Vec::new();
    }
    vec![open_card(app, step.id, Inputs::new(), None)]
}

fn at_once(app: &mut App, step: StepId) -> Out {
    if !app.at_once.contains(&step) {
        app.at_once.push(step.clone());
    }
    let inputs = app.answers.get(&step).cloned().unwrap_or_default();
    prepare(app, step, inputs, None)
}

pub(super) fn open_card(app: &mut App, step: StepId, inputs: Inputs, undoes: Option<StepId>) -> Out {
    app.ui.overlay = Some(Overlay::Card(Box::new(Card::new(step.clone(), undoes.clone(), inputs.clone()))));
    prepare(app, step, inputs, undoes)
}

/// Why a step cannot be begun now. The engine judges by the same rules; this only answers sooner.
fn why_not(app: &App, state: &State, step: &Step) -> Option<String> {
    let title = &step.title;
    if state.closed_at.is_some() {
        return Some("this incident is closed".to_owned());
    }
    let waits: Vec<&str> = state.waits_for(step).iter().map(|step| step.title.as_str()).collect();
    match state.status(&step.id) {
        StepStatus::Running(_) => Some(format!("{title} is at work; {} stops it", app.key(UiAction::Stop))),
        StepStatus::Failed(_) | StepStatus::Stopped(_) => Some(format!(
            "{title} did not succeed: details ({}) say why, {} opens it again",
            app.key(UiAction::Details),
            app.key(UiAction::Retry)
        )),
        _ if !waits.is_empty() => Some(format!("{title} waits for: {}", waits.join(", "))),
        status if status.is_met() && !step.repeat => {
            Some(format!("{title} is done; {} opens it again", app.key(UiAction::Retry)))
        }
        _ => None,
    }
}

fn retry(app: &mut App) -> Vec<Out> {
    if app.ui.pane == Pane::Snapshots {
        app.say("listing the snapshots again");
        app.contents.clear();
        return vec![heard::list_snapshots(app)];
    }
    let (Some(state), Some(step)) = (&app.state, app.step()) else { return Vec::new() };
    let id = step.id.clone();
    let title = step.title.clone();
    if state.consents.contains_key(&id) {
        app.ui.overlay = Some(Overlay::confirm(Confirm::Withdraw(id)));
        return Vec::new();
    }
    match state.status(&id) {
        StepStatus::Pending => {
            app.warn(format!("{title} is open already: {} shows its plan", app.key(UiAction::Approve)));
        }
        StepStatus::Running(_) => app.warn(format!("{title} is at work; {} stops it", app.key(UiAction::Stop))),
        StepStatus::InDoubt(attempt) => app.ui.overlay = Some(Overlay::settle(*attempt)),
        status => {
            let ended_badly = matches!(status, StepStatus::Failed(_) | StepStatus::Stopped(_));
            if ended_badly && settled_dependents(state, &id).is_empty() {
                return vec![app.command(Asked::Retry, Command::Retry { step: id })];
            }
            app.ui.overlay = Some(Overlay::confirm(Confirm::Retry(id)));
        }
    }
    Vec::new()
}

/// Titles of the steps that a retry opens again.
pub(super) fn settled_dependents<'a>(state: &'a State, step: &StepId) -> Vec<&'a str> {
    let settled = |step: &&Step| {
        !matches!(state.status(&step.id), StepStatus::Pending | StepStatus::Running(_) | StepStatus::InDoubt(_))
    };
    state.runbook.dependents(step).into_iter().filter(settled).map(|step| step.title.as_str()).collect()
}

/// `H`: the page that waits, to be read and taken; or the one that would be written now.
fn handover(app: &mut App) -> Vec<Out> {
    let offered = app.state.as_ref().and_then(|state| state.handover.as_ref());
    match offered {
        Some(offered) => {
            app.ui.overlay = Some(Overlay::Handover { page: offered.page.clone(), offered: true, scroll: 0 });
            Vec::new()
        }
        None => vec![Out::Handover],
    }
}

fn undo(app: &mut App) -> Vec<Out> {
    let (Some(state), Some(step)) = (&app.state, app.step()) else { return Vec::new() };
    let title = step.title.clone();
    let id = step.id.clone();
    let had_effect =
        matches!(state.status(&id), StepStatus::Succeeded(_) | StepStatus::Failed(_) | StepStatus::Stopped(_));
    match step.undo.clone() {
        None => app.warn(format!("{title} has no undo")),
        Some(_) if !had_effect => app.warn(format!("{title} has had no effect that could be taken back")),
        Some(undo) => {
            if let Some((first, undone)) = state.undo_first(&id) {
                let (first, undone, after) = (first.id.clone(), undone.id.clone(), title);
                let key = app.key(UiAction::Undo);
                app.warn(format!("Writes run: they are stopped first. Then {key} on {after} again"));
                return vec![open_card(app, first, Inputs::new(), Some(undone))];
            }
            return vec![open_card(app, undo, Inputs::new(), Some(id))];
        }
    }
    Vec::new()
}

/// The attempt that `x` is about: the selected step's, else the only one at work.
fn stop(app: &mut App) {
    let Some(state) = &app.state else { return };
    let own = app.step().and_then(|step| match state.status(&step.id) {
        StepStatus::Running(attempt) => Some(*attempt),
        StepStatus::InDoubt(attempt) if state.attempts.get(attempt).is_some_and(Attempt::is_being_asked) => {
            Some(*attempt)
        }
        _ => None,
    });
    let running: Vec<AttemptId> = state.running().map(|attempt| attempt.id).collect();
    match own.or(if let [only] = running.as_slice() { Some(*only) } else { None }) {
        Some(attempt) => app.ui.overlay = Some(Overlay::confirm(Confirm::Stop(attempt))),
        None if running.is_empty() => app.warn("nothing is at work"),
        None => app.warn("several steps are at work: select the one to stop"),
    }
}

fn on_step(app: &mut App, purpose: impl Fn(StepId) -> Purpose) {
    // What is typed on for a card that is gone must not settle a step that nobody looks at.
    if app.ui.pane != Pane::Checklist {
        app.warn(format!("select the step in the checklist first ({})", app.key(UiAction::Checklist)));
        return;
    }
    let (Some(state), Some(step)) = (&app.state, app.step()) else {
        app.warn("select a step first");
        return;
    };
    match state.status(&step.id) {
        StepStatus::Pending | StepStatus::Failed(_) | StepStatus::Stopped(_) => {
            app.ui.overlay = Some(Overlay::Prompt(Prompt::new(purpose(step.id.clone()))));
        }
        StepStatus::InDoubt(attempt) => app.ui.overlay = Some(Overlay::settle(*attempt)),
        StepStatus::Running(_) => {
            let why = format!("{} is at work; {} stops it", step.title, app.key(UiAction::Stop));
            app.warn(why);
        }
        _ => {
            let why = format!("{} is settled already; {} opens it again", step.title, app.key(UiAction::Retry));
            app.warn(why);
        }
    }
}

fn details(app: &mut App) -> Vec<Out> {
    let Some(state) = &app.state else { return Vec::new() };
    match app.ui.pane {
        Pane::Checklist => match app.row() {
            Some(Row::Phase(_)) => fold(app),
            Some(Row::Step(step)) => {
                app.ui.overlay = Some(match state.status(&step.id) {
                    StepStatus::InDoubt(attempt) => Overlay::settle(*attempt),
                    _ => Overlay::Details { step: step.id.clone(), scroll: 0 },
                });
            }
            None => {}
        },
        Pane::Snapshots => return browse::details(app),
        Pane::Output => {
            if let Some(text) = movement::output_line(app).map(str::to_owned) {
                app.ui.overlay = Some(Overlay::Text { title: "Line".to_owned(), text, scroll: 0 });
            }
        }
        Pane::Timeline => {
            if let Some(entry) = history::entry(app) {
                let (title, text) = (format!("Event {}", entry.seq), history::details(app, entry));
                app.ui.overlay = Some(Overlay::Text { title, text, scroll: 0 });
            }
        }
    }
    Vec::new()
}

fn copy(app: &mut App) -> Vec<Out> {
    let text = match app.ui.pane {
        Pane::Output => movement::output_line(app).map(str::to_owned),
        Pane::Timeline => app.state.as_ref().map(|state| {
            let shown = state.timeline.iter().filter(|entry| history::is_shown(app, entry));
            let lines = shown.map(|entry| {
                format!("{} {}", entry.at.strftime("%Y-%m-%d %H:%M:%SZ"), crate::plain::clean(&entry.text))
            });
            lines.collect::<Vec<_>>().join("\n")
        }),
        Pane::Snapshots => app.snapshot().map(|row| {
            let bucket = app.dumps.place();
            let bucket = bucket.strip_prefix("s3://").unwrap_or(bucket).split('/').next().unwrap_or_default();
            format!("s3://{bucket}/{}", row.key)
        }),
        Pane::Checklist => app.step().and_then(|step| commands_of(app, &step.id)),
    };
    match text {
        Some(text) if !text.is_empty() => vec![Out::Copy(text)],
        _ => {
            app.warn(format!(
                "there is nothing to copy here yet: {} shows a step's plan and its commands",
                app.key(UiAction::Approve)
            ));
            Vec::new()
        }
    }
}

/// The shell commands of a step's newest plan, or of its last attempt.
fn commands_of(app: &App, step: &StepId) -> Option<String> {
    let state = app.state.as_ref()?;
    let attempt = || state.steps.get(step)?.attempts.last().and_then(|id| state.attempts.get(id));
    let commands = match app.plans.get(step) {
        Some(plan) => &plan.commands,
        None => &attempt()?.plan.commands,
    };
    Some(commands.join("\n"))
}

/// `C`: what the selected note says, to be changed.
fn correct(app: &mut App) {
    match history::entry(app) {
        Some(entry) if entry.level == Level::Note => {
            let prompt = Prompt::with(Purpose::Correct { note: entry.seq }, &entry.text);
            app.ui.overlay = Some(Overlay::Prompt(prompt));
        }
        _ => app
            .warn(format!("only notes can be corrected: select one in the timeline ({})", app.key(UiAction::Timeline))),
    }
}

fn local_time(app: &mut App) {
    app.ui.local = !app.ui.local;
    if !app.ui.local {
        app.say("the timeline is in UTC");
    } else if history::is_utc(&app.zone) {
        app.warn("this host's time is UTC: start relight with TZ=Europe/Berlin, or where you are, to see yours");
    } else {
        let words = format!("the timeline is in the time of {}", history::zone_name(&app.zone));
        app.say(words);
    }
}

fn follow(app: &mut App) -> Vec<Out> {
    match app.ui.pane {
        Pane::Checklist => app.ui.row = None,
        Pane::Snapshots => app.ui.snapshot = None,
        Pane::Timeline => app.ui.entry = None,
        Pane::Output => {
            app.ui.line = None;
            app.ui.attempt = None;
            if let Some(id) = app.attempt().map(|attempt| attempt.id)
                && app.output.get(id).is_some_and(super::output::Buffer::is_behind)
            {
                app.output.forget(id);
                return vec![fetch(app, id, None, heard::TAIL)];
            }
        }
    }
    Vec::new()
}

/// Asks for a stretch of an attempt's log.
pub(super) fn fetch(app: &mut App, attempt: AttemptId, from: Option<u64>, most: u32) -> Out {
    if !app.fetched.contains(&attempt) {
        app.fetched.push(attempt);
    }
    let id = app.ask(Asked::Output(attempt));
    Out::Send(ToEngine::Query { id, query: Query::Output { attempt, from, most } })
}

/// `2026-11-23 08:48Z`, or a word where the time is not known.
pub(super) fn known(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(|| "not known".to_owned(), clock)
}
