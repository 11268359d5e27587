//! relight: a full-screen terminal cockpit for bringing a service back after data loss.
//!
//! One way round:
//!
//! ```text
//!  key ──▶ UiAction ──▶ Command ──▶ engine: decide(state, command) ──▶ Event ──▶ journal (fsync)
//!                                         ▲                                            │
//!                         Report ◀── worker ◀── Effect ◀── effects(state, event) ◀─────┤
//!                                                                                      ▼
//!               screen ◀── view(&App) ◀── State::apply(event) ◀── wire ◀── broadcast ──┘
//! ```
//!
//! Commit, then apply, then act. Attach, recovery, export, drill and tests all use the same fold,
//! [`incident::State::apply`]. Replaying a journal never runs an effect.
//!
//! | room | what is in it | what it may import |
//! |---|---|---|
//! | [`runbook`] | the procedure as data: phases, steps, typed actions; parsed and proved | nothing |
//! | [`incident`] | the pure domain: commands, events, state, plans, timeline | `runbook` |
//! | [`archive`] | reads pg_dump's custom format, no database needed | nothing |
//! | [`snapshots`] | which dump is worth restoring, and why | `archive` |
//! | [`config`] | targets and credentials | `runbook` (names of targets, places in a file) |
//! | [`journal`] | the append-only file of events | `incident` |
//! | [`workers`] | the hands: one file or folder per outside system | `runbook`, `config`, `incident`, `archive`, `snapshots` |
//! | [`engine`] | one process per incident: the only writer | all of the above |
//! | [`export`] | the timeline for PagerDuty and Slack; the report as Markdown, HTML, JSON | `incident`, `runbook` |
//! | [`wire`] | client and engine over a unix socket | `incident`; its server also `engine` |
//! | [`drill`] | the flight simulator: real servers, stand-ins for the paid services | all of the above |
//! | [`tui`] | the cockpit: update, keymap, panes; the same in lines | `incident`, `runbook`, `export`, the client side of `wire` |
//! | [`cli`] | the commands; wires everything together | everything |
pub mod archive;
pub mod cli;
pub mod config;
pub mod drill;
pub mod engine;
pub mod export;
mod failpoint;
pub mod incident;
pub mod journal;
mod plain;
mod private;
pub mod runbook;
pub mod snapshots;
pub mod tui;
pub mod wire;
pub mod workers;
