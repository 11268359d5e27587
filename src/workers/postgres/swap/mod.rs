//! Exchanging the live database with one that was restored beside it, and back.
//!
//! ```text
//!  settings ─▶ guard up ─▶ fence the live name ─▶ end its sessions ─▶ both renames, rights: one transaction ─▶ guard off
//!                 │                                                                          │
//!                 └── engine gone, error, stop: open whichever database bears the live name ◀┘
//! ```
//!
//! The fence closes the live database to everybody, superusers included, for as long as its sessions end and the names
//! are exchanged: milliseconds. That it may be up is known from the journal, which has the approved attempt before it
//! runs; the guard, a process of its own, takes it down when this process cannot.

mod back;
mod drop;
mod exchange;
mod forward;
mod gate;
pub mod guard;

pub use back::SwapBack;
pub use drop::DropKept;
pub use forward::SwapDatabase;
pub(super) use forward::{hangs_on, identity, slots};
