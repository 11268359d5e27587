//! How fast an attempt has been, for a line of bars.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Moments that are kept.
const MOST: usize = 240;

/// What was done in each second or more, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    label: String,
    last: (Timestamp, u64),
    rates: VecDeque<u64>,
}

impl Pace {
    pub(super) fn new(label: &str, now: Timestamp, done: u64) -> Self {
        Self { label: label.to_owned(), last: (now, done), rates: VecDeque::new() }
    }

    /// Takes what is done by now. Another label counts something else: it begins anew.
    pub(super) fn take(&mut self, label: &str, now: Timestamp, done: u64) {
        if label != self.label || done < self.last.1 {
            let rates = if done < self.last.1 { VecDeque::new() } else { std::mem::take(&mut self.rates) };
            *self = Self { rates, ..Self::new(label, now, done) };
            return;
        }
        let Some(seconds) = u64::try_from(now.duration_since(self.last.0).as_secs()).ok().filter(|it| *it > 0) else {
            return;
        };
        if self.rates.len() == MOST {
            self.rates.pop_front();
        }
        self.rates.push_back((done - self.last.1) / seconds);
        self.last = (now, done);
    }

    pub(super) fn rates(&self) -> &VecDeque<u64> {
        &self.rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_whole_seconds_and_of_one_thing() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut pace = Pace::new("rows", at(0), 100);
        pace.take("rows", at(0), 150);
        pace.take("rows", at(2), 300);
        pace.take("rows", at(3), 300);
        assert_eq!(pace.rates(), &[100, 0]);
        pace.take("rows", at(4), 7);
        assert!(pace.rates().is_empty());
    }
}
