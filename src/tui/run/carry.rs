//! What is done for the update: told to the engine, copied, written to files, asked of the system.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::export;
use crate::incident::LogLevel;
use crate::tui::copy::{self, Copying, Way, both};
use crate::tui::dumps::Ranking;
use crate::tui::file;
use crate::tui::msg::{Msg, Out};
use crate::tui::terminal;
use crate::wire::FromEngine;

use super::{Cockpit, Due, Exit};

impl Cockpit {
    pub(super) fn carry_out(&mut self, out: Out) {
        match out {
            Out::Send(message) => {
                if let Err(error) = self.link.tx.try_send(message) {
                    let why = match error {
                        mpsc::error::TrySendError::Full(_) => "it does not take what is sent to it",
                        mpsc::error::TrySendError::Closed(_) => "the connection ended",
                    };
                    self.take(Msg::FromEngine(FromEngine::Lost(why.to_owned())), Due::Now);
                }
            }
            Out::Copy(text) => {
                // A clipboard may not take it, and the next copy replaces it.
                let name = self
                    .app
                    .state
                    .as_ref()
                    .map_or_else(|| "relight-copied.txt".to_owned(), |state| format!("{}-copied.txt", state.id));
                self.export(Some(&text), name, format!("{text}\n"));
            }
            Out::Export { copy, name, text } => self.export(copy.as_deref(), name, text),
            Out::Rank(ranking) => self.rank(ranking),
            Out::Save { attempt, name } => {
                let (log, folders) =
                    (self.options.logs.join(format!("{attempt}.log")), self.options.export_dirs.clone());
                let done = self.done.clone();
                tokio::task::spawn_blocking(move || {
                    let saved = file::copy_clean(&folders, &name, &log);
                    // Without a cockpit nobody waits for the answer.
                    let _ = done.send(Msg::Exported(file::said(saved)));
                });
            }
            Out::Handover => {
                let Some(state) = &self.app.state else { return };
                let page = export::handover(state, Timestamp::now(), self.app.seal.as_ref());
                self.take(Msg::Handover(page), Due::Now);
            }
            Out::Log(level, text) => match level {
                LogLevel::Error => tracing::error!(target: "engine", "{text}"),
                LogLevel::Warn => tracing::warn!(target: "engine", "{text}"),
                LogLevel::Info => tracing::info!(target: "engine", "{text}"),
                LogLevel::Debug => tracing::debug!(target: "engine", "{text}"),
            },
            Out::Suspend => {
                self.in_it = None;
                if self.screen.suspend().is_err() {
                    self.exit = Some(Exit::TerminalGone);
                }
                // What was on screen before is seen no more.
                self.forget_what_was_shown();
                let (columns, rows) = terminal::size();
                self.take(Msg::Resize(columns, rows), Due::Now);
            }
            Out::Ring => {
                if self.screen.ring().is_err() {
                    self.exit = Some(Exit::TerminalGone);
                }
            }
            Out::Redraw => {
                if self.screen.clear().is_err() {
                    self.exit = Some(Exit::TerminalGone);
                }
            }
            Out::Detach => self.exit = Some(self.app.left()),
            Out::Reattach => self.exit = Some(Exit::Again),
        }
    }

    fn rank(&self, ranking: Ranking) {
        let number = ranking.number;
        self.ranking.store(number, Ordering::Relaxed);
        let (last, done) = (Arc::clone(&self.ranking), self.done.clone());
        tokio::task::spawn_blocking(move || {
            if let Some(rows) = ranking.run(&|| last.load(Ordering::Relaxed) == number) {
                // Without a cockpit nobody waits for the answer.
                let _ = done.send(Msg::Ranked(number, rows));
            }
        });
    }

    /// Copies what can be copied at once.
    fn begin_copy(&mut self, text: &str) -> Copying {
        let (part, whole) = copy::cut(text);
        let less = if whole { String::new() } else { format!("; only the first {} bytes", part.len()) };
        match copy::way(std::env::var("TMUX").ok().as_deref()) {
            Way::Tmux => Copying::ByTmux { part: part.to_owned(), less },
            Way::Terminal => {
                if self.screen.copy(part).is_err() {
                    self.exit = Some(Exit::TerminalGone);
                }
                Copying::Done(format!("sent to the terminal's clipboard (OSC 52){less}"))
            }
        }
    }

    /// The file comes first: whatever becomes of the copy, the text is there.
    fn export(&mut self, copy: Option<&str>, name: String, text: String) {
        let copying = copy.map(|copy| self.begin_copy(copy));
        let (folders, done) = (self.options.export_dirs.clone(), self.done.clone());
        tokio::spawn(async move {
            let written = tokio::task::spawn_blocking(move || file::write(&folders, &name, &text)).await;
            let written = file::said(written.map_err(|error| error.to_string()).and_then(|written| written));
            let copied = match copying {
                Some(copying) => Some(copying.end().await),
                None => None,
            };
            // Without a cockpit nobody waits for the answer.
            let _ = done.send(Msg::Exported(both(written, copied)));
        });
    }
}
