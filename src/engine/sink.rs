//! An attempt's log file, and the way of its lines to whoever looks on.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::incident::{AttemptId, Notice, Report};
use crate::workers::Sink;

use super::{Handle, Input};

/// The log of an attempt: `output/<attempt>.log` in the incident's folder.
pub(super) fn log_path(folder: &Path, attempt: AttemptId) -> PathBuf {
    folder.join("output").join(format!("{attempt}.log"))
}

/// Writes an attempt's lines. A child's shim appends to the same file, so each write goes to its end.
pub(super) struct AttemptSink {
    attempt: AttemptId,
    file: Mutex<Option<File>>,
    handle: Handle,
}

impl AttemptSink {
    /// Opens the log. Where that fails the lines are still shown, and the first says why they are not kept.
    pub(super) fn open(folder: &Path, attempt: AttemptId, handle: Handle) -> Self {
        let path = log_path(folder, attempt);
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let sink = |file| Self { attempt, file: Mutex::new(file), handle };
        match opened {
            Ok(file) => sink(Some(file)),
            Err(error) => {
                let sink = sink(None);
                sink.line(&format!("This output is not kept: {} cannot be written: {error}", path.display()));
                sink
            }
        }
    }

    fn append(&self, text: &str) -> io::Result<u64> {
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = guard.as_mut() else {
            return Ok(0);
        };
        file.write_all(text.as_bytes())?;
        Ok(file.stream_position()?.saturating_sub(text.len() as u64))
    }
}

impl Sink for AttemptSink {
    fn line(&self, text: &str) {
        // A line of ours is one line, whatever a server's reply in it holds.
        let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        clean.push('\n');
        let offset = self.append(&clean).unwrap_or(0);
        self.handle.notice(Notice::Output { attempt: self.attempt, offset, text: clean });
    }

    fn notice(&self, notice: Notice) {
        self.handle.notice(notice);
    }

    fn remark(&self, text: &str) {
        let (handle, attempt) = (self.handle.clone(), self.attempt);
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // It is an event, so it waits for room in the loop; the work does not.
        tokio::spawn(async move { handle.send(Input::Report(Report::Remarked { attempt, text })).await });
    }
}
