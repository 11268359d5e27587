//! Whatever is killed, and whenever: what was acknowledged is in the journal, nothing runs twice, and every next start
//! reaches a condition that it can name. And whatever is exchanged under an approved plan: it is left alone.
//!
//! `make test` runs a seeded sample, `make chaos` all of it: `RELIGHT_CHAOS` says how much.

mod client;
mod cockpit;
mod exchanged;
mod front;
#[path = "../support/opening.rs"]
mod opening;
mod place;
mod process;
mod rehearsal;
mod sweep;
mod tally;
mod trials;
mod ways_back;
