//! What the cockpit is told, and what it wants done.

use crossterm::event::{KeyEvent, MouseEvent};

use crate::incident::{AttemptId, LogLevel};
use crate::wire::{FromEngine, ToEngine};

use super::card::Sight;
use super::dumps::Ranking;

/// Something that happened to the cockpit.
#[derive(Debug, Clone, PartialEq)]
pub enum Msg {
    /// A key was read.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The mouse was used.
    Mouse(MouseEvent),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// The engine said something, or is gone.
    FromEngine(FromEngine),
    /// A second passed.
    Tick,
    /// The process was continued after a stop.
    Resumed,
    /// The terminal has a frame with this of a plan, and every key typed before that was read.
    Shown(Sight),
    /// The page for whoever takes over, as it would be written now.
    Handover(String),
    /// Something that must be known before the first step.
    Warning(String),
    /// The ranking of this number is done: which rows are shown, in order.
    Ranked(u64, Vec<u32>),
    /// A text was copied and written, in words with the file's path, or why not.
    Exported(Result<String, String>),
}

/// Something that the loop is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Out {
    /// Tell the engine.
    Send(ToEngine),
    /// Put text on the clipboard of the person's own terminal and into a file, and answer with [`Msg::Exported`].
    Copy(String),
    /// Write the page for whoever takes over and answer with [`Msg::Handover`].
    Handover,
    /// Write an export to a file, and answer with [`Msg::Exported`].
    Export {
        /// What goes on the clipboard as well.
        copy: Option<String>,
        /// The file's name.
        name: String,
        /// What goes into the file.
        text: String,
    },
    /// Rank the dumps, and answer with [`Msg::Ranked`] unless another one is wanted by then.
    Rank(Ranking),
    /// Write an attempt's log to a file, and answer with [`Msg::Exported`].
    Save {
        /// Which.
        attempt: AttemptId,
        /// The file's name.
        name: String,
    },
    /// Keep a line for the program's log pane.
    Log(LogLevel, String),
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Ring the terminal's bell: somebody is needed.
    Ring,
    /// Clear and draw everything again.
    Redraw,
    /// Leave; the engine goes on.
    Detach,
    /// Start a lost engine again and attach to it.
    Reattach,
}
