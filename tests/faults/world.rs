//! Workers over the drill's real servers, each behind a proxy.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::Commands as _;
use relight::config::Config;
use relight::runbook::TargetRef;
use relight::workers::Worker;
use relight::workers::kubernetes::{CheckKubernetes, StartWrites, StopWrites};
use relight::workers::objects::{PutBackObjects, RehydrateObjects};
use relight::workers::postgres::CheckPostgres;
use relight::workers::redis::{CheckRedis, FlushCache};
use relight::workers::s3::{CheckS3, Guard, Place};
use relight::workers::snapshot::ChooseSnapshot;
use serde_json::json;

use super::bench::{Bench, step};
use super::proxy::{Proxy, Speech};
use super::sandbox::Sandbox;
use super::subject::{Counting, Making, Subject, Twice, counted};

/// A maker for each worker, by name.
pub(crate) type Makers = Vec<(&'static str, Box<dyn Fn() -> Making>)>;

/// Makes a subject of the sandbox again and again.
fn of(sandbox: &Rc<Sandbox>, make: fn(Rc<Sandbox>) -> Making) -> Box<dyn Fn() -> Making> {
    let sandbox = Rc::clone(sandbox);
    Box::new(move || make(Rc::clone(&sandbox)))
}

pub(crate) fn over_http(sandbox: &Rc<Sandbox>) -> Makers {
    vec![
        ("check Kubernetes", of(sandbox, |sandbox| Box::pin(kubernetes(sandbox, Writers::Looked)))),
        ("stop writes", of(sandbox, |sandbox| Box::pin(kubernetes(sandbox, Writers::Stopped)))),
        ("start writes", of(sandbox, |sandbox| Box::pin(kubernetes(sandbox, Writers::Started)))),
        ("check S3", of(sandbox, |sandbox| Box::pin(s3(sandbox, false)))),
        ("choose a snapshot", of(sandbox, |sandbox| Box::pin(s3(sandbox, true)))),
        ("rehydrate objects", of(sandbox, |sandbox| Box::pin(objects(sandbox, false)))),
        ("put objects back", of(sandbox, |sandbox| Box::pin(objects(sandbox, true)))),
    ]
}

pub(crate) fn in_bytes(sandbox: &Rc<Sandbox>) -> Makers {
    vec![
        ("check Redis", of(sandbox, |sandbox| Box::pin(cache(sandbox, false)))),
        ("flush the cache", of(sandbox, |sandbox| Box::pin(cache(sandbox, true)))),
        ("check PostgreSQL", of(sandbox, |sandbox| Box::pin(postgres(sandbox)))),
    ]
}

/// The sandbox's config with what is at `from` reached through a proxy instead.
async fn through(sandbox: &Sandbox, speech: Speech, from: &str) -> (Proxy, Bench) {
    let host = from.strip_prefix("http://").unwrap_or(from);
    let proxy = Proxy::before(host.parse().unwrap(), speech).await;
    let text = std::fs::read_to_string(&sandbox.ready.config).unwrap();
    let mut bench = Bench::new("");
    // The environment is the bench's own.
    bench.config.push_str(&text.replace("environment = \"drill\"\n", ""));
    bench.config = bench.config.replace(host, &proxy.address.to_string());
    (proxy, bench)
}

fn port_of(address: SocketAddr) -> String {
    format!("port = {}", address.port())
}

/// What becomes of the writers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Writers {
    Looked,
    Stopped,
    Started,
}

async fn kubernetes(sandbox: Rc<Sandbox>, does: Writers) -> Subject {
    let (proxy, mut bench) = through(&sandbox, Speech::Http, &sandbox.ready.kubernetes_url).await;
    let kubeconfig = std::fs::read_to_string(&sandbox.ready.kubeconfig).unwrap();
    let host = sandbox.ready.kubernetes_url.strip_prefix("http://").unwrap();
    let file = bench.folder.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.replace(host, &proxy.address.to_string())).unwrap();
    bench.config = bench.config.replace(&sandbox.ready.kubeconfig.display().to_string(), &file.display().to_string());
    let writers = [("api", 3), ("ingest-worker", 1)];
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    for (deployment, replicas) in writers {
        let url = format!("{}/_control/kubernetes/scale", sandbox.ready.control_url);
        let body = json!({ "deployment": deployment, "replicas": replicas });
        assert!(client.post(url).json(&body).send().await.unwrap().status().is_success());
    }
    let target = TargetRef::Kubernetes("production".to_owned());
    let worker: Box<dyn Worker> = match does {
        Writers::Looked => Box::new(CheckKubernetes { target }),
        Writers::Stopped => Box::new(StopWrites { cluster: target }),
        Writers::Started => {
            let stopped = bench.go(&StopWrites { cluster: target }).await.unwrap();
            stopped.facts.into_iter().for_each(|fact| bench.fact("restore.stop-writes", fact));
            Box::new(StartWrites { from: step("restore.stop-writes") })
        }
    };
    let token = std::fs::read_to_string(&sandbox.ready.kubernetes_token_file).unwrap();
    let effects: Box<dyn Fn() -> Counting> = Box::new(move || {
        let (client, token, url) = (client.clone(), token.clone(), sandbox.ready.kubernetes_url.clone());
        Box::pin(async move {
            let mut done = 0;
            for (deployment, replicas) in writers {
                let url = format!("{url}/apis/apps/v1/namespaces/default/deployments/{deployment}");
                let found = client.get(url).bearer_auth(token.trim()).send().await.unwrap();
                let found: serde_json::Value = found.json().await.unwrap();
                let wanted = if does == Writers::Started { replicas } else { 0 };
                done += usize::from(found["spec"]["replicas"] == wanted);
            }
            done / writers.len()
        })
    });
    Subject {
        bench,
        worker,
        proxy,
        system: "drill",
        place: "drill",
        effects,
        is_blind: false,
        twice: Twice::Same,
        reads: does == Writers::Looked,
        error_inside: json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "reason": "InternalError", "message": "etcd" }),
    }
}

async fn s3(sandbox: Rc<Sandbox>, chooses: bool) -> Subject {
    let (proxy, mut bench) = through(&sandbox, Speech::Http, &sandbox.ready.s3.endpoint).await;
    bench.knowledge.onset = Some(sandbox.ready.onset);
    let place = TargetRef::S3("backups".to_owned());
    let worker: Box<dyn Worker> = if chooses {
        let database = TargetRef::Postgres("financecopilot".to_owned());
        Box::new(ChooseSnapshot { from: place, database })
    } else {
        Box::new(CheckS3 { target: place })
    };
    let alive = move || usize::from(sandbox.ready.config.as_os_str().is_empty());
    Subject {
        bench,
        worker,
        proxy,
        system: "s3://",
        place: "s3",
        effects: counted(alive),
        is_blind: false,
        twice: Twice::Same,
        reads: true,
        error_inside: json!({ "Error": "InternalError" }),
    }
}

/// Three objects in prefixes of their own: one is equal, one was overwritten, one is missing. They are rehydrated, or were
/// and are put back.
async fn objects(sandbox: Rc<Sandbox>, back: bool) -> Subject {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::SeqCst);
    let (proxy, mut bench) = through(&sandbox, Speech::Http, &sandbox.ready.s3.endpoint).await;
    bench.knowledge.onset = Some(sandbox.ready.onset);
    for (name, prefix) in [("ofx", "live"), ("ofx-snapshot", "snapshot")] {
        bench.config = moved(&bench.config, name, &format!("faults/{number}/{prefix}/"));
    }
    // Past the proxy.
    let host = sandbox.ready.s3.endpoint.strip_prefix("http://").unwrap();
    let direct = bench.config.replace(&proxy.address.to_string(), host);
    let direct: Config = toml::from_str(&direct).unwrap();
    let [live, snapshot] = ["s3.ofx", "s3.ofx-snapshot"].map(|name| name.parse::<TargetRef>().unwrap());
    let [live, snapshot] = [Place::open(&direct, &live).await.unwrap(), Place::open(&direct, &snapshot).await.unwrap()];
    let file = bench.folder.path().join("object");
    for (place, name, text) in [
        (&snapshot, "a", "equal"),
        (&snapshot, "b", "as it was"),
        (&snapshot, "c", "lost since"),
        (&live, "a", "equal"),
        (&live, "b", "overwritten"),
    ] {
        std::fs::write(&file, text).unwrap();
        place.replace(&format!("{}{name}", place.prefix()), &file, Guard::Absent).await.unwrap();
    }
    let [ofx, from, keep] = ["s3.ofx", "s3.ofx-snapshot", "s3.safety"].map(|name| name.parse().unwrap());
    let mut worker: Box<dyn Worker> = Box::new(RehydrateObjects { from, to: ofx, keep });
    if back {
        let done = bench.go(&*worker).await.unwrap();
        done.facts.into_iter().for_each(|fact| bench.fact("dependents.objects", fact));
        worker = Box::new(PutBackObjects { from: step("dependents.objects") });
    }
    // What was created is left: nothing is deleted.
    let wanted: &[(&str, &str)] =
        if back { &[("b", "overwritten")] } else { &[("b", "as it was"), ("c", "lost since")] };
    let live = Rc::new(live);
    // Held, so that the server lives as long as the subject.
    let held = Rc::clone(&sandbox);
    let effects: Box<dyn Fn() -> Counting> = Box::new(move || {
        let (live, _held) = (Rc::clone(&live), Rc::clone(&held));
        Box::pin(async move {
            let mut right = 0;
            for (name, text) in wanted {
                let Some(object) = live.head(&format!("{}{name}", live.prefix()), None).await.unwrap() else {
                    continue;
                };
                let mut bytes = Vec::new();
                live.read(&object, &mut |part| bytes.extend_from_slice(part)).await.unwrap();
                right += usize::from(bytes == text.as_bytes());
            }
            right / wanted.len()
        })
    });
    Subject {
        bench,
        worker,
        proxy,
        system: "s3://",
        place: "s3",
        effects,
        is_blind: false,
        twice: Twice::GoesOn,
        reads: false,
        error_inside: json!({ "Error": "InternalError" }),
    }
}

/// The config with a place's prefix elsewhere.
fn moved(config: &str, name: &str, prefix: &str) -> String {
    let (before, rest) = config.split_once(&format!("[s3.{name}]\n")).unwrap();
    let (section, after) = rest.split_once("\n\n").unwrap();
    let lines = section
        .lines()
        .map(|line| if line.starts_with("prefix") { format!("prefix = '{prefix}'") } else { line.to_owned() });
    let section = lines.collect::<Vec<_>>().join("\n");
    format!("{before}[s3.{name}]\n{section}\n\n{after}")
}

async fn cache(sandbox: Rc<Sandbox>, flushes: bool) -> Subject {
    let login = sandbox.ready.redis.clone();
    let (proxy, mut bench) = through(&sandbox, Speech::Bytes, &format!("127.0.0.1:{}", login.port)).await;
    let here: SocketAddr = format!("127.0.0.1:{}", login.port).parse().unwrap();
    bench.config = bench.config.replace(&port_of(here), &port_of(proxy.address));
    let password = std::fs::read_to_string(&login.password_file).unwrap();
    let url = format!("redis://{}:{}@127.0.0.1:{}/0", login.user, password.trim(), login.port);
    let client = redis::Client::open(url).unwrap();
    client.get_connection().unwrap().set::<_, _, ()>("ofx:import:1", 1).unwrap();
    let target = TargetRef::Redis("redis-ingestion".to_owned());
    let worker: Box<dyn Worker> =
        if flushes { Box::new(FlushCache { cache: target }) } else { Box::new(CheckRedis { target }) };
    // Held, so that the server lives as long as the subject.
    let is_empty = move || {
        let keys: usize = redis::cmd("DBSIZE").query(&mut client.get_connection().unwrap()).unwrap();
        usize::from(keys == 0 && sandbox.ready.redis.port > 0)
    };
    Subject {
        bench,
        worker,
        proxy,
        system: "redis-ingestion",
        place: "127.0.0.1",
        effects: counted(is_empty),
        is_blind: false,
        twice: Twice::Two,
        reads: !flushes,
        error_inside: json!(null),
    }
}

async fn postgres(sandbox: Rc<Sandbox>) -> Subject {
    let port = sandbox.ready.postgres_operator.port;
    let here: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let (proxy, mut bench) = through(&sandbox, Speech::Bytes, &here.to_string()).await;
    bench.config = bench.config.replace(&port_of(here), &port_of(proxy.address));
    let alive = move || usize::from(sandbox.ready.config.as_os_str().is_empty());
    Subject {
        bench,
        worker: Box::new(CheckPostgres { target: TargetRef::Postgres("financecopilot".to_owned()) }),
        proxy,
        system: "financecopilot",
        place: "127.0.0.1",
        effects: counted(alive),
        is_blind: false,
        twice: Twice::Same,
        reads: true,
        error_inside: json!(null),
    }
}
