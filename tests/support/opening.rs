//! How a test's incident begins.

use jiff::Timestamp;
use relight::incident::{Actor, Event, EventKind, IncidentId};

/// The first event of an incident with this runbook, opened now by ana.
pub(crate) fn opening(id: &str, environment: &str, database: &str, runbook: &str) -> Event {
    Event {
        seq: 1,
        at: Timestamp::now(),
        actor: Actor { name: "ana".to_owned(), uid: Some(1000) },
        kind: EventKind::Opened {
            id: IncidentId::new(id).expect("an id"),
            environment: environment.to_owned(),
            runbook: runbook.to_owned(),
            origin: "test".to_owned(),
            database: database.to_owned(),
            rto_seconds: 3600,
            rpo_seconds: None,
            one_account: false,
            version: "0".to_owned(),
        },
    }
}
