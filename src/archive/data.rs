//! One data block's content, decompressed as it is read.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::{ArchiveError, Compression, TocEntry, cursor::decode_int};

/// Opens the data block of `entry`, which begins where `source` stands, `at` bytes into the archive.
///
/// What is read from the result is what pg_dump wrote: for a table rows of `COPY`'s text format, which
/// [`super::Rows`] cuts. Damage is an [`io::Error`] that carries the [`ArchiveError`], see [`archive_error`].
///
/// # Errors
/// The block is not there, or not this entry's.
pub fn open_data<'a>(
    source: impl BufRead + Send + 'a,
    compression: Compression,
    entry: &TocEntry,
    at: u64,
) -> Result<Box<dyn Read + Send + 'a>, ArchiveError> {
    let block = Block::open(source, entry, at).map_err(|error| archive_error(at, &error))?;
    Ok(match compression {
        Compression::None => Box::new(block),
        Compression::Gzip => Box::new(Inflated::new(block)),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(block)),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(block)
                .map_err(|error| ArchiveError::Read { at, cause: error.to_string() })?;
            Box::new(decoder)
        }
    })
}

/// The archive's fault that a reader of [`open_data`] met: the one that it carries, or damage of compressed data.
#[must_use]
pub fn archive_error(at: u64, error: &io::Error) -> ArchiveError {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<ArchiveError>()) {
        return inner.clone();
    }
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            ArchiveError::corrupt(at, format!("its compressed data cannot be read: {error}"))
        }
        // lz4_flex and zstd report damage under this kind; the operating system's own errors carry a number.
        io::ErrorKind::Other if error.raw_os_error().is_none() => {
            ArchiveError::corrupt(at, format!("its compressed data cannot be read: {error}"))
        }
        _ => ArchiveError::Read { at, cause: error.to_string() },
    }
}

/// The chunks of a block, one after the other without their framing.
struct Block<R> {
    source: R,
    /// Where `source` stands.
    at: u64,
    /// What is left of the present chunk.
    left: usize,
    ended: bool,
    name: String,
}

impl<R: BufRead> Block<R> {
    fn open(source: R, entry: &TocEntry, at: u64) -> io::Result<Self> {
        let mut block = Self { source, at, left: 0, ended: false, name: entry.to_string() };
        let mut kind = [0];
        block.fill(&mut kind)?;
        let dump_id = block.int()?;
        if kind != [1] || dump_id != entry.dump_id {
            let what = format!("the data of {} should begin here and does not", block.name);
            return Err(fault(ArchiveError::corrupt(at, what)));
        }
        Ok(block)
    }

    fn fill(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.source.read_exact(into).map_err(|error| self.cut(error))?;
        self.at += into.len() as u64;
        Ok(())
    }

    fn cut(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return error;
        }
        let at_least = self.at.saturating_add(1);
        fault(ArchiveError::CutOff { size: self.at, at_least, part: self.name.clone() })
    }

    fn int(&mut self) -> io::Result<i32> {
        let place = self.at;
        let mut raw = [0; 5];
        self.fill(&mut raw)?;
        decode_int(&raw).ok_or_else(|| {
            fault(ArchiveError::corrupt(place, format!("a chunk's length in {} is not a number", self.name)))
        })
    }
}

fn fault(error: ArchiveError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: BufRead> BufRead for Block<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.left == 0 && !self.ended {
            let place = self.at;
            let length = self.int()?;
            self.left = usize::try_from(length).map_err(|_| {
                fault(ArchiveError::corrupt(place, format!("a chunk has the impossible length {length}")))
            })?;
            self.ended = self.left == 0;
        }
        if self.ended {
            return Ok(&[]);
        }
        let (at, name, left) = (self.at, &self.name, self.left);
        let bytes = self.source.fill_buf()?;
        if bytes.is_empty() {
            let at_least = at.saturating_add(left as u64);
            return Err(fault(ArchiveError::CutOff { size: at, at_least, part: name.clone() }));
        }
        Ok(bytes.get(..left.min(bytes.len())).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.left = self.left.saturating_sub(count);
        self.at += count as u64;
    }
}

impl<R: BufRead> Read for Block<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// One zlib stream, which must end where its block does.
struct Inflated<R> {
    block: Block<R>,
    state: Decompress,
    /// Chunks put together: pg_dump's are of 4 KiB, and inflating is slow where its input ends.
    input: Vec<u8>,
    /// How much of it is used.
    used: usize,
    ended: bool,
}

/// How much of its input an inflater is given at once.
const INPUT: usize = 64 << 10;

impl<R: BufRead> Inflated<R> {
    fn new(block: Block<R>) -> Self {
        Self { block, state: Decompress::new(true), input: Vec::with_capacity(INPUT), used: 0, ended: false }
    }

    /// Reads chunks until there is as much input as fits, or no more.
    fn gather(&mut self) -> io::Result<()> {
        self.input.clear();
        self.used = 0;
        while self.input.len() < INPUT {
            let room = INPUT - self.input.len();
            let bytes = self.block.fill_buf()?;
            let count = bytes.len().min(room);
            if count == 0 {
                break;
            }
            self.input.extend_from_slice(bytes.get(..count).unwrap_or_default());
            self.block.consume(count);
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ended || into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.used == self.input.len() {
                self.gather()?;
            }
            let bytes = self.input.get(self.used..).unwrap_or_default();
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(bytes, into, FlushDecompress::None);
            let empty = bytes.is_empty();
            let read = usize::try_from(self.state.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.state.total_out() - written).unwrap_or(usize::MAX);
            self.used = self.used.saturating_add(read).min(self.input.len());
            let what = match status {
                Ok(Status::StreamEnd) if self.used == self.input.len() && self.block.fill_buf()?.is_empty() => {
                    self.ended = true;
                    return Ok(written);
                }
                Ok(Status::StreamEnd) => "ends before its block does",
                Ok(_) if written > 0 => return Ok(written),
                Ok(_) if empty => "does not end",
                Ok(_) if read > 0 => continue,
                Ok(_) | Err(_) => "is not what was written",
            };
            let what = format!("the compressed data of {} {what}", self.block.name);
            return Err(fault(ArchiveError::corrupt(self.block.at, what)));
        }
    }
}
