//! Restoring an archive into a database that nobody uses yet, faster than pg_restore does alone.
//!
//! It is a process of its own, `relight load`, which runs under a shim as pg_restore would: it outlives the engine, and
//! ends when it is stopped. It reads the archive while that is still arriving:
//!
//! ```text
//!  download ─▶ file with holes ─▶ table of contents ─▶ pg_restore: types, tables, functions
//!                                        │
//!                                        ├─▶ feeds: a table's data, decompressed and cut into rows
//!                                        │        └─▶ lanes: COPY over several connections, then the
//!                                        │            table's indexes, keys and statistics, longest first
//!                                        └─▶ pg_restore, once everything is there: whatever else
//! ```
//! What is not known here for certain is left to pg_restore: data as INSERT statements, large objects, other encodings
//! than UTF-8, indexes of partitioned tables, anything with more than one statement.
//!
//! | file | what is in it |
//! |---|---|
//! | `order` | what the process is told, and how far it tells it is |
//! | `main`, `list` | the process itself; what it has pg_restore do |
//! | `ddl` | indexes and constraints, taken apart |
//! | `units`, `board` | what is to be done, and who does what next |
//! | `feed`, `lane` | reading rows; writing them, and the statements |

mod board;
mod ddl;
mod feed;
mod lane;
mod list;
mod main;
mod order;
mod units;

pub use main::{VERB, main};
pub use order::Phases;
pub(super) use order::{Order, Standing};
