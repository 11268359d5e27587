//! How long a service asks to be left alone. Every one says it in its own way.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

/// No service of ours has a window longer than this; a larger number is a misunderstanding.
const LONGEST: Duration = Duration::from_mins(15);

/// The form in which a service says when to come back (contracts of each vendor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Seconds to wait.
    Seconds,
    /// The moment, in milliseconds of the Unix epoch.
    EpochMillis,
}

/// A service's rate limit: the header that tells, its form, and what to wait when it tells nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    header: &'static str,
    form: Form,
    silent: Duration,
}

impl Pace {
    /// `ratelimit-reset`: seconds, no moment. A 429 may come without it.
    pub(crate) const PAGERDUTY: Self =
        Self { header: "ratelimit-reset", form: Form::Seconds, silent: Duration::from_secs(30) };
    /// `X-Ratelimit-Reset`: a moment in milliseconds; the window is 10 seconds.
    pub(crate) const LAUNCHDARKLY: Self =
        Self { header: "x-ratelimit-reset", form: Form::EpochMillis, silent: Duration::from_secs(10) };
    /// `Retry-After`: seconds.
    pub(crate) const SLACK: Self = Self { header: "retry-after", form: Form::Seconds, silent: Duration::from_secs(30) };
    /// `Retry-After`: seconds, where a proxy in front gives it.
    pub(crate) const GRAFANA: Self =
        Self { header: "retry-after", form: Form::Seconds, silent: Duration::from_secs(10) };

    /// How long to wait after a 429.
    pub(super) fn wait(self, headers: &HeaderMap, now: Timestamp) -> Duration {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
        let asked = match (number(self.header), self.form) {
            (Some(seconds), Form::Seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
            (Some(moment), Form::EpochMillis) => {
                let left = moment.saturating_sub(now.as_millisecond());
                Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
            }
            (None, _) => None,
        };
        let fallback =
            || number("retry-after").and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        asked.or_else(fallback).unwrap_or(self.silent).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn each_service_says_it_in_its_own_way() {
        let now = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        let wait = |pace: Pace, pairs: &[(&'static str, &str)]| pace.wait(&headers(pairs), now).as_millis();
        assert_eq!(wait(Pace::PAGERDUTY, &[("ratelimit-reset", "7")]), 7000);
        assert_eq!(wait(Pace::PAGERDUTY, &[]), 30_000);
        assert_eq!(wait(Pace::PAGERDUTY, &[("retry-after", "3")]), 3000);
        assert_eq!(wait(Pace::LAUNCHDARKLY, &[("x-ratelimit-reset", "1700000004500")]), 4500);
        assert_eq!(wait(Pace::LAUNCHDARKLY, &[("x-ratelimit-reset", "1600000000000")]), 0);
        assert_eq!(wait(Pace::LAUNCHDARKLY, &[("retry-after", "2")]), 2000);
        assert_eq!(wait(Pace::SLACK, &[("retry-after", "soon")]), 30_000);
        // A moment where seconds belong must not stop the night.
        assert_eq!(wait(Pace::PAGERDUTY, &[("ratelimit-reset", "1700000004")]), 900_000);
    }
}
