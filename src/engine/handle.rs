//! The way into the engine's loop.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use crate::incident::{Actor, Command, IncidentId, Notice, Query, Refusal, Report};

use super::Subscription;

/// A connection's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Everything that the loop deals with.
#[derive(Debug)]
pub enum Input {
    /// A client wants to look on.
    Connect {
        /// Its number.
        client: ClientId,
        /// Where its view begins.
        reply: oneshot::Sender<Joined>,
    },
    /// A client left.
    Disconnect {
        /// Its number.
        client: ClientId,
    },
    /// A client asks for something to be done.
    Command {
        /// Its number.
        client: ClientId,
        /// The client's number for the command.
        id: u64,
        /// Who asks; from the socket, never from the client's word.
        actor: Actor,
        /// What.
        command: Command,
    },
    /// A client asks to be shown something.
    Query {
        /// Its number.
        client: ClientId,
        /// The client's number for the query.
        id: u64,
        /// What.
        query: Query,
    },
    /// A task tells what came of its work.
    Report(Report),
    /// A plan was worked out; `context` is the footing that it was made on.
    Planned {
        /// The report.
        report: Report,
        /// Digest of the footing.
        context: crate::incident::Digest,
    },
    /// A task shows something.
    Notice(Notice),
    /// The answer to one client's query.
    Answer {
        /// The client.
        client: ClientId,
        /// The client's number for the query.
        id: u64,
        /// What to show, if there is more to it than that it was done; or why it was not.
        result: Result<Option<Notice>, Refusal>,
    },
    /// The process is to end.
    Shutdown,
}

/// What a client needs to begin: the history is in the journal's first `length` bytes, everything later comes
/// through the subscription.
#[derive(Debug)]
pub struct Joined {
    /// The incident.
    pub incident: IncidentId,
    /// The journal.
    pub journal: PathBuf,
    /// Bytes of it that are history.
    pub length: u64,
    /// The last event in it.
    pub seq: u64,
    /// What comes after.
    pub subscription: Subscription,
}

/// The way into the engine's loop. Clones lead to the same loop.
#[derive(Debug, Clone)]
pub struct Handle(pub(super) mpsc::Sender<Input>);

impl Handle {
    /// Hands an input in; false when the engine has ended.
    pub async fn send(&self, input: Input) -> bool {
        self.0.send(input).await.is_ok()
    }

    /// Hands a notice in; it is dropped when the loop has more to do than it can.
    pub fn notice(&self, notice: Notice) {
        // Notices are droppable by definition; events are not and take `send`.
        let _ = self.0.try_send(Input::Notice(notice));
    }

    /// Joins as a client; none when the engine has ended.
    pub async fn connect(&self, client: ClientId) -> Option<Joined> {
        let (reply, joined) = oneshot::channel();
        self.0.send(Input::Connect { client, reply }).await.ok()?;
        joined.await.ok()
    }
}
