//! The HTTP routes of the `api` deployment. They answer 503 while no pod is ready, and otherwise ask the real tables.
//!
//! | route | answers | fails (500, `integrity`) when |
//! |---|---|---|
//! | `GET /pj/status` | `{status, checks: {database, ledger, imports}}`; 503 when a check fails | a balance is not the sum, an import is missing |
//! | `GET /pj/accounts?limit=N` | ids spread over all accounts | – |
//! | `GET /pj/accounts/{id}/balance` | balance and number of transactions | the balance is not the sum |
//! | `GET /pj/transactions/recent` | the newest imported transactions | one refers to a missing import |
//! | `GET /pj/imports/latest` | the newest imports with their row counts | a count is wrong |

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::drill::db::{Login, Session};
use crate::drill::error::SandboxError;
use crate::drill::kubernetes::Cluster;

/// A request never waits longer than this for the database.
const OPTIONS: &str = "-c statement_timeout=5s -c lock_timeout=2s -c default_transaction_read_only=on";

/// What the routes need.
struct Service {
    cluster: Cluster,
    login: Login,
    /// The pods' shared session for reading; opened when asked, and only while a pod is ready.
    session: Mutex<Option<Session>>,
}

/// Serves the routes on a free port of 127.0.0.1 and returns the base address.
pub(crate) async fn serve(cluster: Cluster, login: Login) -> Result<String, SandboxError> {
    let address = Path::new("127.0.0.1:0");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(SandboxError::io("bind", address))?;
    let port = listener.local_addr().map_err(SandboxError::io("bind", address))?.port();
    let service = Arc::new(Service { cluster: cluster.clone(), login, session: Mutex::new(None) });
    let router = Router::new()
        .route("/pj/status", get(status))
        .route("/pj/accounts", get(accounts))
        .route("/pj/accounts/{id}/balance", get(balance))
        .route("/pj/transactions/recent", get(recent))
        .route("/pj/imports/latest", get(latest))
        .with_state(Arc::clone(&service));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the api's routes ended");
        }
    });
    // The session belongs to the pods: when the last one goes, it goes.
    tokio::spawn(async move {
        let mut changes = cluster.changes();
        while changes.changed().await.is_ok() {
            if cluster.pods_of("api") == 0
                && let Some(session) = service.session.lock().await.take()
            {
                session.close().await;
            }
        }
    });
    Ok(format!("http://127.0.0.1:{port}"))
}

/// Why a route has no answer.
enum Failure {
    /// Nobody serves.
    NoPods,
    /// The database refused or is away.
    Database(String),
    /// The data contradicts itself.
    Integrity(String),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error, detail) = match self {
            Self::NoPods => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "no pod of api is ready".to_owned()),
            Self::Database(detail) => (StatusCode::INTERNAL_SERVER_ERROR, "database", detail),
            Self::Integrity(detail) => (StatusCode::INTERNAL_SERVER_ERROR, "integrity", detail),
        };
        (status, Json(json!({ "error": error, "detail": detail }))).into_response()
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let detail = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
        Self::Database(detail)
    }
}

type Answer = Result<Json<Value>, Failure>;

impl Service {
    /// The rows of a query, through the pods' session.
    async fn ask(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Failure> {
        if self.cluster.ready_pods_of("api") == 0 {
            return Err(Failure::NoPods);
        }
        let mut slot = self.session.lock().await;
        if slot.as_ref().is_none_or(|session| session.is_closed()) {
            let opened = self.login.connect("api-http", OPTIONS).await;
            *slot = Some(opened.map_err(|error| Failure::Database(error.to_string()))?);
        }
        match slot.as_ref() {
            Some(session) => Ok(session.query(sql, parameters).await?),
            None => Err(Failure::NoPods),
        }
    }

    async fn count(&self, sql: &str) -> Result<i64, Failure> {
        let rows = self.ask(sql, &[]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }
}

const UNBALANCED: &str = "SELECT count(*) FROM accounts a
    LEFT JOIN (SELECT account_id, sum(amount_cents) AS cents FROM transactions GROUP BY account_id) t ON t.account_id = a.id
    WHERE a.balance_cents <> coalesce(t.cents, 0)";
const ORPHANS: &str = "SELECT count(*) FROM transactions t
    WHERE t.import_id IS NOT NULL AND NOT EXISTS (SELECT FROM ofx_imports i WHERE i.id = t.import_id)";

async fn status(State(service): State<Arc<Service>>) -> Response {
    let check = |found: Result<i64, Failure>, what: &str| match found {
        Ok(0) => Ok(json!({ "ok": true })),
        Ok(n) => Ok(json!({ "ok": false, "detail": format!("{n} {what}") })),
        Err(Failure::Database(detail)) => Ok(json!({ "ok": false, "detail": detail })),
        Err(other) => Err(other),
    };
    let checks = async {
        let database = service.count("SELECT count(*) FROM users WHERE false").await;
        let ledger = service.count(UNBALANCED).await;
        let imports = service.count(ORPHANS).await;
        Ok::<_, Failure>(json!({
            "database": check(database, "rows")?,
            "ledger": check(ledger, "accounts whose balance is not the sum of their transactions")?,
            "imports": check(imports, "transactions whose import is missing")?,
        }))
    };
    match checks.await {
        Ok(checks) => {
            let ok = checks.as_object().is_some_and(|all| all.values().all(|check| check["ok"] == true));
            let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let status = if ok { "ok" } else { "failing" };
            (code, Json(json!({ "status": status, "checks": checks }))).into_response()
        }
        Err(failure) => failure.into_response(),
    }
}

#[derive(Deserialize)]
struct Page {
    limit: Option<i64>,
}

impl Page {
    fn limit(&self) -> i64 {
        self.limit.unwrap_or(20).clamp(1, 1000)
    }
}

async fn accounts(State(service): State<Arc<Service>>, Query(page): Query<Page>) -> Answer {
    let rows = service
        .ask(
            "SELECT id FROM accounts WHERE id % (SELECT greatest(count(*) / $1, 1) FROM accounts) = 0 ORDER BY id LIMIT $1",
            &[&page.limit()],
        )
        .await?;
    Ok(Json(json!({ "accounts": rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>() })))
}

async fn balance(State(service): State<Arc<Service>>, UrlPath(id): UrlPath<i64>) -> Response {
    let rows = service
        .ask(
            "SELECT a.currency, a.balance_cents, coalesce(sum(t.amount_cents), 0)::bigint, count(t.id)
             FROM accounts a LEFT JOIN transactions t ON t.account_id = a.id WHERE a.id = $1 GROUP BY a.id",
            &[&id],
        )
        .await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(failure) => return failure.into_response(),
    };
    let Some(row) = rows.first() else {
        return (StatusCode::NOT_FOUND, Json(json!({ "error": "not_found", "detail": "no such account" })))
            .into_response();
    };
    let (currency, balance, sum, transactions): (String, i64, i64, i64) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    if balance != sum {
        let detail = format!("the balance of account {id} is {balance}, its transactions add up to {sum}");
        return Failure::Integrity(detail).into_response();
    }
    Json(json!({ "account": id, "currency": currency, "balance_cents": balance, "transactions": transactions }))
        .into_response()
}

async fn recent(State(service): State<Arc<Service>>, Query(page): Query<Page>) -> Answer {
    let rows = service
        .ask(
            "SELECT t.id, t.amount_cents, t.description, i.bank
             FROM (SELECT * FROM transactions WHERE import_id IS NOT NULL ORDER BY id DESC LIMIT $1) t
             LEFT JOIN ofx_imports i ON i.id = t.import_id ORDER BY t.id DESC",
            &[&page.limit()],
        )
        .await?;
    let mut transactions = Vec::new();
    for row in &rows {
        let (id, cents, description, bank): (i64, i64, String, Option<String>) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let bank = bank.ok_or_else(|| Failure::Integrity(format!("the import of transaction {id} is missing")))?;
        if cents == 0 {
            return Err(Failure::Integrity(format!("transaction {id} has no amount")));
        }
        transactions.push(json!({ "id": id, "amount_cents": cents, "description": description, "bank": bank }));
    }
    if transactions.is_empty() {
        return Err(Failure::Integrity("there are no imported transactions".to_owned()));
    }
    Ok(Json(json!({ "transactions": transactions })))
}

async fn latest(State(service): State<Arc<Service>>, Query(page): Query<Page>) -> Answer {
    let rows = service
        .ask(
            "SELECT n.id, i.object_key, i.row_count::bigint, n.found
             FROM (SELECT import_id AS id, count(*) AS found FROM transactions WHERE import_id IS NOT NULL
                   GROUP BY import_id ORDER BY import_id DESC LIMIT $1) n
             LEFT JOIN ofx_imports i ON i.id = n.id ORDER BY n.id DESC",
            &[&page.limit()],
        )
        .await?;
    let mut imports = Vec::new();
    for row in &rows {
        let (id, key, said, found): (i64, Option<String>, Option<i64>, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let (Some(key), Some(said)) = (key, said) else {
            return Err(Failure::Integrity(format!("import {id} is missing, and {found} transactions came from it")));
        };
        if said != found {
            return Err(Failure::Integrity(format!("import {id} says {said} transactions and has {found}")));
        }
        imports.push(json!({ "id": id, "object_key": key, "transactions": said }));
    }
    if imports.is_empty() {
        return Err(Failure::Integrity("there are no imports".to_owned()));
    }
    Ok(Json(json!({ "imports": imports })))
}
