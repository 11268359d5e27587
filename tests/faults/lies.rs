//! What a network says instead of what a service said.

use serde_json::{Value, json};

use super::proxy::Lie;
use super::subject::Subject;

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into()
}

fn json_answer(status: &str, body: &Value) -> Vec<u8> {
    answer(status, "content-type: application/json\r\n", &body.to_string())
}

/// A body that ends before its length says.
fn truncated() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n{\"ok\": tr".to_vec()
}

/// Every lie that is told to a request, by name.
pub(crate) fn over_http(subject: &Subject) -> Vec<(&'static str, Lie)> {
    let page = answer("200 OK", "content-type: text/html\r\n", "<html><title>Log in</title></html>");
    let inside = json_answer("200 OK", &subject.error_inside);
    let failed = json_answer("500 Internal Server Error", &json!({"message": "oops"}));
    let past = "x-ratelimit-reset: 1000000000000\r\ndate: Mon, 01 Jan 1990 00:00:00 GMT\r\n";
    let future = "x-ratelimit-reset: 9000000000000\r\nratelimit-reset: 99999999\r\nretry-after: 99999999\r\n";
    let paced = "ratelimit-reset: 7\r\nretry-after: 7\r\n";
    let busy = "429 Too Many Requests";
    vec![
        ("refused", Lie::Refused),
        ("reset before", Lie::ResetBefore),
        ("reset at byte 0", Lie::ResetAt(0)),
        ("reset at byte 1", Lie::ResetAt(1)),
        ("reset in the head", Lie::ResetAt(40)),
        ("reset in the body", Lie::ResetAt(260)),
        ("cut at byte 0", Lie::CutAt(0)),
        ("cut in the body", Lie::CutAt(260)),
        ("swallowed", Lie::Swallowed),
        ("mute", Lie::Mute),
        ("1 byte a second", Lie::Drip),
        ("500", Lie::Says(failed.clone())),
        ("500 after the effect", Lie::SaysAfter(failed)),
        ("503", Lie::Says(answer("503 Service Unavailable", "", "no healthy upstream"))),
        ("503 with a time", Lie::Says(answer("503 Service Unavailable", "retry-after: 7\r\n", ""))),
        ("504 after the effect", Lie::SaysAfter(answer("504 Gateway Timeout", "", "upstream request timeout"))),
        ("429 with a time", Lie::Says(answer(busy, paced, ""))),
        ("429 without", Lie::Says(answer(busy, "", ""))),
        ("429 of a clock in the past", Lie::Says(answer(busy, past, ""))),
        ("429 of a clock in the future", Lie::Says(answer(busy, future, ""))),
        ("a page in between", Lie::Says(page.clone())),
        ("a page after the effect", Lie::SaysAfter(page)),
        ("an empty success", Lie::Says(answer("200 OK", "", ""))),
        ("a truncated body", Lie::Says(truncated())),
        ("a truncated body after the effect", Lie::SaysAfter(truncated())),
        ("other JSON", Lie::SaysAfter(json_answer("200 OK", &json!([null, 7])))),
        ("a success with an error inside", Lie::Says(inside)),
        ("no HTTP at all", Lie::Says(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        ("a redirect", Lie::Says(answer("302 Found", "location: http://192.0.2.1/\r\n", ""))),
    ]
}

/// Lies to a connection whose service says `whole` bytes when it is honest, by name.
pub(crate) fn in_bytes(whole: usize) -> Vec<(String, Lie)> {
    let mut lies = vec![
        ("refused".to_owned(), Lie::Refused),
        ("reset before".to_owned(), Lie::ResetBefore),
        ("swallowed".to_owned(), Lie::Swallowed),
        ("mute".to_owned(), Lie::Mute),
        ("1 byte a second".to_owned(), Lie::Drip),
        ("a page".to_owned(), Lie::SaysAfter(answer("400 Bad Request", "", "<html>no</html>"))),
        ("a refusal of Redis".to_owned(), Lie::SaysAfter(b"-ERR max number of clients reached\r\n".to_vec())),
        ("Redis is loading".to_owned(), Lie::SaysAfter(b"-LOADING Redis is loading the dataset\r\n".repeat(9))),
        ("zeros".to_owned(), Lie::SaysAfter(vec![0; 64])),
    ];
    for at in (0..whole).step_by((whole / 40).max(1)) {
        lies.push((format!("reset at byte {at} of {whole}"), Lie::ResetAt(at)));
        lies.push((format!("cut at byte {at} of {whole}"), Lie::CutAt(at)));
    }
    lies
}
