//! Frames, keys and safety rules of the cockpit.

mod bytes;
mod calls;
mod cards;
mod contrast;
mod dumps;
mod escapes;
mod exports;
mod frames;
mod histories;
mod history;
mod keys;
mod lines;
mod mouse;
mod output;
mod pictures;
mod random;
mod safety;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::incident::{Command, Plan, Query};
use crate::wire::ToEngine;

use super::app::App;
use super::msg::{Msg, Out};
use super::update::update;

/// Presses keys as people write them: `ajk`, `<enter>`, `<esc>`, `<tab>`, `<c-s>`.
fn press(app: &mut App, keys: &str) -> Vec<Out> {
    let mut outs = Vec::new();
    let mut rest = keys;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (code, modifiers) = if let Some((name, after)) = named {
            rest = after;
            match name {
                "enter" => (KeyCode::Enter, KeyModifiers::NONE),
                "esc" => (KeyCode::Esc, KeyModifiers::NONE),
                "tab" => (KeyCode::Tab, KeyModifiers::NONE),
                "right" => (KeyCode::Right, KeyModifiers::NONE),
                "up" => (KeyCode::Up, KeyModifiers::NONE),
                "down" => (KeyCode::Down, KeyModifiers::NONE),
                "left" => (KeyCode::Left, KeyModifiers::NONE),
                "bs" => (KeyCode::Backspace, KeyModifiers::NONE),
                with => {
                    let (modifier, c) = with.split_once('-').expect("a named key");
                    let modifier = if modifier == "a" { KeyModifiers::ALT } else { KeyModifiers::CONTROL };
                    let letter = KeyCode::Char(c.chars().next().expect("a letter"));
                    (if c == "enter" { KeyCode::Enter } else { letter }, modifier)
                }
            }
        } else {
            rest = &rest[first.len_utf8()..];
            (KeyCode::Char(first), KeyModifiers::NONE)
        };
        let now = app.now;
        outs.extend(update(app, Msg::Key(KeyEvent::new(code, modifiers)), now));
    }
    outs
}

/// What the loop does after a drawing once the keys typed before it were read.
fn show(app: &mut App) {
    if let Some(digest) = app.unshown() {
        let now = app.now;
        update(app, Msg::Shown(digest), now);
    }
}

fn commands(outs: &[Out]) -> Vec<Command> {
    outs.iter()
        .filter_map(|out| match out {
            Out::Send(ToEngine::Command { command, .. }) => Some(command.clone()),
            _ => None,
        })
        .collect()
}

fn queries(outs: &[Out]) -> Vec<Query> {
    outs.iter()
        .filter_map(|out| match out {
            Out::Send(ToEngine::Query { query, .. }) => Some(query.clone()),
            _ => None,
        })
        .collect()
}

/// The command's number, for the engine's reply.
fn number(outs: &[Out]) -> u64 {
    outs.iter()
        .find_map(|out| match out {
            Out::Send(ToEngine::Command { id, .. }) => Some(*id),
            _ => None,
        })
        .expect("a command")
}

fn approvals(outs: &[Out]) -> Vec<Command> {
    commands(outs).into_iter().filter(|command| matches!(command, Command::Approve { .. })).collect()
}

fn approval(plan: &Plan, typed: Option<&str>) -> Command {
    Command::Approve { step: plan.step.clone(), digest: plan.digest(), typed: typed.map(str::to_owned) }
}
