//! Lines as they are typed.

use std::io::{self, BufRead, Read as _};
use std::thread;

use tokio::sync::mpsc;

/// A line is taken up to here.
const LONGEST: u64 = 64 * 1024;

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
            while let Ok(Some(line)) = read(&mut input) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self(lines))
    }

    /// The next line; none when there will be no more.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.0.recv().await
    }
}

/// The next line, cut where it is too long; none at the end.
fn read(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if input.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    // The rest of a line is no other line.
    let mut rest = line.len() as u64 == LONGEST && line.last() != Some(&b'\n');
    while rest {
        let held = input.fill_buf()?;
        let end = held.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(held.len(), |at| at + 1);
        rest = end.is_none() && !held.is_empty();
        input.consume(taken);
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_its_rest_is_no_line() {
        let long = "x".repeat(200_000);
        let text = format!("one\n{long}\ny\nlast");
        let mut input = io::BufReader::with_capacity(1000, text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = read(&mut input).expect("it is in memory") {
            lines.push(line.len());
        }
        assert_eq!(lines, [4, 64 * 1024, 2, 4]);
    }
}
