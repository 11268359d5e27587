//! relight
pub mod drill;
