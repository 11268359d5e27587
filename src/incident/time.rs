//! Times as people write and read them.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time: write 2026-11-23T08:48Z, 08:48 (UTC, the last time the clock showed that) or 40m ago")]
pub struct TimeError(String);

/// Reads a time as a person types it: RFC 3339 (seconds may be left out), `HH:MM` UTC, or `40m ago`.
///
/// `HH:MM` is the last moment at or before `now` when the UTC clock showed it.
///
/// # Errors
/// Anything else.
pub fn read_time(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let fault = || TimeError(text.to_owned());
    let trimmed = text.trim();
    if let Ok(at) = trimmed.parse::<Timestamp>() {
        return Ok(at);
    }
    let bare = trimmed.trim_end_matches(['Z', 'z']);
    if let Ok(at) = bare.replace(' ', "T").parse::<jiff::civil::DateTime>()
        && bare.len() > 10
    {
        return at.to_zoned_datetime(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| fault());
    }
    if let Some(ago) = trimmed.strip_suffix("ago") {
        let span: SignedDuration = ago.trim().parse().map_err(|_| fault())?;
        // Nobody knows it to the nanosecond.
        let whole = Timestamp::from_second(now.as_second()).map_err(|_| fault())?;
        return whole.checked_sub(span).map_err(|_| fault());
    }
    let time = Time::strptime("%H:%M", bare).or_else(|_| Time::strptime("%H:%M:%S", bare)).map_err(|_| fault())?;
    let today = now.to_zoned_datetime(TimeZone::UTC).date();
    let at = today.to_datetime(time).to_zoned_datetime(TimeZone::UTC).map_err(|_| fault())?.timestamp();
    if at <= now {
        return Ok(at);
    }
    at.checked_sub(SignedDuration::from_hours(24)).map_err(|_| fault())
}

/// `3h02m`, `12m`, `42s`: two units at the most, as columns and sentences have it.
#[must_use]
pub fn duration_text(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().unsigned_abs();
    let sign = if duration.is_negative() { "-" } else { "" };
    match seconds {
        0..60 => format!("{sign}{seconds}s"),
        60..3600 => format!("{sign}{}m{:02}s", seconds / 60, seconds % 60),
        3600..360_000 => format!("{sign}{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{sign}{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `30m00s ago`, `1 day ago`, `12 days ago`: how long something is over, as sentences have it.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(at);
    match passed.as_hours() / 24 {
        0 => format!("{} ago", duration_text(passed)),
        1 => "1 day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}

/// `2026-11-23 08:48Z`: a time in messages and plans, to the minute.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%MZ").to_string()
}

/// What a snapshot costs: (moment writes were stopped, else now) − snapshot time.
#[must_use]
pub fn loss(taken_at: Timestamp, writes_stopped_at: Option<Timestamp>, now: Timestamp) -> SignedDuration {
    writes_stopped_at.unwrap_or(now).duration_since(taken_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_times_in_many_ways() {
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().expect("a time");
        for (text, at) in [
            ("2026-11-23T08:48:00Z", "2026-11-23T08:48:00Z"),
            ("2026-11-23T08:48Z", "2026-11-23T08:48:00Z"),
            ("2026-11-23 08:48", "2026-11-23T08:48:00Z"),
            ("08:48", "2026-11-23T08:48:00Z"),
            ("08:48Z", "2026-11-23T08:48:00Z"),
            ("23:10", "2026-11-22T23:10:00Z"),
            ("40m ago", "2026-11-23T08:20:00Z"),
            ("1h 30m ago", "2026-11-23T07:30:00Z"),
        ] {
            assert_eq!(read_time(text, now).map(|at| at.to_string()), Ok(at.to_owned()), "{text}");
        }
        for text in ["", "yesterday", "25:00", "2026-11-23", "08:48 PST"] {
            assert!(read_time(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_short() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (102, "1m42s"), (10_920, "3h02m"), (-90, "-1m30s"), (864_000, "10d00h")]
        {
            assert_eq!(duration_text(SignedDuration::from_secs(seconds)), text);
        }
    }
}
