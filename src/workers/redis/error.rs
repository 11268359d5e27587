//! What Redis says, in words for a person. The replies' texts are those of Redis' `server.c` and `acl.c`.

use redis::{ErrorKind, RedisError};

use crate::workers::{Disposition, WorkerError};

const RETRY: &str = "Nothing was changed: retry (r).";

/// An error of Redis as a worker's error.
pub(super) fn fault(operation: &str, target: &str, error: &RedisError) -> WorkerError {
    let said = error.detail().unwrap_or_default();
    let ask = Disposition::AskOperator;
    let (cause, next, disposition) = match (error.code().unwrap_or_default(), error.kind()) {
        ("NOAUTH", _) => (
            "Redis wants a password and the config has none.".to_owned(),
            "Set user and password of this target in the config, then retry (r).",
            ask,
        ),
        ("WRONGPASS", _) | (_, ErrorKind::AuthenticationFailed) => (
            "Redis does not accept the user or the password.".to_owned(),
            "Correct them in the config, then retry (r).",
            ask,
        ),
        ("NOPERM", _) => (
            format!("This user may not do that. Redis says: {said}"),
            "Grant it (ACL SETUSER … +flushdb), or use another user in the config, then retry (r).",
            ask,
        ),
        ("READONLY", _) => (
            "This node is a read-only replica.".to_owned(),
            "Point the config at the master (after a failover it is another node), then prepare the step again.",
            ask,
        ),
        ("LOADING", _) => ("Redis is still loading its data.".to_owned(), RETRY, Disposition::Retry),
        ("BUSY", _) => (
            "A script blocks Redis.".to_owned(),
            "Wait for it, or end it with SCRIPT KILL, then retry (r).",
            Disposition::Retry,
        ),
        ("MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN", _) => {
            (format!("Redis has no master at the moment. It says: {said}"), RETRY, Disposition::Retry)
        }
        ("MISCONF", _) => (
            "Redis refuses every write, because its last save to disk failed.".to_owned(),
            "Mend its disk (its log says what is wrong), then retry (r).",
            ask,
        ),
        ("NOREPLICAS", _) => (
            "Redis refuses every write, because too few replicas follow it.".to_owned(),
            "Bring its replicas back (min-replicas-to-write), then retry (r).",
            ask,
        ),
        (_, _) if said.starts_with("unknown command") => (
            "Redis does not know the command: it was renamed or switched off, or the server is too old.".to_owned(),
            "Ask who runs this server under which name FLUSHDB is kept (rename-command), and flush it by hand (m).",
            ask,
        ),
        _ if error.is_timeout() => ("Redis did not answer in time.".to_owned(), RETRY, Disposition::Retry),
        _ if error.is_io_error() || error.is_connection_dropped() => (
            format!("Redis cannot be reached: {error}."),
            "Check host, port and tls in the config, and the network, then retry (r).",
            Disposition::Retry,
        ),
        _ => (format!("{error}."), "Look at the program's log (L), then retry (r).", ask),
    };
    WorkerError::new(operation, target, cause, next).with(disposition)
}
