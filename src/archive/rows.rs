//! Counts the rows of every table in an archive, by which a restore is proved later.

use std::io::{Read, Seek};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use serde::{Deserialize, Serialize};

use super::{
    ArchiveError, Compression, Toc, TocEntry,
    blocks::{Sink, Walk},
};

/// How many rows an archive holds of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCount {
    /// The entry of the table's data.
    pub dump_id: i32,
    /// The table with its schema, for instance `app.transactions`.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its data in bytes, decompressed.
    pub bytes: u64,
}

/// Reads and decompresses all table data and counts its rows. In `COPY`'s text format one line is one row, since a
/// line break inside a value is escaped, and a line `\.` ends the table.
///
/// A table dumped with `--inserts` is left out, for its rows may span lines.
///
/// Errors: [`ArchiveError::CannotDecompress`] for lz4 and zstd; [`ArchiveError::CutOff`] and
/// [`ArchiveError::Corrupt`] where data is missing or fails its checksum (zlib's Adler-32; uncompressed data has none).
pub fn count_rows(reader: impl Read + Seek, toc: &Toc) -> Result<Vec<RowCount>, ArchiveError> {
    let inflater = match toc.header.compression {
        Compression::None => None,
        Compression::Gzip => {
            Some(Inflater { state: InflateState::new_boxed(DataFormat::Zlib), out: vec![0; 32 * 1024] })
        }
        other => {
            return Err(ArchiveError::CannotDecompress { algorithm: other.to_string() });
        }
    };
    let mut walk = Walk::new(reader, toc)?;
    let mut counter = Counter { inflater, lines: Lines::default(), current: None, done: Vec::new() };
    walk.run(toc, &mut counter)?;
    let absent = toc.entries.iter().find(|entry| entry.has_data() && !walk.blocks.contains_key(&entry.dump_id));
    match absent {
        Some(entry) => Err(ArchiveError::CutOff {
            size: walk.size,
            at_least: walk.size.saturating_add(1),
            part: entry.to_string(),
        }),
        None => Ok(counter.done),
    }
}

struct Inflater {
    state: Box<InflateState>,
    out: Vec<u8>,
}

struct Counter {
    inflater: Option<Inflater>,
    lines: Lines,
    /// The table being read, and whether its zlib stream has ended.
    current: Option<(RowCount, bool)>,
    done: Vec<RowCount>,
}

impl Sink for Counter {
    fn begin(&mut self, entry: &TocEntry) -> bool {
        if entry.desc != "TABLE DATA" || entry.copy_statement.is_none() {
            return false;
        }
        if let Some(inflater) = &mut self.inflater {
            inflater.state.reset(DataFormat::Zlib);
        }
        self.lines = Lines::default();
        let row = RowCount { dump_id: entry.dump_id, table: entry.name(), rows: 0, bytes: 0 };
        self.current = Some((row, self.inflater.is_none()));
        true
    }

    fn piece(&mut self, at: u64, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        let Some((row, ended)) = &mut self.current else {
            return Ok(());
        };
        let damaged = |row: &RowCount, what: &str| ArchiveError::corrupt(at, format!("{what} of {}", row.table));
        let Some(inflater) = &mut self.inflater else {
            self.lines.feed(bytes);
            return Ok(());
        };
        while !*ended {
            let step = inflate(&mut inflater.state, bytes, &mut inflater.out, MZFlush::None);
            bytes = bytes.get(step.bytes_consumed..).unwrap_or_default();
            let out = inflater.out.get(..step.bytes_written).unwrap_or_default();
            self.lines.feed(out);
            match step.status {
                Ok(MZStatus::StreamEnd) => *ended = true,
                // All that was given is used up and nothing waits to come out: the next piece goes on.
                Ok(_) if bytes.is_empty() && step.bytes_written < inflater.out.len() => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(MZError::Buf) if bytes.is_empty() => return Ok(()),
                Err(_) => return Err(damaged(row, "bad compressed data")),
            }
        }
        if bytes.is_empty() { Ok(()) } else { Err(damaged(row, "bytes behind the end of the compressed data")) }
    }

    fn end(&mut self, at: u64) -> Result<(), ArchiveError> {
        let Some((mut row, ended)) = self.current.take() else {
            return Ok(());
        };
        if !ended {
            return Err(ArchiveError::corrupt(at, format!("the compressed data of {} does not end", row.table)));
        }
        if !self.lines.terminated {
            return Err(ArchiveError::corrupt(at, format!("the rows of {} do not end", row.table)));
        }
        row.rows = self.lines.rows;
        row.bytes = self.lines.bytes;
        self.done.push(row);
        Ok(())
    }
}

/// Counts lines up to the one that is `\.`, over pieces that end anywhere.
#[derive(Default)]
struct Lines {
    rows: u64,
    bytes: u64,
    /// How far the present line equals `\.`: its length so far, or 3 for "it is another line".
    matched: u8,
    terminated: bool,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            if self.terminated {
                return;
            }
            match (byte, self.matched) {
                (b'\n', 2) => self.terminated = true,
                (b'\n', _) => {
                    self.rows += 1;
                    self.matched = 0;
                }
                (b'\\', 0) => self.matched = 1,
                (b'.', 1) => self.matched = 2,
                _ => self.matched = 3,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_up_to_the_terminator_however_they_are_cut() {
        let text = b"1\tone\n\n\\.x\n2\t\\\\.\n\\.\n\n\n";
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            lines.feed(&text[..cut]);
            lines.feed(&text[cut..]);
            assert_eq!((lines.rows, lines.terminated), (4, true), "cut at {cut}");
        }
    }
}
