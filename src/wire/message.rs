//! What client and engine say to each other. A frame is a big-endian `u32` length and that many bytes of JSON.

use serde::{Deserialize, Serialize};

use crate::incident::{Actor, Command, Event, IncidentId, Notice, Query, Refusal, Seal};

/// The version of everything in this file. Client and engine of different versions do not talk: the client
/// says which program to start instead.
pub const PROTOCOL: u32 = 4;

/// The longest frame that is accepted, in bytes.
pub const LONGEST_FRAME: usize = 16 * 1024 * 1024;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToEngine {
    /// The first frame.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The client's program version.
        version: String,
        /// The last event that the client has; 0 for none.
        since: u64,
        /// It only looks on, whatever it may do.
        watch: bool,
    },
    /// Do something.
    Command {
        /// The client's number for it; the reply carries it.
        id: u64,
        /// What.
        command: Command,
    },
    /// Show something.
    Query {
        /// The client's number for it; the reply carries it.
        id: u64,
        /// What.
        query: Query,
    },
}

/// What the engine says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToClient {
    /// The handshake went well. Events after `since` follow, then [`ToClient::CaughtUp`].
    Welcome {
        /// The engine's program version.
        version: String,
        /// The incident.
        incident: IncidentId,
        /// The engine's process.
        pid: u32,
        /// Who the engine takes the client for: the account at the socket's other end.
        you: Actor,
        /// Why the client may not act; none where it may.
        watching: Option<String>,
    },
    /// The handshake did not go well; the connection ends.
    Unwelcome {
        /// Why, and what to do.
        why: String,
    },
    /// Something happened.
    Event {
        /// What.
        event: Box<Event>,
    },
    /// All events up to now were sent.
    CaughtUp {
        /// The last one, and the digest of its line in the journal.
        seal: Seal,
    },
    /// The journal's end, after every batch of events.
    Sealed {
        /// The last event, and the digest of its line.
        seal: Seal,
    },
    /// Something to show.
    Notice {
        /// What.
        notice: Notice,
    },
    /// A command or query was dealt with. For a command: its events are durable.
    Reply {
        /// The client's number.
        id: u64,
        /// Done, or why not.
        result: Result<(), Refusal>,
    },
}
