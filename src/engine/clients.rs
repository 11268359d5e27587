//! Who looks on, and how much is waiting for each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::incident::{Event, Notice, Person, Refusal, Seal};

use super::{ClientId, Seat};

/// Messages that may wait for one client. One that reads slower is let go: it attaches again where it left off.
const QUEUE: usize = 4096;
/// Bytes of output that may wait for one client before further notices are left out for it.
const NOTICE_BYTES: usize = 256 << 10;

/// What the engine tells a client.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// Something happened.
    Event(Arc<Event>),
    /// The journal's end, after what happened.
    Sealed(Arc<Seal>),
    /// Something to show.
    Notice(Arc<Notice>),
    /// A command was dealt with.
    Reply {
        /// The client's number for it.
        id: u64,
        /// Done, or why not.
        result: Result<(), Refusal>,
    },
}

/// A client's end of its queue.
#[derive(Debug)]
pub struct Subscription {
    rx: mpsc::Receiver<(Outgoing, usize)>,
    waiting: Arc<AtomicUsize>,
}

impl Subscription {
    /// The next message; none when the engine let this client go or ended.
    pub async fn next(&mut self) -> Option<Outgoing> {
        let (message, weight) = self.rx.recv().await?;
        self.waiting.fetch_sub(weight, Ordering::Relaxed);
        Some(message)
    }

    /// Nothing waits at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rx.is_empty()
    }
}

#[derive(Debug)]
struct Client {
    seat: Seat,
    tx: mpsc::Sender<(Outgoing, usize)>,
    waiting: Arc<AtomicUsize>,
}

impl Client {
    /// False when the client is too slow, or gone.
    fn send(&self, message: Outgoing) -> bool {
        let weight = weight(&message);
        let is_notice = matches!(message, Outgoing::Notice(_));
        if is_notice && (self.waiting.load(Ordering::Relaxed) > NOTICE_BYTES || self.tx.capacity() < QUEUE / 2) {
            return true;
        }
        self.waiting.fetch_add(weight, Ordering::Relaxed);
        self.tx.try_send((message, weight)).is_ok()
    }
}

fn weight(message: &Outgoing) -> usize {
    match message {
        Outgoing::Notice(notice) => match &**notice {
            Notice::Output { text, .. } => text.len(),
            Notice::Snapshots(listing) => listing.rows.len() * 256,
            Notice::Contents { result: Ok(contents), .. } => contents.tables.len() * 64,
            _ => 512,
        },
        Outgoing::Event(_) | Outgoing::Sealed(_) | Outgoing::Reply { .. } => 0,
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: BTreeMap<ClientId, Client>,
}

impl Clients {
    pub(super) fn add(&mut self, id: ClientId, seat: Seat) -> Subscription {
        let (tx, rx) = mpsc::channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        self.all.insert(id, Client { seat, tx, waiting: Arc::clone(&waiting) });
        Subscription { rx, waiting }
    }

    /// Who a client is.
    pub(super) fn seat(&self, id: ClientId) -> Option<&Seat> {
        self.all.get(&id).map(|client| &client.seat)
    }

    /// Everybody who is attached, each account once, with whether it only looks on.
    pub(super) fn people(&self) -> Vec<Person> {
        let mut people: BTreeMap<(Option<u32>, bool), Person> = BTreeMap::new();
        for client in self.all.values() {
            let watches = client.seat.watching.is_some();
            let person = Person { name: client.seat.actor.name.clone(), uid: client.seat.actor.uid, watches };
            people.insert((person.uid, watches), person);
        }
        people.into_values().collect()
    }

    pub(super) fn remove(&mut self, id: ClientId) {
        self.all.remove(&id);
    }

    pub(super) fn tell(&mut self, id: ClientId, message: Outgoing) {
        if self.all.get(&id).is_some_and(|client| !client.send(message)) {
            self.all.remove(&id);
        }
    }

    pub(super) fn broadcast(&mut self, message: &Outgoing) {
        self.all.retain(|_, client| client.send(message.clone()));
    }
}
