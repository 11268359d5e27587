//! The dumps that there are, and the choice of one.

mod agreement;
mod choose;
mod contents;
mod listing;

pub use agreement::RecordAgreement;
pub use choose::ChooseSnapshot;
pub use contents::open_snapshot;
pub use listing::list_snapshots;
