//! What stands between relight and the S3 server: it counts what is sent, and does to an answer what a test asks for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::StreamExt as _;
use tokio::sync::watch;

/// Requests for less than this are of tables of contents, and pass.
const SMALL: u64 = 1 << 20;

/// What is done to downloads.
pub(crate) struct Front {
    /// Bytes of bodies that were sent for ranges of at least [`SMALL`].
    pub(crate) sent: AtomicU64,
    /// Breaks off the next large answers in their middle, so many of them.
    pub(crate) cuts: AtomicU64,
    /// Holds large answers that begin at this byte of the object or later.
    held_from: watch::Sender<Option<u64>>,
    /// Flips a byte of every answer to a GET whose path holds this.
    flip: Mutex<Option<String>>,
    /// An answer is being held.
    pub(crate) holding: AtomicBool,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            held_from: watch::Sender::new(None),
            flip: Mutex::default(),
            holding: AtomicBool::new(false),
        }
    }
}

impl Front {
    pub(crate) fn hold_from(&self, byte: u64) {
        self.held_from.send_replace(Some(byte));
    }

    pub(crate) fn release(&self) {
        self.held_from.send_replace(None);
    }

    pub(crate) fn flip(&self, path: Option<&str>) {
        *self.flip.lock().unwrap() = path.map(str::to_owned);
    }

    /// Lets an answer through, as far as it may.
    pub(crate) async fn pass(
        self: &Arc<Self>,
        request: Request<Body>,
        answer: impl AsyncFnOnce(Request<Body>) -> Response<Body>,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let get = request.method() == axum::http::Method::GET;
        let range = request.headers().get("range").and_then(|range| range.to_str().ok()).and_then(range);
        let large = range.filter(|(from, to)| to - from >= SMALL);
        if let Some((from, _)) = large {
            let mut held = self.held_from.subscribe();
            self.holding.fetch_or(held.borrow().is_some_and(|held| from >= held), Ordering::SeqCst);
            // The sender lives in `self`.
            let _ = held.wait_for(|held| held.is_none_or(|held| from < held)).await;
        }
        let response = answer(request).await;
        let flips = get && self.flip.lock().unwrap().as_ref().is_some_and(|part| path.contains(part.as_str()));
        if !flips && large.is_none() {
            return response;
        }
        let cuts = large.is_some()
            && self.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let own = Arc::clone(self);
        let half = large.map_or(u64::MAX, |(from, to)| (to - from) / 2);
        let (parts, body) = response.into_parts();
        let mut passed = 0;
        let bytes = body.into_data_stream().map(move |chunk| {
            let chunk = chunk.map_err(std::io::Error::other)?;
            passed += chunk.len() as u64;
            if cuts && passed > half {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            }
            own.sent.fetch_add(if large.is_some() { chunk.len() as u64 } else { 0 }, Ordering::SeqCst);
            if !flips || chunk.is_empty() {
                return Ok(chunk);
            }
            let mut bytes = chunk.to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            Ok(Bytes::from(bytes))
        });
        Response::from_parts(parts, Body::from_stream(bytes))
    }
}

/// `bytes=5-9`
fn range(text: &str) -> Option<(u64, u64)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}
