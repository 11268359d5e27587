//! What became of a message that may or may not have been sent: the incident's log tells.

use serde_json::Value;

use crate::workers::{Done, Probe, WorkerError};

use super::Api;

/// Looks for an entry of a kind that carries our marker.
///
/// No entry of the kind at all is a proof that nothing was sent. One without our marker is not: PagerDuty may show
/// less of a message than was sent, so only a person can tell.
pub(super) async fn look_for(api: &Api, incident: &str, kind: &str, marker: &str) -> Result<Probe, WorkerError> {
    let entries = api.log(incident).await?;
    let of_kind: Vec<&Value> = entries.iter().filter(|entry| is_of(entry, kind)).collect();
    if let Some(found) = of_kind.iter().find(|entry| mentions(entry, marker)) {
        let at = text(found, "created_at");
        let evidence = vec![format!("PagerDuty's log holds it, at {at}"), format!("Log entry {}", text(found, "id"))];
        return Ok(Probe::Happened(Done { evidence, facts: Vec::new() }));
    }
    Ok(match of_kind.first() {
        None => Probe::DidNot(format!("the incident's log of {} entries holds nothing of the kind", entries.len())),
        Some(newest) => Probe::Unknown(format!(
            "The incident's log holds {} of the kind, the newest at {}, none of which shows {marker}.",
            of_kind.len(),
            text(newest, "created_at")
        )),
    })
}

fn is_of(entry: &Value, kind: &str) -> bool {
    entry.get("type").and_then(Value::as_str).is_some_and(|is| is.contains(kind))
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or("an unknown time")
}

/// Whether any text in it holds the marker, wherever PagerDuty keeps it.
fn mentions(value: &Value, marker: &str) -> bool {
    match value {
        Value::String(text) => text.contains(marker),
        Value::Array(items) => items.iter().any(|item| mentions(item, marker)),
        Value::Object(members) => members.values().any(|member| mentions(member, marker)),
        _ => false,
    }
}
