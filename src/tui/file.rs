//! Files that are written for a person: theirs alone, and whole or not there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A line that is longer is taken in pieces.
const LONGEST: u64 = 1 << 20;

/// Writes a text into the first of these folders that takes it, and gives the file's path. A file of that name is replaced.
///
/// # Errors
/// None of the folders takes it; in words.
pub(super) fn write(folders: &[PathBuf], name: &str, text: &str) -> Result<PathBuf, String> {
    write_by(folders, name, |file| file.write_all(text.as_bytes()))
}

/// Writes a log likewise, however long it is, without anything that a terminal obeys.
///
/// # Errors
/// As [`write()`], or the log cannot be read.
pub(super) fn copy_clean(folders: &[PathBuf], name: &str, log: &Path) -> Result<PathBuf, String> {
    if let Err(error) = File::open(log) {
        return Err(format!("not written: {} cannot be read: {error}", log.display()));
    }
    write_by(folders, name, |file| {
        let (mut from, mut to) = (BufReader::new(File::open(log)?), BufWriter::new(file));
        let mut line = Vec::new();
        while from.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
            to.write_all(crate::plain::lines(&String::from_utf8_lossy(&line)).as_bytes())?;
            line.clear();
        }
        to.flush()
    })
}

/// What became of a file, in words.
pub(super) fn said(written: Result<PathBuf, String>) -> Result<String, String> {
    written.map(|path| format!("written to {}", path.display()))
}

fn write_by(folders: &[PathBuf], name: &str, put: impl Fn(&mut File) -> io::Result<()>) -> Result<PathBuf, String> {
    let mut faults = Vec::new();
    for folder in folders {
        let path = folder.join(name);
        match write_in(folder, name, &put) {
            Ok(()) => return Ok(path),
            Err(error) => faults.push(format!("{}: {error}", path.display())),
        }
    }
    Err(format!("not written ({}): make room or rights there, then try again", faults.join("; ")))
}

fn write_in(folder: &Path, name: &str, put: impl Fn(&mut File) -> io::Result<()>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let part = folder.join(format!(".{name}.{}", std::process::id()));
    // One that an earlier try left would keep its rights.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| put(&mut file).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, folder.join(name)));
    if written.is_err() {
        // What is half there is worth nothing; the first fault is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_goes_where_there_is_a_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let blocked = folder.path().join("file");
        std::fs::write(&blocked, "no folder").expect("written");
        let exports = folder.path().join("deep/exports");
        let loose = exports.join("INC-1.json");
        std::fs::create_dir_all(&exports).expect("made");
        std::fs::write(&loose, "old").expect("written");
        std::fs::set_permissions(&loose, std::fs::Permissions::from_mode(0o644)).expect("set");

        let path = write(&[blocked.clone(), exports.clone()], "INC-1.json", "new").expect("written");
        assert_eq!(path, loose);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "new");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&exports).expect("listed").count(), 1, "nothing else is left");
        let log = folder.path().join("19.log");
        std::fs::write(&log, "one\n\u{1b}[31mtwo\u{1b}]0;x\u{7}\n").expect("written");
        let path = copy_clean(std::slice::from_ref(&exports), "out.txt", &log).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "one\ntwo\n");
        assert!(copy_clean(std::slice::from_ref(&exports), "out.txt", &blocked.join("no")).is_err());
        let why = write(std::slice::from_ref(&blocked), "INC-1.json", "new").expect_err("no folder takes it");
        assert!(why.contains(&blocked.join("INC-1.json").display().to_string()), "{why}");
    }
}
