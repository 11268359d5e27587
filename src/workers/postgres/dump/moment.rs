//! The moment of which the dump is, held open for pg_dump.

use jiff::Timestamp;

use crate::workers::WorkerError;

use super::super::session::Session;

/// A moment of the database, and the session's snapshot of it.
pub(super) struct Moment {
    /// What pg_dump takes as `--snapshot`.
    pub(super) snapshot: String,
    pub(super) taken_at: Timestamp,
    /// Where the server's log stood.
    pub(super) lsn: String,
}

impl Moment {
    /// Begins a transaction that only reads, and exports what it sees.
    pub(super) async fn take(session: &Session) -> Result<Self, WorkerError> {
        let doing = "hold a moment of the database";
        session
            .batch(
                doing,
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0",
            )
            .await?;
        let sql = "SELECT pg_catalog.pg_export_snapshot(), (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint, \
             (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END)::text";
        let row = session.one(doing, sql, &[]).await?;
        let taken_at = Timestamp::from_microsecond(row.get(1)).unwrap_or_else(|_| Timestamp::now());
        Ok(Self { snapshot: row.get(0), taken_at, lsn: row.get::<_, Option<String>>(2).unwrap_or_default() })
    }
}
