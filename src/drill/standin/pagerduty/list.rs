//! Finding incidents, and PagerDuty's classic paging.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Outcome, PagerDuty, incident::Incident, incident::Status, invalid, not_found};
use crate::drill::standin::message::{Reply, Request};

/// What `include[]` may ask for.
const INCLUDES: [&str; 12] = [
    "acknowledgers",
    "agents",
    "assignees",
    "body",
    "conference_bridge",
    "custom_fields",
    "escalation_policies",
    "first_trigger_log_entries",
    "priorities",
    "services",
    "teams",
    "users",
];

/// One page of `all` under `name`: `limit` 25 unless told, at most 100; `offset` + `limit` at most 10,000.
pub(super) fn page(request: &Request, name: &str, all: Vec<Value>) -> Outcome {
    let number = |key: &str, default: usize| match request.param(key) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| invalid(&[&format!("{key} must be a number")])),
    };
    let limit = number("limit", 25)?;
    let offset = number("offset", 0)?;
    if !(1..=100).contains(&limit) {
        return Err(invalid(&["limit must be between 1 and 100"]));
    }
    if offset.saturating_add(limit) > 10_000 {
        return Err(invalid(&["Offset plus limit must not exceed 10000"]));
    }
    let total = all.len();
    let shown: Vec<Value> = all.into_iter().skip(offset).take(limit).collect();
    let counted = (request.param("total") == Some("true")).then_some(total);
    Ok(Reply::ok(json!({
        name: shown, "limit": limit, "offset": offset, "more": offset + limit < total,
        "total": counted,
    })))
}

fn included(request: &Request) -> Result<Vec<&str>, Reply> {
    let wanted = request.params("include[]");
    match wanted.iter().find(|name| !INCLUDES.contains(name)) {
        Some(unknown) => Err(invalid(&[&format!("include[] has no value {unknown}")])),
        None => Ok(wanted),
    }
}

fn moment(request: &Request, key: &str) -> Result<Option<Timestamp>, Reply> {
    request
        .param(key)
        .map(|text| text.parse().map_err(|_| invalid(&[&format!("{key} is no ISO 8601 time")])))
        .transpose()
}

impl PagerDuty {
    pub(super) fn incident(&self, id: &str) -> Result<&Incident, Reply> {
        let found = self.incidents.iter().find(|incident| incident.id == id);
        found.ok_or_else(not_found)
    }

    pub(super) fn incident_mut(&mut self, id: &str) -> Result<&mut Incident, Reply> {
        let found = self.incidents.iter_mut().find(|incident| incident.id == id);
        found.ok_or_else(not_found)
    }

    pub(super) fn read(&self, id: &str, request: &Request) -> Outcome {
        let include = included(request)?;
        let incident = self.incident(id)?;
        Ok(Reply::ok(json!({"incident": incident.json(&self.account, &include)})))
    }

    /// `GET /incidents`. Without a date range only the last month shows; a name without its `[]` is ignored, as PagerDuty
    /// ignores whatever it does not know.
    pub(super) fn list(&self, request: &Request, now: Timestamp) -> Outcome {
        let include = included(request)?;
        let mut statuses = Vec::new();
        for name in request.params("statuses[]") {
            let status = Status::parse(name);
            statuses.push(status.ok_or_else(|| invalid(&["statuses[] has an unknown value"]))?);
        }
        let services = request.params("service_ids[]");
        let (since, until) = match request.param("date_range") {
            Some("all") => (None, None),
            Some(_) => return Err(invalid(&["date_range only knows the value all"])),
            None => {
                let month = now.checked_sub(SignedDuration::from_hours(30 * 24));
                let since = moment(request, "since")?.or(month.ok());
                (since, moment(request, "until")?)
            }
        };
        let mut found: Vec<_> = self
            .incidents
            .iter()
            .filter(|incident| statuses.is_empty() || statuses.contains(&incident.status))
            .filter(|incident| services.is_empty() || services.contains(&incident.service.as_str()))
            .filter(|incident| since.is_none_or(|since| incident.created_at >= since))
            .filter(|incident| until.is_none_or(|until| incident.created_at < until))
            .filter(|incident| match request.param("incident_key") {
                None => true,
                // An empty key finds every open incident, which has bitten people.
                Some("") => incident.is_open(),
                Some(key) => incident.has_key(key),
            })
            .collect();
        match request.param("sort_by") {
            None | Some("incident_number" | "incident_number:asc") => {}
            Some("incident_number:desc") => found.reverse(),
            Some("created_at" | "created_at:asc") => found.sort_by_key(|it| it.created_at),
            Some("created_at:desc") => {
                found.sort_by_key(|it| std::cmp::Reverse(it.created_at));
            }
            Some(_) => return Err(invalid(&["sort_by has an unknown value"])),
        }
        let found = found.into_iter().map(|incident| incident.json(&self.account, &include)).collect();
        page(request, "incidents", found)
    }
}
