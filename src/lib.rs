//! relight

pub mod drill;
