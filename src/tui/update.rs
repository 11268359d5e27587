//! Decides what a message means. Synchronous: tests call it without a terminal, an engine or a clock.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;

use crate::incident::{AttemptId, Command, Digest, MessageId, State};
use crate::wire::ToEngine;

use super::action::UiAction;
use super::app::{App, Asked, Pane, Toast};
use super::browse;
use super::card::{self, Card, Stage};
use super::export;
use super::form::{Form, FormKey};
use super::heard;
use super::mouse;
use super::movement;
use super::msg::{Msg, Out};
use super::overlay::{Confirm, Overlay, Prompt, Purpose};
use super::palette;
use super::perform;
use super::seek;
use super::view;

/// Takes a message at `now` and says what is to be done.
pub fn update(app: &mut App, msg: Msg, now: Timestamp) -> Vec<Out> {
    app.now = now;
    let mut outs = taken(app, msg);
    let reads = app.ui.line.and_then(|line| Some((app.attempt()?.id, line)));
    app.output.hold(reads);
    outs.extend(look(app));
    // What was read is read while it is asked.
    if app.ui.read.is_some() && app.ui.overlay.as_ref().is_none_or(|overlay| overlay.asked(app) != app.ui.read) {
        app.ui.read = None;
    }
    if let (Some(Overlay::Export(exporting)), Some(state)) = (&mut app.ui.overlay, &app.state) {
        exporting.refresh(state, app.seal.as_ref());
    }
    outs
}

fn taken(app: &mut App, msg: Msg) -> Vec<Out> {
    match msg {
        Msg::Key(event) => key(app, event),
        Msg::Paste(text) => paste(app, &text),
        Msg::Mouse(event) => mouse::used(app, event),
        Msg::Resize(columns, rows) => {
            app.size = (columns, rows);
            app.unseen();
            view::clamp_scroll(app);
            Vec::new()
        }
        Msg::FromEngine(from) => heard::heard(app, from),
        Msg::Tick => Vec::new(),
        Msg::Resumed => {
            // Whatever was on screen, somebody else had it since.
            app.unseen();
            vec![Out::Redraw]
        }
        Msg::Shown(sight) => {
            app.saw(sight);
            Vec::new()
        }
        Msg::Ranked(number, rows) => {
            app.dumps.ranked(number, rows);
            Vec::new()
        }
        Msg::Handover(page) => {
            app.ui.overlay = Some(Overlay::Handover { page, offered: false, scroll: 0 });
            Vec::new()
        }
        Msg::Warning(text) => {
            // What somebody is reading or typing is not taken from under their hands.
            match &app.ui.overlay {
                None => app.ui.overlay = Some(Overlay::Text { title: "Read this first".to_owned(), text, scroll: 0 }),
                Some(_) => app.warn(text),
            }
            Vec::new()
        }
        Msg::Exported(result) => {
            let bad = result.is_err();
            let toast = Toast { text: result.unwrap_or_else(|why| why), bad };
            // A path is longer than a line; where the export is still on screen it is shown whole.
            match &mut app.ui.overlay {
                Some(Overlay::Export(exporting)) => {
                    exporting.done = Some(toast);
                    exporting.scroll = 0;
                }
                _ => app.ui.toast = Some(toast),
            }
            Vec::new()
        }
    }
}

/// An attempt whose output is looked at for the first time is fetched, and so is a followed one of which notices
/// were dropped on the way.
fn look(app: &mut App) -> Option<Out> {
    if !app.caught_up || app.lost.is_some() {
        return None;
    }
    let id = app.attempt()?.id;
    let behind = app.ui.line.is_none() && app.output.get(id).is_some_and(super::output::Buffer::is_behind);
    if app.fetched.contains(&id) && !behind || app.asked.values().any(|asked| *asked == Asked::Output(id)) {
        return None;
    }
    if behind {
        app.output.forget(id);
    }
    Some(perform::fetch(app, id, None, heard::TAIL))
}

/// A paste that the terminal marks as one never approves, never fills a typed name, and never presses keys.
fn paste(app: &mut App, text: &str) -> Vec<Out> {
    match &mut app.ui.overlay {
        Some(Overlay::Search(editor)) if app.ui.pane == Pane::Snapshots => {
            editor.insert(text);
            let filter = editor.text().to_owned();
            return browse::filtered(app, &filter);
        }
        Some(Overlay::Card(card)) => match &mut card.stage {
            Stage::Form(form) => form.paste(text),
            Stage::Review => card.fault = Some("a paste is not taken here: read the plan, then type".to_owned()),
            _ => {}
        },
        Some(Overlay::Prompt(prompt)) if prompt.sent.is_none() => prompt.draft.insert(text),
        Some(Overlay::Search(editor) | Overlay::Palette { editor, .. }) => editor.insert(text),
        _ => app.warn("a paste is not taken here"),
    }
    Vec::new()
}

fn key(app: &mut App, event: KeyEvent) -> Vec<Out> {
    app.ui.toast = None;
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    match event.code {
        KeyCode::Char('c') if control => return vec![Out::Detach],
        KeyCode::Char('z') if control => return vec![Out::Suspend],
        KeyCode::Char('l') if control => return vec![Out::Redraw],
        _ => {}
    }
    // Whoever cannot see the cards cannot mean them.
    if app.is_too_small() {
        return match app.keymap.action(event) {
            Some(UiAction::Detach) if app.ui.overlay.is_none() => vec![Out::Detach],
            _ => Vec::new(),
        };
    }
    let Some(mut overlay) = app.ui.overlay.take() else {
        return app.keymap.action(event).map(|action| perform::perform(app, action)).unwrap_or_default();
    };
    // Esc with another key right behind it comes as that key with Alt: whoever pressed it means to leave.
    let leaves = match &overlay {
        Overlay::Card(card) => !matches!(card.stage, Stage::Form(_)),
        Overlay::Confirm { .. } | Overlay::Settle { .. } | Overlay::Handover { .. } => true,
        _ => false,
    };
    let event = if leaves && event.modifiers.contains(KeyModifiers::ALT) {
        KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)
    } else {
        event
    };
    let asked = overlay.asked(app);
    let was_read = asked.is_some() && app.ui.read == asked;
    let (stays, outs) = match &mut overlay {
        Overlay::Card(card) => card_key(app, card, event),
        Overlay::Prompt(prompt) => prompt_key(app, prompt, event),
        // Keys that were typed before it was seen are dropped.
        Overlay::Confirm { .. } if !was_read => (event.code != KeyCode::Esc, Vec::new()),
        Overlay::Confirm { scroll, .. } | Overlay::Settle { scroll, .. } if moves(event) => {
            (scrolled(scroll, app.size.1, event), Vec::new())
        }
        Overlay::Confirm { confirm, .. } => (false, confirmed(app, confirm, event)),
        Overlay::Settle { attempt, .. } => (false, settle_key(app, *attempt, event)),
        Overlay::Search(editor) if app.ui.pane == Pane::Snapshots => browse::filter_key(app, editor, event),
        Overlay::Search(editor) => match event.code {
            KeyCode::Enter => {
                editor.text().clone_into(&mut app.ui.needle);
                if app.ui.pane == Pane::Output {
                    return seek::begin(app);
                }
                // In logs the newest match matters, in lists the next one.
                let forward = !matches!(app.ui.pane, Pane::Output | Pane::Timeline);
                movement::find(app, forward);
                (false, Vec::new())
            }
            KeyCode::Esc => (false, Vec::new()),
            _ => {
                editor.key(event);
                (true, Vec::new())
            }
        },
        Overlay::Palette { editor, selected } => palette::key(app, editor, selected, event),
        Overlay::Escalation { selected } => escalation_key(app, selected, event),
        Overlay::Help { scroll }
        | Overlay::Phases { scroll }
        | Overlay::Details { scroll, .. }
        | Overlay::Snapshot { scroll, .. }
        | Overlay::Compare { scroll, .. }
        | Overlay::Text { scroll, .. } => (scrolled(scroll, app.size.1, event), Vec::new()),
        Overlay::Outbox { selected, scroll } => outbox_key(app, selected, scroll, event),
        Overlay::Handover { .. } if !was_read && is(event, 'y') => (true, Vec::new()),
        Overlay::Handover { page, offered, scroll } => handover_key(app, page, *offered, scroll, event),
        Overlay::Export(exporting) => export::key(app, exporting, event),
        Overlay::Log => (app.log.key(event), Vec::new()),
    };
    if stays {
        app.ui.overlay = Some(overlay);
        view::clamp_scroll(app);
    } else {
        app.ui.read = None;
    }
    outs
}

fn settle_key(app: &mut App, attempt: AttemptId, event: KeyEvent) -> Vec<Out> {
    let happened = match event.code {
        KeyCode::Char('h') => Some(true),
        KeyCode::Char('n') => Some(false),
        _ => None,
    };
    let is_asked = app.is_being_asked(attempt);
    let acts = happened.is_some() || is(event, 'r') || is(event, 'x');
    if let Some(why) = app.watching.clone().filter(|_| acts) {
        app.warn(why);
    } else if is_asked && is(event, 'x') {
        app.ui.overlay = Some(Overlay::confirm(Confirm::Stop(attempt)));
    } else if is_asked && acts {
        app.warn("the target has not answered yet");
    } else if is(event, 'r') {
        app.say("the target is asked again");
        return vec![app.command(Asked::Plain, Command::Probe { attempt })];
    } else if let Some(happened) = happened {
        let purpose = Purpose::Settle { attempt, happened };
        app.ui.overlay = Some(Overlay::Prompt(Prompt::new(purpose)));
    }
    Vec::new()
}

/// A letter without Ctrl and Alt.
fn is(event: KeyEvent, letter: char) -> bool {
    event.code == KeyCode::Char(letter) && !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
}

fn outbox_key(app: &mut App, selected: &mut usize, scroll: &mut usize, event: KeyEvent) -> (bool, Vec<Out>) {
    let doubtful: Vec<MessageId> =
        app.state.iter().flat_map(State::doubtful_messages).map(|message| message.id).collect();
    let arrived = match event.code {
        KeyCode::Char('h') if is(event, 'h') => true,
        KeyCode::Char('n') if is(event, 'n') => false,
        KeyCode::Tab if !doubtful.is_empty() => {
            *selected = (*selected + 1) % doubtful.len();
            return (true, Vec::new());
        }
        _ => return (scrolled(scroll, app.size.1, event), Vec::new()),
    };
    let Some(message) = doubtful.get(*selected).copied() else { return (true, Vec::new()) };
    if let Some(why) = &app.watching {
        app.warn(why.clone());
        return (true, Vec::new());
    }
    app.ui.overlay = Some(Overlay::Prompt(Prompt::new(Purpose::SettleMessage { message, arrived })));
    (false, Vec::new())
}

fn handover_key(app: &mut App, page: &str, offered: bool, scroll: &mut usize, event: KeyEvent) -> (bool, Vec<Out>) {
    if is(event, 'c') {
        return (true, vec![Out::Copy(page.to_owned())]);
    }
    if !is(event, 'y') {
        return (scrolled(scroll, app.size.1, event), Vec::new());
    }
    if let Some(why) = app.watching.clone() {
        app.warn(why);
        return (true, Vec::new());
    }
    let command = if offered {
        app.say("you have the incident");
        Command::TakeOver { page: Digest::of(page.as_bytes()) }
    } else {
        app.say(format!("the page waits for whoever takes over: {} shows it to them", app.key(UiAction::Handover)));
        Command::OfferHandover { text: page.to_owned() }
    };
    (false, vec![app.command(Asked::Plain, command)])
}

/// A key that moves a text.
fn moves(event: KeyEvent) -> bool {
    scrolled(&mut 0, 1, event)
}

/// Keys that move a text; any other leaves it.
pub(super) fn scrolled(scroll: &mut usize, rows: u16, event: KeyEvent) -> bool {
    // No more than a card shows at once, whose rows have to be read in their order.
    let page = usize::from((rows / 2).min(rows.saturating_sub(8))).max(1);
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    match event.code {
        KeyCode::Char('d') if control => *scroll += page,
        KeyCode::Char('u') if control => *scroll = scroll.saturating_sub(page),
        KeyCode::Char('j') | KeyCode::Down => *scroll += 1,
        KeyCode::Char('k') | KeyCode::Up => *scroll = scroll.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => *scroll += page,
        KeyCode::PageUp => *scroll = scroll.saturating_sub(page),
        KeyCode::Char('g') | KeyCode::Home => *scroll = 0,
        KeyCode::Char('G') | KeyCode::End => *scroll = usize::from(u16::MAX),
        _ => return false,
    }
    true
}

fn card_key(app: &mut App, card: &mut Card, event: KeyEvent) -> (bool, Vec<Out>) {
    let shown = card.is_shown();
    match &mut card.stage {
        // A key typed ahead must not cancel what it was not meant for; Esc always does.
        Stage::Loading | Stage::Approving | Stage::Overtaken(_) => (event.code != KeyCode::Esc, Vec::new()),
        Stage::Failed(_) | Stage::Refused(_) => {
            if event.code == KeyCode::Char('a') {
                return (true, again(app, card));
            }
            (scrolled(&mut card.scroll, app.size.1, event), Vec::new())
        }
        Stage::Form(form) => match form.key(event, app.now) {
            FormKey::Stay => (true, Vec::new()),
            FormKey::Cancel => {
                // What somebody wrote is there again when the card is.
                let typed = form.typed(app.now);
                if !typed.is_empty() {
                    card.inputs.extend(typed);
                    app.answers.insert(card.step.clone(), card.inputs.clone());
                    app.say("cancelled; nothing was done, and what you wrote is kept");
                }
                (false, Vec::new())
            }
            FormKey::Submit => {
                card.inputs.extend(form.inputs(app.now));
                app.answers.insert(card.step.clone(), card.inputs.clone());
                (true, again(app, card))
            }
        },
        // Keys that were typed before the plan was seen are dropped.
        Stage::Review if !shown => (event.code != KeyCode::Esc, Vec::new()),
        Stage::Review => review_key(app, card, event),
    }
}

fn again(app: &mut App, card: &mut Card) -> Vec<Out> {
    card.stage = Stage::Loading;
    card.shown = None;
    card.changed = false;
    vec![perform::prepare(app, card.step.clone(), card.inputs.clone(), card.undoes.clone())]
}

const UNREAD: &str = "Not everything that will happen was on screen yet: read on first (j).";

fn review_key(app: &mut App, card: &mut Card, event: KeyEvent) -> (bool, Vec<Out>) {
    let Some((plan, digest)) = card.plan.clone() else { return (false, Vec::new()) };
    let step = app.state.as_ref().and_then(|state| state.runbook.step(&card.step));
    let by_name = card::takes_name(&plan, step);
    let open = plan.obstacle().is_none() && app.lost.is_none();
    let bare = !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let unread = view::is_unread(app, card);
    card.fault = None;
    if by_name && open {
        let name = card::expected_name(&plan);
        return match event.code {
            KeyCode::Esc => (false, Vec::new()),
            KeyCode::Enter if unread => {
                card.fault = Some(UNREAD.to_owned());
                (true, Vec::new())
            }
            KeyCode::Enter if card.typed.text() == name => {
                card.stage = Stage::Approving;
                let typed = Some(card.typed.text().to_owned());
                (true, vec![perform::approve(app, card.step.clone(), digest, typed)])
            }
            KeyCode::Enter => {
                card.fault = Some(format!("this approval takes the name {name}"));
                (true, Vec::new())
            }
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => {
                scrolled(&mut card.scroll, app.size.1, event);
                (true, Vec::new())
            }
            KeyCode::Tab if !plan.asks.is_empty() => {
                card.stage = Stage::Form(Form::new(&plan.asks));
                (true, Vec::new())
            }
            // `c` is a letter of names.
            KeyCode::Char('t') if !bare && !plan.commands.is_empty() => {
                (true, vec![Out::Copy(plan.commands.join("\n"))])
            }
            // The name is the last thing: until all was on screen, letters are keys that read on. So is one too many of them.
            KeyCode::Char(letter) if unread || (card.typed.text().is_empty() && !name.starts_with(letter)) => {
                if !scrolled(&mut card.scroll, app.size.1, event) && !unread {
                    card.typed.key(event);
                }
                (true, Vec::new())
            }
            _ => {
                card.typed.key(event);
                (true, Vec::new())
            }
        };
    }
    match event.code {
        KeyCode::Char('y') if bare && open && unread => {
            card.fault = Some(UNREAD.to_owned());
            (true, Vec::new())
        }
        KeyCode::Char('y') if bare && open => {
            card.stage = Stage::Approving;
            (true, vec![perform::approve(app, card.step.clone(), digest, None)])
        }
        KeyCode::Char('i') | KeyCode::Tab if bare && !plan.asks.is_empty() => {
            card.stage = Stage::Form(Form::new(&plan.asks));
            (true, Vec::new())
        }
        KeyCode::Char('c') if bare && !plan.commands.is_empty() => (true, vec![Out::Copy(plan.commands.join("\n"))]),
        _ if scrolled(&mut card.scroll, app.size.1, event) => (true, Vec::new()),
        _ => {
            app.say("cancelled; nothing was done");
            (false, Vec::new())
        }
    }
}

fn prompt_key(app: &mut App, prompt: &mut Prompt, event: KeyEvent) -> (bool, Vec<Out>) {
    match event.code {
        KeyCode::Esc => return (false, Vec::new()),
        KeyCode::Enter if prompt.sent.is_none() && event.modifiers.is_empty() => {
            let text = prompt.draft.text().trim().to_owned();
            if text.is_empty() {
                prompt.fault = Some("write something, or Esc to cancel".to_owned());
                return (true, Vec::new());
            }
            if app.lost.is_some() {
                prompt.fault =
                    Some(format!("the engine is gone: Esc, then {} starts it again", app.key(UiAction::Retry)));
                return (true, Vec::new());
            }
            prompt.fault = None;
            let command = match prompt.purpose.clone() {
                Purpose::Skip(step) => Command::Skip { step, reason: text },
                Purpose::ByHand(step) => Command::DoneByHand { step, note: text },
                Purpose::Note => Command::Note { text },
                Purpose::Correct { note } => Command::Correct { note, text },
                Purpose::Settle { attempt, happened } => Command::Settle { attempt, happened, note: text },
                Purpose::SettleMessage { message, arrived } => Command::SettleMessage { message, arrived, note: text },
                Purpose::Escalate { role } => Command::Escalate { role, note: text },
            };
            let id = app.ask(Asked::Prompt);
            prompt.sent = Some(id);
            return (true, vec![Out::Send(ToEngine::Command { id, command })]);
        }
        _ if prompt.sent.is_none() => {
            prompt.draft.key(event);
        }
        _ => {}
    }
    (true, Vec::new())
}

fn confirmed(app: &mut App, confirm: &Confirm, event: KeyEvent) -> Vec<Out> {
    let plain = !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    if event.code != KeyCode::Char('y') || !plain {
        app.say("cancelled; nothing was done");
        return Vec::new();
    }
    vec![match confirm {
        Confirm::Stop(attempt) => app.command(Asked::Stop, Command::Stop { attempt: *attempt }),
        Confirm::Retry(step) => app.command(Asked::Retry, Command::Retry { step: step.clone() }),
        Confirm::Withdraw(step) => app.command(Asked::Plain, Command::Withdraw { step: step.clone() }),
    }]
}

fn escalation_key(app: &mut App, selected: &mut usize, event: KeyEvent) -> (bool, Vec<Out>) {
    let all = app.escalations();
    let last = all.len().saturating_sub(1);
    match event.code {
        KeyCode::Char('j') | KeyCode::Down => *selected = (*selected + 1).min(last),
        KeyCode::Char('k') | KeyCode::Up => *selected = selected.saturating_sub(1),
        KeyCode::Char('c') => {
            return (true, all.get(*selected).map(|one| Out::Copy(one.say.clone())).into_iter().collect());
        }
        KeyCode::Char('t') => {
            if let Some(one) = all.get(*selected) {
                let purpose = Purpose::Escalate { role: one.contact.role.clone() };
                app.ui.overlay = Some(Overlay::Prompt(Prompt::new(purpose)));
            }
            return (false, Vec::new());
        }
        KeyCode::Esc | KeyCode::Char('q' | 'E') => return (false, Vec::new()),
        _ => {}
    }
    (true, Vec::new())
}
