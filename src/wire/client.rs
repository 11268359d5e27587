//! The client's side: a connection as two channels.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

use crate::incident::{Actor, IncidentId};

use super::{PROTOCOL, ToClient, ToEngine, frame};

/// An engine that accepts and says nothing is not one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What comes from the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum FromEngine {
    /// A message.
    Message(ToClient),
    /// The connection is over, and why.
    Lost(String),
}

/// A connection to an engine.
#[derive(Debug)]
pub struct Link {
    /// The incident at the other end.
    pub incident: IncidentId,
    /// The engine's process.
    pub pid: u32,
    /// Who the engine takes us for.
    pub you: Actor,
    /// Why we may not act; none where we may.
    pub watching: Option<String>,
    /// Into the engine.
    pub tx: mpsc::Sender<ToEngine>,
    /// Out of it.
    pub rx: mpsc::Receiver<FromEngine>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens.
    #[error("no engine is running for this incident")]
    Nobody,
    /// The engine does not want us.
    #[error("{0}")]
    Unwelcome(String),
    /// Something else.
    #[error("the engine cannot be reached: {0}")]
    Io(#[from] io::Error),
}

/// Connects to an engine's socket and asks for the events after `since`; with `watch` only to look on.
///
/// # Errors
/// Nobody is there, or the handshake does not go well.
pub async fn connect(socket: &Path, since: u64, watch: bool) -> Result<Link, ConnectError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::Nobody,
        _ => ConnectError::Io(error),
    })?;
    let (mut read, mut write) = stream.into_split();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let hello = ToEngine::Hello { protocol: PROTOCOL, version, since, watch };
    // An engine that ends just now is none.
    let dies = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            ConnectError::Nobody
        }
        _ => ConnectError::Io(error),
    };
    write.write_all(&frame::encode(&hello)?).await.map_err(dies)?;
    let answer = tokio::time::timeout(PATIENCE, frame::hear(&mut read))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))?
        .map_err(dies)?;
    let (incident, pid, you, watching) = match answer {
        Some(ToClient::Welcome { incident, pid, you, watching, .. }) => (incident, pid, you, watching),
        Some(ToClient::Unwelcome { why }) => return Err(ConnectError::Unwelcome(why)),
        _ => return Err(ConnectError::Nobody),
    };
    let (tx, mut outgoing) = mpsc::channel::<ToEngine>(256);
    let (incoming, rx) = mpsc::channel(1024);
    tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            let Ok(frame) = frame::encode(&message) else {
                continue;
            };
            if write.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(receive(read, incoming));
    Ok(Link { incident, pid, you, watching, tx, rx })
}

async fn receive(mut read: OwnedReadHalf, to: mpsc::Sender<FromEngine>) {
    loop {
        let message = match frame::hear(&mut read).await {
            Ok(Some(message)) => FromEngine::Message(message),
            Ok(None) => FromEngine::Lost("the engine ended".to_owned()),
            Err(error) => FromEngine::Lost(error.to_string()),
        };
        let over = matches!(message, FromEngine::Lost(_));
        if to.send(message).await.is_err() || over {
            return;
        }
    }
}
