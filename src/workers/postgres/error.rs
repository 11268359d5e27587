//! What PostgreSQL says, in words for a person.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::workers::{Disposition, WorkerError};

use super::server::Server;

const RETRY: &str = "Nothing is lost: retry (r).";

/// An error of the server or of the way to it, as a worker's error. DETAIL and CONTEXT are left out: they hold rows.
pub(super) fn fault(operation: &str, server: &Server, error: &tokio_postgres::Error) -> WorkerError {
    let new = |cause: String, next: &str| WorkerError::new(operation, server.name(), cause, next);
    let Some(said) = error.as_db_error() else {
        let reason = innermost(error);
        let reason = reason.trim_end_matches('.');
        // The second is how a connection ends that breaks in the middle of a message.
        if error.is_closed() || reason == "bytes remaining on stream" {
            return new("The server closed the connection.".to_owned(), "Look at the server's log, then retry (r).")
                .with(Disposition::Retry);
        }
        if reason.contains("password missing") {
            return new(
                format!("The server wants a password for {}, and none is known.", server.user),
                "Name one in the config, in PGPASSWORD or in ~/.pgpass, then retry (r).",
            );
        }
        if reason.contains("certificate") {
            return new(
                format!("The server's certificate is not accepted: {reason}."),
                "Check sslmode and sslrootcert in the config, and that the host is the right one.",
            );
        }
        if reason.contains("does not support TLS") {
            return new(
                "The server has no TLS, and sslmode asks for it.".to_owned(),
                "Check host and sslmode in the config.",
            );
        }
        let place = format!("{}:{}", server.host, server.port);
        return new(
            format!("The server at {place} cannot be reached: {reason}."),
            "Check host, port and network, and that the server runs, then retry (r).",
        )
        .with(Disposition::Retry);
    };
    let message = said.message();
    match said.code() {
        code if [&SqlState::INVALID_PASSWORD, &SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(&code) => new(
            format!("The server does not let {} in: {message}.", server.user),
            "Check user and password in the config, and the server's pg_hba.conf.",
        ),
        code if *code == SqlState::INVALID_CATALOG_NAME => new(
            format!("There is no database {} on this server.", server.database),
            "Check host and database in the config.",
        ),
        code if *code == SqlState::TOO_MANY_CONNECTIONS => new(
            "The server has no connection left.".to_owned(),
            "End sessions that hold them (stop the writers), then retry (r).",
        )
        .with(Disposition::Retry),
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => new(
            format!("{} may not do that: {message}.", server.user),
            "Grant the right, or name another user in the config, then retry (r).",
        ),
        code if [&SqlState::CANNOT_CONNECT_NOW, &SqlState::ADMIN_SHUTDOWN, &SqlState::CRASH_SHUTDOWN]
            .contains(&code) =>
        {
            new(
                format!("The server is starting or stopping: {message}."),
                "Wait until it takes connections, then retry (r).",
            )
            .with(Disposition::Retry)
        }
        code if *code == SqlState::DISK_FULL => {
            new("The server's disk is full.".to_owned(), "Free space on the server, then retry (r).")
        }
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => new(
            "The server only takes reads: it is a standby, or default_transaction_read_only is on.".to_owned(),
            "Point the config at the primary.",
        ),
        code => new(format!("The server says: {message} ({}).", code.code()), RETRY),
    }
}

/// The last error of the chain: the one that names the reason.
fn innermost(error: &tokio_postgres::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    let mut depth = error.source();
    while let Some(source) = depth {
        last = source;
        depth = source.source();
    }
    last.to_string()
}
