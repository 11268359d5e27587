//! Cuts a table's data into whole rows, and counts them: by the counts a restore is proved later.

use std::io::{BufReader, Read, Seek, SeekFrom};

use memchr::{memchr_iter, memmem, memrchr};
use serde::{Deserialize, Serialize};

use super::{
    ArchiveError, Toc, TocEntry,
    blocks::Walk,
    data::{archive_error, open_data},
};

/// A piece of rows, unless a single row is longer.
const PIECE: usize = 256 << 10;
/// No row is longer: PostgreSQL makes no text of more than a gigabyte (MaxAllocSize), nor reads one.
const LONGEST: usize = 1 << 30;

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

/// Cuts a table's data, as [`open_data`] gives it, into pieces that end with a row. In `COPY`'s text format one line is
/// one row, since a line break inside a value is escaped, and a line `\.` ends the table.
pub struct Rows<R> {
    data: R,
    table: String,
    at: u64,
    /// The beginning of the row that the last piece did not hold whole.
    begun: Vec<u8>,
    ended: bool,
    /// The rows so far.
    count: u64,
    /// Their bytes.
    bytes: u64,
}

impl<R: Read> Rows<R> {
    /// Of the table data `entry`, whose block begins `at` bytes into the archive.
    pub fn new(data: R, entry: &TocEntry, at: u64) -> Self {
        Self { data, table: entry.name(), at, begun: Vec::new(), ended: false, count: 0, bytes: 0 }
    }

    /// The next rows; none behind the last.
    ///
    /// # Errors
    /// Data is missing, or fails its checksum (zlib's Adler-32; uncompressed data has none).
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let mut piece = std::mem::take(&mut self.begun);
        let mut most = PIECE.max(piece.len() * 2);
        loop {
            let there = piece.len();
            let more = self.fill(&mut piece, most).map_err(|error| archive_error(self.at, &error))?;
            let Some(last) = memrchr(b'\n', piece.get(there..).unwrap_or_default()).map(|last| there + last + 1) else {
                if !more {
                    return Err(self.unended());
                }
                if most > LONGEST {
                    return Err(ArchiveError::corrupt(self.at, format!("a row of {} does not end", self.table)));
                }
                most = most.saturating_mul(2);
                continue;
            };
            self.begun = piece.split_off(last);
            if let Some(end) = terminator(&piece) {
                self.close(&piece, end)?;
                piece.truncate(end);
            } else if !more && self.begun.is_empty() {
                return Err(self.unended());
            }
            self.count += memchr_iter(b'\n', &piece).count() as u64;
            self.bytes += piece.len() as u64;
            return Ok(if piece.is_empty() { None } else { Some(piece) });
        }
    }

    /// Rows and bytes of the pieces so far.
    pub fn counted(&self) -> (u64, u64) {
        (self.count, self.bytes)
    }

    /// Reads until the piece has `most` bytes; false where the data ends before.
    fn fill(&mut self, piece: &mut Vec<u8>, most: usize) -> std::io::Result<bool> {
        let mut filled = piece.len();
        piece.resize(most, 0);
        while filled < most {
            match self.data.read(piece.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        piece.truncate(filled);
        Ok(filled == most)
    }

    /// Behind the terminator, which is at `end` of the last piece, there are only line breaks.
    fn close(&mut self, piece: &[u8], end: usize) -> Result<(), ArchiveError> {
        self.ended = true;
        let mut rest = piece.get(end + 3..).unwrap_or_default().to_vec();
        rest.append(&mut self.begun);
        // pg_dump writes two of them; a few more do no harm, and a stream without end would.
        let more = self.data.by_ref().take(PIECE as u64).read_to_end(&mut rest);
        more.map_err(|error| archive_error(self.at, &error))?;
        if rest.iter().all(|byte| *byte == b'\n') && rest.len() < PIECE {
            return Ok(());
        }
        Err(ArchiveError::corrupt(self.at, format!("something follows behind the last row of {}", self.table)))
    }

    fn unended(&self) -> ArchiveError {
        ArchiveError::corrupt(self.at, format!("the rows of {} do not end", self.table))
    }
}

/// Where the line `\.` begins.
fn terminator(lines: &[u8]) -> Option<usize> {
    if lines.starts_with(b"\\.\n") {
        return Some(0);
    }
    memmem::find(lines, b"\n\\.\n").map(|at| at + 1)
}

/// Reads and decompresses all table data and counts its rows.
///
/// A table dumped with `--inserts` is left out, for its rows may span lines.
///
/// # Errors
/// [`ArchiveError::CutOff`] and [`ArchiveError::Corrupt`] where data is missing or fails its checksum (zlib's Adler-32;
/// uncompressed data has none).
pub fn count_rows(mut reader: impl Read + Seek + Send, toc: &Toc) -> Result<Vec<RowCount>, ArchiveError> {
    let mut walk = Walk::new(&mut reader, toc)?;
    walk.run(toc, &mut |_| {})?;
    let (blocks, size) = (std::mem::take(&mut walk.blocks), walk.size);
    drop(walk);
    if let Some(entry) = toc.entries.iter().find(|entry| entry.has_data() && !blocks.contains_key(&entry.dump_id)) {
        return Err(ArchiveError::CutOff { size, at_least: size.saturating_add(1), part: entry.to_string() });
    }
    let mut counts = Vec::new();
    for entry in toc.entries.iter().filter(|entry| entry.is_copy()) {
        let Some(block) = blocks.get(&entry.dump_id) else { continue };
        let failed = |cause: std::io::Error| ArchiveError::Read { at: block.start, cause: cause.to_string() };
        reader.seek(SeekFrom::Start(block.start)).map_err(failed)?;
        let source = BufReader::with_capacity(PIECE, &mut reader);
        let data = open_data(source, toc.header.compression, entry, block.start)?;
        let mut rows = Rows::new(data, entry, block.start);
        while rows.piece()?.is_some() {}
        let (count, bytes) = rows.counted();
        counts.push(RowCount { dump_id: entry.dump_id, table: entry.name(), rows: count, bytes });
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in two reads.
    struct Cut<'a>(&'a [u8], &'a [u8]);

    impl Read for Cut<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                std::mem::swap(&mut self.0, &mut self.1);
            }
            self.0.read(into)
        }
    }

    fn rows(first: &[u8], second: &[u8]) -> Result<(Vec<u8>, u64), ArchiveError> {
        let mut all = Vec::new();
        let data = Cut(first, second);
        let table = "t".to_owned();
        let mut rows = Rows { data, table, at: 0, begun: Vec::new(), ended: false, count: 0, bytes: 0 };
        while let Some(piece) = rows.piece()? {
            assert!(piece.ends_with(b"\n"));
            all.extend(piece);
        }
        assert_eq!(rows.counted().1, all.len() as u64);
        Ok((all, rows.counted().0))
    }

    #[test]
    fn rows_are_whole_and_counted_up_to_the_terminator_however_they_are_cut() {
        let text = b"1\tone\n\n\\.x\n2\t\\\\.\n\\.\n\n\n";
        for cut in 0..text.len() {
            let (all, count) = rows(&text[..cut], &text[cut..]).expect("rows");
            assert_eq!((all.as_slice(), count), (&text[..text.len() - 5], 4), "cut at {cut}");
        }
        assert_eq!(rows(b"\\.\n", b"\n\n"), Ok((Vec::new(), 0)));
    }

    #[test]
    fn a_row_longer_than_a_piece_is_one_row() {
        let mut text = vec![b'x'; 3 * PIECE];
        text.extend(b"\ny\n\\.\n\n\n");
        let (all, count) = rows(&text, b"").expect("rows");
        assert_eq!((all.len(), count), (3 * PIECE + 3, 2));
    }

    #[test]
    fn rows_without_an_end_and_bytes_behind_it_are_damage() {
        for text in [&b"1\n2\n"[..], b"1\n2", b"", b"1\n\\.\nmore\n"] {
            assert!(matches!(rows(text, b""), Err(ArchiveError::Corrupt { .. })), "{text:?}");
        }
    }
}
