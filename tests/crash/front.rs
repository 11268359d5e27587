//! A server before another one, which answers some questions by itself.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::TRANSFER_ENCODING;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

type Says = Arc<dyn Fn(&Method, &Uri) -> Option<String> + Send + Sync>;

#[derive(Clone)]
struct Front {
    says: Says,
    to: String,
    client: reqwest::Client,
}

/// Stands before `to`, at an address of its own, and gives the answers that `says` has.
pub(crate) async fn stand_before(
    to: &str,
    says: impl Fn(&Method, &Uri) -> Option<String> + Send + Sync + 'static,
) -> String {
    // It fails when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let front = Front { says: Arc::new(says), to: to.to_owned(), client };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(answer).with_state(front).layer(DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

async fn answer(State(front): State<Front>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(said) = (front.says)(&method, &uri) {
        return said.into_response();
    }
    // The name of the host stays what it was: it is signed.
    let asked = front.client.request(method, format!("{}{uri}", front.to)).headers(headers).body(body);
    let Ok(reply) = asked.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (reply.status(), reply.headers().clone());
    headers.remove(TRANSFER_ENCODING);
    (status, headers, Body::from_stream(reply.bytes_stream())).into_response()
}
