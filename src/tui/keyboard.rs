//! The keyboard, read within the loop: from a key to its frame no other thread has to be woken.
//!
//! crossterm's own reader spins when the terminal dies (crossterm #793), so bytes are read here: a terminal that hung up or
//! ends is reported and never read again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::retry_on_intr;
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::card::Sight;
use super::input::{Input, Parser};
use super::terminal;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// A terminal that still has bytes after so many reads is being fed by a program: the system keeps less than that of what was
/// typed.
const MOST_READS: usize = 32;
/// Bytes of one read.
const READ: usize = 4096;

/// The terminal's bytes as they come, and what they mean.
#[derive(Debug)]
pub(super) struct Keyboard {
    /// The runtime watches it as it would the end of a pipe: both are told of in the same way.
    tty: pipe::Receiver,
    parser: Parser,
    /// What was read and not taken yet.
    read: VecDeque<Input>,
    /// When a sequence that has begun counts as whole.
    whole_at: Option<Instant>,
}

impl Keyboard {
    /// Reads `tty` from now on, as far as it is asked to.
    ///
    /// # Errors
    /// The system cannot tell when it can be read.
    pub(super) fn new(tty: OwnedFd) -> io::Result<Self> {
        let tty = terminal::unwaiting(&tty, OFlags::RDONLY).unwrap_or(tty);
        let tty = pipe::Receiver::from_owned_fd_unchecked(tty)?;
        Ok(Self { tty, parser: Parser::default(), read: VecDeque::new(), whole_at: None })
    }

    /// What comes next; nothing is lost where the wait for it is given up. A terminal that is gone says so as often as it is
    /// asked.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.at_hand() {
                return input;
            }
            let whole_at = self.whole_at;
            tokio::select! {
                biased;
                ready = self.tty.readable() => {
                    let mut buffer = [0; READ];
                    let tty = &self.tty;
                    let read = ready.and_then(|()| tty.try_io(|| read(tty.as_fd(), &mut buffer)));
                    if self.understand(read, &buffer).is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
                        return Input::Gone;
                    }
                }
                () = tokio::time::sleep_until(whole_at.unwrap_or_else(Instant::now)), if whole_at.is_some() => {
                    self.whole_at = None;
                    self.parser.time_is_up();
                    self.read.extend(self.parser.take());
                }
            }
        }
    }

    /// What has been read already.
    pub(super) fn at_hand(&mut self) -> Option<Input> {
        self.read.pop_front()
    }

    /// Puts [`Input::Marked`] behind everything that was typed so far. Says whether it did: not to a terminal that goes on and
    /// on.
    pub(super) fn mark(&mut self, sight: Sight) -> bool {
        // Whatever the terminal holds by now was typed before the mark.
        for _ in 0..MOST_READS {
            let mut buffer = [0; READ];
            let read = read(self.tty.as_fd(), &mut buffer);
            match self.understand(read, &buffer) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.read.push_back(Input::Marked(sight));
                    return true;
                }
                // The next look at the terminal says that it is gone.
                Err(_) => return false,
            }
        }
        false
    }

    /// Takes every [`Input::Marked`] back: what was on screen then is there no more.
    pub(super) fn forget_marks(&mut self) {
        self.read.retain(|input| !matches!(input, Input::Marked(_)));
    }

    fn understand(&mut self, read: io::Result<usize>, buffer: &[u8]) -> io::Result<()> {
        self.parser.feed(buffer.get(..read?).unwrap_or_default());
        self.read.extend(self.parser.take());
        self.whole_at = self.parser.waits().map(|rest| Instant::now() + rest);
        Ok(())
    }
}

/// Reads what is there.
///
/// # Errors
/// There is nothing, of the kind `WouldBlock`; or the terminal hung up or ended.
fn read(tty: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // Asked right before: one that is not ours to open waits for its bytes.
    let mut one = [PollFd::from_borrowed_fd(tty, PollFlags::IN)];
    retry_on_intr(|| rustix::event::poll(&mut one, Some(&AT_ONCE)))?;
    let [one] = one.map(|one| one.revents());
    if one.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !one.contains(PollFlags::IN) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    match retry_on_intr(|| rustix::io::read(tty, &mut *buffer))? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::incident::Digest;

    fn sight() -> Sight {
        Sight { digest: Digest::of(b"plan"), size: (80, 24), rows: 0..20 }
    }

    /// A keyboard and the end that types on it.
    fn keyboard() -> (Keyboard, OwnedFd) {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair");
        (Keyboard::new(theirs).expect("a keyboard"), ours)
    }

    fn key(code: KeyCode) -> Input {
        Input::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[tokio::test]
    async fn a_mark_comes_after_every_key_typed_before_it_and_a_dead_terminal_is_told() {
        let (mut keyboard, ours) = keyboard();
        rustix::io::write(&ours, b"yy").expect("typed");
        assert!(keyboard.mark(sight()));
        rustix::io::write(&ours, b"y").expect("typed");
        assert_eq!(keyboard.next().await, key(KeyCode::Char('y')));
        assert_eq!(keyboard.next().await, key(KeyCode::Char('y')));
        assert_eq!(keyboard.next().await, Input::Marked(sight()));
        assert_eq!(keyboard.next().await, key(KeyCode::Char('y')));
        drop(ours);
        assert_eq!(keyboard.next().await, Input::Gone);
        assert!(!keyboard.mark(sight()), "nobody has seen anything");
        assert_eq!(keyboard.next().await, Input::Gone);
    }

    #[tokio::test]
    async fn a_terminal_that_a_program_fills_is_not_waited_for() {
        let (mut keyboard, ours) = keyboard();
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, 8 * MOST_READS * READ).expect("room");
        let filled = vec![b'k'; (MOST_READS + 1) * READ];
        assert_eq!(rustix::io::write(&ours, &filled), Ok(filled.len()));
        assert!(!keyboard.mark(sight()));
        assert!(keyboard.mark(sight()), "it came to rest");
    }

    #[tokio::test]
    async fn a_lone_escape_is_told_from_a_sequence_by_what_follows() {
        let (mut keyboard, ours) = keyboard();
        rustix::io::write(&ours, b"\x1b").expect("typed");
        assert_eq!(keyboard.next().await, key(KeyCode::Esc));
        rustix::io::write(&ours, b"\x1b[").expect("the first half");
        assert!(keyboard.mark(sight()));
        rustix::io::write(&ours, b"A").expect("the other");
        assert_eq!(keyboard.next().await, Input::Marked(sight()));
        assert_eq!(keyboard.next().await, key(KeyCode::Up));
    }
}
