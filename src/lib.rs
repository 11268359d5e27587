//! relight
pub mod config;
pub mod incident;
pub mod runbook;
pub mod wire;
pub mod workers;
