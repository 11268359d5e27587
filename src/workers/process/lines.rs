//! Cuts output into lines of bounded length.

/// The longest line that is kept, in bytes; the rest of a longer one is counted and left out.
pub(super) const LONGEST: usize = 64 << 10;

/// Cuts bytes into lines, in memory that does not grow with them. A carriage return ends a line as well, so that
/// a progress bar becomes lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    left_out: u64,
    after_return: bool,
}

impl Lines {
    /// Gives every line that `bytes` completes to `each`, with the number of bytes left out of it.
    pub(super) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8], u64)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, tail) = rest.split_at(at);
            let end = tail.first().copied();
            rest = tail.get(1..).unwrap_or_default();
            let empty = line.is_empty() && self.begun.is_empty();
            // "\r\n" is one end of a line, and a return on an empty line draws nothing.
            let nothing = empty && (self.after_return || end == Some(b'\r'));
            self.after_return = end == Some(b'\r');
            if nothing {
                continue;
            }
            if self.begun.is_empty() && line.len() <= LONGEST {
                each(line, 0);
            } else {
                self.keep(line);
                each(&self.begun, self.left_out);
            }
            self.begun.clear();
            self.left_out = 0;
        }
        if !rest.is_empty() {
            self.after_return = false;
            self.keep(rest);
        }
    }

    /// The last line, if it had no end.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&[u8], u64)) {
        if !self.begun.is_empty() {
            each(&self.begun, self.left_out);
            self.begun.clear();
            self.left_out = 0;
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.begun.len()).min(bytes.len());
        let (kept, left_out) = bytes.split_at(room);
        self.begun.extend_from_slice(kept);
        self.left_out += left_out.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<(String, u64)> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for piece in pieces {
            lines.feed(piece, |line, left_out| out.push((String::from_utf8_lossy(line).into_owned(), left_out)));
        }
        lines.finish(|line, left_out| out.push((String::from_utf8_lossy(line).into_owned(), left_out)));
        out
    }

    #[test]
    fn lines_are_the_same_however_the_output_is_cut() {
        let text = b"one\r\ntwo\n\nbar 1 %\rbar 2 %\rend";
        let whole = cut(&[text]);
        let words: Vec<&str> = whole.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(words, ["one", "two", "", "bar 1 %", "bar 2 %", "end"]);
        for at in 0..text.len() {
            assert_eq!(cut(&[&text[..at], &text[at..]]), whole, "cut at {at}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_share() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.feed(&[b'x'; 10_000], |_, _| panic!("no line has ended"));
            assert!(lines.begun.len() <= LONGEST);
        }
        let mut seen = None;
        lines.feed(b"\n", |line, left_out| seen = Some((line.len(), left_out)));
        assert_eq!(seen, Some((LONGEST, 1_000_000 - LONGEST as u64)));
    }
}
