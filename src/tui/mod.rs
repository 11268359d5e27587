//! The cockpit: a full-screen view of one incident, and the keyboard into its engine.
//!
//! ```text
//!  tty ─▶ Keyboard ───────┐
//!  engine ─▶ Link::rx ────┼─▶ Msg ─▶ update(&mut App, Msg, now) ─▶ Vec<Out> ─▶ engine, clipboard, files
//!  clock, signals ────────┘                 │
//!                                           └─▶ view::draw(canvas, &App) ─▶ Painter ─▶ Writer: one write
//! ```
//!
//! `run` only turns sources into [`Msg`] and carries out [`Out`]; every decision is made in `update`, which is
//! synchronous, and every pane reads [`App`] and writes nothing but its own area. A key that moves the cursor has the focused
//! pane drawn at once, and right after it everything.
//!
//! A plan is approved only by a key that was typed after the terminal said that it has the plan, see [`Msg::Shown`] and
//! `witness`.

mod action;
mod ansi;
mod app;
mod browse;
mod card;
mod checklist;
mod copy;
mod draft;
mod dumps;
mod edit;
mod export;
mod file;
mod form;
mod frame;
mod fuzzy;
mod heard;
mod history;
mod input;
mod keyboard;
mod keymap;
mod linear;
mod log;
mod mouse;
mod movement;
mod msg;
mod output;
mod overlay;
mod pace;
mod painter;
mod palette;
mod perform;
mod run;
mod seek;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod update;
mod view;
mod witness;
mod writer;

pub use app::App;
pub use card::Sight;
pub use dumps::Ranking;
pub use frame::frame_text;
pub use keymap::{Binding, Keymap, KeymapError};
pub use linear::{Keyboard, run_linear};
pub use msg::{Msg, Out};
pub use run::{Exit, Options, TuiError, run};
pub use theme::{Look, Theme};
pub use update::update;
