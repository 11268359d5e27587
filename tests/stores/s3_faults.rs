//! What S3 says when it says no, from a server that says exactly one thing.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use relight::config::Config;
use relight::incident::ObjectRef;
use relight::workers::s3::Place;
use relight::workers::{Disposition, WorkerError};

use super::shared::config;

const LIST: &str =
    r#"<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>"#;

/// The answer to everything but HeadBucket.
type Answer = Arc<Mutex<(StatusCode, String)>>;

async fn answer(State(answer): State<Answer>, request: Request) -> Response {
    if request.method() == Method::HEAD && request.uri().path().trim_end_matches('/') == "/b" {
        return StatusCode::OK.into_response();
    }
    answer.lock().unwrap().clone().into_response()
}

async fn server() -> (Answer, Arc<Config>, tempfile::TempDir) {
    let shared = Answer::default();
    let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "key\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let key = key.display().to_string();
    let config = config(&format!(
        "[s3.backups]\nbucket = \"b\"\nendpoint = \"http://127.0.0.1:{port}\"\npath_style = true\nregion = \"eu-central-1\"\n\
         access_key_id = {{ file = {key:?} }}\nsecret_access_key = {{ file = {key:?} }}\n"
    ));
    (shared, config, folder)
}

fn says(code: &str, message: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>")
}

async fn list(config: &Config) -> Result<usize, WorkerError> {
    let place = Place::open(config, &"s3.backups".parse().unwrap()).await?;
    place.list("").await.map(|listed| listed.len())
}

#[tokio::test]
async fn each_refusal_has_its_own_words_and_a_way_on() {
    let (answer, config, _folder) = server().await;
    for (status, code, cause, next, disposition) in [
        (403, "AccessDenied", "not authorized to perform: s3:ListBucket", "right", Disposition::AskOperator),
        (400, "ExpiredToken", "credentials have expired", "Renew them", Disposition::AskOperator),
        (403, "InvalidAccessKeyId", "does not accept the key", "Correct", Disposition::AskOperator),
        (403, "RequestTimeTooSkewed", "clock is wrong", "Set the clock", Disposition::AskOperator),
        (404, "NoSuchBucket", "There is no bucket b", "Correct the bucket", Disposition::AskOperator),
        (301, "PermanentRedirect", "in another region", "Set its region", Disposition::AskOperator),
        (503, "SlowDown", "slow down", "retry", Disposition::Retry),
        (500, "InternalError", "a fault of its own", "retry", Disposition::Retry),
    ] {
        let body = says(code, "User x is not authorized to perform: s3:ListBucket");
        *answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body);
        let error = list(&config).await.unwrap_err();
        assert!(error.cause.contains(cause), "{code}: {error}");
        assert!(error.next.contains(next), "{code}: {error}");
        assert_eq!(error.disposition, disposition, "{code}");
    }
    // Once it is mended the same config works: nothing of the failure is remembered.
    *answer.lock().unwrap() = (StatusCode::OK, LIST.to_owned());
    assert_eq!(list(&config).await.unwrap(), 0);
}

#[tokio::test]
async fn an_error_inside_a_success_is_an_error() {
    let (answer, config, _folder) = server().await;
    let place = Place::open(&config, &"s3.backups".parse().unwrap()).await.unwrap();
    *answer.lock().unwrap() = (StatusCode::OK, says("InternalError", "We encountered an internal error."));
    let from = ObjectRef {
        target: "s3.backups".to_owned(),
        bucket: "b".to_owned(),
        key: "from".to_owned(),
        version_id: None,
        etag: "\"x\"".to_owned(),
        size: 1,
    };
    let error = place.copy(&from, "to").await.unwrap_err();
    assert_eq!(error.operation, "copy from to to");
    assert!(!error.cause.is_empty() && !error.next.is_empty(), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let (_, working, _folder) = server().await;
    let mut broken = (*working).clone();
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    broken.s3.get_mut("backups").unwrap().endpoint = Some(format!("http://127.0.0.1:{free}"));
    let error = list(&broken).await.unwrap_err();
    assert!(error.cause.contains("cannot be reached"), "{error}");
    assert_eq!(error.disposition, Disposition::Retry);
}

/// The owner of a bucket is part of who the target is; a server that does not tell is none the worse for it, and stays so.
#[tokio::test]
async fn a_bucket_of_another_owner_is_another_target() {
    let owner = |id: &str| {
        let acl = format!(
            "<?xml version=\"1.0\"?><AccessControlPolicy><Owner><ID>{id}</ID></Owner><AccessControlList/></AccessControlPolicy>"
        );
        (StatusCode::OK, acl)
    };
    let (answer, config, _folder) = server().await;
    let identity = async || Place::open(&config, &"s3.backups".parse().unwrap()).await.unwrap().identity();
    *answer.lock().unwrap() = owner("ours");
    let approved = identity().await;
    assert_eq!(approved.proofs["bucket owner"], "ours");
    assert_eq!(identity().await, approved);
    *answer.lock().unwrap() = owner("theirs");
    assert_ne!(identity().await, approved, "the same name, and another's bucket");

    let (answer, config, _folder) = server().await;
    *answer.lock().unwrap() =
        (StatusCode::FORBIDDEN, says("AccessDenied", "not authorized to perform: s3:GetBucketAcl"));
    let identity = async || Place::open(&config, &"s3.backups".parse().unwrap()).await.unwrap().identity();
    let blind = identity().await;
    assert!(!blind.proofs.contains_key("bucket owner"), "{blind:?}");
    *answer.lock().unwrap() = owner("ours");
    assert_eq!(identity().await, blind, "a proof does not come and go");
}
