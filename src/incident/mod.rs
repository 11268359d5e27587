//! The pure domain: what happened ([`Event`]), what is so because of it ([`State`]), what a person may ask
//! ([`Command`]) and what follows ([`decide()`], [`react()`], [`effects()`]).
//!
//! Nothing here touches a clock, a socket, a file or randomness: the same events give the same state, in the
//! engine, in every client, after a crash, in an export and in a test. This room imports only `runbook`.

mod command;
mod decide;
mod effects;
mod escalation;
mod event;
mod facts;
mod ids;
mod knowledge;
mod notice;
mod pending;
mod plan;
mod precedent;
mod react;
mod read;
mod report;
mod seal;
mod state;
mod time;
mod timeline;

pub use command::{Command, Query, Refusal};
pub use decide::{Decision, decide};
pub use effects::{effects, owed, recover};
pub use escalation::{Escalation, escalations, is_call_due};
pub use event::{Channel, Event, EventKind, First, Outcome, Problem, Settlement};
pub use facts::{Fact, KeptObject, ObjectRef, Replicas};
pub use ids::{Actor, AttemptId, IncidentId, IncidentIdError, MessageId};
pub use knowledge::{Knowledge, KnownFact, PastAttempt};
pub use notice::{Contents, Listing, LogLevel, Notice, Person, Series, SnapshotRow, TableContents};
pub use pending::{PLAN_LIFETIME, PendingPlans};
pub use plan::{Ask, AskKind, Choice, Digest, Finding, Gravity, Inputs, Plan, TargetIdentity};
pub use precedent::{Precedent, precedents};
pub use react::react;
pub use report::{Effect, Report};
pub use seal::{Seal, SealError};
pub use state::{
    Attempt, Consent, Fold, Footing, Handover, MessageState, OwedMessage, ReplayError, Sending, State, StepState,
    StepStatus, Told,
};
pub use time::{TimeError, ago, clock, duration_text, loss, read_time};
pub use timeline::{Level, Spoke, TimelineEntry};
