//! What is put to the person: the card, a question, a text; and what each takes as an answer.

use crossterm::event::KeyCode;
use jiff::Timestamp;

use crate::incident::{Digest, Plan, State};
use crate::tui::app::App;
use crate::tui::card::{self, Card, Stage};
use crate::tui::msg::Out;
use crate::tui::overlay::Overlay;
use crate::tui::text;
use crate::tui::view;

use super::talk::Talk;
use super::{dumps, hand, question};

/// Letters of a digest that a consent carries.
const CODE: usize = 3;

impl Talk {
    /// Puts to the person what the cockpit shows over its panes, where that is new.
    pub(super) fn put(&mut self, now: Timestamp) -> Vec<Out> {
        let opening = dumps::is_opening(&self.app);
        let mark = self
            .app
            .ui
            .overlay
            .as_ref()
            .and_then(|overlay| mark(&self.app, overlay))
            .map(|mark| format!("{opening} {mark}"));
        if mark == self.said.put {
            return Vec::new();
        }
        self.said.put = mark;
        let Some(overlay) = &self.app.ui.overlay else {
            self.said.plan = None;
            self.draft = None;
            return Vec::new();
        };
        match overlay {
            Overlay::Card(card) => self.put_card(&card.clone()),
            Overlay::Snapshot { .. } | Overlay::Compare { .. } if opening => {
                self.say("Opening it. A dot alone closes this.");
            }
            // A text is read out, and over.
            Overlay::Help { .. }
            | Overlay::Phases { .. }
            | Overlay::Compare { .. }
            | Overlay::Details { .. }
            | Overlay::Snapshot { .. }
            | Overlay::Text { .. } => {
                self.read_out();
                let outs = hand::press(&mut self.app, KeyCode::Esc, now);
                self.said.put = None;
                return outs;
            }
            Overlay::Prompt(prompt) if prompt.sent.is_some() => {}
            Overlay::Prompt(_) => {
                self.read_out();
                self.say("Type it; Enter alone, or a dot, cancels.");
            }
            Overlay::Confirm { .. } => self.put_confirm("to do it; anything else cancels"),
            Overlay::Settle { attempt, .. } => {
                let is_asked = self.app.is_being_asked(*attempt);
                self.read_out();
                self.say(if is_asked {
                    "Type x (stop what still runs of it); anything else waits."
                } else {
                    "Type h (it happened), n (it did not) or r (ask the target again); anything else decides later."
                });
            }
            Overlay::Escalation { .. } => {
                self.read_out();
                self.say("Type t (record that this one was told), j or k (another one); anything else closes.");
            }
            Overlay::Outbox { .. } => {
                self.read_out();
                self.say("Type h (the message in doubt arrived), n (it did not: it is sent again), or next; anything else closes.");
            }
            Overlay::Handover { offered, .. } => {
                let does =
                    if *offered { "to take the incident over" } else { "to let this page wait for whoever takes over" };
                self.put_confirm(&format!("{does}; anything else: later"));
            }
            Overlay::Export(_) => {
                self.read_out();
                self.say("Type w (write it to a file), 1 to 5 (PagerDuty, Slack, Markdown, JSON, HTML), n or N (other parts); anything else closes.");
            }
            // Nothing that can be typed opens these.
            Overlay::Search(_) | Overlay::Palette { .. } | Overlay::Log => {}
        }
        Vec::new()
    }

    fn read_out(&mut self) {
        self.lines.extend(view::said(&self.app));
    }

    fn put_confirm(&mut self, does: &str) {
        let words = view::said(&self.app);
        self.said.code = code(&Digest::of(words.join("\n").as_bytes()));
        self.lines.extend(words);
        let code = &self.said.code;
        self.lines.push(format!("Type y {code} {does}."));
    }

    fn put_card(&mut self, card: &Card) {
        match &card.stage {
            Stage::Loading => self.read_out(),
            Stage::Approving => self.say("Approved; waiting for the engine."),
            Stage::Overtaken(words) => {
                self.say(text::clean(words).into_owned());
                self.say("Nothing of what you typed to it was taken; any line closes it.");
            }
            Stage::Failed(_) | Stage::Refused(_) => {
                self.read_out();
                self.say("Type a to try again; anything else closes.");
            }
            Stage::Form(form) => {
                self.draft = question::takes_lines(form).then(Vec::new);
                self.lines.extend(form.error.clone());
                self.lines.extend(question::put(form));
            }
            Stage::Review => {
                let Some((plan, digest)) = &card.plan else { return };
                if self.said.plan.as_ref() != Some(digest) || card.changed {
                    self.said.plan = Some(digest.clone());
                    self.said.code = code(digest);
                    self.read_out();
                }
                if let Some(fault) = &card.fault {
                    self.say(text::clean(fault).into_owned());
                }
                let ask = self.ask(card, plan);
                self.say(ask);
            }
        }
    }

    /// What a card takes.
    pub(super) fn ask(&self, card: &Card, plan: &Plan) -> String {
        let answers = if plan.asks.is_empty() { "" } else { "i changes the answers; " };
        if let Some(why) = plan.obstacle() {
            return format!(
                "Cannot be approved: {}. {answers}anything else closes.",
                text::clean(&why).trim_end_matches('.')
            );
        }
        let step = self.app.state.as_ref().and_then(|state| state.runbook.step(&card.step));
        let yes = if card::takes_name(plan, step) { card::expected_name(plan) } else { "y" };
        let does = if plan.nothing_to_do.is_some() {
            "to skip the step with this as the reason"
        } else {
            "to approve exactly this"
        };
        format!("Type {} {} {does}; {answers}anything else cancels.", text::clean(yes), self.said.code)
    }
}

fn code(digest: &Digest) -> String {
    digest.0.chars().take(CODE).collect()
}

/// What is put to the person, as far as it takes saying it anew when it changes.
fn mark(app: &App, overlay: &Overlay) -> Option<String> {
    Some(match overlay {
        Overlay::Card(card) => {
            let digest = card.plan.as_ref().map(|(_, digest)| digest);
            let stage: (&str, Option<usize>, Option<&String>) = match &card.stage {
                Stage::Loading => ("loading", None, None),
                Stage::Form(form) => ("form", Some(form.focus), form.error.as_ref()),
                Stage::Review => ("review", None, card.fault.as_ref()),
                Stage::Approving => ("approving", None, None),
                Stage::Failed(problem) => ("failed", None, Some(&problem.why)),
                Stage::Refused(why) => ("refused", None, Some(why)),
                Stage::Overtaken(words) => ("overtaken", None, Some(words)),
            };
            format!("{} {digest:?} {stage:?}", card.step)
        }
        Overlay::Prompt(prompt) => format!("{:?} {:?} {:?}", prompt.purpose, prompt.sent, prompt.fault),
        Overlay::Handover { page, offered, .. } => format!("{offered} {page}"),
        Overlay::Export(exporting) => {
            format!("{:?} {} {:?}", exporting.format, exporting.part, exporting.done)
        }
        Overlay::Search(_) | Overlay::Palette { .. } | Overlay::Log => return None,
        // Whatever is settled there is settled by its place.
        Overlay::Outbox { selected, .. } => {
            let doubtful = app.state.iter().flat_map(State::doubtful_messages).map(|message| message.id);
            format!("{selected} {:?}", doubtful.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    })
}
