//! Where the good content is: an S3 prefix, or a folder on this host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::incident::{ObjectRef, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::WorkerError;
use crate::workers::s3::Place;

/// Good content.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// An S3 prefix.
    S3(Place),
    /// A folder: its config name and absolute path.
    Folder(String, PathBuf),
}

/// One good object: its size and what tells its content. For a file the tag is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) size: u64,
    pub(super) etag: String,
}

impl Source {
    pub(super) async fn open(config: &Config, target: &TargetRef) -> Result<Self, WorkerError> {
        let TargetRef::Folder(name) = target else {
            return Ok(Self::S3(Place::open(config, target).await?));
        };
        let fault = |cause: String| {
            let next = "Correct the folder's path in the config, then retry (r).";
            WorkerError::new("open the snapshot's folder", target.to_string(), cause, next)
        };
        let folder = config.folder.get(name).ok_or_else(|| fault("The config has no such folder.".to_owned()))?;
        let path = std::fs::canonicalize(&folder.path)
            .map_err(|error| fault(format!("{} cannot be opened: {error}.", folder.path.display())))?;
        Ok(Self::Folder(target.to_string(), path))
    }

    /// As people write it.
    pub(super) fn url(&self) -> String {
        match self {
            Self::S3(place) => place.url(),
            Self::Folder(_, path) => format!("{}/", path.display()),
        }
    }

    pub(super) fn identity(&self) -> TargetIdentity {
        match self {
            Self::S3(place) => place.identity(),
            Self::Folder(name, _) => {
                TargetIdentity { name: self.url(), proofs: BTreeMap::from([("folder".to_owned(), name.clone())]) }
            }
        }
    }

    /// Every good object, by its key below the source.
    pub(super) async fn list(&self) -> Result<BTreeMap<String, Good>, WorkerError> {
        match self {
            Self::S3(place) => Ok(below(
                place,
                place
                    .list("")
                    .await?
                    .into_iter()
                    .map(|object| (object.key, Good { size: object.size, etag: object.etag })),
            )),
            Self::Folder(_, path) => {
                let root = path.clone();
                let walk = tokio::task::spawn_blocking(move || walk(&root));
                let walked = walk.await.map_err(std::io::Error::other).and_then(|found| found);
                walked.map_err(|error| self.unreadable(&error))
            }
        }
    }

    /// The SHA-256 of an object's content.
    pub(super) async fn sha256(&self, key: &str, good: &Good) -> Result<String, WorkerError> {
        match self {
            Self::S3(place) => sha256(place, &pin(place, key, good)).await,
            Self::Folder(_, path) => {
                let file = path.join(key);
                let hash = tokio::task::spawn_blocking(move || hash_file(&file));
                let hashed = hash.await.map_err(std::io::Error::other).and_then(|hash| hash);
                hashed.map_err(|error| self.unreadable(&error))
            }
        }
    }

    /// A file of a folder source.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        match self {
            Self::S3(_) => None,
            Self::Folder(_, path) => Some(path.join(key)),
        }
    }

    fn unreadable(&self, error: &std::io::Error) -> WorkerError {
        let next = "Mend the permissions or the disk, then retry (r).";
        WorkerError::new("read the snapshot's folder", self.url(), format!("It cannot be read: {error}."), next)
    }
}

/// Cuts a place's prefix off its keys and leaves folder markers out.
pub(super) fn below<T>(place: &Place, objects: impl Iterator<Item = (String, T)>) -> BTreeMap<String, T> {
    let cut = |(key, value): (String, T)| {
        let rest = key.strip_prefix(place.prefix())?;
        (!rest.is_empty() && !rest.ends_with('/')).then(|| (rest.to_owned(), value))
    };
    objects.filter_map(cut).collect()
}

/// An object of an S3 source, pinned as it was listed.
pub(super) fn pin(place: &Place, key: &str, good: &Good) -> ObjectRef {
    ObjectRef {
        target: place.target().to_owned(),
        bucket: place.bucket().to_owned(),
        key: format!("{}{key}", place.prefix()),
        version_id: None,
        etag: good.etag.clone(),
        size: good.size,
    }
}

/// The SHA-256 of an object in S3, in lower-case hexadecimal.
pub(super) async fn sha256(place: &Place, object: &ObjectRef) -> Result<String, WorkerError> {
    let mut hash = Sha256::new();
    place.read(object, &mut |bytes| hash.update(bytes)).await?;
    Ok(hex(&hash.finalize()))
}

fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(hex(&hash.finalize())),
            Some(bytes) => hash.update(bytes),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Regular files below a folder. Links are not followed: they could lead out of it.
fn walk(root: &Path) -> std::io::Result<BTreeMap<String, Good>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let key = path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned);
                let key = key.ok_or_else(|| {
                    std::io::Error::other(format!("{} is not UTF-8, so it can be no key", path.display()))
                })?;
                found.insert(key, Good { size: entry.metadata()?.len(), etag: String::new() });
            }
        }
    }
    Ok(found)
}
