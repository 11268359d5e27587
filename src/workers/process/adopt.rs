//! What a later engine finds of a program that an earlier one started.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

use super::exit::{lock_path, part_path, read_exit};
use super::{Exit, group, lock};

/// What became of an attempt's program.
#[derive(Debug)]
pub enum Adopted {
    /// It still runs.
    Running(Running),
    /// It ended, so.
    Ended(Exit),
    /// None was started.
    Nothing,
    /// Nobody recorded how it ended; what is known.
    Unknown(String),
}

/// A program that still runs, under the shim of an engine that is gone.
#[derive(Debug)]
pub struct Running {
    log: PathBuf,
}

/// Looks for the program that was started last with this log. Waits for nothing.
#[must_use]
pub fn adopt(log: &Path) -> Adopted {
    let path = lock_path(log);
    let Ok(lock) = File::options().read(true).write(true).open(&path) else {
        return ended(log, Adopted::Nothing);
    };
    // Shared: those who look must not take one another for a shim.
    if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
        let _ = unlock(&lock);
        return over(log);
    }
    Adopted::Running(Running { log: log.to_owned() })
}

/// Between two looks at a shim that is being born.
const BIRTH: Duration = Duration::from_millis(2);
const KILLED: &str = "The program's shim was killed before it could record how the program ended.";

/// Gives a lock back at once. Closing would not do: a child that another thread is just starting has the descriptor
/// too, until it becomes its program.
fn unlock(lock: &File) -> std::io::Result<()> {
    Ok(flock(lock, FlockOperation::Unlock)?)
}

/// What became of a program whose shim is gone. Room for its exit is made before it starts, so without that there was
/// none.
fn over(log: &Path) -> Adopted {
    let began = part_path(log).exists();
    ended(log, if began { Adopted::Unknown(KILLED.to_owned()) } else { Adopted::Nothing })
}

fn ended(log: &Path, without: Adopted) -> Adopted {
    match read_exit(log) {
        Ok(Some(exit)) => Adopted::Ended(exit),
        Ok(None) => without,
        Err(error) => Adopted::Unknown(format!("How the program ended cannot be read: {error}.")),
    }
}

impl Running {
    /// The shim's process number; none while it is only being born.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        lock::signature(&self.log).map(|(pid, _)| pid)
    }

    /// Waits until it has ended.
    pub async fn wait(self) -> Adopted {
        let (tell, told) = oneshot::channel();
        let log = self.log.clone();
        // A thread of its own: the wait may take hours, and must not hold up the end of the engine.
        let waiting = std::thread::Builder::new().name("wait for shim".to_owned()).spawn(move || {
            let locked = File::options().read(true).write(true).open(lock_path(&log));
            let waited = locked.and_then(|lock| {
                flock(&lock, FlockOperation::LockShared)?;
                unlock(&lock)
            });
            // Nobody listens any more when the probe was given up.
            let _ = tell.send(waited.map(|()| over(&log)));
        });
        if let Err(error) = waiting {
            return Adopted::Unknown(format!("It runs and cannot be waited for: {error}."));
        }
        match told.await {
            Ok(Ok(adopted)) => adopted,
            Ok(Err(error)) => Adopted::Unknown(format!("It runs and cannot be waited for: {error}.")),
            Err(_) => Adopted::Unknown("It runs and cannot be waited for.".to_owned()),
        }
    }

    /// Asks it to end: the shim ends the program with everything that it started, and kills what does not.
    ///
    /// # Errors
    /// The operating system's, unless it has ended already.
    pub async fn stop(&self) -> std::io::Result<()> {
        let Some((number, started)) = self.born().await else { return Ok(()) };
        let Some(pid) = Pid::from_raw(number) else { return Ok(()) };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
        // The handle is to whoever has the number now; if that is another, ours has ended.
        if group::started(number) != Some(started) {
            return Ok(());
        }
        match pidfd_send_signal(handle, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Who the shim is, as soon as it says so; none when it has ended first.
    async fn born(&self) -> Option<(i32, u64)> {
        loop {
            let signature = lock::signature(&self.log);
            if signature.is_some() || !matches!(adopt(&self.log), Adopted::Running(_)) {
                return signature;
            }
            tokio::time::sleep(BIRTH).await;
        }
    }
}
