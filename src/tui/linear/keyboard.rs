//! Lines as they are typed.

use std::io::{self, BufRead as _};
use std::thread;

use tokio::sync::mpsc;

/// A line is taken up to here.
const LONGEST: usize = 64 * 1024;

/// Standard input, line by line. It outlives a lost engine: one is enough for a process.
#[derive(Debug)]
pub struct Keyboard(mpsc::UnboundedReceiver<String>);

impl Keyboard {
    /// Reads from now on.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start() -> io::Result<Self> {
        let (send, lines) = mpsc::unbounded_channel();
        thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
            let mut input = io::stdin().lock();
            let mut line = Vec::new();
            while input.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                line.truncate(LONGEST);
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        })?;
        Ok(Self(lines))
    }

    /// The next line; none when there will be no more.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.0.recv().await
    }
}
