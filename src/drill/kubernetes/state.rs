//! The cluster's world: deployments, pods, and the numbered events that change them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::objects;
use crate::drill::api::pod::{PACE, Work, Writer};
use crate::drill::db::Login;
use crate::drill::meters::Meters;
use crate::drill::scenario;

/// A pod needs this long to start before it connects.
const START_UP: Duration = Duration::from_millis(300);
/// The first of several pods ends this long after it was told to; the pod goes on writing meanwhile.
const GRACE: Duration = Duration::from_secs(1);
/// Each further one ends this much later.
const STAGGER: Duration = Duration::from_millis(400);
/// Events kept for watches that begin in the past.
const KEPT_EVENTS: usize = 5000;

/// The cluster; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The newest version; tells watches.
    version: watch::Sender<u64>,
    /// Deployments whose pods do not end when told to.
    hung: watch::Sender<BTreeSet<String>>,
    login: Login,
    meters: Meters,
}

/// Everything there is. `version` numbers every change, as etcd's revision does.
#[derive(Default)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) deployments: BTreeMap<String, Deployment>,
    pub(super) pods: BTreeMap<String, Pod>,
    pub(super) events: VecDeque<Event>,
    serial: u32,
}

pub(super) struct Deployment {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Timestamp,
    pub(super) version: u64,
    pub(super) generation: i64,
    pub(super) replicas: i32,
    pub(super) image: String,
    pub(super) annotations: Map<String, Value>,
}

pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) deployment: String,
    pub(super) image: String,
    pub(super) created: Timestamp,
    pub(super) version: u64,
    pub(super) ready: bool,
    /// When it must be gone, once it was told to go.
    pub(super) deletion: Option<Timestamp>,
    /// Tells the pod's task how long it may still run.
    ending: watch::Sender<Option<Duration>>,
}

/// Which list an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Deployments,
    Pods,
}

/// A change, as a watch tells it.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) version: u64,
    pub(super) kind: Kind,
    pub(super) action: &'static str,
    pub(super) object: Value,
}

impl Cluster {
    /// A cluster with these deployments; their pods start at once. Must be called inside a tokio runtime.
    pub(crate) fn start(deployments: &[scenario::Deployment], login: Login, meters: Meters) -> Self {
        let cluster = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { version: 1000, ..State::default() }),
                version: watch::Sender::new(1000),
                hung: watch::Sender::new(BTreeSet::new()),
                login,
                meters,
            }),
        };
        let mut state = cluster.lock();
        for scenario::Deployment { name, replicas, image, tag, .. } in deployments {
            let deployment = Deployment {
                name: name.clone(),
                uid: objects::uid(name),
                created: Timestamp::now(),
                version: 0,
                generation: 1,
                replicas: *replicas,
                image: format!("{image}:{tag}"),
                annotations: Map::new(),
            };
            state.deployments.insert(name.clone(), deployment);
            cluster.tell_deployment(&mut state, name, "ADDED");
            cluster.reconcile(&mut state, name);
        }
        drop(state);
        cluster
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes at every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Pods of a deployment, the terminating ones too.
    #[must_use]
    pub fn pods_of(&self, deployment: &str) -> usize {
        self.lock().pods.values().filter(|pod| pod.deployment == deployment).count()
    }

    /// Pods of a deployment that take requests.
    #[must_use]
    pub fn ready_pods_of(&self, deployment: &str) -> usize {
        let state = self.lock();
        state.pods.values().filter(|pod| pod.deployment == deployment && pod.ready && pod.deletion.is_none()).count()
    }

    /// Sets the number of pods, as a controller or a colleague would. `false` when there is no such deployment.
    #[must_use]
    pub fn scale(&self, deployment: &str, replicas: i32) -> bool {
        let mut state = self.lock();
        self.change(&mut state, deployment, |d| d.replicas = replicas)
    }

    /// Makes the pods of a deployment ignore that they were told to end, or lets them end again.
    pub fn hang(&self, deployment: &str, hangs: bool) {
        self.shared.hung.send_modify(|hung| {
            if hangs {
                hung.insert(deployment.to_owned());
            } else {
                hung.remove(deployment);
            }
        });
    }

    /// Changes a deployment's specification and lets the pods follow.
    pub(super) fn change(&self, state: &mut State, name: &str, edit: impl FnOnce(&mut Deployment)) -> bool {
        let Some(deployment) = state.deployments.get_mut(name) else {
            return false;
        };
        let before = (deployment.replicas, deployment.image.clone());
        edit(deployment);
        if before != (deployment.replicas, deployment.image.clone()) {
            deployment.generation += 1;
        }
        self.tell_deployment(state, name, "MODIFIED");
        self.reconcile(state, name);
        true
    }

    /// Starts and ends pods until they fit the deployment; called after every change of either.
    fn reconcile(&self, state: &mut State, name: &str) {
        let Some(deployment) = state.deployments.get(name) else {
            return;
        };
        let (image, wanted) = (deployment.image.clone(), usize::try_from(deployment.replicas).unwrap_or(0));
        let living = |state: &State, current: bool| -> Vec<(String, bool)> {
            let pods = state.pods.values().filter(|p| p.deployment == name && p.deletion.is_none());
            pods.filter(|p| (p.image == image) == current).map(|p| (p.name.clone(), p.ready)).collect()
        };
        let current = living(state, true);
        for _ in current.len()..wanted {
            self.add_pod(state, name, &image);
        }
        let mut leaving: Vec<String> = current.iter().skip(wanted).map(|(pod, _)| pod.clone()).collect();
        // Pods of an older image go once those of the new one can take over.
        if current.iter().filter(|(_, ready)| *ready).count() >= wanted {
            leaving.extend(living(state, false).into_iter().map(|(pod, _)| pod));
        }
        let mut grace = GRACE;
        for pod in leaving {
            self.tell_to_end(state, &pod, grace);
            grace += STAGGER;
        }
    }

    fn add_pod(&self, state: &mut State, deployment: &str, image: &str) {
        state.serial += 1;
        let name = format!("{deployment}-{}-{}", objects::template_hash(image), objects::suffix(state.serial));
        let (ending, told) = watch::channel(None);
        let pod = Pod {
            name: name.clone(),
            uid: objects::uid(&name),
            deployment: deployment.to_owned(),
            image: image.to_owned(),
            created: Timestamp::now(),
            version: 0,
            ready: false,
            deletion: None,
            ending,
        };
        state.pods.insert(name.clone(), pod);
        self.tell_pod(state, &name, "ADDED");
        self.tell_deployment(state, deployment, "MODIFIED");
        tokio::spawn(self.clone().live(name, deployment.to_owned(), told));
    }

    fn tell_to_end(&self, state: &mut State, name: &str, grace: Duration) {
        let Some(pod) = state.pods.get_mut(name) else {
            return;
        };
        pod.deletion = Some(Timestamp::now());
        pod.ending.send_replace(Some(grace));
        let deployment = pod.deployment.clone();
        self.tell_pod(state, name, "MODIFIED");
        self.tell_deployment(state, &deployment, "MODIFIED");
    }

    /// A pod's life: start, write until told to end and the grace period is over, close the session, vanish.
    async fn live(self, name: String, deployment: String, mut told: watch::Receiver<Option<Duration>>) {
        let work = if deployment == "api" { Work::Payments } else { Work::Imports };
        let mut writer = Writer::new(name.clone(), work, self.shared.login.clone(), self.shared.meters.clone());
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::time::sleep(START_UP).await;
        let mut end = None;
        let mut ready = false;
        loop {
            if !ready && writer.connect().await.is_ok() {
                ready = true;
                self.mark_ready(&name, &deployment);
            }
            if ready {
                writer.write().await;
            }
            let deadline = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = deadline => break,
                // The sender lives in the pod's entry, which only this task removes.
                grace = told.wait_for(Option::is_some), if end.is_none() => {
                    end = grace.ok().and_then(|grace| *grace).map(|grace| tokio::time::Instant::now() + grace);
                }
                _ = pace.tick() => {}
            }
        }
        let mut hung = self.shared.hung.subscribe();
        while hung.borrow_and_update().contains(&deployment) {
            writer.write().await;
            tokio::select! {
                changed = hung.changed() => if changed.is_err() { break },
                _ = pace.tick() => {}
            }
        }
        writer.close().await;
        let mut state = self.lock();
        self.tell_pod(&mut state, &name, "DELETED");
        state.pods.remove(&name);
        self.tell_deployment(&mut state, &deployment, "MODIFIED");
    }

    fn mark_ready(&self, name: &str, deployment: &str) {
        let mut state = self.lock();
        if let Some(pod) = state.pods.get_mut(name) {
            pod.ready = true;
        }
        self.tell_pod(&mut state, name, "MODIFIED");
        self.tell_deployment(&mut state, deployment, "MODIFIED");
        self.reconcile(&mut state, deployment);
    }

    fn tell_pod(&self, state: &mut State, name: &str, action: &'static str) {
        let version = state.version + 1;
        if let Some(pod) = state.pods.get_mut(name) {
            pod.version = version;
            let object = objects::pod(pod);
            self.tell(state, Event { version, kind: Kind::Pods, action, object });
        }
    }

    fn tell_deployment(&self, state: &mut State, name: &str, action: &'static str) {
        let version = state.version + 1;
        if let Some(deployment) = state.deployments.get_mut(name) {
            deployment.version = version;
        }
        if let Some(object) = objects::deployment_of(state, name) {
            self.tell(state, Event { version, kind: Kind::Deployments, action, object });
        }
    }

    fn tell(&self, state: &mut State, event: Event) {
        state.version = event.version;
        self.shared.version.send_replace(event.version);
        state.events.push_back(event);
        if state.events.len() > KEPT_EVENTS {
            state.events.pop_front();
        }
    }
}

impl State {
    /// All objects of a kind, as they are now.
    pub(super) fn list(&self, kind: Kind) -> Vec<Value> {
        match kind {
            Kind::Pods => self.pods.values().map(objects::pod).collect(),
            Kind::Deployments => {
                self.deployments.keys().filter_map(|name| objects::deployment_of(self, name)).collect()
            }
        }
    }
}
