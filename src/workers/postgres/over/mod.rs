//! Restoring over the live database: as the written procedure does it, or the same in one transaction.
//!
//! | file | what is in it |
//! |---|---|
//! | `restore` | the worker |
//! | `running` | pg_restore at work: how far it is, and what it waits for |
//! | `left` | what it left, table by table, where it did not end well |

mod left;
mod restore;
mod running;

pub use restore::RestoreInPlace;
