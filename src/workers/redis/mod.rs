//! Redis and Valkey: proving that a cache may be emptied, and emptying it.
//!
//! Only the selected database is emptied (`FLUSHDB`), never the server (`FLUSHALL`). A cluster is refused: `FLUSHDB`
//! there empties the node that was asked, and a plain client would take that for all of it.

mod check;
mod error;
mod flush;
mod server;

pub use check::CheckRedis;
pub use flush::FlushCache;
