//! Folders and secret files of a sandbox.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::error::SandboxError;

/// `bytes` random bytes as lower-case hex, for passwords, keys and names.
///
/// # Errors
/// When the system's random source cannot be read.
pub(crate) fn random_hex(bytes: usize) -> Result<String, SandboxError> {
    let path = Path::new("/dev/urandom");
    let mut buffer = vec![0; bytes];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut buffer)).map_err(SandboxError::io("read", path))?;
    Ok(hex(&buffer))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes a folder with this mode, and the folders above it.
pub(crate) fn make(path: &Path, mode: u32) -> Result<(), SandboxError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(SandboxError::io("make the folder", path))
}

/// A folder of the sandbox's own under `$TMPDIR` (else `/tmp`) which other users may pass through but not list:
/// PostgreSQL may run as another user, and socket paths end at 107 bytes, so the state folder will not do.
pub(crate) fn make_run_folder(reachable_by_others: bool) -> Result<PathBuf, SandboxError> {
    let base = std::env::var_os("TMPDIR").map(PathBuf::from);
    let base = base
        .filter(|path| path.is_absolute() && path.as_os_str().len() < 60)
        .filter(|path| !reachable_by_others || passable(path))
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    let path = base.join(format!("relight-drill-{}", random_hex(6)?));
    make(&path, if reachable_by_others { 0o711 } else { 0o700 })?;
    Ok(path)
}

/// Whether everybody may pass through the folder and all above it.
fn passable(path: &Path) -> bool {
    path.ancestors()
        .all(|folder| fs::metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.permissions().mode() & 0o001 != 0))
}

/// Writes a file that only its owner may read, replacing what was there, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), SandboxError> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&part, path))
        .map_err(SandboxError::io("write", path))
}

/// The sandbox's secrets, each in a file of its own with mode 0600.
#[derive(Debug)]
pub(crate) struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// Makes the folder `secrets` in the sandbox's folder.
    pub(crate) fn in_folder(dir: &Path) -> Result<Self, SandboxError> {
        let dir = dir.join("secrets");
        make(&dir, 0o700)?;
        Ok(Self { dir })
    }

    /// Invents a secret, writes it to the file of that name and returns file and value.
    pub(crate) fn invent(&self, name: &str, prefix: &str, bytes: usize) -> Result<Secret, SandboxError> {
        let value = format!("{prefix}{}", random_hex(bytes)?);
        let file = self.dir.join(name);
        write_private(&file, value.as_bytes())?;
        Ok(Secret { file, value })
    }
}

/// A secret and the file that holds it. `Debug` shows the file only.
#[derive(Clone)]
pub(crate) struct Secret {
    /// The file, for the configuration.
    pub(crate) file: PathBuf,
    /// The value, for the server that checks it.
    pub(crate) value: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("file", &self.file).finish_non_exhaustive()
    }
}
