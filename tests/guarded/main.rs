//! What relight keeps: the journal from changes that nobody sees, files and sockets from other accounts, secrets from
//! everybody, and the terminal from what comes from outside.

mod accounts;
mod audit;
mod config;
mod escapes;
#[path = "../support/opening.rs"]
mod opening;
mod secrets;
mod support;
#[path = "../crash/tally.rs"]
mod tally;
