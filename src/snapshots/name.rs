//! Finds the time that a backup script wrote into a file's name.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// A time found in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameTime {
    /// The moment.
    pub at: Timestamp,
    /// Whether the name itself says the zone: `Z`, `UTC`, an offset, or seconds since 1970.
    pub states_zone: bool,
}

/// The last time that stands in `key`, in one of the common shapes: `2026-11-23T0600Z`, `20261123-060000`,
/// `2026-11-23_06-00`, `2026/11/23/060000`, `20261123060000`, or seconds or milliseconds since 1970. Where the name does
/// not say its zone, `zone` is taken. A date without a time of day tells no moment and is not taken.
#[must_use]
pub fn time_in_name(key: &str, zone: &TimeZone) -> Option<NameTime> {
    let bytes = key.as_bytes();
    let mut found = None;
    let mut at = 0;
    while at < bytes.len() {
        let here = Scan { bytes, at };
        let (time, end) = match here.civil(zone).or_else(|| here.epoch()) {
            Some((time, end)) => (Some(time), end),
            // What begins inside a run of digits is a piece of another number.
            None => (None, if here.digits() > 0 { at + here.digits() } else { at + 1 }),
        };
        found = time.or(found);
        at = end.max(at + 1);
    }
    found
}

#[derive(Clone, Copy)]
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// How many digits stand here.
    fn digits(&self) -> usize {
        self.bytes.get(self.at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// A number of exactly `count` digits, which are consumed.
    fn number(&mut self, count: usize) -> Option<i16> {
        let digits = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        let value = digits.iter().try_fold(0_i16, |sum, byte| {
            byte.is_ascii_digit().then(|| sum.checked_mul(10)?.checked_add(i16::from(byte - b'0')))?
        })?;
        self.at += count;
        Some(value)
    }

    fn small(&mut self) -> Option<i8> {
        i8::try_from(self.number(2)?).ok()
    }

    /// Consumes one of `any`, if it stands here.
    fn skip(&mut self, any: &[u8]) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        any.contains(&byte).then(|| {
            self.at += 1;
            byte
        })
    }

    /// A date and a time of day, and where they end.
    fn civil(mut self, zone: &TimeZone) -> Option<(NameTime, usize)> {
        let year = self.number(4).filter(|year| (1990..2100).contains(year))?;
        let separator = self.skip(b"-_./");
        let month = self.small()?;
        if let Some(separator) = separator {
            self.skip(&[separator])?;
        }
        let day = self.small()?;
        let between = self.skip(b"T_-. /t");
        if between.is_none() && separator.is_some() {
            return None;
        }
        let hour = self.small()?;
        let mut ahead = self;
        let separator = ahead.skip(b":-_.h");
        // `2026-11-23-2.dump`: what is no minute belongs to something else, and then the hour does, too, unless it
        // stands in an unbroken row of digits (YYYYMMDDHH).
        let minute = match ahead.small() {
            Some(minute) => {
                self = ahead;
                minute
            }
            None if between.is_none() => 0,
            None => return None,
        };
        let mut second = 0;
        let mut ahead = self;
        if separator.is_none_or(|separator| ahead.skip(&[separator]).is_some())
            && let Some(value) = ahead.small()
            && ahead.digits() == 0
        {
            second = value;
            self = ahead;
        }
        if self.digits() > 0 {
            return None;
        }
        let civil = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        let offset = self.zone();
        let at = match offset {
            Some(offset) => offset.to_timestamp(civil).ok()?,
            None => zone.to_timestamp(civil).ok()?,
        };
        Some((NameTime { at, states_zone: offset.is_some() }, self.at))
    }

    /// `Z`, `UTC` or `+0100`, consumed. A minus sign is not taken for one, since it separates words in names.
    fn zone(&mut self) -> Option<Offset> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let word_ends = |count: usize| !rest.get(count).is_some_and(u8::is_ascii_alphanumeric);
        if rest.first().is_some_and(|byte| matches!(byte, b'Z' | b'z')) && word_ends(1) {
            self.at += 1;
            return Some(Offset::UTC);
        }
        let spaced = usize::from(rest.first().is_some_and(|byte| b"-_ ".contains(byte)));
        if rest.get(spaced..spaced + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"utc")) && word_ends(spaced + 3) {
            self.at += spaced + 3;
            return Some(Offset::UTC);
        }
        let mut ahead = *self;
        ahead.skip(b"+")?;
        let hours = ahead.small()?;
        ahead.skip(b":");
        let minutes = ahead.small()?;
        let offset = Offset::from_seconds((i32::from(hours) * 60 + i32::from(minutes)) * 60).ok()?;
        self.at = ahead.at;
        Some(offset)
    }

    /// Seconds (10 digits) or milliseconds (13 digits) since 1970, of the years 2001 to 2286.
    fn epoch(self) -> Option<(NameTime, usize)> {
        let count = self.digits();
        let digits = std::str::from_utf8(self.bytes.get(self.at..self.at + count)?).ok()?;
        let at = match (count, digits.starts_with('0')) {
            (10, false) => Timestamp::from_second(digits.parse().ok()?).ok()?,
            (13, false) => Timestamp::from_millisecond(digits.parse().ok()?).ok()?,
            _ => return None,
        };
        Some((NameTime { at, states_zone: true }, self.at + count))
    }
}

/// Whether two times differ by a whole multiple of 15 minutes up to the 14 hours that zones span, give or take
/// `tolerance`: the difference in minutes then.
pub(super) fn zone_difference(a: Timestamp, b: Timestamp, tolerance: SignedDuration) -> Option<i64> {
    let seconds = a.duration_since(b).as_secs();
    let quarters = (seconds + seconds.signum() * 450) / 900;
    let rest = (seconds - quarters * 900).abs();
    (quarters != 0 && quarters.abs() <= 14 * 4 && rest <= tolerance.as_secs()).then_some(quarters * 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str) -> Option<(String, bool)> {
        time_in_name(key, &TimeZone::UTC).map(|time| (time.at.to_string(), time.states_zone))
    }

    #[test]
    fn common_shapes_are_read() {
        let six = "2026-11-23T06:00:00Z";
        for (key, states_zone) in [
            ("postgres/financecopilot-2026-11-23T0600Z.dump", true),
            ("postgres/20261123-060000.dump", false),
            ("postgres/2026-11-23_06-00.dump", false),
            ("db_20261123T060000Z.dump", true),
            ("2026-11-23T06:00:00Z.dump", true),
            ("2026-11-23T07:00:00+0100.dump", true),
            ("2026-11-23 06:00:00 UTC.dump", true),
            ("20261123060000.dump", false),
            ("202611230600.dump", false),
            ("2026112306.dump", false),
            ("postgres/2026/11/23/0600.dump", false),
            ("postgres/2026-11-23/06-00-00-financecopilot.dump", false),
            ("fc-1795413600.dump", true),
            ("fc-1795413600000.dump", true),
            ("2020-01-01_00-00/fc_2026.11.23_06.00.dump", false),
        ] {
            assert_eq!(read(key), Some((six.to_owned(), states_zone)), "{key}");
        }
    }

    #[test]
    fn other_numbers_are_no_time() {
        for key in [
            "postgres/latest.dump",
            "2026-11-23.dump",
            "2026-11-23-2.dump",
            "v15.18.dump",
            "2026-13-23T0600Z",
            "12345678901234567890",
        ] {
            assert_eq!(read(key), None, "{key}");
        }
    }

    #[test]
    fn a_zone_difference_is_a_whole_multiple_of_a_quarter() {
        let base = Timestamp::constant(1_795_413_600, 0);
        let minute = SignedDuration::from_mins(1);
        let after = |seconds: i64| base + SignedDuration::from_secs(seconds);
        assert_eq!(zone_difference(after(3600), base, minute), Some(60));
        assert_eq!(zone_difference(after(-5 * 3600 - 30), base, minute), Some(-300));
        assert_eq!(zone_difference(after(20 * 60), base, minute), None);
        assert_eq!(zone_difference(after(20), base, minute), None);
        assert_eq!(zone_difference(after(86_400), base, minute), None);
    }
}
