//! Stopping and starting writes in the drill's cluster, whose pods really write to PostgreSQL.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use relight::incident::{AskKind, Fact, Replicas};
use relight::runbook::TargetRef;
use relight::workers::kubernetes::{CheckKubernetes, StartWrites, StopWrites};
use relight::workers::{Cancel, Context, Probe, Ran, Worker as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Attempt, Sandbox, answering, blocking, config, context, do_it, knowing, known, past, run, step, warning};

fn cluster() -> TargetRef {
    TargetRef::Kubernetes("production".to_owned())
}

fn stop() -> StopWrites {
    StopWrites { cluster: cluster() }
}

fn start() -> StartWrites {
    StartWrites { from: step("stop") }
}

/// The drill's hand on the world: what somebody else does.
struct Others<'a> {
    sandbox: &'a Sandbox,
    http: reqwest::Client,
    client: kube::Client,
}

impl<'a> Others<'a> {
    async fn new(sandbox: &'a Sandbox) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let file = kube::config::Kubeconfig::read_from(&sandbox.ready.kubeconfig).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let settings = kube::Config::from_custom_kubeconfig(file, &options);
        Self { sandbox, http, client: kube::Client::try_from(settings.await.unwrap()).unwrap() }
    }

    async fn tell(&self, path: &str, body: &Value) {
        let url = format!("{}/_control/kubernetes/{path}", self.sandbox.ready.control_url);
        assert!(self.http.post(url).json(body).send().await.unwrap().status().is_success());
    }

    async fn scale(&self, deployment: &str, replicas: u32) {
        self.tell("scale", &json!({ "deployment": deployment, "replicas": replicas })).await;
    }

    async fn hang(&self, deployment: &str, hang: bool) {
        self.tell("hang", &json!({ "deployment": deployment, "hang": hang })).await;
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn replicas(&self, deployment: &str) -> i32 {
        self.deployments().get(deployment).await.unwrap().spec.replicas.unwrap()
    }

    async fn available(&self, deployment: &str) -> Option<i32> {
        self.deployments().get(deployment).await.unwrap().status.unwrap().available_replicas
    }

    async fn pods(&self) -> usize {
        Api::<Pod>::namespaced(self.client.clone(), "default").list(&ListParams::default()).await.unwrap().items.len()
    }
}

fn replicas(fact: &Fact) -> Vec<(&str, u32)> {
    let Fact::WritesStopped { replicas, .. } = fact else { panic!("no stop: {fact:?}") };
    assert!(replicas.iter().all(|found| found.target == "kubernetes.production" && found.namespace == "default"));
    replicas.iter().map(|found| (found.deployment.as_str(), found.count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_stopped_and_started() {
    let sandbox = Sandbox::start();
    let others = Others::new(&sandbox).await;
    let folder = sandbox.home.path();
    let config_text = sandbox.config();
    let cx = context(&config(folder, &config_text), folder, "stop");
    rights_and_names(&sandbox, &cx, &config_text).await;
    others_interfere(&others, &cx).await;
    a_hanging_pod_is_seen_and_the_wait_can_be_stopped(&others, &cx).await;
    let facts = counts_are_remembered(&others, &cx).await;
    the_alarm_is_raised(&others, &cx).await;
    writes_come_back(&others, &cx, facts).await;
}

/// What these credentials may not do, and what is not there, is said before anything happens.
async fn rights_and_names(sandbox: &Sandbox, cx: &Context, text: &str) {
    let check = CheckKubernetes { target: cluster() };
    let done = do_it(&check, cx).await.unwrap();
    assert!(done.evidence[0].contains("api at 3, ingest-worker at 1"), "{:?}", done.evidence);

    let folder = sandbox.home.path().join("viewer");
    std::fs::create_dir(&folder).unwrap();
    let kubeconfig = std::fs::read_to_string(&sandbox.ready.kubeconfig).unwrap();
    let operator = sandbox.ready.kubernetes_token_file.display().to_string();
    let with_token = |token: &Path| {
        let path = folder.join("kubeconfig.yaml");
        std::fs::write(&path, kubeconfig.replace(&operator, &token.display().to_string())).unwrap();
        let ours = sandbox.ready.kubeconfig.display().to_string();
        context(&config(&folder, &text.replace(&ours, &path.display().to_string())), &folder, "stop")
    };
    let viewer = with_token(&sandbox.ready.kubernetes_viewer_token_file);
    let refused = do_it(&check, &viewer).await.unwrap_err();
    assert!(refused.cause.contains("patch deployments/scale of api"), "{refused}");
    assert!(!refused.cause.contains("list pods"), "{refused}");
    let plan = stop().plan(&viewer).await.unwrap();
    let found = blocking(&stop().preflight(&viewer, &plan).await.unwrap()).unwrap();
    assert!(found.contains("patch deployments/scale"), "{found}");
    let error = stop().run(&viewer, &plan, &Attempt::new().io).await.unwrap_err();
    assert!(error.cause.contains("Access is denied") && error.next.contains("deployments/scale"), "{error}");

    let wrong = folder.join("wrong");
    std::fs::write(&wrong, "wrong").unwrap();
    let error = stop().plan(&with_token(&wrong)).await.unwrap_err();
    assert!(error.cause.contains("does not accept the credentials"), "{error}");

    let missing = config(&folder, &text.replace("\"ingest-worker\"]", "\"gone\"]"));
    let error = stop().plan(&context(&missing, &folder, "stop")).await.unwrap_err();
    assert!(error.operation.contains("gone") && error.cause.contains("no such thing"), "{error}");
    let elsewhere = config(&folder, &text.replace("context = \"drill\"", "context = \"prod\""));
    let error = stop().plan(&context(&elsewhere, &folder, "stop")).await.unwrap_err();
    assert!(error.cause.contains("kubeconfig") && error.next.contains("get-contexts"), "{error}");
}

/// What others change between plan and effect is never overwritten, and who might change it is said.
async fn others_interfere(others: &Others<'_>, cx: &Context) {
    let argo = json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:default/api" } } });
    others.deployments().patch("api", &PatchParams::default(), &Patch::Merge(argo)).await.unwrap();
    let plan = stop().plan(cx).await.unwrap();
    assert!(warning(&plan.findings, "Argo CD manages api (application shop)"), "{:?}", plan.findings);
    assert_eq!(plan.type_name.as_deref(), Some("drill"));
    assert!(plan.target.proofs["cluster uid"].len() == 36, "{:?}", plan.target);
    assert!(plan.effects[0].contains("api from 3 to 0"), "{:?}", plan.effects);
    assert_eq!(blocking(&stop().preflight(cx, &plan).await.unwrap()), None);
    // The dry run changed nothing.
    assert_eq!(others.replicas("api").await, 3);
    assert_eq!(stop().probe(cx, &plan).await.unwrap(), Probe::DidNot("api is at 3, not at 0".to_owned()));

    others.scale("api", 2).await;
    let found = blocking(&stop().preflight(cx, &plan).await.unwrap()).unwrap();
    assert!(found.contains("is at 2 now"), "{found}");
    let error = run(&stop(), cx, &plan).await.unwrap_err();
    assert!(error.cause.contains("somebody set it to 2 since"), "{error}");
    assert_eq!(others.replicas("api").await, 2);

    // Scaled up in the middle of the wait: `kubectl scale` would call that a success.
    others.hang("api", true).await;
    let plan = stop().plan(cx).await.unwrap();
    let attempt = Attempt::new();
    let worker = stop();
    let (ran, ()) = tokio::join!(worker.run(cx, &plan, &attempt.io), async {
        attempt.line(&["api-", "drill-node-1 is told to end"]).await;
        others.scale("api", 3).await;
    });
    let error = ran.unwrap_err();
    assert!(error.cause.contains("scaled to 3 by somebody meanwhile"), "{error}");
    others.hang("api", false).await;
}

async fn a_hanging_pod_is_seen_and_the_wait_can_be_stopped(others: &Others<'_>, cx: &Context) {
    others.scale("ingest-worker", 1).await;
    others.hang("ingest-worker", true).await;
    let plan = stop().plan(cx).await.unwrap();
    let attempt = Attempt::new();
    let worker = stop();
    let (ran, ()) = tokio::join!(worker.run(cx, &plan, &attempt.io), async {
        attempt.line(&["ingest-worker-", "is told to end"]).await;
        attempt.line(&["api-", "is gone"]).await;
        attempt.stop.send_replace(true);
    });
    let Ran::Stopped(what) = ran.unwrap() else { panic!("it did not wait for the hanging pod") };
    assert!(what.contains("of ingest-worker may still write"), "{what}");
    let (gone, total) = attempt.progress().unwrap();
    assert!(gone < total.unwrap(), "{gone} of {total:?}");
    others.hang("ingest-worker", false).await;
    // The target is asked what became of it, and waits for the rest.
    let Probe::Happened(done) = stop().probe(cx, &plan).await.unwrap() else { panic!("it happened") };
    assert_eq!(replicas(&done.facts[0]), [("api", 3), ("ingest-worker", 1)]);
    assert_eq!(others.pods().await, 0);
}

/// At zero already: the incident's memory, then a person, say what to return to.
async fn counts_are_remembered(others: &Others<'_>, cx: &Context) -> Vec<Fact> {
    let plan = stop().plan(cx).await.unwrap();
    let asked: Vec<(&str, &AskKind, bool)> =
        plan.asks.iter().map(|ask| (ask.name.as_str(), &ask.kind, ask.required)).collect();
    assert_eq!(asked, [("count.api", &AskKind::Count, true), ("count.ingest-worker", &AskKind::Count, true)]);
    assert!(plan.obstacle().is_some());
    let nonsense = answering(cx, &[("count.api", "many"), ("count.ingest-worker", "1")]);
    assert!(stop().plan(&nonsense).await.unwrap().obstacle().unwrap().contains("`many` is no count"));
    let said = answering(cx, &[("count.api", "3"), ("count.ingest-worker", "1")]);
    let planned = stop().plan(&said).await.unwrap();
    let done = do_it(&stop(), &said).await.unwrap();
    assert_eq!(replicas(&done.facts[0]), [("api", 3), ("ingest-worker", 1)]);

    let after_failure = knowing(cx, |knowledge| knowledge.past.push(past(3, &planned)));
    let after_stop = knowing(cx, |knowledge| knowledge.facts.push(known("stop", 3, done.facts[0].clone())));
    for knowing_it in [&after_failure, &after_stop] {
        let plan = stop().plan(knowing_it).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        assert!(plan.effects[0].contains("returns to 3"), "{:?}", plan.effects);
    }
    // What was remembered before a start is old.
    let started = Fact::WritesStarted { at: jiff::Timestamp::now() };
    let since = knowing(&after_stop, |knowledge| {
        knowledge.past.push(past(3, &planned));
        knowledge.facts.push(known("start", 4, started));
    });
    assert_eq!(stop().plan(&since).await.unwrap().asks.len(), 2);
    assert_eq!(others.replicas("api").await, 0);
    done.facts
}

async fn the_alarm_is_raised(others: &Others<'_>, cx: &Context) {
    let plan = stop().plan(&answering(cx, &[("count.api", "3"), ("count.ingest-worker", "1")])).await.unwrap();
    let (sender, mut alarms) = mpsc::unbounded_channel();
    let (cancel, cancelled) = Cancel::new();
    let watched = {
        let cx = cx.clone();
        tokio::spawn(async move {
            let alarm = move |text: String| sender.send(text).unwrap();
            stop().watch(&cx, &plan, &alarm, cancelled).await;
        })
    };
    others.scale("api", 2).await;
    let text = alarms.recv().await.unwrap();
    assert!(text.starts_with("api was scaled to 2 by") && text.contains("may reach the database"), "{text}");
    // Its pods come up, which changes the deployment and not its count; the next alarm is the next change of the count.
    others.scale("ingest-worker", 1).await;
    assert!(alarms.recv().await.unwrap().starts_with("ingest-worker was scaled to 1"));
    others.scale("api", 0).await;
    others.scale("api", 1).await;
    assert!(alarms.recv().await.unwrap().starts_with("api was scaled to 1"));
    cancel.send_replace(true);
    watched.await.unwrap();
    assert!(alarms.recv().await.is_none());
}

async fn writes_come_back(others: &Others<'_>, cx: &Context, facts: Vec<Fact>) {
    others.scale("api", 0).await;
    others.scale("ingest-worker", 0).await;
    // Without any memory a person is asked.
    let lost = Context { step: step("start"), ..cx.clone() };
    assert_eq!(start().plan(&lost).await.unwrap().asks.len(), 2);
    let cx = knowing(&lost, |knowledge| knowledge.facts.extend(facts.into_iter().map(|fact| known("stop", 3, fact))));
    let plan = start().plan(&cx).await.unwrap();
    assert!(plan.effects[0].contains("api from 0 to 3"), "{:?}", plan.effects);
    assert_eq!(start().probe(&cx, &plan).await.unwrap(), Probe::DidNot("api is at 0, not at 3".to_owned()));
    let attempt = Attempt::new();
    let Ran::Done(done) = start().run(&cx, &plan, &attempt.io).await.unwrap() else { panic!("it was not stopped") };
    assert!(matches!(done.facts[..], [Fact::WritesStarted { .. }]), "{done:?}");
    assert!(done.evidence[0].starts_with("api 0→3, ingest-worker 0→1; available at"), "{done:?}");
    assert_eq!((others.available("api").await, others.available("ingest-worker").await), (Some(3), Some(1)));
    assert!(attempt.lines().iter().any(|line| line == "api is scaled from 0 to 3"));
    assert!(matches!(start().probe(&cx, &plan).await.unwrap(), Probe::Happened(_)));
    // The plan of an earlier attempt knows the counts where the fact is gone.
    let from_past = knowing(&lost, |knowledge| knowledge.past.push(past(5, &plan)));
    let again = start().plan(&from_past).await.unwrap();
    assert!(again.asks.is_empty() && again.effects[0].contains("Leaves api at 3"), "{:?}", again.effects);
    let unknown = Arc::new(Fact::WritesStopped {
        at: jiff::Timestamp::now(),
        replicas: vec![Replicas {
            target: "kubernetes.elsewhere".to_owned(),
            namespace: "default".to_owned(),
            deployment: "api".to_owned(),
            count: 3,
        }],
    });
    let elsewhere = knowing(&lost, |knowledge| knowledge.facts.push(known("stop", 3, (*unknown).clone())));
    assert!(start().plan(&elsewhere).await.unwrap_err().cause.contains("no such Kubernetes target"));
}
