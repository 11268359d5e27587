//! The way into the engine's loop.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use crate::incident::{Actor, Command, Footing, IncidentId, Notice, Plan, Problem, Query, Refusal, Report, Seal};
use crate::runbook::StepId;

use super::Subscription;

/// A connection's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Whom a connection belongs to, and whether they may act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The account at the socket's other end, from the kernel and never from the client's word.
    pub actor: Actor,
    /// Why they may not act; none where they may.
    pub watching: Option<String>,
}

/// What becomes of a plan that was worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Whoever asked for it is shown it, and decides.
    Show,
    /// Its step only reads, and begins by itself.
    Begin,
}

/// Everything that the loop deals with.
#[derive(Debug)]
pub enum Input {
    /// A client wants to look on.
    Connect {
        /// Its number.
        client: ClientId,
        /// Who it is.
        seat: Seat,
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
    /// A plan was worked out, or could not be.
    Planned {
        /// The step.
        step: StepId,
        /// The plan, without its context digest.
        result: Result<Box<Plan>, Problem>,
        /// What it was made on.
        footing: Footing,
        /// What becomes of it.
        then: Then,
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
    /// The last event in it, and its digest.
    pub seal: Seal,
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
    pub async fn connect(&self, client: ClientId, seat: Seat) -> Option<Joined> {
        let (reply, joined) = oneshot::channel();
        self.0.send(Input::Connect { client, seat, reply }).await.ok()?;
        joined.await.ok()
    }
}
