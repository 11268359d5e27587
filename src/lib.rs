//! relight

pub mod archive;
pub mod snapshots;
