//! Watches: a chunked stream of JSON lines, one event each.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::selector::Selector;
use super::state::{Cluster, Event, Kind};
use super::status::Refusal;

/// Without `timeoutSeconds` the API server ends a watch after some minutes.
const LONGEST: Duration = Duration::from_mins(5);

/// Streams the events of a kind after `since`; without it, what is there first.
pub(super) fn stream_events(
    cluster: &Cluster,
    kind: Kind,
    selector: Selector,
    since: Option<u64>,
    seconds: Option<u64>,
) -> Response {
    let mut waiting = VecDeque::new();
    let state = cluster.lock();
    let seen = if let Some(version) = since.filter(|&version| version > 0) {
        let oldest = state.events.front().map_or(0, |event| event.version);
        if version + 1 < oldest {
            waiting.push_back(line("ERROR", &Refusal::expired(version).body()));
        }
        version
    } else {
        let now = state.list(kind).into_iter().filter(|object| selector.matches(object));
        waiting.extend(now.map(|object| line("ADDED", &object)));
        state.version
    };
    drop(state);
    let follower = Follower {
        changes: cluster.changes(),
        cluster: cluster.clone(),
        kind,
        selector,
        seen,
        waiting,
        end: Instant::now() + seconds.map_or(LONGEST, Duration::from_secs),
    };
    let body = Body::from_stream(stream::unfold(follower, Follower::next));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

struct Follower {
    cluster: Cluster,
    changes: tokio::sync::watch::Receiver<u64>,
    kind: Kind,
    selector: Selector,
    seen: u64,
    waiting: VecDeque<String>,
    end: Instant,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<String, Infallible>, Self)> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some((Ok(line), self));
            }
            self.collect();
            if self.waiting.is_empty() {
                timeout_at(self.end, self.changes.changed()).await.ok()?.ok()?;
            }
        }
    }

    fn collect(&mut self) {
        // Marked as seen before reading, so that a change in between wakes the next wait.
        self.changes.borrow_and_update();
        let state = self.cluster.lock();
        let news = state.events.iter().rev().take_while(|event| event.version > self.seen);
        let news: Vec<&Event> = news.filter(|e| e.kind == self.kind && self.selector.matches(&e.object)).collect();
        self.waiting.extend(news.into_iter().rev().map(|event| line(event.action, &event.object)));
        self.seen = self.seen.max(state.version);
    }
}

fn line(action: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": action, "object": object }))
}
