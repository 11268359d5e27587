//! What nobody else on this machine is to see: files that only their owner reads, a process that leaves no core, and an
//! environment whose secrets no child inherits.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Environment variables from which the config takes secrets.
static HIDDEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Makes a file, or empties it, that only its owner can read, whatever the umask.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One that was there keeps its mode otherwise.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Writes a whole file that only its owner can read.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    create(path)?.write_all(bytes.as_ref())
}

/// Makes a folder that only its owner can use, and what is missing above it.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Secrets pass through this process: no crash writes them to a core file, and no other process of this user reads them
/// from its memory or its environment. Children inherit the limit of the core file; the rest each must do for itself.
pub(crate) fn keep_process() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Names an environment variable that holds a secret: children do not inherit it.
pub(crate) fn hide(variable: &str) {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).insert(variable.to_owned());
}

/// Every variable that children do not inherit.
pub(crate) fn hidden() -> BTreeSet<String> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A command whose child inherits no secret of the config.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    for name in hidden() {
        command.env_remove(name);
    }
    command
}
