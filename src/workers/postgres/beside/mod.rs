//! Restoring into a new database beside the live one, which nobody notices until a swap gives it the live name.
//!
//! | file | what is in it |
//! |---|---|
//! | `names` | what our databases are called, and which are ours |
//! | `properties` | what belongs to a database and is in no dump: settings, rights, limit, comment |
//! | `rehearsals` | how long it took when it was rehearsed |
//! | `loading` | the process that restores into it, beside the download that it reads from |
//! | `made` | where it is by now |
//! | `restore` | making it and restoring into it |
//! | `discard` | throwing away what is not wanted |

mod discard;
mod loading;
mod made;
mod names;
mod properties;
mod rehearsals;
mod restore;

pub use discard::discard;
pub(super) use loading::counts;
pub(super) use made::{Made, made};
pub(super) use names::{aside, kept, mark};
pub(super) use properties::{Properties, literal};
pub use rehearsals::Rehearsal;
pub use restore::RestoreBeside;
