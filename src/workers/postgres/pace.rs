//! How long it still takes, as a range: from the pace of the whole way, of the last moments, and of the last rehearsal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Before that the pace says nothing.
const FIRST: Duration = Duration::from_secs(3);
/// The last moments.
const WINDOW: Duration = Duration::from_secs(30);
/// What an estimate is off by even where all agree, in hundredths.
const OFF: u64 = 10;

/// Watches work of a known weight.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    rehearsed: Option<Duration>,
    marks: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Work that begins at `began`, and that took as long as `rehearsed` the last time.
    pub(super) fn new(began: Instant, rehearsed: Option<Duration>) -> Self {
        Self { began, rehearsed, marks: VecDeque::new() }
    }

    /// The least and the most seconds that are left, with `done` of `total` done by `now`.
    pub(super) fn left(&mut self, now: Instant, done: u64, total: u64) -> Option<(u64, u64)> {
        let missing = total.checked_sub(done)?;
        while self.marks.len() > 1 && self.marks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.marks.pop_front();
        }
        self.marks.push_back((now, done));
        let at_pace = |took: Duration, made: u64| {
            (made > 0 && took >= FIRST)
                .then(|| scaled(took, missing, made))
                .filter(|left| *left < Duration::from_hours(1000))
        };
        let recent =
            self.marks.front().and_then(|(at, then)| at_pace(now.duration_since(*at), done.saturating_sub(*then)));
        let whole = at_pace(now.duration_since(self.began), done);
        let rehearsed = self.rehearsed.map(|took| scaled(took, missing, total.max(1)));
        let known = [recent, whole, rehearsed];
        let (least, most) = (known.iter().flatten().min()?, known.iter().flatten().max()?);
        Some((least.as_secs() * (100 - OFF) / 100, (most.as_secs() * (100 + OFF)).div_ceil(100)))
    }
}

fn scaled(took: Duration, part: u64, of: u64) -> Duration {
    let millis = took.as_millis().saturating_mul(u128::from(part)) / u128::from(of.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_spans_what_the_paces_say() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let mut pace = Pace::new(began, None);
        assert_eq!(pace.left(after(1), 50, 1000), None, "too early");
        // 90 seconds at the pace of the whole way, 162 at that since the first look.
        assert_eq!(pace.left(after(10), 100, 1000), Some((81, 179)));
        for second in (20..=60).step_by(10) {
            pace.left(after(second), 90 + second, 1000);
        }
        assert_eq!(pace.left(after(70), 160, 1000), Some((330, 924)), "whole way 367s, last half minute 840s");
        let mut rehearsed = Pace::new(began, Some(Duration::from_secs(100)));
        assert_eq!(rehearsed.left(after(1), 0, 1000), Some((90, 110)));
        assert_eq!(rehearsed.left(after(50), 1000, 1000), Some((0, 0)));
        assert_eq!(rehearsed.left(after(50), 1001, 1000), None);
    }
}
