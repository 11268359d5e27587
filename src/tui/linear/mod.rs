//! The same incident as lines: for screen readers, and for terminals that cannot show a full screen.
//!
//! ```text
//!  stdin ─▶ Keyboard (thread) ─▶ Talk::typed ─┐
//!  engine ─▶ Link::rx ─────────▶ Talk::hear ──┼─▶ update(&mut App, …) ─▶ Vec<Out> ─▶ engine, files
//!                                             └─▶ lines, one for each thing ─▶ stdout
//! ```
//!
//! It is the cockpit with another face: the same [`App`], the same `update`, the same cards. Nothing moves the
//! cursor, nothing has a colour, and the terminal edits the line that is typed.
//!
//! A terminal that hands over whole lines cannot tell a key from a paste, nor what was typed before from what was typed after.
//! So a consent carries the first letters of the plan's digest, which nobody can know who has not been shown the plan.

mod dumps;
mod hand;
mod keyboard;
mod put;
mod question;
mod say;
pub(super) mod talk;

pub use keyboard::Keyboard;

use std::io::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::export;
use crate::wire::{FromEngine, Link, ToEngine};

use super::app::App;
use super::file;
use super::msg::{Msg, Out};
use super::run::{Exit, Options, TuiError};
use super::theme::Theme;
use talk::Talk;

/// Nothing of what has to be read is ever out of sight here.
const ENDLESS: (u16, u16) = (100, 10_000);

/// Tells of an incident, and takes what is typed, until the person leaves or this process is asked to end. What `warning`
/// comes to is said when it is known.
///
/// # Errors
/// The system refuses signals. Nothing of the incident is touched.
pub async fn run_linear(
    mut link: Link,
    options: Options,
    keyboard: &mut Keyboard,
    warning: impl Future<Output = Option<String>> + Send + 'static,
) -> Result<Exit, TuiError> {
    let listen = |kind| signal(kind).map_err(|source| TuiError::System { what: "signals", source });
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut term = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let (finished, mut done) = mpsc::unbounded_channel();
    let told = finished.clone();
    let warning = tokio::spawn(async move {
        if let Some(text) = warning.await {
            // Without a cockpit nobody is there to be warned.
            let _ = told.send(Msg::Warning(text));
        }
    });
    let mut app = App::new(Theme::in_words(), ENDLESS, Timestamp::now());
    app.keymap = options.keymap.clone();
    app.zone = TimeZone::system();
    app.you = link.you.clone();
    app.watching.clone_from(&link.watching);
    let mut conversation = Conversation { talk: Talk::new(app), options, finished };
    let exit = loop {
        if conversation.print().is_err() {
            break Exit::TerminalGone;
        }
        let outs = tokio::select! {
            biased;
            _ = term.recv() => break Exit::TerminalGone,
            _ = hangup.recv() => break Exit::TerminalGone,
            _ = interrupt.recv() => vec![Out::Detach],
            typed = keyboard.line() => match typed {
                Some(typed) => conversation.talk.typed(&typed, Timestamp::now()),
                None => vec![Out::Detach],
            },
            Some(message) = done.recv() => conversation.talk.hear(message, Timestamp::now()),
            from = link.rx.recv(), if conversation.talk.app.lost.is_none() => {
                let from = from.unwrap_or_else(|| FromEngine::Lost("the connection ended".to_owned()));
                conversation.talk.hear(Msg::FromEngine(from), Timestamp::now())
            }
        };
        if let Some(exit) = outs.into_iter().find_map(|out| conversation.carry_out(out, &link)) {
            // What was said last is not lost.
            let _ = conversation.print();
            break exit;
        }
    };
    warning.abort();
    Ok(exit)
}

struct Conversation {
    talk: Talk,
    options: Options,
    finished: mpsc::UnboundedSender<Msg>,
}

impl Conversation {
    fn print(&mut self) -> io::Result<()> {
        let lines = self.talk.lines();
        if lines.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all((lines.join("\n") + "\n").as_bytes())?;
        out.flush()
    }

    fn send(&mut self, link: &Link, message: ToEngine) {
        if link.tx.try_send(message).is_err() {
            let lost = FromEngine::Lost("the connection ended".to_owned());
            self.talk.hear(Msg::FromEngine(lost), Timestamp::now());
        }
    }

    fn carry_out(&mut self, out: Out, link: &Link) -> Option<Exit> {
        match out {
            Out::Send(message) => self.send(link, message),
            Out::Handover => {
                if let Some(state) = &self.talk.app.state {
                    let page = export::handover(state, Timestamp::now(), self.talk.app.seal.as_ref());
                    self.talk.hear(Msg::Handover(page), Timestamp::now());
                }
            }
            Out::Export { name, text, .. } => {
                let (folders, finished) = (self.options.export_dirs.clone(), self.finished.clone());
                tokio::task::spawn_blocking(move || {
                    let written = file::write(&folders, &name, &text);
                    // Without a cockpit nobody waits for the answer.
                    let _ = finished.send(Msg::Exported(file::said(written)));
                });
            }
            Out::Save { attempt, name } => {
                let (folders, finished) = (self.options.export_dirs.clone(), self.finished.clone());
                let log = self.options.logs.join(format!("{attempt}.log"));
                tokio::task::spawn_blocking(move || {
                    let saved = file::copy_clean(&folders, &name, &log);
                    // Without a cockpit nobody waits for the answer.
                    let _ = finished.send(Msg::Exported(file::said(saved)));
                });
            }
            Out::Detach => return Some(self.talk.app.left()),
            Out::Reattach => return Some(Exit::Again),
            // Lines that scroll by are copied by the terminal, and need no drawing. The engine's log is in its file.
            _ => {}
        }
        None
    }
}
