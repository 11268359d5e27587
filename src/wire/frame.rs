//! Frames: a big-endian `u32` length and that many bytes: JSON, or [`EVENT`] and an event's JSON as the journal has it.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{LONGEST_FRAME, ToClient};

/// The first byte of a frame that is an event. JSON begins otherwise.
const EVENT: u8 = b'e';

/// A message as one frame.
///
/// # Errors
/// It is longer than [`LONGEST_FRAME`], or no JSON.
pub(super) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    seal(frame)
}

/// An event as one frame, from its JSON: a line of the journal is one.
///
/// # Errors
/// It is longer than [`LONGEST_FRAME`].
pub(super) fn event(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(json.len() + 5);
    frame.extend_from_slice(&[0, 0, 0, 0, EVENT]);
    frame.extend_from_slice(json);
    seal(frame)
}

fn seal(mut frame: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = frame.len() - 4;
    if length > LONGEST_FRAME {
        return Err(io::Error::other(format!("a message of {length} bytes is too long for the wire")));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The next message from a client; none at an orderly end.
///
/// # Errors
/// The connection broke, or the other end does not speak this language.
pub(super) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    let Some(body) = body(from).await? else { return Ok(None) };
    serde_json::from_slice(&body).map(Some).map_err(foreign)
}

/// The next message from the engine; none at an orderly end.
///
/// # Errors
/// As [`read`].
pub(super) async fn hear(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<ToClient>> {
    let Some(body) = body(from).await? else { return Ok(None) };
    match body.strip_prefix(&[EVENT]) {
        Some(json) => {
            let event = serde_json::from_slice(json).map_err(foreign)?;
            Ok(Some(ToClient::Event { event: Box::new(event) }))
        }
        None => serde_json::from_slice(&body).map(Some).map_err(foreign),
    }
}

fn foreign(error: serde_json::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn body(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the other end does not speak relight's protocol"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(Some(body))
}
