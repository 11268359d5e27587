//! LaunchDarkly: turning one flag, and giving it its former state back.

mod api;
mod check;
mod restore;
mod set;
mod turn;

pub use check::CheckLaunchDarkly;
pub use restore::RestoreFlag;
pub use set::SetFlag;

/// The header that a command by hand carries.
const TOKEN: &str = "Authorization: $LAUNCHDARKLY_TOKEN";
