//! What attempts printed: the last lines of each, with their places in the log so that older ones can be fetched.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::incident::AttemptId;

use super::ansi::{self, Tone};

const MOST_LINES: usize = 5_000;
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Lines before the one that is read that stay with it.
const AROUND: usize = 200;
/// A line is shown up to here; the log on disk has all of it.
const LONGEST_LINE: usize = 16 * 1024;

/// A line and where it begins in the attempt's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutputLine {
    pub(super) offset: u64,
    /// Clean: it may go to the terminal as it is.
    pub(super) text: String,
    /// From which byte on which tone holds.
    pub(super) tones: Vec<(usize, Tone)>,
}

/// A stretch of one attempt's log without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Buffer {
    lines: VecDeque<OutputLine>,
    bytes: usize,
    /// Where the log goes on after the last line that is held.
    end: u64,
    /// The end that the engine last spoke of.
    log_end: u64,
    /// When it last grew.
    heard: Option<Timestamp>,
    /// The line that somebody reads: it and what is around it stay.
    held: Option<u64>,
    /// Lines that came since then, and whether some were not heard of.
    news: (u64, bool),
    /// Only what holds this line is taken.
    wanted: Option<u64>,
}

impl Buffer {
    pub(super) fn lines(&self) -> &VecDeque<OutputLine> {
        &self.lines
    }

    /// Where the first line that is held begins.
    pub(super) fn start(&self) -> u64 {
        self.lines.front().map_or(self.end, |line| line.offset)
    }

    /// Where the log goes on after the last line that is held.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Newer lines exist than are held.
    pub(super) fn is_behind(&self) -> bool {
        self.end < self.log_end
    }

    /// Where the log ends, as far as anybody said.
    pub(super) fn log_end(&self) -> u64 {
        self.log_end
    }

    /// When the log last grew.
    pub(super) fn heard(&self) -> Option<Timestamp> {
        self.heard
    }

    /// How many lines came since somebody began to read, and whether there are more than those.
    pub(super) fn news(&self) -> (u64, bool) {
        self.news
    }

    /// The line that begins there is held.
    pub(super) fn holds(&self, offset: u64) -> bool {
        !self.lines.is_empty() && (self.start()..self.end).contains(&offset)
    }

    /// The line that begins at an offset, or the next one after it.
    pub(super) fn at(&self, offset: u64) -> usize {
        self.lines.partition_point(|line| line.offset < offset).min(self.lines.len().saturating_sub(1))
    }

    /// Takes lines that begin at `offset`: after those held, before them, or in their place.
    fn take(&mut self, offset: u64, raw: &str, now: Timestamp) {
        let end = offset.saturating_add(raw.len() as u64);
        if end > self.log_end {
            if self.held.is_some() && self.log_end > 0 {
                let known = usize::try_from(self.log_end.saturating_sub(offset)).unwrap_or(usize::MAX);
                let fresh = raw.as_bytes().get(known..).unwrap_or_default();
                self.news.0 += memchr::memchr_iter(b'\n', fresh).count() as u64;
                self.news.1 |= offset > self.log_end;
            }
            self.heard = Some(now);
            self.log_end = end;
        }
        if self.wanted.is_some_and(|wanted| !(offset..end).contains(&wanted)) {
            return;
        }
        self.wanted = None;
        let fresh = self.lines.is_empty();
        if fresh || offset == self.end {
            if fresh {
                self.end = offset;
            }
            self.append(offset, raw);
        } else if offset < self.end && end > self.end && offset >= self.start() {
            // It overlaps what is held already.
            let known = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            if let Some(rest) = raw.get(known..) {
                let at = self.end;
                self.append(at, rest);
            }
        } else if offset < self.start() && end >= self.start() {
            let older = usize::try_from(self.start() - offset).unwrap_or(usize::MAX);
            self.prepend(offset, raw.get(..older).unwrap_or_default());
        }
        // Anything else leaves a gap: the buffer stays whole and knows that it is behind.
    }

    fn append(&mut self, mut offset: u64, raw: &str) {
        for line in raw.split_inclusive('\n') {
            let shown = OutputLine::new(offset, line);
            while self.lines.len() >= MOST_LINES || (self.bytes + shown.text.len() > MOST_BYTES && self.bytes > 0) {
                // What is being read does not go; what comes meanwhile is fetched when the reader gets there.
                if self.held.is_some_and(|held| self.at(held) < AROUND) {
                    self.end = offset;
                    return;
                }
                let Some(line) = self.lines.pop_front() else { break };
                self.bytes -= line.text.len();
            }
            self.bytes += shown.text.len();
            self.lines.push_back(shown);
            offset = offset.saturating_add(line.len() as u64);
        }
        self.end = offset;
    }

    fn hold(&mut self, line: Option<u64>) {
        if self.held.is_some() != line.is_some() {
            self.news = (0, false);
        }
        self.held = line;
    }

    fn prepend(&mut self, offset: u64, raw: &str) {
        let mut at = offset;
        let older: Vec<OutputLine> = raw
            .split_inclusive('\n')
            .map(|line| {
                let here = at;
                at = at.saturating_add(line.len() as u64);
                OutputLine::new(here, line)
            })
            .collect();
        for line in older.into_iter().rev() {
            self.bytes += line.text.len();
            self.lines.push_front(line);
        }
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            let Some(line) = self.lines.pop_back() else { break };
            self.bytes -= line.text.len();
            self.end = line.offset;
        }
    }
}

impl OutputLine {
    fn new(offset: u64, line: &str) -> Self {
        let line = line.trim_end_matches(['\n', '\r']);
        // A progress line that rewrites itself is shown as it stood last.
        let line = line.rsplit('\r').next().unwrap_or(line);
        let cut = line.char_indices().map(|(at, _)| at).nth(LONGEST_LINE).unwrap_or(line.len());
        let (text, tones) = ansi::read(line.get(..cut).unwrap_or(line));
        Self { offset, text, tones }
    }
}

/// The output of all attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outputs {
    buffers: BTreeMap<AttemptId, Buffer>,
    /// Why a log could not be read, of attempts that nothing is known of.
    faults: BTreeMap<AttemptId, String>,
}

impl Outputs {
    pub(super) fn get(&self, attempt: AttemptId) -> Option<&Buffer> {
        self.buffers.get(&attempt)
    }

    pub(super) fn fault(&self, attempt: AttemptId) -> Option<&str> {
        self.faults.get(&attempt).map(String::as_str)
    }

    /// The log cannot be read. It is not asked for again and again.
    pub(super) fn fail(&mut self, attempt: AttemptId, why: String) {
        self.faults.insert(attempt, why);
    }

    pub(super) fn take(&mut self, attempt: AttemptId, offset: u64, raw: &str, now: Timestamp) {
        self.faults.remove(&attempt);
        self.buffers.entry(attempt).or_default().take(offset, raw, now);
    }

    /// Keeps the line that somebody reads, of this attempt and no other.
    pub(super) fn hold(&mut self, reads: Option<(AttemptId, u64)>) {
        for (attempt, buffer) in &mut self.buffers {
            buffer.hold(reads.filter(|(read, _)| read == attempt).map(|(_, line)| line));
        }
    }

    /// Lets go of what is held for the lines around this one, which are on their way.
    pub(super) fn seek(&mut self, attempt: AttemptId, line: u64) {
        let buffer = self.buffers.entry(attempt).or_default();
        let (log_end, heard, news) = (buffer.log_end, buffer.heard, buffer.news);
        *buffer = Buffer { log_end, heard, news, held: Some(line), wanted: Some(line), ..Buffer::default() };
    }

    /// Lets go of what is held, so that the log's end can be fetched afresh.
    pub(super) fn forget(&mut self, attempt: AttemptId) {
        self.buffers.remove(&attempt);
    }

    /// Keeps memory bounded however many attempts there are: only these stay.
    pub(super) fn keep_only(&mut self, keep: impl Fn(AttemptId) -> bool) {
        self.buffers.retain(|attempt, _| keep(*attempt));
        self.faults.retain(|attempt, _| keep(*attempt));
    }

    pub(super) fn len(&self) -> usize {
        self.buffers.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn older_lines_go_before_and_newer_after() {
        let mut buffer = Buffer::default();
        buffer.take(10, "three\nfour\n", Timestamp::UNIX_EPOCH);
        buffer.take(0, "one\ntwo..\n", Timestamp::UNIX_EPOCH);
        buffer.take(21, "five\r\n", Timestamp::UNIX_EPOCH);
        buffer.take(15, "\nfour\nfive\r\nsix\n", Timestamp::UNIX_EPOCH);
        let lines: Vec<&str> = buffer.lines().iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["one", "two..", "three", "four", "five", "six"]);
        assert_eq!((buffer.start(), buffer.is_behind()), (0, false));
        buffer.take(900, "far\n", Timestamp::UNIX_EPOCH);
        assert_eq!((buffer.lines().len(), buffer.is_behind()), (6, true));
    }

    #[test]
    fn a_flood_keeps_its_end_and_a_look_back_its_beginning() {
        let mut buffer = Buffer::default();
        let line = "x".repeat(99) + "\n";
        for at in 0..6_000_u64 {
            buffer.take(at * 100, &line, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(buffer.lines().len(), MOST_LINES);
        assert_eq!(buffer.start(), 100_000);
        buffer.take(0, &line.repeat(1000), Timestamp::UNIX_EPOCH);
        assert_eq!((buffer.start(), buffer.lines().len(), buffer.is_behind()), (0, MOST_LINES, true));
        assert_eq!(buffer.at(250), 3);
    }

    #[test]
    fn what_is_read_stays_and_what_comes_meanwhile_is_counted() {
        let mut buffer = Buffer::default();
        let line = "x".repeat(99) + "\n";
        buffer.take(0, &line.repeat(10), Timestamp::UNIX_EPOCH);
        buffer.hold(Some(300));
        for at in 10..9_000_u64 {
            buffer.take(at * 100, &line, Timestamp::UNIX_EPOCH);
        }
        assert_eq!((buffer.start(), buffer.lines().len(), buffer.news()), (0, MOST_LINES, (8_990, false)));
        assert!(buffer.is_behind() && buffer.holds(300));
        buffer.hold(None);
        assert_eq!(buffer.news(), (0, false));
    }

    #[test]
    fn after_a_jump_only_what_was_jumped_to_is_taken() {
        let mut outputs = Outputs::default();
        let id = AttemptId(1);
        outputs.take(id, 0, "one\ntwo\n", Timestamp::UNIX_EPOCH);
        outputs.seek(id, 500);
        outputs.take(id, 900, "live\n", Timestamp::UNIX_EPOCH);
        outputs.take(id, 497, "ab\nmatch\n", Timestamp::UNIX_EPOCH);
        let lines: Vec<&str> = outputs.get(id).expect("held").lines().iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["ab", "match"]);
    }

    proptest! {
        #[test]
        fn it_never_grows_and_never_tears(chunks in prop::collection::vec((0_u64..2_000, "[a-z\n]{0,300}"), 0..60)) {
            let mut buffer = Buffer::default();
            for (offset, raw) in chunks {
                buffer.take(offset, &raw, Timestamp::UNIX_EPOCH);
                prop_assert!(buffer.lines().len() <= MOST_LINES && buffer.bytes <= MOST_BYTES);
                prop_assert_eq!(buffer.bytes, buffer.lines().iter().map(|line| line.text.len()).sum::<usize>());
                prop_assert!(buffer.lines().iter().zip(buffer.lines().iter().skip(1)).all(|(a, b)| a.offset < b.offset));
            }
        }
    }
}
