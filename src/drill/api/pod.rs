//! What runs in a pod: one real database session as the application's role, which writes all the time.

use std::time::Duration;

use crate::drill::db::{Login, Session};
use crate::drill::error::SandboxError;
use crate::drill::meters::{Meters, Outcome};

/// Time between two writes of a pod.
pub(crate) const PACE: Duration = Duration::from_millis(200);

/// No write waits longer than this, for instance for a lock that a restore holds; it counts as failed then.
const OPTIONS: &str = "-c statement_timeout=2s -c lock_timeout=1s -c idle_in_transaction_session_timeout=5s";

/// What a deployment's pods write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A card payment: a transaction, the account's balance, and a look whether the account adds up.
    Payments,
    /// A received file: a row in `ofx_imports` and one in `audit_log`.
    Imports,
}

/// A pod's program.
#[derive(Debug)]
pub(crate) struct Writer {
    name: String,
    work: Work,
    login: Login,
    meters: Meters,
    session: Option<Session>,
    written: u32,
}

impl Writer {
    pub(crate) fn new(name: String, work: Work, login: Login, meters: Meters) -> Self {
        Self { name, work, login, meters, session: None, written: 0 }
    }

    /// Connects, which is what makes a pod ready.
    pub(crate) async fn connect(&mut self) -> Result<(), SandboxError> {
        self.session = Some(self.login.connect(&self.name, OPTIONS).await?);
        Ok(())
    }

    /// Writes once and counts how it went; connects again first if the session was lost.
    pub(crate) async fn write(&mut self) {
        if self.session.as_ref().is_none_or(|session| session.is_closed())
            && let Err(error) = self.connect().await
        {
            tracing::debug!(pod = self.name, %error, "cannot connect");
            self.session = None;
            self.meters.count(Outcome::Failed);
            return;
        }
        let Some(session) = self.session.as_mut() else {
            return;
        };
        self.written = self.written.wrapping_add(1);
        let outcome = match self.work {
            Work::Payments => pay(session, &self.name, self.written).await,
            Work::Imports => import(session, &self.name, self.written).await,
        };
        let outcome = outcome.unwrap_or_else(|error| {
            tracing::debug!(pod = self.name, %error, "a write failed");
            Outcome::Failed
        });
        self.meters.count(outcome);
    }

    /// Closes the session and waits until it is closed.
    pub(crate) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}

async fn pay(session: &mut Session, pod: &str, number: u32) -> Result<Outcome, tokio_postgres::Error> {
    let transaction = session.transaction().await?;
    let cents = -(1 + i64::from(number % 9000));
    let description = format!("Card payment {pod} {number}");
    // The account follows from pod and number, so that every pod walks over all accounts, damaged ones among them.
    let row = transaction
        .query_one(
            "WITH target AS (
                 SELECT 1 + (hashtextextended($1, 0) & 1048575) % (SELECT max(id) FROM accounts) AS id
             ), payment AS (
                 INSERT INTO transactions (account_id, amount_cents, category, description, booked_on, created_at)
                 SELECT id, $2, 'card', $1, current_date, now() FROM target RETURNING account_id
             )
             UPDATE accounts a SET balance_cents = balance_cents + $2 FROM payment p WHERE a.id = p.account_id RETURNING a.id",
            &[&description, &cents],
        )
        .await?;
    let account: i64 = row.get(0);
    let adds_up: bool = transaction
        .query_one(
            "SELECT balance_cents = (SELECT coalesce(sum(amount_cents), 0) FROM transactions WHERE account_id = $1) FROM accounts WHERE id = $1",
            &[&account],
        )
        .await?
        .get(0);
    transaction.commit().await?;
    Ok(if adds_up { Outcome::Good } else { Outcome::Inconsistent })
}

async fn import(session: &mut Session, pod: &str, number: u32) -> Result<Outcome, tokio_postgres::Error> {
    let transaction = session.transaction().await?;
    let key = format!("statements/{pod}-{number}.ofx");
    transaction
        .execute(
            "INSERT INTO ofx_imports (account_id, object_key, bank, status, row_count, received_at)
             SELECT 1 + (hashtextextended($1, 0) & 1048575) % (SELECT max(id) FROM accounts), $1, 'Nordbank', 'received', 0, now()",
            &[&key],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO audit_log (actor, action, details, at) VALUES ('ingest-worker', 'import', jsonb_build_object('object_key', $1::text), now())",
            &[&key],
        )
        .await?;
    transaction.commit().await?;
    Ok(Outcome::Good)
}
