//! Proving the token and the right to query.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::workers::http::{Checklist, curl, only_reads, reading};
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::TOKEN;
use super::api::Api;

/// Reads Grafana's health, what the token sees, and runs a query that asks for nothing.
#[derive(Debug, Clone, Copy)]
pub struct CheckGrafana;

#[async_trait]
impl Worker for CheckGrafana {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let mut proofs = BTreeMap::from([("address".to_owned(), api.base().to_owned())]);
        proofs.extend(api.org().map(|org| ("organisation".to_owned(), org.to_string())));
        Ok(TargetIdentity { name: api.target(), proofs })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let mut plan = Plan::new(cx.step.clone(), self.identify(cx).await?);
        plan.effects = vec!["Reads its health and dashboards and runs an empty query; changes nothing".to_owned()];
        plan.commands = vec![curl("GET", &format!("{}/api/search?type=dash-db", api.base()), TOKEN, &[], None)];
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        reading(io, look(cx, io)).await
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(only_reads())
    }
}

async fn look(cx: &Context, io: &Io) -> Result<Ran, WorkerError> {
    let api = Api::open(&cx.config).await?;
    let mut list = Checklist::default();
    let health = api.health().await.map(|version| ((), format!("Grafana {version} is up")));
    list.take(io, health.map_err(WorkerError::from));
    let boards = api.search("dash-db", "", None).await?;
    let seen = if boards.is_empty() {
        Err(WorkerError::new(
            "list the dashboards",
            api.target(),
            "The token sees no dashboard; an empty list is also what a missing right looks like.",
            "Give the service account the role Viewer on the folder, then retry (r).",
        ))
    } else {
        Ok(((), format!("the token sees {} dashboards", boards.len())))
    };
    list.take(io, seen);
    let queried = match api.settings().await?.default_source() {
        // A constant asks nothing of the data, and of Grafana everything that a panel asks.
        Some(source) if source.kind == "prometheus" => {
            let query = json!({
                "refId": "A", "expr": "vector(1)", "datasource": {"uid": source.uid, "type": source.kind},
                "instant": true, "intervalMs": 15_000, "maxDataPoints": 1,
            });
            let body = json!({"from": "now-1m", "to": "now", "queries": [query]});
            match api.query(&body).await {
                Ok(results) => match results.results.into_values().find_map(|found| found.error) {
                    None => Ok(((), "the token may query the default data source".to_owned())),
                    Some(why) => Err(WorkerError::new(
                        "run an empty query",
                        api.target(),
                        format!("Grafana's default data source does not answer: {why}."),
                        "Look at the data source in Grafana; the dashboard cannot be judged without it.",
                    )),
                },
                Err(failed) => Err(failed.error),
            }
        }
        _ => Ok(((), "whether the token may query shows when the dashboard is reviewed".to_owned())),
    };
    list.take(io, queried);
    list.finish()
}
