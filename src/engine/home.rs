//! Where incidents live on disk, and where their sockets are.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::incident::{Event, EventKind, Fold, IncidentId, State};
use crate::journal::{self, Journal, JournalError};

/// Bytes of a socket's path: 108, less the one that ends it.
const LONGEST_SOCKET: usize = 107;

/// Why a folder of ours cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It cannot be made or read.
    #[error("the folder {} cannot be used: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    /// Somebody else could put files into it.
    #[error("the folder {} {why}, so what is in it may be theirs; relight does not trust it. {next}", .folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Who can.
        why: String,
        /// What helps.
        next: String,
    },
    /// There is nowhere to keep incidents.
    #[error(
        "neither XDG_STATE_HOME nor HOME is set, so there is nowhere to keep incidents; set state_dir in the config"
    )]
    Nowhere,
    /// A socket's path must be shorter.
    #[error("the path {} is too long for a socket: set a shorter state_dir in the config to share incidents", .0.display())]
    TooLong(PathBuf),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The folder of all incidents.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

/// An incident on disk.
#[derive(Debug)]
pub struct Found {
    /// Its id.
    pub id: IncidentId,
    /// Its folder.
    pub folder: PathBuf,
    /// Its state, or why it cannot be read.
    pub state: Result<Box<State>, String>,
}

impl Home {
    /// `state_dir` of the config, else `$XDG_STATE_HOME/relight`, else `~/.local/state/relight`.
    ///
    /// # Errors
    /// None of them is set.
    pub fn find(state_dir: Option<&Path>) -> Result<Self, HomeError> {
        let root = match state_dir {
            Some(path) => path.to_owned(),
            None => std::env::var_os("XDG_STATE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))
                .ok_or(HomeError::Nowhere)?
                .join("relight"),
        };
        Ok(Self { root })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// An incident's folder.
    #[must_use]
    pub fn folder(&self, id: &IncidentId) -> PathBuf {
        self.root.join("incidents").join(id.as_str())
    }

    /// Makes a new incident: its folder and a journal with the opening event. The journal is released again,
    /// for the engine to take.
    ///
    /// # Errors
    /// The id is taken, or the disk says no.
    pub fn create(&self, id: &IncidentId, opening: &Event) -> Result<PathBuf, HomeError> {
        debug_assert!(matches!(opening.kind, EventKind::Opened { .. }), "a journal begins with an opening");
        let folder = self.folder(id);
        let incidents = self.root.join("incidents");
        let make = |path: &Path, recursive| {
            DirBuilder::new()
                .recursive(recursive)
                .mode(0o700)
                .create(path)
                .map_err(|error| HomeError::Io(path.to_owned(), error))
        };
        make(&incidents, true)?;
        self.trusted_root()?;
        make(&folder, false)?;
        make(&folder.join("output"), false)?;
        make(&folder.join("work"), false)?;
        Journal::create(&folder)?.append(std::slice::from_ref(opening))?;
        Ok(folder)
    }

    /// Proves that the folders on the way to an incident's files are this user's, so that what is in them was put there by
    /// relight.
    ///
    /// # Errors
    /// One is somebody else's, is a link, or can be written by others.
    pub fn trusted(&self, id: &IncidentId) -> Result<(), HomeError> {
        self.trusted_root()?;
        own_folder(&self.folder(id), 0o022, "chmod go-w", "Run relight as that user, who has the incident")
    }

    fn trusted_root(&self) -> Result<(), HomeError> {
        let meta = std::fs::metadata(&self.root).map_err(|error| HomeError::Io(self.root.clone(), error))?;
        let sticky = meta.mode() & 0o1000 != 0;
        // An administrator may have made it for several accounts; then incidents are in folders of one of them.
        if meta.uid() != 0 || (meta.mode() & 0o022 != 0 && !sticky) {
            let place = self.root.canonicalize().map_err(|error| HomeError::Io(self.root.clone(), error))?;
            own_folder(&place, 0o022, "chmod go-w", "Set another state_dir")?;
        }
        own_folder(&self.root.join("incidents"), 0o022, "chmod go-w", "Set another state_dir")
    }

    /// Lets members of a group find an incident, read its journal and reach its engine's shared socket. Outputs and
    /// everything else stay the owner's.
    ///
    /// # Errors
    /// The system says no: the owner is not a member of the group, or a folder on the way is somebody else's.
    pub fn share(&self, id: &IncidentId, gid: u32) -> Result<(), HomeError> {
        let folder = self.folder(id);
        let open = |path: &Path, mode: u32| {
            std::os::unix::fs::chown(path, None, Some(gid))
                .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)))
                .map_err(|error| HomeError::Io(path.to_owned(), error))
        };
        let own = rustix::process::getuid().as_raw();
        let root = std::fs::metadata(&self.root).map_err(|error| HomeError::Io(self.root.clone(), error))?;
        // One that an administrator made for several accounts lets them pass already.
        if root.uid() == own && root.mode() & 0o005 == 0 {
            open(&self.root, 0o710)?;
        }
        // Whoever may pass may not list what else is there; the incidents are listed by their journals.
        open(&self.root.join("incidents"), 0o750)?;
        open(&folder, 0o750)?;
        open(&folder.join(journal::FILE), 0o640)
    }

    /// The socket that an incident's engine shares with a group: in the incident's folder, which they can enter.
    ///
    /// # Errors
    /// Its path is longer than a socket's may be.
    pub fn shared_socket(&self, id: &IncidentId) -> Result<PathBuf, HomeError> {
        let path = self.folder(id).join("s");
        if path.as_os_str().len() > LONGEST_SOCKET { Err(HomeError::TooLong(path)) } else { Ok(path) }
    }

    /// The user that an incident belongs to.
    #[must_use]
    pub fn owner(&self, id: &IncidentId) -> Option<u32> {
        std::fs::metadata(self.folder(id)).ok().map(|meta| meta.uid())
    }

    /// Every incident on disk, newest first. One that cannot be read is listed with the reason.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn incidents(&self) -> Result<Vec<Found>, HomeError> {
        let mut found: Vec<Found> = self.ids()?.iter().map(|id| self.open(id)).collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.state.as_ref().ok().map(|state| state.opened_at)));
        Ok(found)
    }

    /// The incidents whose journals were written last, newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn newest(&self) -> Result<Vec<IncidentId>, HomeError> {
        let written = |id: &IncidentId| std::fs::metadata(self.folder(id).join(journal::FILE))?.modified();
        // One whose journal may not be looked at comes last.
        let mut ids: Vec<_> = self.ids()?.into_iter().map(|id| (written(&id).ok(), id)).collect();
        ids.sort_by(|one, other| other.cmp(one));
        Ok(ids.into_iter().map(|(_, id)| id).collect())
    }

    fn ids(&self) -> Result<Vec<IncidentId>, HomeError> {
        let incidents = self.root.join("incidents");
        let entries = match std::fs::read_dir(&incidents) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(HomeError::Io(incidents, error)),
        };
        let names = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| IncidentId::new(name).ok()).collect())
    }

    /// One incident, read from its journal.
    #[must_use]
    pub fn open(&self, id: &IncidentId) -> Found {
        let folder = self.folder(id);
        let mut fold = Fold::default();
        let state = journal::read_each(&folder.join(journal::FILE), |event| fold.take(event))
            .map_err(|error| error.to_string())
            .and_then(|_| fold.state().map_err(|error| error.to_string()))
            .map(Box::new);
        Found { id: id.clone(), folder, state }
    }

    /// The socket of an incident's engine: in `$XDG_RUNTIME_DIR/relight`, else in `/tmp/relight-<uid>`. A socket's
    /// path must be shorter than 108 bytes, so it does not lie beside the journal.
    ///
    /// # Errors
    /// The folder cannot be made, or somebody else could get at it.
    pub fn socket(id: &IncidentId) -> Result<PathBuf, HomeError> {
        let uid = rustix::process::getuid().as_raw();
        let folder = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute() && path.as_os_str().len() < 60)
            .map_or_else(|| PathBuf::from(format!("/tmp/relight-{uid}")), |path| path.join("relight"));
        let io = |error| HomeError::Io(folder.clone(), error);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
            _ => {}
        }
        own_folder(&folder, 0o077, "chmod 700", "Remove it, or set XDG_RUNTIME_DIR to a folder of yours")?;
        Ok(folder.join(format!("{id}.sock")))
    }
}

/// Proves that a folder is this user's own, no link, and has none of these bits in its mode.
fn own_folder(folder: &Path, bits: u32, mend: &str, otherwise: &str) -> Result<(), HomeError> {
    let meta = std::fs::symlink_metadata(folder).map_err(|error| HomeError::Io(folder.to_owned(), error))?;
    let own = rustix::process::getuid().as_raw();
    let foreign = |why: String, next: String| Err(HomeError::Foreign { folder: folder.to_owned(), why, next });
    if !meta.is_dir() {
        return foreign("is a link or a file".to_owned(), format!("{otherwise}."));
    }
    if meta.uid() != own {
        return foreign(format!("belongs to user {}, not to you ({own})", meta.uid()), format!("{otherwise}."));
    }
    if meta.mode() & bits != 0 {
        let mode = format!("can be used by others (mode {:o})", meta.mode() & 0o7777);
        return foreign(mode, format!("Run: {mend} {}", folder.display()));
    }
    Ok(())
}
