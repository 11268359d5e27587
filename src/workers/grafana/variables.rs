//! Dashboard variables. The browser fills them in, not the server; one left as it is matches nothing, which would look
//! healthy.

use std::collections::BTreeMap;

use serde_json::Value;

/// Seconds between two points.
pub(super) const STEP_MS: i64 = 15_000;
/// Points that are asked for: a quarter of an hour of them, and some room.
pub(super) const POINTS: i64 = 100;

/// The values of a dashboard's variables and of Grafana's own.
#[derive(Debug, Clone)]
pub(super) struct Variables(BTreeMap<String, Vec<String>>);

impl Variables {
    /// Of a dashboard of either schema, for a time range in milliseconds of the epoch.
    pub(super) fn of(board: &Value, from_ms: i64, to_ms: i64) -> Self {
        let board = board.get("spec").filter(|spec| spec.get("elements").is_some()).unwrap_or(board);
        let classic = board.pointer("/templating/list").and_then(Value::as_array);
        let second = board.get("variables").and_then(Value::as_array);
        let mut values = BTreeMap::new();
        for variable in classic.into_iter().flatten() {
            values.extend(value_of(variable));
        }
        for variable in second.into_iter().flatten() {
            values.extend(variable.get("spec").and_then(value_of));
        }
        let range = to_ms.saturating_sub(from_ms);
        let built_in = [
            ("__interval", format!("{}s", STEP_MS / 1000)),
            ("__interval_ms", STEP_MS.to_string()),
            // Four scrapes of 15 seconds: a rate needs at least two samples in its window.
            ("__rate_interval", format!("{}s", 4 * STEP_MS / 1000)),
            ("__rate_interval_ms", (4 * STEP_MS).to_string()),
            ("__range", format!("{}s", range / 1000)),
            ("__range_s", (range / 1000).to_string()),
            ("__range_ms", range.to_string()),
            ("__from", from_ms.to_string()),
            ("__to", to_ms.to_string()),
        ];
        values.extend(built_in.map(|(name, value)| (name.to_owned(), vec![value])));
        Self(values)
    }

    /// A query with every variable in every text of it filled in.
    pub(super) fn filled(&self, query: &Value) -> Value {
        match query {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(key, value)| (key.clone(), self.filled(value))).collect())
            }
            other => other.clone(),
        }
    }

    /// A text with `$x`, `${x}`, `${x:format}`, `[[x]]` and `[[x:format]]` filled in. What is no variable stays: an
    /// anchor of a pattern, a macro of a database.
    pub(super) fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['$', '[']) {
            let (before, here) = rest.split_at(at);
            out.push_str(before);
            if let Some((value, taken)) = self.at(here) {
                out.push_str(&value);
                rest = here.get(taken..).unwrap_or_default();
            } else {
                // `$` and `[` are one byte each.
                out.push_str(here.get(..1).unwrap_or_default());
                rest = here.get(1..).unwrap_or_default();
            }
        }
        out.push_str(rest);
        out
    }

    /// The names in filled-in queries that nothing gave a value to.
    pub(super) fn unknown(queries: &[Value]) -> Vec<String> {
        let mut found = Vec::new();
        for query in queries {
            for text in ["expr", "query", "expression", "rawSql"].iter().filter_map(|key| query.get(key)?.as_str()) {
                let mut rest = text;
                while let Some(at) = rest.find('$') {
                    rest = rest.get(at + 1..).unwrap_or_default();
                    let name: String = rest.trim_start_matches('{').chars().take_while(|it| is_word(*it)).collect();
                    let starts = name.starts_with(|it: char| it.is_ascii_alphabetic());
                    if starts && !found.contains(&name) {
                        found.push(name);
                    }
                }
            }
        }
        found
    }

    /// The value of the variable that `here` begins with, and the bytes that its mention takes.
    fn at(&self, here: &str) -> Option<(String, usize)> {
        let (inner, taken) = if let Some(rest) = here.strip_prefix("${") {
            let end = rest.find('}')?;
            (rest.get(..end)?, end + 3)
        } else if let Some(rest) = here.strip_prefix("[[") {
            let end = rest.find("]]")?;
            (rest.get(..end)?, end + 4)
        } else {
            let rest = here.strip_prefix('$')?;
            let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
            (rest.get(..end)?, end + 1)
        };
        let (name, format) = inner.split_once(':').unwrap_or((inner, ""));
        let values = self.0.get(name)?;
        Some((joined(values, format), taken))
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Several values as one text. Without a format they are a pattern, as for Prometheus.
fn joined(values: &[String], format: &str) -> String {
    match (values, format) {
        ([one], "singlequote") => format!("'{one}'"),
        ([one], "doublequote") => format!("\"{one}\""),
        ([one], _) => one.clone(),
        (many, "csv" | "raw" | "text") => many.join(","),
        (many, "pipe") => many.join("|"),
        (many, "glob") => format!("{{{}}}", many.join(",")),
        (many, "singlequote" | "sqlstring") => format!("'{}'", many.join("','")),
        (many, "doublequote") => format!("\"{}\"", many.join("\",\"")),
        (many, _) => format!("({})", many.join("|")),
    }
}

/// A variable's name and the values that it was saved with.
fn value_of(variable: &Value) -> Option<(String, Vec<String>)> {
    let name = variable.get("name")?.as_str()?.to_owned();
    let texts = |value: &Value| match value {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let mut values = variable.pointer("/current/value").map(texts).unwrap_or_default();
    if values.is_empty() {
        // A constant or a text box may be stored with its query alone.
        values = variable.get("query").map(texts).unwrap_or_default();
    }
    if values.iter().any(|value| value == "$__all") {
        let all = variable.get("allValue").and_then(Value::as_str).filter(|all| !all.is_empty());
        values = vec![all.unwrap_or(".*").to_owned()];
    }
    if values.iter().any(|value| value.starts_with("$__auto_interval")) {
        values = vec!["1m".to_owned()];
    }
    (!values.is_empty()).then_some((name, values))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables() -> Variables {
        let board = json!({"templating": {"list": [
            {"name": "cluster", "current": {"value": "primary"}},
            {"name": "node", "current": {"value": ["a", "b"]}},
            {"name": "all", "current": {"value": ["$__all"]}},
            {"name": "none", "current": {}},
            {"name": "auto", "type": "interval", "current": {"value": "$__auto_interval_auto"}},
        ]}});
        Variables::of(&board, 1_000, 901_000)
    }

    #[test]
    fn every_spelling_is_filled_in() {
        for (text, filled) in [
            (r#"x{c="$cluster"}"#, r#"x{c="primary"}"#),
            ("${cluster}/[[cluster]]/${cluster:raw}", "primary/primary/primary"),
            ("$clusters $none", "$clusters $none"),
            ("$node ${node:csv} ${node:pipe} [[node:glob]]", "(a|b) a,b a|b {a,b}"),
            ("$all $auto", ".* 1m"),
            ("rate(x[$__rate_interval]) $__range_s ${__from}", "rate(x[60s]) 900 1000"),
            ("$__timeFilter(at) AND a[1] ~ '^x$'", "$__timeFilter(at) AND a[1] ~ '^x$'"),
            ("ä$cluster", "äprimary"),
            ("${open [[open $", "${open [[open $"),
        ] {
            assert_eq!(variables().text(text), filled, "{text}");
        }
    }

    #[test]
    fn what_stays_unknown_is_named() {
        let queries = [json!({"expr": "a{b=\"$gone\",c=~\"x$\"} $__timeFilter(x) ${gone} ${other:csv}"})];
        assert_eq!(Variables::unknown(&queries), ["gone", "other"]);
    }
}
