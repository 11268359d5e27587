//! Writes frames to the terminal: at once as far as it takes them, and what it does not take on a thread of its own. A
//! terminal that nobody reads, as a stalled connection's, holds up that thread and nothing else. Keys, signals and the engine
//! are listened to all the while.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::Notify;

use super::terminal;

/// The thread's end that gives.
#[derive(Debug)]
pub(super) struct Writer {
    /// The terminal opened once more, so that a write to it never waits; none where the system does not open it again, as
    /// another account's.
    at_once: Option<OwnedFd>,
    frames: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    done: Condvar,
    told: Notify,
}

#[derive(Debug, Default)]
struct Work {
    /// Frames that were given and are not written yet.
    left: usize,
    /// Why nothing more can be written.
    failed: Option<io::ErrorKind>,
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Starts the thread. It ends with what is returned, or with the process where the terminal takes nothing more.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(terminal: OwnedFd) -> io::Result<Self> {
        let (frames, given) = mpsc::channel::<Vec<u8>>();
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let at_once = terminal::unwaiting(&terminal, OFlags::WRONLY);
        std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
            for frame in given {
                let written = write_all(&terminal, &frame);
                let mut work = ours.work();
                work.left -= 1;
                work.failed = work.failed.or(written.err().map(|error| error.kind()));
                drop(work);
                ours.done.notify_all();
                ours.told.notify_one();
            }
        })?;
        Ok(Self { at_once, frames, shared })
    }

    /// Gives a frame, to be written behind all that were given before.
    pub(super) fn give(&self, mut frame: Vec<u8>) {
        let mut work = self.shared.work();
        if let (Some(terminal), 0, None) = (&self.at_once, work.left, work.failed) {
            match write_now(terminal, &frame) {
                Ok(taken) if taken == frame.len() => return,
                Ok(taken) => drop(frame.drain(..taken)),
                Err(error) => {
                    work.failed = Some(error.kind());
                    return;
                }
            }
        }
        work.left += 1;
        drop(work);
        // The thread listens as long as this end is there.
        let _ = self.frames.send(frame);
    }

    /// Waits until everything that was given is written.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) async fn written(&self) -> io::Result<()> {
        loop {
            // Asked for before looking, so that an end between the two is not missed.
            let told = self.shared.told.notified();
            let (left, failed) = {
                let work = self.shared.work();
                (work.left, work.failed)
            };
            if let Some(kind) = failed {
                return Err(kind.into());
            }
            if left == 0 {
                return Ok(());
            }
            told.await;
        }
    }

    /// As [`Writer::written`], for at most this long, and without a word about how it went.
    pub(super) fn wait(&self, limit: Duration) {
        let work = self.shared.work();
        drop(self.shared.done.wait_timeout_while(work, limit, |work| work.left > 0 && work.failed.is_none()));
    }
}

/// Writes what is taken without waiting; how much that was.
fn write_now(terminal: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while let Some(rest @ [_, ..]) = bytes.get(taken..) {
        match rustix::io::write(terminal, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => taken += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(taken)
}

fn write_all(terminal: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(terminal.as_fd(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            // A terminal that another program left in this mode.
            Err(rustix::io::Errno::AGAIN) => {
                let mut one = [rustix::event::PollFd::new(terminal, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut one, None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// A terminal and the end that reads it.
    fn terminal() -> (OwnedFd, OwnedFd) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&reader).and_then(|()| unlockpt(&reader)).expect("it opens");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let path = ptsname(&reader, Vec::new()).expect("a name");
        let terminal = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).expect("its other end");
        (reader, terminal)
    }

    #[tokio::test]
    async fn a_terminal_has_a_frame_at_once_and_one_that_stands_still_has_the_rest_later() {
        let (reader, terminal) = terminal();
        let writer = Writer::start(terminal).expect("a thread");
        writer.give(b"short".to_vec());
        assert_eq!(writer.shared.work().left, 0, "no thread had to be woken");
        let long = vec![b'x'; 1 << 18];
        writer.give(long.clone());
        writer.give(b"the end".to_vec());
        writer.wait(Duration::from_millis(1));
        assert_eq!(writer.shared.work().left, 2);
        let whole = [b"short".as_slice(), &long, b"the end"].concat();
        let wanted = whole.len();
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = std::fs::File::from(reader);
            let mut all = vec![0; wanted];
            reader.read_exact(&mut all).expect("all of it");
            (all, reader)
        });
        writer.written().await.expect("written");
        let (all, reader) = read.await.expect("read");
        assert_eq!(all, whole);
        drop(reader);
        writer.give(b"nobody is there".to_vec());
        assert!(writer.written().await.is_err());
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_holds_up_nobody_and_gets_everything_later() {
        let (mut ours, theirs) = io::pipe().expect("a pipe");
        let writer = Writer::start(theirs.into()).expect("a thread");
        // More than a pipe holds.
        let frame = vec![b'x'; 1 << 20];
        writer.give(frame.clone());
        writer.give(b"the end".to_vec());
        writer.wait(Duration::from_millis(1));
        assert_eq!(writer.shared.work().left, 2);
        let read = tokio::task::spawn_blocking(move || {
            let mut all = vec![0; (1 << 20) + 7];
            ours.read_exact(&mut all).expect("all of it");
            (all, ours)
        });
        writer.written().await.expect("written");
        let (all, ours) = read.await.expect("read");
        assert!(all.starts_with(&frame) && all.ends_with(b"xthe end"));
        drop(ours);
        writer.give(b"nobody is there".to_vec());
        assert!(writer.written().await.is_err());
    }
}
