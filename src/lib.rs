//! relight
pub mod config;
pub mod engine;
pub mod incident;
pub mod journal;
pub mod runbook;
pub mod wire;
pub mod workers;
