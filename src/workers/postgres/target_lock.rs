//! One incident at a time per database: an advisory lock that the server itself holds.

use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::incident::IncidentId;
use crate::runbook::TargetRef;
use crate::workers::WorkerError;

use super::server::{Server, application};
use super::session::{Identity, Session};

/// Where the lock is taken: a database that a restore does not touch.
const DATABASE: &str = "postgres";

/// The right to change a database, for as long as this lives. Dropping it gives the right back; so does the end of
/// this process, since the server sees the connection close.
#[derive(Debug)]
pub struct TargetLock {
    session: Session,
    /// Another session of this incident holds it; ours only looked.
    shared: bool,
}

impl TargetLock {
    /// Takes the lock of a target for an incident. A session of the same incident may hold it already.
    ///
    /// # Errors
    /// Another incident has it, which is named, or the server cannot be reached.
    pub async fn take(config: &Config, target: &TargetRef, incident: &IncidentId) -> Result<Self, WorkerError> {
        let server = Server::of(config, target).await?;
        let identity = server.connect(incident, "identify").await?.identity().await?;
        Self::take_on(&server, &identity, incident).await
    }

    pub(super) async fn take_on(
        server: &Server,
        identity: &Identity,
        incident: &IncidentId,
    ) -> Result<Self, WorkerError> {
        let doing = "take the lock of the database";
        let session =
            server.connect_to(DATABASE, &application(incident, &format!("holds {}", server.database))).await?;
        if identity.major >= 14 {
            // The session is idle for as long as the restore takes.
            session.batch(doing, "SET idle_session_timeout = 0").await?;
        }
        let key = key(identity, server);
        let taken: bool = session.one(doing, "SELECT pg_catalog.pg_try_advisory_lock($1)", &[&key]).await?.get(0);
        if taken {
            return Ok(Self { session, shared: false });
        }
        let [high, low] = halves(key);
        let holder = session
            .query(
                doing,
                "SELECT coalesce(a.application_name, ''), l.pid, coalesce(a.usename::text, '?') FROM pg_catalog.pg_locks l \
                 LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted \
                 AND l.objsubid = 1 AND l.classid = $1 AND l.objid = $2",
                &[&high, &low],
            )
            .await?;
        let holder: Option<(String, i32, String)> = holder.first().map(|row| (row.get(0), row.get(1), row.get(2)));
        if holder.as_ref().is_some_and(|(name, ..)| name.starts_with(&format!("relight {incident} "))) {
            return Ok(Self { session, shared: true });
        }
        let who = holder.map_or_else(
            || "Another session, which has just gone,".to_owned(),
            |(name, pid, user)| match name.strip_prefix("relight ").and_then(|rest| rest.split(' ').next()) {
                Some(other) => format!("The incident {other} (session {pid} of {user})"),
                None => format!("The session {pid} of {user} ({name})"),
            },
        );
        Err(WorkerError::new(
            doing,
            server.name(),
            format!("{who} is changing this database already."),
            "Two restores at once would destroy each other: attach to that incident (relight list), or close it first.",
        ))
    }

    /// Whether it is still held: the server closes the connection when it restarts.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.session.is_closed()
    }

    /// Another session of the same incident is the one that holds it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Gives it back and waits until the server knows.
    pub async fn release(self) {
        self.session.close().await;
    }
}

/// The same for everybody who means this database on this server.
fn key(identity: &Identity, server: &Server) -> i64 {
    let system = identity.system.clone().unwrap_or_else(|| format!("{}:{}", server.host, server.port));
    let hash = Sha256::digest(format!("relight target\n{system}\n{}", server.database));
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    i64::from_be_bytes(bytes)
}

/// A 64-bit key as `pg_locks` shows it: the high half in `classid`, the low half in `objid`.
fn halves(key: i64) -> [u32; 2] {
    let (bytes, mut halves) = (key.to_be_bytes(), [[0; 4]; 2]);
    halves.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(to, from)| to.copy_from_slice(from));
    halves.map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::halves;

    #[test]
    fn a_key_is_found_by_its_halves() {
        assert_eq!(halves(0x0123_4567_89ab_cdef), [0x0123_4567, 0x89ab_cdef]);
        assert_eq!(halves(-1), [u32::MAX; 2]);
    }
}
