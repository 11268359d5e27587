//! What the pods' own work says about the service: the source behind the dashboard's two panels.
//!
//! Nothing here is made up. Every write a pod tries is counted as it went.
//!
//! - **Error rate** (percent): of the writes tried in a step, those that failed or found an account whose balance is not the
//!   sum of its transactions. No writes tried, no value.
//! - **Replication lag** (seconds): the drill has no replica, so this is what the classic measure
//!   `now() - pg_last_xact_replay_timestamp()` would say on a perfect one: the age of the newest committed write. It grows
//!   while writes are stopped or failing, as that measure does on an idle primary. No value before the first write.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::standin::grafana::{Metric, Metrics};

/// How many seconds of history are kept.
const KEPT_SECONDS: usize = 4 * 3600;

/// Counts of one second.
#[derive(Debug, Clone, Copy)]
struct Second {
    epoch: i64,
    good: u32,
    bad: u32,
    last_commit_ms: Option<i64>,
}

/// Shared by all pods; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    seconds: Arc<Mutex<VecDeque<Second>>>,
}

/// How a pod's write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Committed, and the account adds up.
    Good,
    /// Committed, but the account does not add up.
    Inconsistent,
    /// Not committed.
    Failed,
}

impl Meters {
    /// Counts one write.
    pub fn count(&self, outcome: Outcome) {
        self.count_at(outcome, Timestamp::now().as_millisecond());
    }

    fn count_at(&self, outcome: Outcome, now_ms: i64) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = now_ms.div_euclid(1000);
        if seconds.back().is_none_or(|last| last.epoch < epoch) {
            seconds.push_back(Second { epoch, good: 0, bad: 0, last_commit_ms: None });
            if seconds.len() > KEPT_SECONDS {
                seconds.pop_front();
            }
        }
        if let Some(second) = seconds.back_mut() {
            match outcome {
                Outcome::Good => second.good += 1,
                Outcome::Inconsistent | Outcome::Failed => second.bad += 1,
            }
            if outcome != Outcome::Failed {
                second.last_commit_ms = Some(now_ms);
            }
        }
    }

    /// Writes counted so far: good ones, and others.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.iter().fold((0, 0), |(good, bad), s| (good + u64::from(s.good), bad + u64::from(s.bad)))
    }

    /// The error rate in percent for each step that begins at `from_ms`, `from_ms + step_ms`, … before `to_ms` (epoch
    /// milliseconds); each point carries its step's beginning.
    #[must_use]
    pub fn error_rate(&self, from_ms: i64, to_ms: i64, step_ms: i64) -> Vec<(i64, Option<f64>)> {
        self.steps(from_ms, to_ms, step_ms, |seconds, begin, end| {
            let (good, bad) = seconds
                .iter()
                .filter(|s| (begin..end).contains(&(s.epoch * 1000)))
                .fold((0_u32, 0_u32), |(good, bad), s| (good + s.good, bad + s.bad));
            let all = good + bad;
            (all > 0).then(|| 100.0 * f64::from(bad) / f64::from(all))
        })
    }

    /// The age in seconds of the newest committed write at the end of each step; steps as in [`Meters::error_rate`].
    #[must_use]
    pub fn replication_lag(&self, from_ms: i64, to_ms: i64, step_ms: i64) -> Vec<(i64, Option<f64>)> {
        let now = Timestamp::now().as_millisecond();
        self.steps(from_ms, to_ms, step_ms, |seconds, begin, end| {
            if begin > now {
                return None;
            }
            let end = end.min(now);
            // Commits are known to the newest of each second, so one in the step's last second counts as at its end.
            let newest = seconds.iter().rev().filter(|s| s.epoch * 1000 <= end).find_map(|s| s.last_commit_ms)?;
            // Whole milliseconds below 2^53: nothing is lost.
            #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^53")]
            let age = (end - newest).max(0) as f64 / 1000.0;
            Some(age)
        })
    }

    fn steps(
        &self,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
        value: impl Fn(&VecDeque<Second>, i64, i64) -> Option<f64>,
    ) -> Vec<(i64, Option<f64>)> {
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let step = step_ms.max(1000);
        let mut points = Vec::new();
        let mut begin = from_ms;
        // Nobody draws more points than a screen is wide.
        while begin < to_ms && points.len() < 10_000 {
            let end = begin.saturating_add(step);
            points.push((begin, value(&seconds, begin, end)));
            begin = end;
        }
        points
    }
}

impl Metrics for Meters {
    fn series(&self, metric: Metric, from_ms: i64, to_ms: i64, step_ms: i64) -> Option<Vec<(i64, Option<f64>)>> {
        // The bounds are inclusive here.
        let to_ms = to_ms.saturating_add(1);
        Some(match metric {
            Metric::ReplicationLag => self.replication_lag(from_ms, to_ms, step_ms),
            Metric::ErrorRate => self.error_rate(from_ms, to_ms, step_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_ages_follow_what_was_counted() {
        let meters = Meters::default();
        let base = 1_700_000_000_000;
        for (ms, outcome) in [
            (0, Outcome::Good),
            (200, Outcome::Good),
            (400, Outcome::Inconsistent),
            (600, Outcome::Failed),
            (5_000, Outcome::Failed),
        ] {
            meters.count_at(outcome, base + ms);
        }
        let rate = meters.error_rate(base, base + 10_000, 5_000);
        assert_eq!(rate, [(base, Some(50.0)), (base + 5_000, Some(100.0))]);
        assert_eq!(meters.error_rate(base - 5_000, base, 5_000), [(base - 5_000, None)]);
        let lag = meters.replication_lag(base, base + 10_000, 5_000);
        assert_eq!(lag, [(base, Some(4.6)), (base + 5_000, Some(9.6))]);
        assert_eq!(meters.replication_lag(base - 5_000, base - 1_000, 4_000), [(base - 5_000, None)]);
        assert_eq!(meters.totals(), (2, 3));
    }
}
