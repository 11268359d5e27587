//! A reader of pg_dump's custom format (`pg_dump -Fc`), which needs no database and no pg_restore.
//!
//! The first few KiB of such an archive hold its header and its table of contents (TOC), so a range read of an
//! object in S3 is enough to tell whose dump it is, when it began and what is in it. [`verify_end`] walks the data
//! blocks behind the TOC and so finds the truncated upload that `pg_restore -l` calls fine.
//!
//! Layout, after `WriteHead`, `WriteToc` and `WriteDataChunks` of PostgreSQL's `pg_backup_archiver.c` and
//! `pg_backup_custom.c`:
//!
//! ```text
//! "PGDMP" major minor revision intSize offSize format
//! compression   1.14: Int level (0 none, -1 default) · since 1.15: one byte, 0 none 1 gzip 2 lz4 3 zstd
//! sec min hour mday mon year-1900 isdst   seven Ints, local time of the host that ran pg_dump, without its zone
//! database name, server version, pg_dump version   three Strs, then Int number of TOC entries
//! each entry    see `toc.rs`
//! each block    byte 1 (table data) or 3 (large objects), Int dump id, chunks; a chunk of length 0 ends it
//! ```
//! An Int is a sign byte and `intSize` bytes, little endian; a Str is an Int length (-1 for NULL) and its bytes.
//!
//! Archive version 1.14 is written by PostgreSQL 12 to 15, 1.15 by 16, and 1.16 by 17 and 18.
//!
//! Nothing here panics, whatever the bytes are, nor allocates more than its input holds: a row, decompressed, at the most.

mod blocks;
mod cursor;
mod data;
mod end;
mod error;
mod header;
mod rows;
mod sniff;
mod toc;

pub use data::{archive_error, open_data};
pub use end::{End, EndState, Missing, find_blocks, verify_end};
pub use error::ArchiveError;
pub use header::{Compression, Header, Version};
pub use rows::{RowCount, Rows, count_rows};
pub use sniff::Foreign;
pub use toc::{Offset, Section, Span, Toc, TocEntry, TocSummary};

/// Runs every reader of this room over `bytes`, for a fuzzer: it must return, whatever the bytes are.
#[doc(hidden)]
pub fn fuzz_one(bytes: &[u8]) {
    let _ = Header::parse(bytes);
    if let Ok(toc) = Toc::parse(bytes) {
        let _ = toc.summary();
        let _ = toc.spans(bytes.len() as u64);
        let _ = verify_end(std::io::Cursor::new(bytes), &toc);
        let _ = count_rows(std::io::Cursor::new(bytes), &toc);
    }
}
