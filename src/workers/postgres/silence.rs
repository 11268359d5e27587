//! A server that says nothing: is it at work, or gone? An index may take an hour and nobody may cut it short; behind a
//! balancer or a pooler that lost its server, the same silence lasts for ever. Another session can tell them apart.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::workers::{Disposition, WorkerError};

use super::error::fault;
use super::session::Session;

/// After so long without an answer, and again after each time more, it is asked whether the server is at work.
const QUIET: Duration = Duration::from_secs(30);
/// What the other session has to find that out: less than a connection has to be made, for a refusal is a sign of life.
const LOOK: Duration = Duration::from_secs(4);
/// A server under load may be late once.
const LOOKS: u32 = 3;

impl Session {
    /// Waits for an answer for as long as the server works for it.
    ///
    /// # Errors
    /// The server's refusal; or there is silence, and no session of ours at work on the server.
    pub(super) async fn answer<T>(
        &self,
        doing: &str,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, WorkerError> {
        let mut asked = pin!(asked);
        let mut silent = 0;
        while silent < LOOKS {
            match timeout(QUIET, &mut asked).await {
                Ok(answer) => return answer.map_err(|error| fault(doing, self.server(), &error)),
                Err(_) if self.is_at_work().await => silent = 0,
                Err(_) => silent += 1,
            }
        }
        self.hang_up();
        let cause =
            format!("The server has said nothing for {} s, and is not at work on it.", (LOOKS * QUIET).as_secs());
        let next = "Check the network and what stands between (a pooler, a balancer), then retry (r).";
        Err(WorkerError::new(doing, self.server().name(), cause, next).with(Disposition::Retry))
    }

    /// Whether the server may still work for this session. One that refuses another is there; were it gone with a word,
    /// this session would have ended.
    async fn is_at_work(&self) -> bool {
        let looked = async {
            let Ok(other) = self.server().connect_to(&self.server().database, "relight looks").await else {
                return true;
            };
            let sql = format!(
                "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = {} AND coalesce(state, 'active') <> 'idle'",
                self.backend()
            );
            other.rows(&sql).await.is_ok_and(|rows| rows > 0)
        };
        timeout(LOOK, looked).await.unwrap_or(false)
    }
}
