//! The dumps that there are, and the choice of one.

mod agreement;
mod choose;
mod listing;

pub use agreement::RecordAgreement;
pub use choose::ChooseSnapshot;
pub use listing::list_snapshots;
