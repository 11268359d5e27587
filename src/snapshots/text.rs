//! Durations and sizes as the screen writes them.

use jiff::SignedDuration;

/// A duration in two units: `38s`, `12m03s`, `3h02m`, `4d05h`. Fractions of a second are dropped; a negative duration
/// begins with `-`.
#[must_use]
pub fn duration_text(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().unsigned_abs();
    let sign = if duration.as_secs() < 0 { "-" } else { "" };
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600, seconds / 60);
    if minutes == 0 {
        format!("{sign}{seconds}s")
    } else if hours == 0 {
        format!("{sign}{minutes}m{:02}s", seconds % 60)
    } else if days < 4 {
        format!("{sign}{hours}h{:02}m", minutes % 60)
    } else {
        format!("{sign}{days}d{:02}h", hours % 24)
    }
}

/// A size in bytes as `0 B`, `12 KiB`, `4.21 GiB`: three digits, binary units.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.iter().skip(1) {
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    // KiB are never worth a fraction beside GiB.
    let digits = match (unit, value) {
        ("KiB", _) => 0,
        (_, ..9.995) => 2,
        (_, ..99.95) => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_units() {
        let cases =
            [(0, "0s"), (38, "38s"), (723, "12m03s"), (10_920, "3h02m"), (3600, "1h00m"), (345_600 + 18_000, "4d05h")];
        for (seconds, text) in cases {
            assert_eq!(duration_text(SignedDuration::from_secs(seconds)), text);
        }
        assert_eq!(duration_text(SignedDuration::from_secs(-90)), "-1m30s");
        assert_eq!(duration_text(SignedDuration::MIN).chars().next(), Some('-'));
    }

    #[test]
    fn sizes_keep_three_digits() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (12 * 1024, "12 KiB"),
            (4_521_000_000, "4.21 GiB"),
            (42_450_000, "40.5 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size_text(bytes), text);
        }
    }
}
