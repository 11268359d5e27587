//! The folders and dashboards, and how they are searched.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Grafana, Outcome, fail};
use crate::drill::standin::message::{Reply, Request};

/// The uid of the one data source.
pub(super) const DATASOURCE: &str = "prom-main";

/// Most hits on one page.
const LARGEST_PAGE: usize = 5000;

/// The expression of "Replication lag", variables as they stand in the dashboard.
const LAG: &str = r#"max(pg_replication_lag_seconds{cluster="$cluster"})"#;
/// The expression of "Error rate". It spells the variable in the two other ways, and a built-in that the server resolves.
const ERRORS: &str = concat!(
    r#"100 * sum(rate(http_requests_total{cluster="${cluster}",code=~"5.."}[$__rate_interval]))"#,
    r#" / sum(rate(http_requests_total{cluster="[[cluster]]"}[$__rate_interval]))"#,
);

struct Folder {
    uid: &'static str,
    title: &'static str,
}

struct Board {
    uid: &'static str,
    title: &'static str,
    folder: usize,
}

const FOLDERS: [Folder; 3] = [
    Folder { uid: "platform-retired", title: "Platform (retired)" },
    Folder { uid: "platform", title: "Platform" },
    Folder { uid: "data", title: "Data" },
];

const BOARDS: [Board; 4] = [
    Board { uid: "db-retired", title: "Database", folder: 0 },
    Board { uid: "db-backups", title: "Database backups", folder: 1 },
    Board { uid: "db-platform", title: "Database", folder: 1 },
    Board { uid: "db-warehouse", title: "Database", folder: 2 },
];

impl Grafana {
    /// `GET /api/search`: a part of the title is enough, and what the token may not see is not there.
    pub(super) fn search(&self, request: &Request) -> Outcome {
        let number = |key: &str, default: usize| match request.param(key) {
            None => Ok(default),
            Some(text) => {
                text.parse::<usize>().map_err(|_| fail(StatusCode::BAD_REQUEST, &format!("{key} is no number")))
            }
        };
        let limit = number("limit", 1000)?;
        let page = number("page", 1)?;
        if limit > LARGEST_PAGE {
            let why = "Limit is above maximum allowed (5000), use page parameter to access hits beyond limit";
            return Err(fail(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        let kind = request.param("type");
        let query = request.param("query").unwrap_or_default().to_lowercase();
        let matches = |title: &str| title.to_lowercase().contains(&query);
        let inside = request.params("folderUIDs");
        let mut hits = Vec::new();
        if kind != Some("dash-db") && inside.is_empty() {
            let folders = FOLDERS.iter().enumerate();
            hits.extend(folders.filter(|(_, folder)| matches(folder.title)).map(|(at, folder)| folder.hit(at)));
        }
        if kind != Some("dash-folder") {
            for (at, board) in BOARDS.iter().enumerate() {
                let Some(folder) = FOLDERS.get(board.folder) else {
                    continue;
                };
                if matches(board.title) && (inside.is_empty() || inside.contains(&folder.uid)) {
                    hits.push(board.hit(at, folder));
                }
            }
        }
        if !self.visible {
            hits.clear();
        }
        let skipped = page.saturating_sub(1).saturating_mul(limit);
        let hits: Vec<Value> = hits.into_iter().skip(skipped).take(limit).collect();
        Ok(Reply::ok(json!(hits)))
    }

    /// `GET /api/dashboards/uid/{uid}`.
    pub(super) fn dashboard(&self, uid: &str) -> Outcome {
        let found = BOARDS.iter().find(|board| board.uid == uid);
        let (Some(board), true) = (found, self.visible) else {
            return Err(fail(StatusCode::NOT_FOUND, "Dashboard not found"));
        };
        let folder = FOLDERS.get(board.folder);
        // Only the one dashboard has these panels; its look-alikes are empty.
        let panels = if uid == "db-platform" { panels() } else { json!([]) };
        Ok(Reply::ok(json!({
            "meta": {
                "type": "db", "canSave": false, "canEdit": false, "slug": "database",
                "url": format!("/d/{uid}/database"), "version": 7, "provisioned": false,
                "folderUid": folder.map(|it| it.uid), "folderTitle": folder.map(|it| it.title),
            },
            "dashboard": {
                "uid": uid, "title": board.title, "schemaVersion": 39, "version": 7,
                "time": {"from": "now-1h", "to": "now"}, "refresh": "30s",
                "templating": {"list": [
                    {
                        "name": "ds", "type": "datasource", "query": "prometheus",
                        "current": {"text": "Prometheus", "value": DATASOURCE},
                    },
                    {
                        "name": "cluster", "type": "query", "multi": false,
                        "datasource": {"type": "prometheus", "uid": DATASOURCE},
                        "query": "label_values(up, cluster)",
                        "current": {"text": self.cluster, "value": self.cluster},
                    },
                ]},
                "panels": panels,
            },
        })))
    }
}

fn panels() -> Value {
    json!([
        {
            "id": 1, "type": "text", "title": "About", "gridPos": {"h": 3, "w": 24, "x": 0, "y": 0},
            "options": {"content": "The primary database and its replica."},
        },
        {
            "id": 2, "type": "timeseries", "title": "Replication lag",
            "gridPos": {"h": 8, "w": 12, "x": 0, "y": 3},
            "datasource": {"type": "prometheus", "uid": DATASOURCE},
            "fieldConfig": {"defaults": {"unit": "s"}},
            "targets": [{
                "refId": "A", "datasource": {"type": "prometheus", "uid": DATASOURCE},
                "expr": LAG, "legendFormat": "lag", "range": true, "instant": false,
            }],
        },
        {
            "id": 3, "type": "row", "title": "Requests", "collapsed": true,
            "gridPos": {"h": 1, "w": 24, "x": 0, "y": 11},
            "panels": [{
                "id": 4, "type": "timeseries", "title": "Error rate",
                "gridPos": {"h": 8, "w": 12, "x": 0, "y": 12},
                "datasource": {"type": "prometheus", "uid": "${ds}"},
                "fieldConfig": {"defaults": {"unit": "percent"}},
                "targets": [
                    {"refId": "A", "expr": ERRORS, "legendFormat": "errors", "range": true},
                    {"refId": "B", "expr": "vector(0)", "hide": true},
                ],
            }],
        },
    ])
}

impl Folder {
    fn hit(&self, at: usize) -> Value {
        json!({
            "id": at + 1, "uid": self.uid, "title": self.title, "type": "dash-folder",
            "uri": format!("db/{}", self.uid), "url": format!("/dashboards/f/{}", self.uid),
            "tags": [], "isStarred": false,
        })
    }
}

impl Board {
    fn hit(&self, at: usize, folder: &Folder) -> Value {
        json!({
            "id": at + 101, "uid": self.uid, "title": self.title, "type": "dash-db",
            "uri": format!("db/{}", self.uid), "url": format!("/d/{}/database", self.uid),
            "tags": [], "isStarred": false, "folderUid": folder.uid, "folderTitle": folder.title,
            "folderUrl": format!("/dashboards/f/{}", folder.uid),
        })
    }
}
