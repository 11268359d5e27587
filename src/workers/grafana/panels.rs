//! A dashboard's panels and what they ask, in both schemas.

use serde_json::{Map, Value, json};

use super::api::{Settings, Source};
use super::variables::Variables;

/// A panel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Panel {
    pub(super) id: Option<u64>,
    pub(super) title: String,
    /// Its queries that are not hidden, as the dashboard stores them.
    queries: Vec<Value>,
    datasource: Value,
    /// Its queries are in Grafana's library and not in the dashboard.
    library: bool,
}

/// Every panel of a dashboard, also those in collapsed rows.
pub(super) fn panels(board: &Value) -> Vec<Panel> {
    let board = board.get("spec").filter(|spec| spec.get("elements").is_some()).unwrap_or(board);
    if let Some(elements) = board.get("elements").and_then(Value::as_object) {
        return elements.values().filter_map(element).collect();
    }
    let mut found = Vec::new();
    gather(board.get("panels"), &mut found);
    for row in list(board.get("rows")) {
        gather(row.get("panels"), &mut found);
    }
    found
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The classic schema: a collapsed row holds its panels itself.
fn gather(panels: Option<&Value>, found: &mut Vec<Panel>) {
    for panel in list(panels) {
        gather(panel.get("panels"), found);
        if text(panel, "type") == "row" {
            continue;
        }
        let shown = |query: &&Value| query.get("hide").and_then(Value::as_bool) != Some(true);
        let queries: Vec<Value> = list(panel.get("targets")).iter().filter(shown).cloned().collect();
        found.push(Panel {
            id: panel.get("id").and_then(Value::as_u64),
            title: text(panel, "title").to_owned(),
            library: queries.is_empty() && panel.get("libraryPanel").is_some(),
            queries,
            datasource: panel.get("datasource").cloned().unwrap_or_default(),
        });
    }
}

/// Schema v2: a query's data source type is its `group`, the uid its `datasource.name`.
fn element(element: &Value) -> Option<Panel> {
    let spec = element.get("spec")?;
    let mut queries = Vec::new();
    for query in list(spec.pointer("/data/spec/queries")) {
        let outer = query.get("spec")?;
        if outer.get("hidden").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        let inner = outer.get("query").cloned().unwrap_or_default();
        let mut flat: Map<String, Value> = inner.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        flat.insert("refId".into(), json!(outer.get("refId").and_then(Value::as_str).unwrap_or("A")));
        let uid = inner.pointer("/datasource/name").cloned().unwrap_or_default();
        flat.insert("datasource".into(), json!({"type": text(&inner, "group"), "uid": uid}));
        queries.push(Value::Object(flat));
    }
    Some(Panel {
        id: spec.get("id").and_then(Value::as_u64),
        title: text(spec, "title").to_owned(),
        library: text(element, "kind") == "LibraryPanel",
        queries,
        datasource: Value::Null,
    })
}

impl Panel {
    /// What Grafana is asked, variables filled in as the browser would. An error says why it cannot be asked.
    pub(super) fn queries(&self, settings: &Settings, variables: &Variables) -> Result<Vec<Value>, String> {
        if self.library {
            return Err("it is a library panel, whose queries the dashboard does not hold".to_owned());
        }
        if self.queries.is_empty() {
            return Err("it has no query".to_owned());
        }
        let mut asked = Vec::new();
        for (at, query) in self.queries.iter().enumerate() {
            let source = self.source(query, settings, variables)?;
            let mut query = variables.filled(query);
            if let Value::Object(members) = &mut query {
                members.insert("datasource".into(), json!({"uid": source.uid, "type": source.kind}));
                members.entry("refId").or_insert_with(|| json!(format!("Q{at}")));
                members.insert("intervalMs".into(), json!(super::variables::STEP_MS));
                members.insert("maxDataPoints".into(), json!(super::variables::POINTS));
            }
            asked.push(query);
        }
        Ok(asked)
    }

    /// The query's data source, else the panel's, else the default. Old dashboards store a bare name, or null.
    fn source(&self, query: &Value, settings: &Settings, variables: &Variables) -> Result<Source, String> {
        for place in [query.get("datasource"), Some(&self.datasource)].into_iter().flatten() {
            let (uid, kind) = match place {
                Value::String(name) => (variables.text(name), String::new()),
                Value::Object(_) => (variables.text(text(place, "uid")), text(place, "type").to_owned()),
                _ => continue,
            };
            match uid.as_str() {
                "" | "-- Mixed --" | "default" => {}
                "-- Dashboard --" => return Err("it shows another panel's data".to_owned()),
                _ if uid.contains('$') => {
                    return Err(format!("its data source is the variable {uid}, which has no value"));
                }
                // A variable of a data source may hold its name as well as its uid.
                _ => return Ok(settings.source(&uid).unwrap_or(Source { uid, kind })),
            }
        }
        settings.default_source().ok_or_else(|| "it names no data source and Grafana tells no default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        serde_json::from_value(json!({
            "defaultDatasource": "Main",
            "datasources": {"Main": {"uid": "m", "type": "prometheus"}, "Old": {"uid": "o", "type": "influxdb"}},
        }))
        .unwrap()
    }

    fn sources(board: &Value) -> Vec<Result<String, String>> {
        let variables = Variables::of(board, 0, 900_000);
        let one = |panel: Panel| {
            let queries = panel.queries(&settings(), &variables)?;
            Ok(queries[0]["datasource"]["uid"].as_str().unwrap().to_owned())
        };
        panels(board).into_iter().map(one).collect()
    }

    #[test]
    fn classic_panels_take_their_source_from_query_panel_or_default() {
        let board = json!({
            "templating": {"list": [{"name": "ds", "current": {"value": "Old"}}]},
            "panels": [
                {"title": "a", "datasource": {"uid": "p"}, "targets": [{"datasource": {"uid": "q"}}]},
                {"title": "b", "datasource": {"uid": "-- Mixed --"}, "targets": [{"refId": "A"}]},
                {"title": "row", "type": "row", "panels": [{"title": "c", "datasource": "Old", "targets": [{}]}]},
                {"title": "d", "datasource": {"uid": "${ds}"}, "targets": [{}]},
                {"title": "e", "datasource": {"uid": "$gone"}, "targets": [{}]},
                {"title": "f", "datasource": null, "targets": [{"hide": true}]},
                {"title": "g", "libraryPanel": {"uid": "x"}},
            ],
        });
        let found = sources(&board);
        let good: Vec<_> = found.iter().map(|source| source.as_deref().ok()).collect();
        assert_eq!(good, [Some("q"), Some("m"), Some("o"), Some("o"), None, None, None]);
        assert_eq!(found[5], Err("it has no query".to_owned()));
        assert!(found[6].as_ref().is_err_and(|why| why.contains("library")));
    }

    #[test]
    fn schema_two_keeps_panels_under_elements() {
        let board = json!({
            "elements": {"panel-1": {"kind": "Panel", "spec": {"id": 1, "title": "Lag", "data": {"spec": {"queries": [
                {"spec": {"refId": "B", "hidden": false, "query": {
                    "group": "prometheus", "datasource": {"name": "p"}, "spec": {"expr": "x{c=\"$c\"}"},
                }}},
                {"spec": {"refId": "C", "hidden": true, "query": {"group": "prometheus", "spec": {}}}},
            ]}}}}},
            "variables": [{"kind": "CustomVariable", "spec": {"name": "c", "current": {"value": "one"}}}],
        });
        let variables = Variables::of(&board, 0, 900_000);
        let panel = panels(&board).remove(0);
        assert_eq!((panel.title.as_str(), panel.id), ("Lag", Some(1)));
        let queries = panel.queries(&settings(), &variables).unwrap();
        assert_eq!(queries.len(), 1);
        assert_eq!(queries[0]["expr"], "x{c=\"one\"}");
        assert_eq!(queries[0]["refId"], "B");
        assert_eq!(queries[0]["datasource"], json!({"uid": "p", "type": "prometheus"}));
    }
}
