//! Facts that happened. The journal holds these and nothing else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runbook::StepId;

use super::{Actor, AttemptId, Digest, Fact, IncidentId, MessageId, Plan};

/// Something that happened, with its place in the incident's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Counted from 1 without gaps.
    pub seq: u64,
    /// When, UTC.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Something that went wrong, in words for a person and with what a machine may do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What failed: "scale deployment api to 0".
    pub what: String,
    /// On which target.
    pub target: String,
    /// Why.
    pub why: String,
    /// What the person can do now.
    pub next: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} failed on {}: {} {}", self.what, self.target, self.why, self.next)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It did what its plan said, and that was proved.
    Succeeded {
        /// What proves it, a line each. The first line is the one for the timeline.
        evidence: Vec<String>,
        /// What later steps rest on.
        facts: Vec<Fact>,
    },
    /// It did not.
    Failed {
        /// Why.
        problem: Problem,
    },
    /// A person stopped it.
    Stopped {
        /// What it left.
        detail: String,
    },
    /// Nobody knows whether it had its effect.
    InDoubt {
        /// Why not.
        problem: Problem,
    },
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A note on the PagerDuty incident.
    PagerDutyNote,
    /// A message in the Slack channel.
    SlackMessage,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::PagerDutyNote, Self::SlackMessage];

    /// What people call the service.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PagerDutyNote => "PagerDuty",
            Self::SlackMessage => "Slack",
        }
    }
}

/// The first of two people who approved one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Both used one account, so that they were two people is somebody's word and not proved.
    pub asserted: bool,
}

/// Written with the other members of its event, after a `kind`; read as the value of that kind. The two forms come from one
/// definition: what serde makes of the first when it reads takes many times as long (see `read`).
macro_rules! written_flat {
    ($(#[$doc:meta])* pub enum $name:ident { $($variants:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum $name { $($variants)* }

        #[derive(Deserialize)]
        #[serde(remote = "EventKind", rename_all = "snake_case")]
        pub(super) enum Stored { $($variants)* }
    };
}

written_flat! {
    /// What happened.
    pub enum EventKind {
        /// The incident began.
        Opened {
            /// Its id.
            id: IncidentId,
            /// The config's word for where we are.
            environment: String,
            /// The runbook's text, so that the incident can be read for ever.
            runbook: String,
            /// What an error calls the runbook's file.
            origin: String,
            /// Name of the database in titles and messages.
            database: String,
            /// Time from the onset in which service should be back, in seconds.
            rto_seconds: i64,
            /// The most that may be lost, in seconds, where the config says.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            rpo_seconds: Option<i64>,
            /// Two people may use one account for the two approvals of a step: it is recorded as asserted then.
            #[serde(default)]
            one_account: bool,
            /// The program's version.
            version: String,
        },
        /// An engine took the incident up.
        EngineStarted {
            /// Its process id.
            pid: u32,
            /// The program's version.
            version: String,
        },
        /// A torn last line was cut off the journal.
        JournalRepaired {
            /// Bytes that were cut.
            bytes: u64,
        },
        /// A person approved a plan; the attempt is to run.
        Approved {
            /// The attempt that now begins.
            attempt: AttemptId,
            /// What was approved, whole.
            plan: Box<Plan>,
            /// Who approved it before, where it took two.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            first: Option<First>,
        },
        /// The first of two people approved a plan; nothing runs yet.
        Consented {
            /// What was approved, whole: the second person approves the very same.
            plan: Box<Plan>,
        },
        /// The first of two approvals is void.
        ConsentWithdrawn {
            /// The step.
            step: StepId,
            /// Why.
            because: String,
        },
        /// Something about an attempt at work, for the timeline: it stands still, it goes on.
        Remarked {
            /// Which.
            attempt: AttemptId,
            /// What.
            text: String,
        },
        /// An attempt ended.
        Finished {
            /// Which.
            attempt: AttemptId,
            /// How.
            #[serde(flatten)]
            outcome: Outcome,
        },
        /// The target was asked what became of an attempt, and cannot tell: a person has to.
        StillInDoubt {
            /// Which.
            attempt: AttemptId,
            /// What the target does say.
            problem: Problem,
        },
        /// An attempt in doubt was settled.
        Settled {
            /// Which.
            attempt: AttemptId,
            /// By asking the target, or by a person's word.
            by: Settlement,
            /// What it is now taken for.
            #[serde(flatten)]
            outcome: Outcome,
        },
        /// A person asked for an attempt to stop.
        StopRequested {
            /// Which.
            attempt: AttemptId,
        },
        /// A step was left out.
        Skipped {
            /// Which.
            step: StepId,
            /// Why.
            reason: String,
        },
        /// A step was done outside relight.
        DoneByHand {
            /// Which.
            step: StepId,
            /// What was done.
            note: String,
        },
        /// A step is to be done (again).
        Reopened {
            /// Which.
            step: StepId,
            /// Because of what.
            because: String,
        },
        /// A person's note.
        Noted {
            /// The text.
            text: String,
        },
        /// A note says something else from now on; what it said stays in the journal.
        Corrected {
            /// The number of the event that is the note.
            note: u64,
            /// What it says now.
            text: String,
        },
        /// Somebody wants to hand the incident over, and wrote down how it stands.
        HandoverOffered {
            /// The page that the next one reads.
            text: String,
        },
        /// Somebody read the page and took the incident over.
        TakenOver {
            /// Digest of the page.
            page: Digest,
        },
        /// A message is owed.
        MessageQueued {
            /// Its id.
            message: MessageId,
            /// Where it goes.
            channel: Channel,
            /// What it says.
            text: String,
            /// The sequence number of the event that it tells about; each is told once.
            about: u64,
        },
        /// A message arrived.
        MessageSent {
            /// Which.
            message: MessageId,
            /// The receiver's id of it.
            reference: String,
        },
        /// Nobody knows whether a message arrived, and the receiver cannot be asked.
        MessageInDoubt {
            /// Which.
            message: MessageId,
            /// Why not.
            problem: Problem,
        },
        /// A person looked whether it arrived.
        MessageSettled {
            /// Which.
            message: MessageId,
            /// It did; else it is sent again.
            arrived: bool,
            /// How the person knows.
            note: String,
        },
        /// A message was given up on.
        MessageFailed {
            /// Which.
            message: MessageId,
            /// Why.
            problem: Problem,
        },
        /// Something happened on a target that nobody here asked for.
        Alarm {
            /// The step that watches the target.
            step: StepId,
            /// What happened.
            text: String,
        },
        /// A contact was told.
        Escalated {
            /// Their role in the runbook.
            role: String,
            /// What was said.
            note: String,
        },
        /// The incident is over.
        Closed {},
    }
}

/// What settled a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The target was asked.
    Probe,
    /// A person said so.
    Person,
}
