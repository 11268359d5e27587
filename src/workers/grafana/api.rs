//! Grafana's HTTP API, as far as a reader of one dashboard needs it.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{self, Config};
use crate::workers::WorkerError;
use crate::workers::http::{Answer, Call, Called, Effect, Pace, Service};

const READ: &str = "the role Viewer for this folder";
const QUERY: &str = "the permission datasources:query for the panel's data source";

/// The client.
#[derive(Debug)]
pub(super) struct Api {
    service: Service,
    org: Option<u64>,
}

/// A folder or a dashboard that a search found.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hit {
    pub(super) uid: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) folder_uid: Option<String>,
}

/// A dashboard's own JSON, of either schema.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Board {
    pub(super) dashboard: Value,
}

/// What the browser starts with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Settings {
    app_url: Option<String>,
    default_datasource: Option<String>,
    datasources: BTreeMap<String, Source>,
}

/// A data source, by its two names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    pub(super) uid: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

impl Settings {
    /// The data source of panels that name none.
    pub(super) fn default_source(&self) -> Option<Source> {
        self.source(self.default_datasource.as_deref()?)
    }

    /// A data source by the name that people gave it, as old dashboards store it.
    pub(super) fn source(&self, name: &str) -> Option<Source> {
        self.datasources.get(name).cloned().filter(|source| !source.uid.is_empty())
    }

    /// The address for people, without a slash at its end.
    pub(super) fn address<'a>(&'a self, or: &'a str) -> &'a str {
        self.app_url.as_deref().filter(|url| url.starts_with("http")).unwrap_or(or).trim_end_matches('/')
    }
}

/// What each query of a request found, by its `refId`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Results {
    pub(super) results: BTreeMap<String, Found>,
}

/// What one query found.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) frames: Option<Vec<Value>>,
}

impl Api {
    /// Finds Grafana in the config and reads its token.
    pub(super) async fn open(config: &Config) -> Result<Self, WorkerError> {
        let target = configured(config)?;
        let service = Service::open("Grafana", &target.url, &target.token, config, Pace::GRAFANA).await?;
        Ok(Self { service, org: target.org_id })
    }

    /// The address that calls go to.
    pub(super) fn base(&self) -> &str {
        self.service.base()
    }

    /// As errors name it.
    pub(super) fn target(&self) -> String {
        self.service.target()
    }

    /// The configured organisation.
    pub(super) fn org(&self) -> Option<u64> {
        self.org
    }

    fn request(&self, method: Method, path: &[&str]) -> Called<RequestBuilder> {
        let mut request =
            self.service.request(method, path)?.header("authorization", self.service.authorization("Bearer ")?);
        if let Some(org) = self.org {
            request = request.header("x-grafana-org-id", org.to_string());
        }
        Ok(request)
    }

    fn refused(&self, call: &Call<'_>, answer: &Answer) -> Box<crate::workers::http::CallError> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let said = body.get("message").and_then(Value::as_str).unwrap_or_default();
        self.service.refused(call, answer, None, said)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        operation: &str,
        subject: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Called<T> {
        let call = Call { operation, effect: Effect::Read, right: READ, subject };
        let answer = self.service.send(&call, self.request(Method::GET, path)?.query(query)).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&call, &answer));
        }
        self.service.decode(&call, &answer)
    }

    /// Grafana's version, where it and its own database are up.
    pub(super) async fn health(&self) -> Called<String> {
        #[derive(Deserialize)]
        struct Health {
            #[serde(default)]
            version: Option<String>,
        }
        let found: Health =
            self.get("ask for Grafana's health", "its health (grafana.url)", &["api", "health"], &[]).await?;
        Ok(found.version.unwrap_or_else(|| "of unknown version".to_owned()))
    }

    /// What the browser starts with; nothing where the token may not read it.
    pub(super) async fn settings(&self) -> Called<Settings> {
        let path = ["api", "frontend", "settings"];
        match self.get("read Grafana's settings", "its settings", &path, &[]).await {
            Err(failed) if matches!(failed.status, Some(403 | 404)) => Ok(Settings::default()),
            other => other,
        }
    }

    /// Folders or dashboards (`dash-folder`, `dash-db`) whose title holds `title`, inside a folder where one is given.
    pub(super) async fn search(&self, kind: &str, title: &str, inside: Option<&str>) -> Called<Vec<Hit>> {
        let mut query = vec![("type", kind), ("query", title), ("limit", "1000")];
        query.extend(inside.map(|uid| ("folderUIDs", uid)));
        self.get("search", "its search (grafana.url)", &["api", "search"], &query).await
    }

    /// A dashboard.
    pub(super) async fn board(&self, uid: &str) -> Called<Board> {
        let subject = format!("a dashboard {uid}, or the token may not see it");
        self.get("read the dashboard", &subject, &["api", "dashboards", "uid", uid], &[]).await
    }

    /// Runs queries. A partial failure comes as 207 or 400, with what each query found; only a body without
    /// results is a refusal of the whole.
    pub(super) async fn query(&self, body: &Value) -> Called<Results> {
        let call = Call {
            operation: "run the panel's query",
            effect: Effect::Read,
            right: QUERY,
            subject: "the panel's data source",
        };
        let request = self.request(Method::POST, &["api", "ds", "query"])?.header("x-cache-skip", "true").json(body);
        let answer = self.service.send(&call, request).await?;
        let partial = answer.status == StatusCode::BAD_REQUEST;
        if !partial && !answer.status.is_success() {
            return Err(self.refused(&call, &answer));
        }
        match serde_json::from_slice::<Results>(&answer.body) {
            Ok(results) => Ok(results),
            Err(_) if partial => Err(self.refused(&call, &answer)),
            Err(_) => self.service.decode(&call, &answer),
        }
    }
}

/// The `[grafana]` of the config.
pub(super) fn configured(config: &Config) -> Result<&config::Grafana, WorkerError> {
    config.grafana.as_ref().ok_or_else(|| {
        WorkerError::new("read the config", "grafana", "The config has no [grafana].", "Add it to the config.")
    })
}
