//! The attempt's log, as a shim appends to it.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Appends lines. A full disk costs lines, never the program.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// Bytes that could not be written, ever.
    pub(super) lost: u64,
    /// Those of them that the log does not own up to yet.
    unsaid: u64,
    /// The log ends in the middle of a line.
    torn: bool,
    /// Where our last bytes end.
    pub(super) end: u64,
}

impl Log {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
        let end = file.seek(io::SeekFrom::End(0))?;
        Ok(Self { file, lost: 0, unsaid: 0, torn: false, end })
    }

    /// Appends whole lines and gives the offset at which they begin; none where they could not be written.
    pub(super) fn append(&mut self, text: &str) -> Option<u64> {
        if self.torn || self.unsaid > 0 {
            let line_end = if self.torn { "\n" } else { "" };
            let note =
                format!("{line_end}[{} bytes of output are missing here: the log could not be written]\n", self.unsaid);
            if self.write(note.as_bytes()).is_err() {
                self.count(text.len());
                return None;
            }
            self.torn = false;
            self.unsaid = 0;
        }
        match self.write(text.as_bytes()) {
            // The file is also appended to by the engine, so only the position after the write says where it went.
            Ok(()) => self.file.stream_position().ok().map(|end| {
                self.end = end;
                end.saturating_sub(text.len() as u64)
            }),
            Err(written) => {
                self.torn |= written > 0;
                self.count(text.len().saturating_sub(written));
                None
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        self.lost += bytes as u64;
        self.unsaid += bytes as u64;
    }

    /// Writes all, or says how much it wrote.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), usize> {
        let all = bytes.len();
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(all - bytes.len()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(all - bytes.len()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_file_though_others_append_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.log");
        let mut log = Log::open(&path).expect("opened");
        assert_eq!(log.append("one\n"), Some(0));
        let mut other = File::options().append(true).open(&path).expect("opened");
        other.write_all(b"other\n").expect("written");
        assert_eq!(log.append("two\n"), Some(10));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "one\nother\ntwo\n");
        assert_eq!((log.lost, log.end), (0, 14));
    }

    #[test]
    fn a_full_disk_costs_lines_and_is_owned_up_to() {
        // Writing to /dev/full fails with ENOSPC, as on a full disk.
        let mut log = Log {
            file: File::options().append(true).open("/dev/full").expect("opened"),
            lost: 0,
            unsaid: 0,
            torn: false,
            end: 0,
        };
        assert_eq!(log.append("lost line\n"), None);
        assert_eq!(log.append("again\n"), None);
        assert_eq!(log.lost, 16);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.log");
        log.file = File::options().append(true).create(true).open(&path).expect("opened");
        assert!(log.append("back\n").is_some());
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, "[16 bytes of output are missing here: the log could not be written]\nback\n");
    }
}
