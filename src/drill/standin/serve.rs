//! The one server under all stand-ins: it reads a request, lets a fault strike if one waits, asks the service, and records.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, State, connect_info::Connected},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
    serve::{IncomingStream, Listener},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    faults::{FaultKind, Faults},
    message::{Reply, Request, Service},
    recorder::Recorder,
};

/// No request of a vendor's API that we stand in for is anywhere near this long.
const LONGEST_BODY: usize = 4 << 20;

/// Everything that one running stand-in shares between its connections.
pub(super) struct Shared {
    service: Mutex<Box<dyn Service>>,
    pub(super) faults: Faults,
    pub(super) recorder: Recorder,
    pub(super) stop: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(service: Box<dyn Service>, recorder: Recorder) -> Self {
        Self { service: Mutex::new(service), faults: Faults::new(), recorder, stop: watch::Sender::new(false) }
    }

    pub(super) fn service(&self) -> MutexGuard<'_, Box<dyn Service>> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the stand-in is told to stop.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`: this cannot end by its loss.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Holds a request; false when the stand-in stops meanwhile.
    async fn hold(&self) -> bool {
        tokio::select! {
            () = self.faults.hold() => true,
            () = self.stopped() => false,
        }
    }

    async fn handle(&self, request: Request, line: Line) -> Response {
        let arrived = Timestamp::now();
        let fault = self.faults.take(&request);
        let name = fault.as_ref().map(FaultKind::name);
        let note = |status, processed| {
            self.recorder.note(&request, arrived, status, processed, name);
        };
        let lost = |processed| {
            line.cut_after(0);
            note(None, processed);
            Response::default()
        };
        if matches!(fault, Some(FaultKind::Hold { after_effect: false })) && !self.hold().await {
            return lost(false);
        }
        let process = || {
            let reply = self.service().answer(&request, Timestamp::now());
            Wire::from(reply)
        };
        let wire = match fault {
            None | Some(FaultKind::Hold { after_effect: false }) => process(),
            Some(FaultKind::Hold { after_effect: true }) => {
                let wire = process();
                if !self.hold().await {
                    return lost(true);
                }
                wire
            }
            Some(FaultKind::Drop) => return lost(false),
            Some(FaultKind::LoseAnswer) => {
                process();
                return lost(true);
            }
            Some(FaultKind::Cut { after_bytes }) => {
                let mut wire = process();
                wire.headers.push(("connection".into(), "close".into()));
                line.cut_after(after_bytes);
                wire
            }
            Some(FaultKind::Garble { body }) => {
                let mut wire = process();
                wire.status = 200;
                match body {
                    Some(text) => wire.content = text.into_bytes(),
                    None => wire.content.truncate(wire.content.len() / 2),
                }
                wire
            }
            Some(FaultKind::Answer { status, headers, body, bare, effect }) => {
                if effect {
                    process();
                }
                let wire = if bare {
                    Wire::bare(status)
                } else if headers.is_none() && body.is_none() {
                    let reply = self.service().failure(status, &request, Timestamp::now());
                    Wire::from(reply)
                } else {
                    Wire::given(status, headers.unwrap_or_default(), body)
                };
                note(Some(status), effect);
                return wire.into_response();
            }
        };
        note(Some(wire.status), true);
        wire.into_response()
    }
}

/// The fallback of the router: every path but those under `/_control`.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return Wire::bare(StatusCode::PAYLOAD_TOO_LARGE.as_u16()).into_response();
    };
    let request = Request::new(parts.method, parts.uri, parts.headers, body);
    // A task of its own: like a real server, a stand-in finishes what it began although the client has hung up.
    let task = tokio::spawn(async move { shared.handle(request, line).await });
    task.await.unwrap_or_else(|_| Wire::bare(StatusCode::INTERNAL_SERVER_ERROR.as_u16()).into_response())
}

/// An answer as bytes.
struct Wire {
    status: u16,
    headers: Vec<(String, String)>,
    content: Vec<u8>,
}

impl Wire {
    fn bare(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Vec::new() }
    }

    fn given(status: u16, headers: serde_json::Map<String, Value>, body: Option<Value>) -> Self {
        let mut headers: Vec<_> = headers
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            })
            .collect();
        let content = match body {
            None => Vec::new(),
            Some(Value::String(text)) => text.into_bytes(),
            Some(json) => {
                headers.push(("content-type".into(), "application/json".into()));
                json.to_string().into_bytes()
            }
        };
        Self { status, headers, content }
    }

    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.content));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
            {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl From<Reply> for Wire {
    fn from(reply: Reply) -> Self {
        let mut headers = reply.headers;
        let content = match reply.body {
            None => Vec::new(),
            Some(Value::String(text)) => {
                headers.push((header::CONTENT_TYPE.to_string(), "text/html".into()));
                text.into_bytes()
            }
            Some(json) => {
                headers.push((header::CONTENT_TYPE.to_string(), "application/json; charset=utf-8".into()));
                json.to_string().into_bytes()
            }
        };
        Self { status: reply.status, headers, content }
    }
}

/// A connection's outgoing direction, which a fault may cut.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<AtomicUsize>);

impl Line {
    /// Lets that many more bytes out, then ends the connection.
    fn cut_after(&self, bytes: usize) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Line {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().line.clone()
    }
}

/// Accepts connections that a fault can cut.
pub(super) struct CuttableListener(pub(super) TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let line = Line(Arc::new(AtomicUsize::new(usize::MAX)));
        (CuttableStream { stream, line }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A TCP stream that stops writing when its line is cut.
pub(super) struct CuttableStream {
    stream: TcpStream,
    line: Line,
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.line.0.load(Ordering::SeqCst);
        if left == usize::MAX {
            return Pin::new(&mut self.stream).poll_write(context, buffer);
        }
        if left == 0 {
            // The HTTP server gives the connection up at this, which closes the socket.
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let some = buffer.get(..left).unwrap_or(buffer);
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, some))?;
        self.line.0.store(left.saturating_sub(written), Ordering::SeqCst);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
