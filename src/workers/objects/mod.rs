//! Objects: comparing a bucket with its snapshot by content, and copying back what is missing or damaged.
//!
//! Nothing is ever deleted. What gets overwritten is kept first, and a [`ledger`] on this host remembers where, so that
//! an attempt that was cut off loses none of it. `aws s3 sync` is no help here: it skips damaged objects that are
//! newer than their backup and of the same size.
//!
//! [`source`] is where the good content is, [`compare`] finds what differs, [`basis`] is what a person approves,
//! [`restore`] does one object.

mod basis;
mod compare;
mod ledger;
mod put_back;
mod rehydrate;
mod restore;
mod source;

pub use put_back::PutBackObjects;
pub use rehydrate::RehydrateObjects;
