//! Programs that we run: each under a shim, so that neither its output nor its end is lost with the engine.
//!
//! ```text
//!  engine ──spec as JSON, then "stop"──▶ shim (own session) ──▶ the program (own process group)
//!         ◀─what was appended─────────      │  ◀──stdout and stderr, one pipe──┘
//!                                           └──▶ <log>   <log>.lock   <log>.exit.json
//! ```
//! The shim is relight itself (`relight shim`). It cuts secrets and customers' rows out of every line before the
//! line is written anywhere, appends it to the attempt's log, and tells the engine without ever waiting for it. It is
//! born with a lock on `<log>.lock`, holds it for its whole life, and leaves `<log>.exit.json`, so that the next engine
//! can wait for it, end it, or read how it ended: `adopt`.

mod adopt;
mod clean;
mod exit;
mod group;
mod lines;
mod lock;
mod log;
mod order;
mod run;
pub mod shim;
mod tell;

pub use adopt::{Adopted, Running, adopt};
pub use exit::Exit;
pub use order::{OnLine, Rows, Spec};
pub(crate) use run::program;
pub use run::{run, use_program};
