//! Following a set of objects: a list, then a watch from its version on, made anew whenever it breaks.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kube::Resource;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::cluster::bounded;
use super::error::{code, is_transient};

/// The server ends a watch after this long, and it is taken up again. Short, so that a dead connection shows.
const WATCH_SECONDS: u32 = 30;
const DEAD: Duration = Duration::from_secs(40);
/// A watch that ends at once is not made anew at once.
const BREATH: Duration = Duration::from_secs(1);
/// As many of those in a row are believed.
const SHORT: u32 = 2;
/// Waits between attempts to see the cluster again: doubled from the first up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

type Events<K> = BoxStream<'static, Result<WatchEvent<K>, kube::Error>>;

/// Which objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Which {
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
}

impl Which {
    pub(super) fn named(name: &str) -> Self {
        Self { fields: Some(format!("metadata.name={name}")), labels: None }
    }

    pub(super) fn labelled(selector: &str) -> Self {
        Self { labels: Some(selector.to_owned()), fields: None }
    }
}

/// Objects as they are now, and as they change.
pub(super) struct Follow<K> {
    api: Api<K>,
    which: Which,
    limit: Duration,
    seen: BTreeMap<String, K>,
    version: String,
    events: Option<(Events<K>, Instant)>,
    /// Watches in a row that ended at once and told nothing.
    short: u32,
}

impl<K> Follow<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Lists the objects. `limit` is how long a request may take.
    pub(super) async fn begin(api: Api<K>, which: Which, limit: Duration) -> Result<Self, kube::Error> {
        let mut follow =
            Self { api, which, limit, seen: BTreeMap::new(), version: String::new(), events: None, short: 0 };
        follow.list().await?;
        Ok(follow)
    }

    /// The objects that there are, by name.
    pub(super) fn now(&self) -> impl Iterator<Item = &K> {
        self.seen.values()
    }

    /// Resolves when something changed, or may have changed. Safe to drop and to call again.
    ///
    /// Lost connections are made anew, until nothing was seen for as long as `patience`.
    pub(super) async fn changed(&mut self, patience: Duration) -> Result<(), kube::Error> {
        let mut fault = match self.next().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let until = Instant::now() + patience;
        let mut wait = FIRST_WAIT;
        loop {
            if Instant::now() >= until || !is_transient(&fault) {
                return Err(fault);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            // What happened while nobody looked is in the list.
            match self.list().await {
                Ok(()) => return Ok(()),
                Err(error) => fault = error,
            }
        }
    }

    async fn list(&mut self) -> Result<(), kube::Error> {
        let params = ListParams {
            label_selector: self.which.labels.clone(),
            field_selector: self.which.fields.clone(),
            ..ListParams::default()
        };
        self.events = None;
        self.short = 0;
        let list = bounded(self.limit, self.api.list(&params)).await?;
        self.version = list.metadata.resource_version.unwrap_or_default();
        self.seen = list.items.into_iter().filter_map(|object| Some((object.meta().name.clone()?, object))).collect();
        Ok(())
    }

    async fn next(&mut self) -> Result<(), kube::Error> {
        loop {
            let Some((events, since)) = &mut self.events else {
                match open(self.api.clone(), self.which.clone(), self.version.clone(), self.limit).await {
                    Ok(events) => self.events = Some((events, Instant::now())),
                    // The server does not remember that far back.
                    Err(error) if code(&error) == Some(410) => return self.list().await,
                    Err(error) => return Err(error),
                }
                continue;
            };
            let since = *since;
            match tokio::time::timeout(DEAD, events.next()).await {
                Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                    self.saw(&object);
                    if let Some(name) = object.meta().name.clone() {
                        self.seen.insert(name, object);
                    }
                    return Ok(());
                }
                Ok(Some(Ok(WatchEvent::Deleted(object)))) => {
                    self.saw(&object);
                    if let Some(name) = &object.meta().name {
                        self.seen.remove(name);
                    }
                    return Ok(());
                }
                Ok(Some(Ok(WatchEvent::Bookmark(bookmark)))) => {
                    self.version = bookmark.metadata.resource_version;
                }
                Ok(Some(Ok(WatchEvent::Error(status)))) => {
                    self.events = None;
                    if status.code == 410 {
                        return self.list().await;
                    }
                    return Err(kube::Error::Api(status));
                }
                Ok(Some(Err(error))) => {
                    self.events = None;
                    return Err(error);
                }
                Ok(None) | Err(_) => {
                    self.events = None;
                    if since.elapsed() < BREATH {
                        tokio::time::sleep(BREATH).await;
                        self.short += 1;
                        // Whoever ends every watch at once may be no cluster, which a list would show.
                        if self.short > SHORT {
                            return self.list().await;
                        }
                    }
                }
            }
        }
    }

    fn saw(&mut self, object: &K) {
        self.short = 0;
        if let Some(version) = &object.meta().resource_version {
            self.version.clone_from(version);
        }
    }
}

/// Owns what it needs: a future that held on to the stream could not move between threads.
async fn open<K>(api: Api<K>, which: Which, version: String, limit: Duration) -> Result<Events<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let params = WatchParams {
        label_selector: which.labels,
        field_selector: which.fields,
        timeout: Some(WATCH_SECONDS),
        ..WatchParams::default()
    };
    Ok(bounded(limit, api.watch(&params, &version)).await?.boxed())
}
