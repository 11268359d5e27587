//! The sandbox's S3 server: s3s-fs in process, behind signature checks, with a thin layer for what it lacks.

mod front;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use s3s::auth::SimpleAuth;
use s3s::dto::{PutObjectInput, StreamingBlob};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3 as _, S3Request};
use s3s_fs::FileSystem;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use self::front::{Front, Rights};
use super::dumps::BACKUPS;
use super::error::SandboxError;
use super::folder::{self, Secret, Secrets};
use super::objects::PRODUCTION;

/// The region of every bucket; a request signed for another one is answered as AWS answers it.
pub const REGION: &str = "eu-central-1";

/// How to reach the server, for clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct S3Login {
    /// `http://127.0.0.1:<port>`; path style.
    pub endpoint: String,
    /// The buckets' region.
    pub region: String,
    /// Holds the access key; mode 0600.
    pub access_key_file: PathBuf,
    /// Holds the secret key; mode 0600.
    pub secret_key_file: PathBuf,
}

/// The folder that holds the buckets, written to without going over HTTP: an object's LastModified is its file's mtime,
/// so the past can be laid out.
#[derive(Debug)]
pub(crate) struct Store {
    files: Arc<FileSystem>,
    root: PathBuf,
}

impl Store {
    /// Makes the buckets in `root`.
    pub(crate) fn create(root: &Path) -> Result<Self, SandboxError> {
        for bucket in [BACKUPS, PRODUCTION] {
            folder::make(&root.join(bucket), 0o700)?;
        }
        let files = FileSystem::new(root).map_err(|error| SandboxError::S3 {
            operation: "open",
            target: root.display().to_string(),
            reason: format!("{error:?}"),
        })?;
        Ok(Self { files: Arc::new(files), root: root.to_owned() })
    }

    /// Puts an object as it was left at that time.
    pub(crate) async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Vec<u8>,
        modified: Timestamp,
    ) -> Result<(), SandboxError> {
        let fail = |reason: String| SandboxError::S3 { operation: "put", target: format!("{bucket}/{key}"), reason };
        let mut input = PutObjectInput::default();
        bucket.clone_into(&mut input.bucket);
        key.clone_into(&mut input.key);
        input.body = Some(StreamingBlob::from(s3s::Body::from(bytes)));
        let request = S3Request {
            input,
            method: axum::http::Method::PUT,
            uri: axum::http::Uri::default(),
            headers: axum::http::HeaderMap::new(),
            extensions: axum::http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        self.files.put_object(request).await.map_err(|error| fail(error.to_string()))?;
        let path = self.root.join(bucket).join(key);
        let modified = std::time::SystemTime::try_from(modified).map_err(|error| fail(error.to_string()))?;
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(modified))
            .map_err(SandboxError::io("date", &path))
    }
}

/// The listening server's keys.
#[derive(Debug)]
pub(crate) struct Server {
    /// The operator's login.
    pub(crate) login: S3Login,
    /// A login that may read but not write.
    pub(crate) reader: S3Login,
}

/// Serves the store on a free port, until the runtime ends.
pub(crate) async fn serve(store: &Store, secrets: &Secrets) -> Result<Server, SandboxError> {
    let pair = |name: &str| -> Result<(Secret, Secret), SandboxError> {
        let access = secrets.invent(&format!("s3-{name}-access-key"), "AKIA", 8)?;
        Ok((access, secrets.invent(&format!("s3-{name}-secret-key"), "", 20)?))
    };
    let (full, reader) = (pair("relight")?, pair("reader")?);
    let mut auth = SimpleAuth::new();
    for (access, secret) in [&full, &reader] {
        auth.register(access.value.clone(), secret.value.as_str().into());
    }
    let mut builder = S3ServiceBuilder::new(Front::new(Arc::clone(&store.files)));
    builder.set_auth(auth);
    builder.set_access(Rights { read_only: reader.0.value.clone() });
    let service = builder.build();

    let address = Path::new("127.0.0.1:0");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(SandboxError::io("bind", address))?;
    let port = listener.local_addr().map_err(SandboxError::io("bind", address))?.port();
    let router = axum::Router::new().fallback(answer).with_state(service);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the S3 server ended");
        }
    });
    let login = |(access, secret): &(Secret, Secret)| S3Login {
        endpoint: format!("http://127.0.0.1:{port}"),
        region: REGION.to_owned(),
        access_key_file: access.file.clone(),
        secret_key_file: secret.file.clone(),
    };
    Ok(Server { login: login(&full), reader: login(&reader) })
}

async fn answer(State(service): State<S3Service>, request: Request) -> Response {
    match service.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(response) => response.map(axum::body::Body::new),
        Err(error) => {
            tracing::error!(?error, "an S3 request failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
