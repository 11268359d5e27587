//! The engine's side: a unix socket, a handshake, and each client's stream of history and news.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engine::{ClientId, Handle, Input, Joined, Outgoing};
use crate::incident::{Actor, Event};

use super::{PROTOCOL, ToClient, ToEngine, frame};

/// Somebody who connects and says nothing is let go.
const HELLO: Duration = Duration::from_secs(5);

/// Binds the socket. The caller holds the incident's journal, so a socket file that is there is a dead engine's.
///
/// # Errors
/// The system says no.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// The task that accepts clients.
#[derive(Debug)]
pub struct Server {
    accepting: JoinHandle<()>,
    /// Every client's task holds a sender of it: it closes when all of them have ended.
    attended: mpsc::Receiver<()>,
}

impl Server {
    /// Accepts nobody more, and waits until every client has all that the engine said before it ended, which one that
    /// does not read can hold up for `limit` only.
    pub async fn finish(mut self, limit: Duration) {
        self.accepting.abort();
        // Nothing is ever sent; it ends when the last client's task does.
        if tokio::time::timeout(limit, self.attended.recv()).await.is_err() {
            tracing::warn!("a client did not read all that the engine said before it ended");
        }
    }
}

/// Accepts clients until it is told to finish.
#[must_use]
pub fn serve(listener: UnixListener, engine: Handle) -> Server {
    let (tx, attended) = mpsc::channel(1);
    Server { accepting: tokio::spawn(accept(listener, engine, tx)), attended }
}

async fn accept(listener: UnixListener, engine: Handle, attended: mpsc::Sender<()>) {
    let next = AtomicU64::new(1);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let client = ClientId(next.fetch_add(1, Ordering::Relaxed));
                let engine = engine.clone();
                let attended = attended.clone();
                tokio::spawn(async move {
                    if let Err(error) = attend(stream, client, &engine).await {
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

async fn attend(stream: UnixStream, client: ClientId, engine: &Handle) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let own = rustix::process::getuid().as_raw();
    let (mut read, write) = stream.into_split();
    let mut write = BufWriter::with_capacity(1 << 16, write);
    let hello = tokio::time::timeout(HELLO, frame::read::<ToEngine>(&mut read)).await;
    let unwelcome = if uid != own && uid != 0 {
        Some(format!("this incident belongs to another user (uid {own}); you are uid {uid}"))
    } else {
        match &hello {
            Ok(Ok(Some(ToEngine::Hello { protocol: PROTOCOL, .. }))) => None,
            Ok(Ok(Some(ToEngine::Hello { version, .. }))) => Some(format!(
                "the engine is relight {} and you run {version}: they do not understand each other. Attach with the \
                 engine's version; it keeps working meanwhile",
                env!("CARGO_PKG_VERSION")
            )),
            _ => return Ok(()),
        }
    };
    if let Some(why) = unwelcome {
        write.write_all(&frame::encode(&ToClient::Unwelcome { why })?).await?;
        return write.flush().await;
    }
    let Ok(Ok(Some(ToEngine::Hello { since, .. }))) = hello else {
        return Ok(());
    };
    let Some(joined) = engine.connect(client).await else {
        return Ok(());
    };
    let actor = Actor { name: login_name(uid), uid: Some(uid) };
    let reading = tokio::spawn(listen(read, client, actor, engine.clone()));
    let told = tell(&mut write, joined, since).await;
    reading.abort();
    told
}

async fn listen(mut read: OwnedReadHalf, client: ClientId, actor: Actor, engine: Handle) {
    // Whatever breaks this off, the client is gone.
    while let Ok(Some(message)) = frame::read::<ToEngine>(&mut read).await {
        let input = match message {
            ToEngine::Hello { .. } => break,
            ToEngine::Command { id, command } => Input::Command { client, id, actor: actor.clone(), command },
            ToEngine::Query { id, query } => Input::Query { client, id, query },
        };
        if !engine.send(input).await {
            return;
        }
    }
    engine.send(Input::Disconnect { client }).await;
}

async fn tell(write: &mut BufWriter<OwnedWriteHalf>, joined: Joined, since: u64) -> io::Result<()> {
    let Joined { incident, journal, length, seq, mut subscription } = joined;
    let welcome =
        ToClient::Welcome { version: env!("CARGO_PKG_VERSION").to_owned(), incident, pid: std::process::id() };
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
    write.write_all(&frame::encode(&ToClient::CaughtUp { seq })?).await?;
    write.flush().await?;
    while let Some(outgoing) = subscription.next().await {
        let message = match outgoing {
            Outgoing::Event(event) => ToClient::Event { event: Box::new((*event).clone()) },
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

/// Sends the events of the journal's first `length` bytes that the client lacks. They were proved when the
/// engine opened the journal or written by itself, so they are only parsed here.
fn stream_history(journal: &Path, length: u64, since: u64, to: &mpsc::Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut seq = 0;
    for line in BufReader::with_capacity(1 << 16, File::open(journal)?.take(length)).lines() {
        let line = line?;
        seq += 1;
        if seq <= since {
            continue;
        }
        let event: Event = serde_json::from_str(&line)?;
        if to.blocking_send(frame::encode(&ToClient::Event { event: Box::new(event) })).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The login name of a user id, from the system's list; the number where it is not in it.
pub(crate) fn login_name(uid: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    list.lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
        })
        .unwrap_or_else(|| format!("uid {uid}"))
}
