//! Running a panel's queries: what Prometheus behind Grafana makes of the two expressions.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Grafana, Metric, Outcome, dashboard, fail};
use crate::drill::standin::message::{Reply, Request, text};

/// Queried expressions that the state remembers.
const REMEMBERED: usize = 200;
/// The variables that Prometheus' backend resolves itself.
const BUILT_IN: [&str; 5] = ["$__rate_interval", "$__interval_ms", "$__interval", "$__range_s", "$__range"];

/// What one expression finds.
#[derive(Debug, PartialEq)]
enum Found {
    Series(Metric),
    /// Nothing matches, which is no error.
    Nothing,
    Failed(String),
}

impl Grafana {
    /// `POST /api/ds/query`: 200 when all went well, 400 (or 207) when some failed, with the frames of the others.
    pub(super) fn query(&mut self, request: &Request, now: Timestamp) -> Outcome {
        let bad = |why: &str| fail(StatusCode::BAD_REQUEST, why);
        if !request.media_type().is_some_and(|media| media.is_json()) {
            return Err(bad("bad request data"));
        }
        let body = request.object().map_err(|_| bad("bad request data"))?;
        let from = edge(&body, "from", now).ok_or_else(|| bad("invalid time range: from"))?;
        let to = edge(&body, "to", now).ok_or_else(|| bad("invalid time range: to"))?;
        if from >= to {
            return Err(bad("invalid time range: from must be before to"));
        }
        let queries = match body.get("queries") {
            Some(Value::Array(queries)) if !queries.is_empty() => queries,
            _ => return Err(bad("No queries found in query")),
        };
        // The whole request is refused before any query runs.
        for query in queries {
            let uid = query.pointer("/datasource/uid").and_then(Value::as_str);
            self.datasource(uid.ok_or_else(|| bad("missing data source ID/UID"))?)?;
        }
        let mut results = Map::new();
        let mut failed = false;
        for query in queries {
            let id = query.get("refId").and_then(Value::as_str).unwrap_or("A");
            if results.contains_key(id) {
                return Err(bad(&format!("multiple queries using the same RefId is not allowed: {id}")));
            }
            let result = self.run(query, id, from, to);
            failed |= result.get("error").is_some();
            results.insert(id.to_owned(), result);
        }
        let status = match (failed, self.multi_status) {
            (false, _) => StatusCode::OK,
            (true, false) => StatusCode::BAD_REQUEST,
            (true, true) => StatusCode::MULTI_STATUS,
        };
        Ok(Reply::json(status, json!({"results": results})))
    }

    fn run(&mut self, query: &Value, id: &str, from: i64, to: i64) -> Value {
        let expression = query.get("expr").and_then(Value::as_str).unwrap_or_default();
        let number = |key: &str| query.get(key).and_then(Value::as_i64).filter(|it| *it > 0);
        // Grafana asks for as many points as fit, but never closer together than the interval.
        let points = number("maxDataPoints").unwrap_or(100);
        let step = number("intervalMs").unwrap_or(1000).max((to - from) / points).max(1);
        let found = match self.find(expression) {
            Found::Series(metric) => {
                let series = self.metrics.series(metric, from, to, step);
                Ok(series.map(|series| self.frame(id, expression, step, &series)))
            }
            Found::Nothing => Ok(None),
            Found::Failed(why) => Err(why),
        };
        let values = match &found {
            Ok(Some(frame)) => frame.pointer("/data/values/0").and_then(Value::as_array).map(Vec::len),
            Ok(None) => Some(0),
            Err(_) => None,
        };
        if self.queried.len() == REMEMBERED {
            self.queried.remove(0);
        }
        self.queried.push(json!({
            "refId": id, "expr": expression, "from": from, "to": to, "step": step, "values": values,
        }));
        match found {
            Ok(frame) => json!({"status": 200, "frames": Vec::from_iter(frame)}),
            Err(why) => json!({
                "status": 400, "error": why, "errorSource": "downstream", "frames": [],
            }),
        }
    }

    fn find(&self, expression: &str) -> Found {
        if !self.datasource_up {
            return Found::Failed("dial tcp: connect: connection refused".into());
        }
        if expression.trim().is_empty() {
            return Found::Failed(
                "invalid parameter \"query\": unknown position: parse error: no expression found in input".into(),
            );
        }
        if !balanced(expression) {
            return Found::Failed(
                "bad_data: invalid parameter \"query\": parse error: unclosed left parenthesis".into(),
            );
        }
        let (metric, series) = if expression.contains("pg_replication_lag_seconds{") {
            (Metric::ReplicationLag, "pg_replication_lag_seconds")
        } else if expression.contains("http_requests_total{") {
            (Metric::ErrorRate, "http_requests_total")
        } else {
            return Found::Nothing;
        };
        if self.failing.iter().any(|name| name == metric.name()) {
            return Found::Failed(format!("execution: query timed out in expression evaluation: {series}"));
        }
        // A variable that nobody substituted is, inside a matcher, just a label value that no series has.
        let resolved = BUILT_IN.iter().fold(expression.to_owned(), |text, name| text.replace(name, "1m"));
        let clusters = clusters(&resolved);
        let selects = !clusters.is_empty() && clusters.iter().all(|cluster| *cluster == self.cluster);
        if resolved.contains('$') || resolved.contains("[[") || !selects {
            return Found::Nothing;
        }
        Found::Series(metric)
    }

    /// One frame, column by column; what JSON has no number for is null and named in `entities`.
    fn frame(&self, id: &str, expression: &str, step: i64, series: &[(i64, Option<f64>)]) -> Value {
        let mut entities: [Vec<usize>; 3] = Default::default();
        for (at, (_, value)) in series.iter().enumerate() {
            let [nan, inf, neg] = &mut entities;
            match value {
                Some(value) if value.is_nan() => nan.push(at),
                Some(value) if *value == f64::INFINITY => inf.push(at),
                Some(value) if *value == f64::NEG_INFINITY => neg.push(at),
                _ => {}
            }
        }
        let times: Vec<i64> = series.iter().map(|(at, _)| *at).collect();
        let values: Vec<Option<f64>> =
            series.iter().map(|(_, value)| value.filter(|value| value.is_finite())).collect();
        let mut data = json!({"values": [times, values]});
        if let ([nan, inf, neg], Value::Object(data)) = (&entities, &mut data)
            && entities.iter().any(|list| !list.is_empty())
        {
            let named = json!([null, {"NaN": nan, "Inf": inf, "NegInf": neg}]);
            data.insert("entities".into(), named);
        }
        json!({
            "schema": {
                "refId": id,
                "meta": {"type": "timeseries-multi", "executedQueryString": expression},
                "fields": [
                    {"name": "Time", "type": "time", "typeInfo": {"frame": "time.Time"},
                     "config": {"interval": step}},
                    {"name": "Value", "type": "number",
                     "typeInfo": {"frame": "float64", "nullable": true},
                     "labels": {"cluster": self.cluster, "datasource": dashboard::DATASOURCE}},
                ],
            },
            "data": data,
        })
    }
}

/// `now`, `now-15m`, or milliseconds of the epoch, always as a string.
fn edge(body: &Map<String, Value>, key: &str, now: Timestamp) -> Option<i64> {
    let text = text(body, key)?;
    let now = now.as_millisecond();
    let Some(rest) = text.strip_prefix("now") else {
        return text.parse().ok();
    };
    if rest.is_empty() {
        return Some(now);
    }
    let ago = rest.strip_prefix('-')?;
    let unit = ago.chars().last()?;
    let amount: i64 = ago.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    now.checked_sub(amount.checked_mul(seconds)?.checked_mul(1000)?)
}

/// The values of every `cluster="…"` and `cluster=~"…"` in the expression.
fn clusters(expression: &str) -> Vec<&str> {
    expression
        .split("cluster=")
        .skip(1)
        .filter_map(|rest| rest.trim_start_matches('~').strip_prefix('"')?.split('"').next())
        .collect()
}

fn balanced(expression: &str) -> bool {
    let mut open = Vec::new();
    for character in expression.chars() {
        match character {
            '(' | '{' | '[' => open.push(character),
            ')' if open.pop() != Some('(') => return false,
            '}' if open.pop() != Some('{') => return false,
            ']' if open.pop() != Some('[') => return false,
            _ => {}
        }
    }
    open.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_relative_or_milliseconds_in_a_string() {
        let now = Timestamp::from_millisecond(10_000_000).expect("a moment");
        let body = json!({"a": "now", "b": "now-15m", "c": "1234", "d": 1234, "e": "now-x", "f": "soon"});
        let body = body.as_object().expect("an object");
        assert_eq!(edge(body, "a", now), Some(10_000_000));
        assert_eq!(edge(body, "b", now), Some(9_100_000));
        assert_eq!(edge(body, "c", now), Some(1234));
        for wrong in ["d", "e", "f", "missing"] {
            assert_eq!(edge(body, wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn matchers_and_brackets_are_found() {
        assert_eq!(clusters(r#"a{cluster="x"} / b{cluster=~"y"}"#), ["x", "y"]);
        assert!(balanced("sum(rate(a{b=\"c\"}[1m]))"));
        assert!(!balanced("sum(rate(a[1m))"));
    }
}
