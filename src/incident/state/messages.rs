//! Messages that are owed to the outside, and what became of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::State;
use crate::incident::{Channel, EventKind, MessageId, Problem, Spoke, TimelineEntry};

/// How far a message got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageState {
    /// It is owed.
    Unsent,
    /// It arrived; the receiver's id of it.
    Sent(String),
    /// Nobody knows, and the receiver cannot be asked.
    InDoubt(Problem),
    /// It was given up.
    Failed(Problem),
}

/// A message owed to the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedMessage {
    /// Its id.
    pub id: MessageId,
    /// Where it goes.
    pub channel: Channel,
    /// What it says.
    pub text: String,
    /// The sequence number of the event that it tells about.
    pub about: u64,
    /// When it became owed.
    pub at: Timestamp,
    /// How far it got.
    pub state: MessageState,
}

/// Messages by what is asked of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    unsent: BTreeSet<MessageId>,
    doubtful: BTreeSet<MessageId>,
    /// By the event that they tell about.
    about: BTreeMap<u64, Vec<MessageId>>,
}

impl Places {
    fn put(&mut self, message: MessageId, state: &MessageState) {
        self.unsent.remove(&message);
        self.doubtful.remove(&message);
        match state {
            MessageState::Unsent => self.unsent.insert(message),
            MessageState::InDoubt(_) => self.doubtful.insert(message),
            MessageState::Sent(_) | MessageState::Failed(_) => false,
        };
    }
}

/// How far something got on its way to one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// It will be told as soon as there is somebody to tell.
    Planned,
    /// It is owed.
    Unsent,
    /// It arrived.
    Sent,
    /// Nobody knows whether it arrived.
    InDoubt,
    /// It was given up, or was not sent.
    Failed,
}

impl Sending {
    /// In a word or two.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "not told yet",
            Self::Unsent => "unsent",
            Self::Sent => "sent",
            Self::InDoubt => "in doubt",
            Self::Failed => "not sent",
        }
    }
}

/// Where an entry of the timeline was sent, and how far that got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Where.
    pub channel: Channel,
    /// How far.
    pub how: Sending,
}

impl State {
    /// Where an entry of the timeline was sent, and how far that got: what its step said itself, and what is owed of it.
    #[must_use]
    pub fn told(&self, entry: &TimelineEntry) -> Vec<Told> {
        let spoke = entry.spoke.map(|(channel, how)| Told {
            channel,
            how: match how {
                Spoke::Sent => Sending::Sent,
                Spoke::InDoubt => Sending::InDoubt,
                Spoke::Unsent => Sending::Failed,
            },
        });
        let owed = self.messages_about(entry.seq).map(|message| Told {
            channel: message.channel,
            how: match message.state {
                MessageState::Unsent => Sending::Unsent,
                MessageState::Sent(_) => Sending::Sent,
                MessageState::InDoubt(_) => Sending::InDoubt,
                MessageState::Failed(_) => Sending::Failed,
            },
        });
        let planned = Told { channel: Channel::PagerDutyNote, how: Sending::Planned };
        let untold = self.untold.contains(&entry.seq).then_some(planned);
        spoke.into_iter().chain(owed).chain(untold).collect()
    }

    /// Folds what became of an owed message.
    pub(super) fn take_message(&mut self, kind: EventKind, at: Timestamp) {
        match kind {
            EventKind::MessageQueued { message: id, channel, text, about } => {
                if channel == Channel::PagerDutyNote {
                    self.untold.remove(&about);
                }
                self.places.put(id, &MessageState::Unsent);
                self.places.about.entry(about).or_default().push(id);
                self.messages.insert(id, OwedMessage { id, channel, text, about, at, state: MessageState::Unsent });
            }
            EventKind::MessageSent { message, reference } => {
                self.set_message(message, MessageState::Sent(reference));
            }
            EventKind::MessageInDoubt { message, problem } => {
                self.set_message(message, MessageState::InDoubt(problem));
            }
            EventKind::MessageSettled { message, arrived, note } => {
                let to = if arrived { MessageState::Sent(note) } else { MessageState::Unsent };
                self.set_message(message, to);
            }
            EventKind::MessageFailed { message, problem } => {
                self.set_message(message, MessageState::Failed(problem));
            }
            _ => {}
        }
    }

    fn set_message(&mut self, message: MessageId, to: MessageState) {
        if let Some(known) = self.messages.get_mut(&message) {
            self.places.put(message, &to);
            known.state = to;
        }
    }

    /// The next message's id.
    #[must_use]
    pub fn next_message(&self) -> MessageId {
        MessageId(self.messages.keys().next_back().map_or(1, |last| last.0.saturating_add(1)))
    }

    /// Messages of which nobody knows whether they arrived.
    pub fn doubtful_messages(&self) -> impl Iterator<Item = &OwedMessage> {
        self.places.doubtful.iter().filter_map(|message| self.messages.get(message))
    }

    /// Messages that are still owed.
    pub fn unsent(&self) -> impl Iterator<Item = &OwedMessage> {
        self.places.unsent.iter().filter_map(|message| self.messages.get(message))
    }

    /// Messages that tell about an event.
    pub fn messages_about(&self, seq: u64) -> impl Iterator<Item = &OwedMessage> {
        self.places.about.get(&seq).into_iter().flatten().filter_map(|message| self.messages.get(message))
    }
}
