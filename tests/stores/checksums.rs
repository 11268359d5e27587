//! A download is compared with the checksum that S3 keeps, from a server that keeps the one it is told.
//!
//! The object is `123456789`, whose sums are the check values of the CRC catalogue.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use relight::workers::Cancel;
use relight::workers::s3::Place;

use super::shared::config;

const CONTENT: &str = "123456789";
type Header = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

async fn answer(State(kept): State<Header>, request: Request) -> Response {
    if request.uri().path().trim_end_matches('/') == "/b" {
        return StatusCode::OK.into_response();
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, HeaderValue::from_static("\"tag\""));
    if request.method() == Method::HEAD {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
        for (name, value) in kept.lock().unwrap().iter() {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        return (headers, StatusCode::OK).into_response();
    }
    assert_eq!(request.headers()[header::RANGE], "bytes=0-8");
    headers.insert(header::CONTENT_RANGE, HeaderValue::from_static("bytes 0-8/9"));
    (StatusCode::PARTIAL_CONTENT, headers, CONTENT).into_response()
}

#[tokio::test]
async fn a_download_is_what_s3_keeps_or_is_not_used() {
    let kept = Header::default();
    let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&kept));
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
    let place = Place::open(&config, &"s3.backups".parse().unwrap()).await.unwrap();
    let object = place.head("a.dump", None).await.unwrap().unwrap();
    let (_hand, cancel) = Cancel::new();
    let path = folder.path().join("a.dump");
    for (headers, proved) in [
        (
            vec![("x-amz-checksum-crc64nvme", "rosUhgp5mIg="), ("x-amz-checksum-type", "FULL_OBJECT")],
            Ok(Some("CRC-64/NVME")),
        ),
        (vec![("x-amz-checksum-crc32c", "4waSgw==")], Ok(Some("CRC-32C"))),
        (vec![("x-amz-checksum-crc32", "y/Q5Jg==")], Ok(Some("CRC-32"))),
        (vec![("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")], Ok(Some("SHA-256"))),
        // Of the parts, not of the whole.
        (vec![("x-amz-checksum-crc32c", "AAAAAA==-3"), ("x-amz-checksum-type", "COMPOSITE")], Ok(None)),
        (vec![], Ok(None)),
        (vec![("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")], Err("its CRC-64/NVME checksum is another")),
        (vec![("x-amz-checksum-crc32", "AAAAAA==")], Err("its CRC-32 checksum is another")),
    ] {
        *kept.lock().unwrap() = headers.clone();
        let got = place.download(&object, &path, &[], &|_, _| (), &cancel).await;
        match (proved, got) {
            (Ok(proved), Ok(got)) => {
                assert_eq!(got, proved, "{headers:?}");
                assert_eq!(std::fs::read_to_string(&path).unwrap(), CONTENT);
                std::fs::remove_file(&path).unwrap();
            }
            (Err(why), Err(error)) => {
                assert!(error.cause.contains(why), "{error}");
                assert!(!path.exists(), "nothing of it bears the name of a whole dump");
            }
            (proved, got) => panic!("{headers:?}: {proved:?}, and it was {got:?}"),
        }
    }
}
