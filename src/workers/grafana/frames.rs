//! From data frames to series, and from a series to a verdict. No data is not zero.

use serde_json::Value;

use crate::config;
use crate::incident::Series;

/// How long a bad value counts after it has passed, and how old the latest one may be.
const RECENT_MS: i64 = 5 * 60 * 1000;

/// Milliseconds of the epoch and a value, oldest first.
pub(super) type Points = Vec<(i64, Option<f64>)>;

/// Every series in a query's frames. A frame without times is a table; its first number counts as measured at `now`.
pub(super) fn series(frames: &[Value], now_ms: i64) -> Vec<Points> {
    frames.iter().flat_map(|frame| of_frame(frame, now_ms)).collect()
}

fn of_frame(frame: &Value, now_ms: i64) -> Vec<Points> {
    let fields = frame.pointer("/schema/fields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let columns = frame.pointer("/data/values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let kind = |field: &Value| field.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let column = |at: usize| columns.get(at).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let times = fields.iter().position(|field| kind(field) == "time").map(column);
    let mut found = Vec::new();
    for (at, _) in fields.iter().enumerate().filter(|(_, field)| kind(field) == "number") {
        let entities = frame.pointer(&format!("/data/entities/{at}"));
        let value = |row: usize, value: &Value| value.as_f64().or_else(|| named(entities, row));
        let numbers = column(at).iter().enumerate();
        let mut points: Points = match times {
            Some(times) => numbers
                .filter_map(|(row, number)| Some((times.get(row)?.as_f64()?, value(row, number))))
                .map(|(time, value)| (whole(time), value))
                .collect(),
            None => numbers.take(1).map(|(row, number)| (now_ms, value(row, number))).collect(),
        };
        points.sort_by_key(|(at, _)| *at);
        found.push(points);
    }
    found
}

/// What JSON has no number for: infinite values are named beside the column. NaN is no value.
fn named(entities: Option<&Value>, row: usize) -> Option<f64> {
    let holds = |name: &str| {
        let rows = entities?.get(name)?.as_array()?;
        rows.iter().any(|it| it.as_u64() == u64::try_from(row).ok()).then_some(())
    };
    if holds("Inf").is_some() {
        return Some(f64::INFINITY);
    }
    holds("NegInf").map(|()| f64::NEG_INFINITY)
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of the epoch are far below 2^53")]
fn whole(time: f64) -> i64 {
    time as i64
}

/// What a panel's numbers say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Below both thresholds; in words.
    Good(String),
    /// Above `warn`.
    Warn(String),
    /// Above `bad`, or no value to judge by.
    Bad(String),
}

/// Judges a panel by the worst of its series, and gives that series.
pub(super) fn judge(panel: &config::Panel, all: Vec<Points>, now_ms: i64) -> (Verdict, Series) {
    let whole_series = |points: Points| Series {
        title: panel.title.clone(),
        unit: panel.unit.clone(),
        warn: panel.warn,
        bad: panel.bad,
        points,
    };
    let count = all.len();
    let worst =
        all.into_iter().map(|points| (recent_max(&points, now_ms), points)).max_by(|(one, _), (other, _)| {
            match (one, other) {
                (Some(one), Some(other)) => one.total_cmp(other),
                (one, other) => one.is_some().cmp(&other.is_some()),
            }
        });
    let title = &panel.title;
    let Some((highest, points)) = worst else {
        return (Verdict::Bad(format!("{title}: no data")), whole_series(Vec::new()));
    };
    let latest = points.iter().rev().find_map(|(at, value)| Some((*at, (*value)?)));
    let verdict = match (latest, highest) {
        (None, _) => Verdict::Bad(format!("{title}: no data in the time that was looked at")),
        (Some((at, value)), None) => {
            Verdict::Bad(format!("{title}: no data since {} (then {})", moment(at), number(value, &panel.unit)))
        }
        (Some((_, value)), Some(highest)) => weigh(panel, value, highest, count),
    };
    (verdict, whole_series(points))
}

fn weigh(panel: &config::Panel, latest: f64, highest: f64, count: usize) -> Verdict {
    let unit = &panel.unit;
    let of = if count > 1 { format!(", the worst of {count} series") } else { String::new() };
    let said = format!(
        "{}: {} now, at most {} in the last 5 minutes{of} (warn above {}, bad above {})",
        panel.title,
        number(latest, unit),
        number(highest, unit),
        number(panel.warn, unit),
        number(panel.bad, unit)
    );
    // The last minutes hold the outage itself, so a peak in them is worth a look and proves nothing about now.
    if latest > panel.bad {
        Verdict::Bad(said)
    } else if latest > panel.warn || highest > panel.warn {
        Verdict::Warn(said)
    } else {
        Verdict::Good(said)
    }
}

fn recent_max(points: &Points, now_ms: i64) -> Option<f64> {
    let recent = points.iter().filter(|(at, _)| now_ms.saturating_sub(*at) <= RECENT_MS);
    recent.filter_map(|(_, value)| *value).max_by(f64::total_cmp)
}

/// A number with its unit: `0.25 %`, `1200 s`.
fn number(value: f64, unit: &str) -> String {
    let text = format!("{value:.2}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}").trim_end().to_owned()
}

fn moment(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| "an unknown time".to_owned(), |at| at.strftime("%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn panel() -> config::Panel {
        toml::from_str("title = 'Lag'\nunit = 's'\nwarn = 5.0\nbad = 30.0").unwrap()
    }

    fn frame(points: &[(i64, Value)]) -> Value {
        let times: Vec<i64> = points.iter().map(|(ago, _)| NOW - ago * 1000).collect();
        let values: Vec<&Value> = points.iter().map(|(_, value)| value).collect();
        json!({"schema": {"fields": [{"type": "time"}, {"type": "number"}]}, "data": {"values": [times, values]}})
    }

    fn verdict(frames: &[Value]) -> Verdict {
        judge(&panel(), series(frames, NOW), NOW).0
    }

    #[test]
    fn the_latest_value_decides_recent_ones_warn_and_silence_is_bad() {
        let good = frame(&[(900, json!(90)), (60, json!(1)), (0, json!(0.5))]);
        let said = "Lag: 0.5 s now, at most 1 s in the last 5 minutes (warn above 5 s, bad above 30 s)";
        assert_eq!(verdict(&[good]), Verdict::Good(said.to_owned()));
        assert!(matches!(verdict(&[frame(&[(60, json!(31)), (0, json!(1))])]), Verdict::Warn(_)));
        assert!(matches!(verdict(&[frame(&[(60, json!(6)), (0, Value::Null)])]), Verdict::Warn(_)));
        assert!(matches!(verdict(&[frame(&[(60, json!(31.0)), (0, json!(31))])]), Verdict::Bad(_)));
        let silent = [frame(&[]), frame(&[(600, json!(1)), (0, Value::Null)]), frame(&[(0, Value::Null)])];
        for silent in silent {
            assert!(matches!(verdict(&[silent]), Verdict::Bad(said) if said.contains("no data")));
        }
        assert_eq!(verdict(&[]), Verdict::Bad("Lag: no data".to_owned()));
    }

    #[test]
    fn the_worst_series_is_judged_and_infinity_is_above_all() {
        let low = frame(&[(0, json!(1))]);
        let mut high = frame(&[(0, Value::Null)]);
        high["data"]["entities"] = json!([null, {"NaN": [], "Inf": [0], "NegInf": []}]);
        let (verdict, series) = judge(&panel(), series(&[low, high], NOW), NOW);
        assert!(matches!(verdict, Verdict::Bad(said) if said.contains("worst of 2")));
        assert_eq!(series.points, [(NOW, Some(f64::INFINITY))]);
    }

    #[test]
    fn a_table_counts_as_measured_now() {
        let table = json!({"schema": {"fields": [{"type": "string"}, {"type": "number"}]},
            "data": {"values": [["a"], [7.5]]}});
        assert!(matches!(verdict(&[table]), Verdict::Warn(_)));
    }
}
