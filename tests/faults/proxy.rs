//! What stands between relight and a service, and lies as networks do.
//!
//! It forwards one HTTP request a connection, so that what is done to a request is done to no other, and plain bytes for
//! services that speak another protocol.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is done to a request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lie {
    /// Nobody listens.
    Refused,
    /// The connection is reset before the service hears of the request.
    ResetBefore,
    /// The service does what it is asked, and the connection is reset after so many bytes of its answer.
    ResetAt(usize),
    /// The same with an orderly end.
    CutAt(usize),
    /// The request is taken, goes nowhere and is never answered.
    Swallowed,
    /// The service does what it is asked, and its answer never arrives.
    Mute,
    /// The service does what it is asked, and its answer arrives at a byte a second.
    Drip,
    /// This answer, and the service hears nothing.
    Says(Vec<u8>),
    /// The service does what it is asked, and this is the answer.
    SaysAfter(Vec<u8>),
}

/// To which requests a lie is told, counted from when it was set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Which {
    /// That one alone.
    Only(usize),
    /// That one and all that follow.
    From(usize),
}

impl Which {
    fn holds(self, number: usize) -> bool {
        match self {
            Self::Only(at) => number == at,
            Self::From(at) => number >= at,
        }
    }
}

/// How the service speaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speech {
    /// A request and its answer a connection.
    Http,
    /// Bytes: a connection is a request.
    Bytes,
}

struct Inner {
    upstream: SocketAddr,
    speech: Speech,
    lie: Mutex<Option<(Which, Lie)>>,
    /// Requests since the last change.
    seen: AtomicUsize,
    open: Mutex<Vec<JoinHandle<()>>>,
    /// How many bytes each connection's service said that was told no lie, since the last change.
    said: Mutex<Vec<usize>>,
}

/// A proxy before one service; ends with its owner.
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    pub(crate) address: SocketAddr,
    door: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shut();
    }
}

impl Proxy {
    pub(crate) async fn before(upstream: SocketAddr, speech: Speech) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            upstream,
            speech,
            lie: Mutex::default(),
            seen: AtomicUsize::new(0),
            open: Mutex::default(),
            said: Mutex::default(),
        });
        let door = Mutex::new(Some(tokio::spawn(take(listener, Arc::clone(&inner)))));
        Self { inner, address, door }
    }

    /// Lies from now on. A service that refuses does so at once: no request is let in before.
    pub(crate) async fn lie(&self, which: Which, lie: Lie) {
        self.inner.seen.store(0, Ordering::SeqCst);
        if lie == Lie::Refused
            && let Some(door) = self.shut()
        {
            // Closed when the task that held it is gone.
            let _ = door.await;
        }
        *self.inner.lie.lock().unwrap() = Some((which, lie));
    }

    /// Forwards honestly again.
    pub(crate) async fn mend(&self) {
        *self.inner.lie.lock().unwrap() = None;
        self.inner.seen.store(0, Ordering::SeqCst);
        self.inner.said.lock().unwrap().clear();
        for open in self.inner.open.lock().unwrap().drain(..) {
            open.abort();
        }
        if self.door.lock().unwrap().is_none() {
            let listener = TcpListener::bind(self.address).await.unwrap();
            *self.door.lock().unwrap() = Some(tokio::spawn(take(listener, Arc::clone(&self.inner))));
        }
    }

    /// Requests since the last change.
    pub(crate) fn seen(&self) -> usize {
        self.inner.seen.load(Ordering::SeqCst)
    }

    /// Waits until every connection has ended; how many bytes each one's service said.
    pub(crate) async fn said(&self) -> Vec<usize> {
        let open: Vec<_> = self.inner.open.lock().unwrap().drain(..).collect();
        for carried in open {
            carried.await.unwrap();
        }
        std::mem::take(&mut *self.inner.said.lock().unwrap())
    }

    fn shut(&self) -> Option<JoinHandle<()>> {
        for open in self.inner.open.lock().unwrap().drain(..) {
            open.abort();
        }
        let door = self.door.lock().unwrap().take();
        door.inspect(JoinHandle::abort)
    }
}

async fn take(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((client, _)) = listener.accept().await {
        let carried = tokio::spawn(carry(client, Arc::clone(&inner)));
        inner.open.lock().unwrap().push(carried);
    }
}

async fn carry(mut client: TcpStream, inner: Arc<Inner>) {
    let request = match inner.speech {
        Speech::Http => match read_request(&mut client).await {
            Some(request) => request,
            None => return,
        },
        Speech::Bytes => Vec::new(),
    };
    let number = inner.seen.fetch_add(1, Ordering::SeqCst);
    let lie = inner.lie.lock().unwrap().clone().filter(|(which, _)| which.holds(number)).map(|(_, lie)| lie);
    match lie {
        Some(Lie::ResetBefore) => return reset(&client),
        Some(Lie::Swallowed) => {
            // Whatever else it says is taken and goes nowhere.
            let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
            return std::future::pending().await;
        }
        Some(Lie::Says(answer)) => return say(client, &answer).await,
        _ => {}
    }
    let Ok(mut service) = TcpStream::connect(inner.upstream).await else { return reset(&client) };
    if service.write_all(&request).await.is_err() {
        return reset(&client);
    }
    let Some(lie) = lie else {
        if let Ok((_, said)) = tokio::io::copy_bidirectional(&mut client, &mut service).await {
            inner.said.lock().unwrap().push(usize::try_from(said).unwrap());
        }
        return;
    };
    if inner.speech == Speech::Bytes {
        return garble(client, service, &lie).await;
    }
    // The service is done before anything is said of it, so that nobody has to wait for what it did.
    let mut answer = Vec::new();
    let _ = service.read_to_end(&mut answer).await;
    match lie {
        Lie::ResetAt(at) => {
            let _ = client.write_all(&answer[..at.min(answer.len())]).await;
            reset(&client);
        }
        Lie::CutAt(at) => say(client, &answer[..at.min(answer.len())]).await,
        Lie::Drip => {
            drip(&mut client, &answer).await;
        }
        Lie::SaysAfter(other) => say(client, &other).await,
        _ => std::future::pending().await,
    }
}

/// A service that speaks in bytes: what the client says passes, and what the service says is lied about.
async fn garble(client: TcpStream, service: TcpStream, lie: &Lie) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_service, mut to_service) = service.into_split();
    let there = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_service).await;
    });
    match lie {
        Lie::ResetAt(at) | Lie::CutAt(at) => {
            let mut left = (&mut from_service).take(*at as u64);
            let _ = tokio::io::copy(&mut left, &mut to_client).await;
            if matches!(lie, Lie::ResetAt(_)) {
                let _ = to_client.as_ref().set_zero_linger();
            }
        }
        Lie::Drip => {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from_service.read(&mut bytes).await {
                drip(&mut to_client, &bytes[..count]).await;
            }
        }
        Lie::SaysAfter(other) => {
            let _ = to_client.write_all(other).await;
        }
        _ => {
            let _ = tokio::io::copy(&mut from_service, &mut tokio::io::sink()).await;
            std::future::pending::<()>().await;
        }
    }
    there.abort();
}

async fn drip(to: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) {
    for byte in bytes {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if to.write_all(std::slice::from_ref(byte)).await.is_err() {
            return;
        }
    }
}

fn reset(client: &TcpStream) {
    // Closed with nothing to linger for, a connection is reset.
    let _ = client.set_zero_linger();
}

async fn say(mut client: TcpStream, answer: &[u8]) {
    let _ = client.write_all(answer).await;
    let _ = client.shutdown().await;
}

/// A request's head and body, with the wish that the connection ends with the answer.
async fn read_request(client: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let length = field("content-length:").and_then(|length| length.parse::<usize>().ok());
    loop {
        let whole = match length {
            Some(length) => bytes.len() >= head + length,
            None if text.contains("transfer-encoding: chunked") => bytes.ends_with(b"0\r\n\r\n"),
            None => true,
        };
        if whole {
            break;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let line = find(&bytes, b"\r\n")? + 2;
    let mut request = bytes[..line].to_vec();
    request.extend_from_slice(b"connection: close\r\n");
    // A client's own wish for the connection would contradict it.
    for header in bytes[line..head].split_inclusive(|byte| *byte == b'\n') {
        if !header.to_ascii_lowercase().starts_with(b"connection:") {
            request.extend_from_slice(header);
        }
    }
    request.extend_from_slice(&bytes[head..]);
    Some(request)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
