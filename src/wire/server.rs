//! The engine's side: a unix socket, a handshake, and each client's stream of history and news.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engine::{ClientId, Handle, Input, Joined, Outgoing, Seat};
use crate::incident::Actor;

use super::{PROTOCOL, ToClient, ToEngine, accounts, frame};

/// Bytes of history that go to a client at once.
const BATCH: usize = 64 << 10;
/// Somebody who connects and says nothing is let go.
const HELLO: Duration = Duration::from_secs(5);

/// Who may attach besides the engine's own account, and root.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// The number of the group whose members may look on.
    gid: Option<u32>,
    /// Accounts that may act.
    approvers: Vec<String>,
}

impl Admission {
    /// Members of `group` may look on, and those among `approvers` may act.
    ///
    /// # Errors
    /// The system has no such group.
    pub fn of(group: Option<&str>, approvers: Vec<String>) -> io::Result<Self> {
        let gid =
            match group {
                None => None,
                Some(name) => Some(accounts::group(name).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, format!("this system has no group {name}"))
                })?),
            };
        Ok(Self { gid, approvers })
    }

    /// The group that shares the incident.
    #[must_use]
    pub fn gid(&self) -> Option<u32> {
        self.gid
    }

    /// The seat of a user; none where it has no business here.
    fn seat(&self, uid: u32, watch: bool) -> Option<Seat> {
        let own = rustix::process::getuid().as_raw();
        let actor = Actor { name: accounts::login_name(uid), uid: Some(uid) };
        // Whoever may become root is no second person: root acts where the config says so, as everybody else.
        let ours = uid == own;
        if !ours && uid != 0 && !self.gid.is_some_and(|gid| accounts::is_member(uid, gid)) {
            return None;
        }
        let watching = if watch {
            Some("You only look on (relight watch, or --read-only). `relight attach` may act".to_owned())
        } else if ours || self.approvers.contains(&actor.name) {
            None
        } else {
            Some(format!("You look on: {} is not among people.approvers in the config", actor.name))
        };
        Some(Seat { actor, watching })
    }
}

/// Binds a socket. The caller holds the incident's journal, so a socket file that is there is a dead engine's. Members of
/// `group` may connect to it, where one is given; else only its own account.
///
/// # Errors
/// The system says no.
pub fn bind(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::os::unix::fs::chown(path, None, group)?;
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(listener)
}

/// The task that accepts clients.
#[derive(Debug)]
pub struct Server {
    accepting: Vec<JoinHandle<()>>,
    /// Every client's task holds a sender of it: it closes when all of them have ended.
    attended: mpsc::Receiver<()>,
}

impl Server {
    /// Accepts nobody more, and waits until every client has all that the engine said before it ended, which one that
    /// does not read can hold up for `limit` only.
    pub async fn finish(mut self, limit: Duration) {
        self.accepting.iter().for_each(JoinHandle::abort);
        // Nothing is ever sent; it ends when the last client's task does.
        if tokio::time::timeout(limit, self.attended.recv()).await.is_err() {
            tracing::warn!("a client did not read all that the engine said before it ended");
        }
    }
}

/// Accepts clients on all listeners until it is told to finish.
#[must_use]
pub fn serve(listeners: Vec<UnixListener>, engine: &Handle, admission: &Arc<Admission>) -> Server {
    let (tx, attended) = mpsc::channel(1);
    let next = Arc::new(AtomicU64::new(1));
    let accepting = listeners
        .into_iter()
        .map(|listener| {
            let door = Door { engine: engine.clone(), admission: Arc::clone(admission), next: Arc::clone(&next) };
            tokio::spawn(accept(listener, door, tx.clone()))
        })
        .collect();
    Server { accepting, attended }
}

/// What every listener shares.
struct Door {
    engine: Handle,
    admission: Arc<Admission>,
    next: Arc<AtomicU64>,
}

async fn accept(listener: UnixListener, door: Door, attended: mpsc::Sender<()>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let client = ClientId(door.next.fetch_add(1, Ordering::Relaxed));
                let (engine, admission) = (door.engine.clone(), Arc::clone(&door.admission));
                let attended = attended.clone();
                tokio::spawn(async move {
                    if let Err(error) = attend(stream, client, &engine, &admission).await {
                        tracing::debug!("client {}: {error}", client.0);
                    }
                    engine.send(Input::Disconnect { client }).await;
                    drop(attended);
                });
            }
            Err(error) => {
                // Out of file descriptors, say: the next client may fare better.
                tracing::warn!("a client could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn attend(stream: UnixStream, client: ClientId, engine: &Handle, admission: &Admission) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (mut read, write) = stream.into_split();
    let mut write = BufWriter::with_capacity(1 << 16, write);
    let hello = tokio::time::timeout(HELLO, frame::read::<ToEngine>(&mut read)).await;
    let Ok(Ok(Some(ToEngine::Hello { protocol, version, since, watch }))) = hello else {
        return Ok(());
    };
    let seat = if protocol == PROTOCOL {
        admission.seat(uid, watch).ok_or_else(|| {
            let own = rustix::process::getuid().as_raw();
            format!(
                "this incident belongs to another user (uid {own}); you are uid {uid}, and it is not shared with you"
            )
        })
    } else {
        Err(format!(
            "the engine is relight {} and you run {version}: they do not understand each other. Attach with the \
             engine's version; it keeps working meanwhile",
            env!("CARGO_PKG_VERSION")
        ))
    };
    let seat = match seat {
        Ok(seat) => seat,
        Err(why) => {
            write.write_all(&frame::encode(&ToClient::Unwelcome { why })?).await?;
            return write.flush().await;
        }
    };
    let Some(joined) = engine.connect(client, seat.clone()).await else {
        return Ok(());
    };
    let reading = tokio::spawn(listen(read, client, engine.clone()));
    let told = tell(&mut write, joined, since, seat).await;
    reading.abort();
    told
}

async fn listen(mut read: OwnedReadHalf, client: ClientId, engine: Handle) {
    // Whatever breaks this off, the client is gone.
    while let Ok(Some(message)) = frame::read::<ToEngine>(&mut read).await {
        let input = match message {
            ToEngine::Hello { .. } => break,
            ToEngine::Command { id, command } => Input::Command { client, id, command },
            ToEngine::Query { id, query } => Input::Query { client, id, query },
        };
        if !engine.send(input).await {
            return;
        }
    }
    engine.send(Input::Disconnect { client }).await;
}

async fn tell(write: &mut BufWriter<OwnedWriteHalf>, joined: Joined, since: u64, at: Seat) -> io::Result<()> {
    let Joined { incident, journal, length, seal, mut subscription } = joined;
    let welcome = ToClient::Welcome {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        incident,
        pid: std::process::id(),
        you: at.actor,
        watching: at.watching,
    };
    write.write_all(&frame::encode(&welcome)?).await?;
    let (lines, mut history) = mpsc::channel::<io::Result<Vec<u8>>>(64);
    let reader = tokio::task::spawn_blocking(move || {
        let result = stream_history(&journal, length, since, &lines);
        if let Err(error) = result {
            // The receiver is gone when the client is.
            let _ = lines.blocking_send(Err(error));
        }
    });
    while let Some(frame) = history.recv().await {
        write.write_all(&frame?).await?;
    }
    reader.await.map_err(io::Error::other)?;
    write.write_all(&frame::encode(&ToClient::CaughtUp { seal })?).await?;
    write.flush().await?;
    while let Some(outgoing) = subscription.next().await {
        let message = match outgoing {
            Outgoing::Event(event) => {
                write.write_all(&frame::event(&serde_json::to_vec(&*event)?)?).await?;
                continue;
            }
            Outgoing::Sealed(seal) => ToClient::Sealed { seal: (*seal).clone() },
            Outgoing::Notice(notice) => ToClient::Notice { notice: (*notice).clone() },
            Outgoing::Reply { id, result } => ToClient::Reply { id, result },
        };
        match frame::encode(&message) {
            Ok(frame) => write.write_all(&frame).await?,
            // A notice may be left out; an event that does not fit ends the connection, which the client sees.
            Err(error) if matches!(message, ToClient::Notice { .. }) => tracing::warn!("{error}"),
            Err(error) => return Err(error),
        }
        if subscription.is_empty() {
            write.flush().await?;
        }
    }
    write.flush().await
}

/// Sends the events of the journal's first `length` bytes that the client lacks, as the journal has them. They were proved
/// when the engine opened the journal or written by itself, so they are not even parsed here.
fn stream_history(journal: &Path, length: u64, since: u64, to: &mpsc::Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(journal)?.take(length));
    let mut line = Vec::new();
    let mut frames = Vec::new();
    let mut seq = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        seq += 1;
        if seq <= since {
            continue;
        }
        frames.extend(frame::event(line.strip_suffix(b"\n").unwrap_or(&line))?);
        if frames.len() > BATCH && to.blocking_send(Ok(std::mem::take(&mut frames))).is_err() {
            return Ok(());
        }
    }
    if !frames.is_empty() {
        // The receiver is gone when the client is.
        let _ = to.blocking_send(Ok(frames));
    }
    Ok(())
}
