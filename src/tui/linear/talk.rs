//! The conversation: what is to be said after each thing that happened, and what a typed line means just then.

use std::collections::{BTreeMap, VecDeque};

use crossterm::event::KeyCode;
use jiff::Timestamp;

use crate::incident::{AttemptId, Digest, Outcome};
use crate::tui::action::UiAction;
use crate::tui::app::{App, Progress};
use crate::tui::card::{self, Card, Stage};
use crate::tui::msg::{Msg, Out};
use crate::tui::overlay::Overlay;
use crate::tui::text;
use crate::tui::update::update;
use crate::tui::view;

use super::question::{self, Answered};
use super::{dumps, hand, say};

/// A cockpit that speaks.
pub(in crate::tui) struct Talk {
    pub(in crate::tui) app: App,
    /// What is to be printed.
    pub(super) lines: Vec<String>,
    pub(super) said: Said,
    /// Lines of an answer that takes several.
    pub(super) draft: Option<Vec<String>>,
    /// Lines that wait for the engine's answer to the one before.
    held: VecDeque<String>,
}

/// What was said already.
#[derive(Default)]
pub(super) struct Said {
    greeted: bool,
    /// The newest event of the timeline.
    entry: u64,
    next: Option<String>,
    lost: Option<String>,
    alarm: Option<String>,
    outbox: Option<String>,
    progress: BTreeMap<AttemptId, String>,
    /// What was put to the person last.
    pub(super) put: Option<String>,
    /// The plan that was read out last.
    pub(super) plan: Option<Digest>,
    /// What a consent to it carries.
    pub(super) code: String,
}

impl Talk {
    pub(in crate::tui) fn new(app: App) -> Self {
        Self { app, lines: Vec::new(), said: Said::default(), draft: None, held: VecDeque::new() }
    }

    /// What is to be printed now; it is told once.
    pub(in crate::tui) fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Takes something that happened.
    pub(in crate::tui) fn hear(&mut self, message: Msg, now: Timestamp) -> Vec<Out> {
        let before = self.app.ui.toast.clone();
        let outs = update(&mut self.app, message, now);
        if self.app.ui.toast != before {
            self.toast();
        }
        let mut outs = self.tell(now, outs);
        // What was typed behind an answer that was refused was not meant for the question that is back now.
        if matches!(&self.app.ui.overlay, Some(Overlay::Prompt(prompt)) if prompt.fault.is_some()) {
            let held = std::mem::take(&mut self.held).into_iter();
            self.lines.extend(
                held.map(|line| {
                    format!("Not taken, since the line before it was refused: {}", text::clean(line.trim()))
                }),
            );
        }
        while !self.waits()
            && let Some(line) = self.held.pop_front()
        {
            outs.extend(self.typed(&line, now));
        }
        outs
    }

    /// What was typed or approved last is on its way to the engine, and no answer has come.
    fn waits(&self) -> bool {
        match &self.app.ui.overlay {
            _ if self.app.lost.is_some() => false,
            Some(Overlay::Prompt(prompt)) => prompt.sent.is_some(),
            Some(Overlay::Card(card)) => card.stage == Stage::Approving,
            _ => false,
        }
    }

    /// Takes a line that was typed.
    pub(in crate::tui) fn typed(&mut self, line: &str, now: Timestamp) -> Vec<Out> {
        // A dot leaves a card that the engine does not answer.
        let leaves = line.trim() == "." && matches!(self.app.ui.overlay, Some(Overlay::Card(_)));
        if leaves && !self.held.is_empty() {
            self.held.clear();
            self.say("What was typed since is not taken.");
        }
        if self.waits() && !leaves {
            self.held.push_back(line.to_owned());
            return Vec::new();
        }
        let line = text::clean(line.trim_end_matches(['\r', '\n']));
        let line = line.trim();
        self.app.ui.toast = None;
        let outs = if self.app.ui.overlay.is_some() { self.answered(line, now) } else { self.told(line, now) };
        self.toast();
        self.tell(now, outs)
    }

    pub(super) fn say(&mut self, words: impl Into<String>) {
        self.lines.push(words.into());
    }

    fn toast(&mut self) {
        if let Some(toast) = &self.app.ui.toast {
            let words = text::clean(&toast.text).into_owned();
            self.say(words);
        }
    }

    /// Says what is new.
    fn tell(&mut self, now: Timestamp, mut outs: Vec<Out>) -> Vec<Out> {
        self.faults();
        if !self.app.caught_up {
            return outs;
        }
        if !self.said.greeted {
            self.greet();
        }
        self.entries();
        self.far();
        outs.extend(self.put(now));
        if self.app.ui.overlay.is_none() {
            let next = say::next(&self.app);
            if next != self.said.next {
                self.lines.extend(next.clone());
                self.said.next = next;
            }
        }
        outs
    }

    fn greet(&mut self) {
        self.said.greeted = true;
        self.said.entry = self.app.state.as_ref().map_or(0, |state| state.seq);
        let status = view::status(&self.app);
        self.say(status);
        if let Some(why) = self.app.watching.clone() {
            self.say(why);
        }
        let help = say::word(&self.app, UiAction::Help);
        self.say(format!("relight in lines: {help} says what can be typed. Enter alone never acts."));
    }

    /// What stays wrong until it is mended.
    fn faults(&mut self) {
        let (app, said) = (&self.app, &mut self.said);
        let retry = say::word(app, UiAction::Retry);
        let closed = app.state.as_ref().is_some_and(|state| state.closed_at.is_some());
        for (now, before, words) in [
            (&app.lost, &mut said.lost, "The engine is gone: "),
            (&app.alarm, &mut said.alarm, "Alarm: "),
            (&app.outbox_waits, &mut said.outbox, "Messages wait: "),
        ] {
            if now != before {
                before.clone_from(now);
                self.lines.extend(now.as_ref().map(|why| format!("{words}{}", text::clean(why))));
                if words.starts_with("The engine") && now.is_some() && !closed {
                    self.lines.push(format!("{retry} starts it again."));
                }
            }
        }
    }

    fn entries(&mut self) {
        let Some(state) = &self.app.state else { return };
        let from = state.timeline.partition_point(|entry| entry.seq <= self.said.entry);
        for entry in state.timeline.iter().skip(from) {
            self.lines.push(say::entry_line(&self.app, entry));
        }
        if let Some(newest) = state.timeline.last() {
            self.said.entry = self.said.entry.max(newest.seq);
        }
        for attempt in state.attempts.values() {
            if let (Some(Outcome::Failed { problem } | Outcome::InDoubt { problem }), Some(_)) =
                (&attempt.outcome, self.said.progress.remove(&attempt.id))
            {
                self.lines.push(format!("What to do: {}", text::clean(&problem.next)));
            }
        }
    }

    /// How far what is at work is: when it does something else, and at each tenth of it.
    fn far(&mut self) {
        let Some(state) = &self.app.state else { return };
        for attempt in state.running() {
            let progress = self.app.progress.get(&attempt.id);
            let mark = progress.map_or_else(String::new, tenth);
            let known = self.said.progress.insert(attempt.id, mark.clone());
            if let Some(progress) = progress.filter(|_| known != Some(mark)) {
                self.lines.push(view::how_far(progress, self.app.now));
            }
        }
    }

    /// A line while something is put to the person.
    fn answered(&mut self, line: &str, now: Timestamp) -> Vec<Out> {
        let Some(overlay) = &self.app.ui.overlay else { return Vec::new() };
        let keys = match overlay {
            Overlay::Card(card) => {
                let card = card.clone();
                return self.on_card(&card, line, now);
            }
            // A dot cancels questions; it is no text for anything else either.
            Overlay::Prompt(_) if line.is_empty() || line == "." => "",
            Overlay::Prompt(_) => {
                return hand::answer(&mut self.app, line.to_owned(), now);
            }
            Overlay::Confirm { .. } | Overlay::Handover { .. } => match self.consents(line) {
                Some(true) => "y",
                Some(false) => return Vec::new(),
                None => "",
            },
            Overlay::Settle { .. } => "hnrx",
            Overlay::Escalation { .. } => "tjk",
            Overlay::Outbox { .. } if line == "next" => {
                return hand::press(&mut self.app, KeyCode::Tab, now);
            }
            Overlay::Outbox { .. } => "hn",
            Overlay::Export(_) => "w12345nN",
            _ => "",
        };
        let mut outs = Vec::new();
        let line = if keys == "y" {
            outs = self.shown(now);
            "y"
        } else {
            line
        };
        let mut letters = line.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) if keys.contains(letter) => {
                outs.extend(hand::press(&mut self.app, KeyCode::Char(letter), now));
            }
            _ => {
                outs.extend(hand::press(&mut self.app, KeyCode::Esc, now));
                if self.app.ui.toast.is_none() {
                    self.say("Closed.");
                }
            }
        }
        outs
    }

    /// Whether a line consents to what was read out last; none where it wants nothing of the kind.
    fn consents(&mut self, line: &str) -> Option<bool> {
        match line.rsplit_once(' ') {
            Some(("y", code)) if code == self.said.code => Some(true),
            _ if line == "y" || line.starts_with("y ") => {
                let code = &self.said.code;
                self.lines.push(format!("Nothing was done: what was read out takes y {code}. Anything else cancels."));
                Some(false)
            }
            _ => None,
        }
    }

    fn on_card(&mut self, card: &Card, line: &str, now: Timestamp) -> Vec<Out> {
        match &card.stage {
            Stage::Loading | Stage::Approving if line != "." => {
                self.say("One moment: the engine has not answered yet. A dot alone closes this.");
                Vec::new()
            }
            Stage::Failed(_) | Stage::Refused(_) if line == "a" => hand::press(&mut self.app, KeyCode::Char('a'), now),
            Stage::Form(_) => self.on_question(line, now),
            Stage::Review => self.on_plan(card, line, now),
            _ => {
                self.say("Closed.");
                hand::press(&mut self.app, KeyCode::Esc, now)
            }
        }
    }

    fn on_question(&mut self, line: &str, now: Timestamp) -> Vec<Out> {
        let mut answer = line.to_owned();
        match &mut self.draft {
            None if line == "." => {
                self.say("Cancelled; nothing was done.");
                return hand::press(&mut self.app, KeyCode::Esc, now);
            }
            Some(draft) if line == "." => answer = std::mem::take(draft).join("\n"),
            Some(draft) if !line.is_empty() || !draft.is_empty() => {
                draft.push(line.to_owned());
                return Vec::new();
            }
            _ => {}
        }
        let Some(form) = hand::form(&mut self.app) else { return Vec::new() };
        match question::answer(form, &answer, now) {
            Answered::More => Vec::new(),
            Answered::All => hand::control(&mut self.app, 's', now),
            Answered::Fault(why) => {
                self.say(text::clean(&why).into_owned());
                Vec::new()
            }
        }
    }

    /// All of a plan is read out, so all of it counts as seen.
    fn shown(&mut self, now: Timestamp) -> Vec<Out> {
        let sight = self.app.unshown();
        sight.map(|sight| update(&mut self.app, Msg::Shown(sight), now)).unwrap_or_default()
    }

    fn on_plan(&mut self, card: &Card, line: &str, now: Timestamp) -> Vec<Out> {
        let Some((plan, digest)) = &card.plan else { return Vec::new() };
        let step = self.app.state.as_ref().and_then(|state| state.runbook.step(&card.step));
        let by_name = card::takes_name(plan, step);
        if line == "i" && !plan.asks.is_empty() {
            // A card that takes a name has the letter in it; Tab goes to the answers of every card.
            let mut outs = self.shown(now);
            outs.extend(hand::press(&mut self.app, KeyCode::Tab, now));
            if let Some(form) = hand::form(&mut self.app) {
                form.focus = 0;
            }
            return outs;
        }
        if line == "c" && !plan.commands.is_empty() {
            self.lines.extend(plan.commands.iter().map(|command| text::clean(command).into_owned()));
            return Vec::new();
        }
        let (words, code) = line.rsplit_once(' ').unwrap_or((line, ""));
        let yes = if by_name { card::expected_name(plan) } else { "y" };
        if plan.obstacle().is_none() && (words.trim() == yes || line == yes) {
            if code != self.said.code || self.said.plan.as_ref() != Some(digest) {
                let ask = self.ask(card, plan);
                self.say(format!("Nothing was done: the letters behind it are those of what was read out. {ask}"));
                return Vec::new();
            }
            let mut outs = self.shown(now);
            for letter in yes.chars() {
                outs.extend(hand::press(&mut self.app, KeyCode::Char(letter), now));
            }
            if by_name {
                outs.extend(hand::press(&mut self.app, KeyCode::Enter, now));
            }
            return outs;
        }
        if line.is_empty() {
            // Enter alone may have been meant for something else.
            let ask = self.ask(card, plan);
            self.say(ask);
            return Vec::new();
        }
        self.say("Cancelled; nothing was done.");
        let outs = hand::press(&mut self.app, KeyCode::Esc, now);
        self.app.ui.overlay = None;
        self.app.ui.toast = None;
        outs
    }

    /// A line while nothing is put to the person.
    fn told(&mut self, line: &str, now: Timestamp) -> Vec<Out> {
        if line.is_empty() {
            self.lines.extend(say::standing(&self.app));
            self.said.next = say::next(&self.app);
            return Vec::new();
        }
        let named = |action: &UiAction| {
            let words = [say::word(&self.app, *action), action.name().to_owned()];
            let behind = |word: &String| {
                let rest = line.strip_prefix(word.as_str())?;
                (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim().to_owned())
            };
            words.iter().find_map(behind).map(|rest| (*action, rest))
        };
        let Some((action, rest)) = say::OFFERED.iter().find_map(named) else {
            let help = say::word(&self.app, UiAction::Help);
            self.say(format!("`{line}` is no command; {help} says what can be typed."));
            return Vec::new();
        };
        match action {
            UiAction::Help => self.lines.extend(say::help(&self.app)),
            UiAction::Checklist => self.lines.extend(say::checklist(&self.app)),
            UiAction::Snapshots => {
                let (lines, outs) = dumps::tell(&mut self.app, &rest);
                self.lines.extend(lines);
                return outs;
            }
            UiAction::Output => self.lines.extend(say::output(&self.app, &rest)),
            UiAction::Timeline => self.lines.extend(say::timeline(&self.app, &rest)),
            UiAction::Note | UiAction::Correct => {
                let mut outs = match action {
                    UiAction::Correct => hand::correct_last(&mut self.app, now),
                    _ => hand::act(&mut self.app, action, now),
                };
                if self.app.ui.overlay.is_some() && !rest.is_empty() {
                    outs.extend(hand::answer(&mut self.app, rest, now));
                }
                return outs;
            }
            _ if say::takes_step(action) => {
                if !hand::select(&mut self.app, &rest) {
                    let list = say::word(&self.app, UiAction::Checklist);
                    self.say(format!("there is no step `{rest}`; {list} lists them with their numbers"));
                    return Vec::new();
                }
                return hand::act(&mut self.app, action, now);
            }
            _ => return hand::act(&mut self.app, action, now),
        }
        Vec::new()
    }
}

/// What of a running attempt's progress is worth a line when it changes.
fn tenth(progress: &Progress) -> String {
    let tenth =
        progress.total.filter(|total| *total > 0).map(|total| u128::from(progress.done) * 10 / u128::from(total));
    // What it does just then changes many times a second where several are at work.
    let label = if tenth.is_none() { progress.label.as_str() } else { "" };
    format!("{label} {tenth:?} {}", progress.stalled.is_some())
}
