//! The engine: one process for one incident, the only writer of its journal.
//!
//! ```text
//! Input (command, report, notice, client) ─▶ Core: decide / react ─▶ events ─▶ journal (fdatasync) ─▶ apply
//!                                                                                   │
//!        supervisor, outbox ◀── effects ◀──────────────────────────────────────────┤
//!               │                                                                   ▼
//!               └── Report, Notice ──▶ Input                                   clients (broadcast)
//! ```
//!
//! [`run()`] only turns sources into [`Input`]s; [`Core`] is synchronous and decides. Work happens in tasks of the
//! [`supervisor`](self) that know nothing of the journal.

mod clients;
mod core;
mod find;
mod handle;
mod hands;
mod home;
mod outbox;
mod past;
mod run;
mod sink;
mod supervisor;

pub use self::core::{Changes, Core};
pub use clients::{Outgoing, Subscription};
pub use handle::{ClientId, Handle, Input, Joined, Seat, Then};
pub use hands::Hands;
pub use home::{Found, Home, HomeError};
pub use run::{EngineError, Options, run};
