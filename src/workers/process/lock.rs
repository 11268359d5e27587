//! `<log>.lock`: held for as long as a shim of that log lives.
//!
//! The engine takes it and hands it to the shim as standard error, in the same moment in which the shim comes into being.
//! So there is no time at which a program may yet be started and a later engine cannot see that: whoever has the order
//! has the lock, and the lock ends with the last process that has it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::exit::lock_path;
use super::group;

/// Takes the lock of a log, for a shim that is about to be started.
///
/// # Errors
/// Another one lives, or the disk says no.
pub(super) fn take(log: &Path) -> io::Result<File> {
    let path = lock_path(log);
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another program of this attempt still runs"))?;
    // Whose it was before is nobody's business any more.
    file.set_len(0)?;
    Ok(file)
}

/// The lock as the shim has it, with the shim's own number written into it.
pub(super) fn sign(log: &Path) -> io::Result<File> {
    let mut file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (ours, wanted) = (file.metadata()?, std::fs::metadata(lock_path(log))?);
    if (ours.dev(), ours.ino()) != (wanted.dev(), wanted.ino()) {
        return Err(io::Error::other("the lock was not handed over"));
    }
    // No more than a question: it is ours by the descriptor.
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let own = std::process::id();
    let started = i32::try_from(own).ok().and_then(group::started).unwrap_or(0);
    file.write_all(format!("{own} {started}\n").as_bytes())?;
    Ok(file)
}

/// The number and start of the process that signed it; none before it came to that.
pub(super) fn signature(log: &Path) -> Option<(i32, u64)> {
    let text = std::fs::read_to_string(lock_path(log)).ok()?;
    // The end of the line says that it is whole.
    let (line, _) = text.split_once('\n')?;
    let (pid, started) = line.split_once(' ')?;
    Some((pid.parse().ok()?, started.parse().ok()?))
}
