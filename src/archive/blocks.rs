//! Walks the data blocks behind the table of contents, block by block and chunk by chunk.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::{ArchiveError, Offset, Span, Toc, TocEntry, cursor::decode_int};

/// pg_dump's chunks of gzip data are 4 KiB: a buffer of many of them turns most skips into no system call at all.
const BUFFER: usize = 256 * 1024;

/// A walk over the blocks of one file, and what it has found so far.
pub(super) struct Walk<R> {
    reader: BufReader<R>,
    at: u64,
    /// The file's size in bytes.
    pub(super) size: u64,
    /// The whole blocks found, by dump id.
    pub(super) blocks: BTreeMap<i32, Span>,
    /// What is being read, for the words of an error.
    inside: String,
}

impl<R: Read + Seek> Walk<R> {
    pub(super) fn new(mut reader: R, toc: &Toc) -> Result<Self, ArchiveError> {
        let failed = |cause: std::io::Error| ArchiveError::Read { at: toc.data_start, cause: cause.to_string() };
        let size = reader.seek(SeekFrom::End(0)).map_err(failed)?;
        reader.seek(SeekFrom::Start(toc.data_start)).map_err(failed)?;
        let inside = "table of contents".to_owned();
        let reader = BufReader::with_capacity(BUFFER, reader);
        Ok(Self { reader, at: toc.data_start, size, blocks: BTreeMap::new(), inside })
    }

    /// Walks to the end of the file. An error other than [`ArchiveError::Read`] says what is wrong with the archive;
    /// the blocks before the fault are kept. `found` is told each as soon as it is known to be whole.
    pub(super) fn run(&mut self, toc: &Toc, found: &mut dyn FnMut(Span)) -> Result<(), ArchiveError> {
        let entries: BTreeMap<i32, &TocEntry> = toc.entries.iter().map(|entry| (entry.dump_id, entry)).collect();
        if self.at > self.size {
            return Err(self.cut(self.at));
        }
        while self.at < self.size {
            let start = self.at;
            let kind = self.byte()?;
            if kind != 1 && kind != 3 {
                return Err(ArchiveError::corrupt(start, format!("a data block begins with the unknown mark {kind}")));
            }
            let dump_id = self.int("a data block's number")?;
            let entry = entries.get(&dump_id).ok_or_else(|| {
                ArchiveError::corrupt(start, format!("a data block is numbered {dump_id}, which no entry is"))
            })?;
            self.inside = entry.to_string();
            match entry.offset {
                Offset::At(said) if said != start => {
                    let what = format!("{entry} lies here, but the table of contents says byte {said}");
                    return Err(ArchiveError::corrupt(start, what));
                }
                Offset::NoData => {
                    return Err(ArchiveError::corrupt(start, format!("{entry} should have no data, but has a block")));
                }
                Offset::At(_) | Offset::NotSet => {}
            }
            if self.blocks.contains_key(&dump_id) {
                return Err(ArchiveError::corrupt(start, format!("{entry} has a second data block")));
            }
            if kind == 1 {
                self.chunks()?;
            } else {
                while self.int("a large object's oid")? != 0 {
                    self.chunks()?;
                }
            }
            let span = Span { dump_id, start, len: self.at - start };
            self.blocks.insert(dump_id, span);
            found(span);
        }
        Ok(())
    }

    /// Chunks up to and with the empty one that ends them.
    fn chunks(&mut self) -> Result<(), ArchiveError> {
        loop {
            let place = self.at;
            let length = self.int("a chunk's length")?;
            let left = u64::try_from(length)
                .map_err(|_| ArchiveError::corrupt(place, format!("a chunk has the impossible length {length}")))?;
            if left == 0 {
                return Ok(());
            }
            if self.size - self.at < left {
                return Err(self.cut(self.at.saturating_add(left)));
            }
            self.reader.seek_relative(i64::from(length)).map_err(|cause| self.failed(&cause))?;
            self.at += left;
        }
    }

    fn byte(&mut self) -> Result<u8, ArchiveError> {
        let mut raw = [0];
        self.fill(&mut raw)?;
        let [byte] = raw;
        Ok(byte)
    }

    fn int(&mut self, what: &'static str) -> Result<i32, ArchiveError> {
        let place = self.at;
        let mut raw = [0; 5];
        self.fill(&mut raw)?;
        decode_int(&raw)
            .ok_or_else(|| ArchiveError::corrupt(place, format!("{what} in {} is not a number", self.inside)))
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), ArchiveError> {
        let count = into.len() as u64;
        if self.size - self.at < count {
            return Err(self.cut(self.at.saturating_add(count)));
        }
        self.reader.read_exact(into).map_err(|cause| self.failed(&cause))?;
        self.at += count;
        Ok(())
    }

    fn cut(&self, at_least: u64) -> ArchiveError {
        ArchiveError::CutOff { size: self.size, at_least, part: self.inside.clone() }
    }

    fn failed(&self, cause: &std::io::Error) -> ArchiveError {
        ArchiveError::Read { at: self.at, cause: cause.to_string() }
    }
}
