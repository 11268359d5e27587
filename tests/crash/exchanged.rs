//! A target that was exchanged between the plan and its approval: the engine asks it again who it is, and leaves it alone.
//!
//! The engine is a process, its hands are those of production, and the servers are the drill's.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::http::{Method, Uri};
use relight::drill::objects::PRODUCTION;
use relight::drill::ready::Ready;
use relight::drill::scorecard;
use relight::incident::{Command, Inputs, Outcome, StepStatus};
use relight::runbook::{BUILT_IN, StepId};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;

use super::client::Client;
use super::cockpit::{Cockpit, Setting, World};
use super::front::stand_before;
use super::ways_back::{databases, superuser};

/// What stands before a service says of itself.
#[derive(Clone)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn new(text: &str) -> Self {
        Self(Arc::new(Mutex::new(text.to_owned())))
    }

    fn now(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn says(&self, text: &str) {
        text.clone_into(&mut self.0.lock().unwrap());
    }
}

/// Has a step planned, exchanges its target, and approves the plan: it fails for this proof alone, and `look` sees that
/// nothing was done. Then the step is made ready again.
async fn refuses<T: PartialEq + Debug>(
    cockpit: &Cockpit,
    (step, proof): (&str, &str),
    exchange: impl AsyncFnOnce(),
    look: impl AsyncFn() -> T,
) {
    let id = StepId::new(step);
    let mut client = Client::attach(&cockpit.socket()).await.unwrap();
    let plan = client.plan(&id, Inputs::new()).await.unwrap();
    exchange().await;
    let before = look().await;
    let approve = Command::Approve { step: id.clone(), digest: plan.digest(), typed: plan.type_name.clone() };
    client.ask(approve).await.unwrap().unwrap();
    let at_work = |status: &StepStatus| matches!(status, StepStatus::Pending | StepStatus::Running(_));
    if at_work(client.state().status(&id)) {
        client.until(|state, _| (!at_work(state.status(&id))).then_some(())).await.unwrap();
    }
    let StepStatus::Failed(attempt) = *client.state().status(&id) else {
        panic!("{step}: {:?}", client.state().status(&id));
    };
    let Some(Outcome::Failed { problem }) = &client.state().attempts[&attempt].outcome else { panic!("{step}") };
    let told = format!("{problem}");
    assert!(told.contains("The target is not the one that was approved: it was "), "{told}");
    assert!(told.contains("Nothing was done."), "{told}");
    for (name, value) in &plan.target.proofs {
        let same = told.matches(&format!("{name:?}: {value:?}")).count();
        assert_eq!(same, if name == proof { 1 } else { 2 }, "{name}: {told}");
    }
    assert_eq!(told.matches(&format!("{proof:?}: ")).count(), 2, "it is told what it is now: {told}");
    assert_eq!(look().await, before, "{step} by {proof}");
    client.ask(Command::Retry { step: id }).await.unwrap().unwrap();
}

/// Carries the step out on the target that was approved; `look` sees that this has an effect.
async fn goes_through<T: PartialEq + Debug>(cockpit: &mut Cockpit, step: &str, look: impl AsyncFn(&Ready) -> T) {
    let before = look(&cockpit.ready).await;
    // The plans of others are news to an operator as well.
    assert!(cockpit.sit_down().await);
    cockpit.carry_out(step).await;
    assert_ne!(look(&cockpit.ready).await, before, "{step}");
}

async fn replicas(ready: &Ready) -> BTreeMap<String, i64> {
    let deployments = scorecard::deployments(ready).await.unwrap();
    deployments.into_iter().map(|(name, deployment)| (name, deployment.replicas)).collect()
}

async fn wrong_objects(ready: &Ready) -> Vec<String> {
    scorecard::objects(ready).await.unwrap().wrong
}

/// A redis-server with some keys in it.
struct Cache {
    child: Child,
    port: u16,
}

impl Cache {
    async fn start(ready: &Ready, port: u16) -> Self {
        let password = std::fs::read_to_string(&ready.redis.password_file).unwrap();
        let config = format!(
            "bind 127.0.0.1\nport {port}\nsave \"\"\nuser {} on >{} ~* &* +@all\n",
            ready.redis.user,
            password.trim_end()
        );
        let mut command = tokio::process::Command::new("redis-server");
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(config.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next_line().await.unwrap().expect("it starts").contains("Ready to accept connections") {}
        for number in 0..3 {
            ask(port, &["SET", &format!("ofx:{number}"), "stale"]).await;
        }
        Self { child, port }
    }
}

/// Asks the redis-server of that port.
async fn ask(port: u16, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.unwrap()
}

/// Kubernetes, S3 and AWS as they say who they are: the uid, the bucket's owner, the account.
struct Fronts {
    uid: Said,
    owner: Said,
    account: Said,
}

impl Fronts {
    /// Stands before the world's services, and writes a configuration that goes through it.
    async fn stand(world: &World, cache: &Cache, folder: &Path) -> (Self, Setting) {
        let fronts = Self { uid: Said::new("uid-1"), owner: Said::new("ours"), account: Said::new("111122223333") };
        let uid = fronts.uid.clone();
        let cluster = stand_before(&world.ready.kubernetes_url, move |_: &Method, uri: &Uri| {
            let metadata = json!({ "name": "kube-system", "uid": uid.now() });
            let system = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
            (uri.path() == "/api/v1/namespaces/kube-system").then(|| system.to_string())
        });
        let (owner, account) = (fronts.owner.clone(), fronts.account.clone());
        let store = stand_before(&world.ready.s3.endpoint, move |method: &Method, uri: &Uri| {
            let acl = uri.query().is_some_and(|query| query.split('&').any(|word| matches!(word, "acl" | "acl=")));
            if acl {
                let owner = if uri.path().trim_matches('/') == PRODUCTION { owner.now() } else { "ours".to_owned() };
                return Some(format!(
                    "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList/></AccessControlPolicy>"
                ));
            }
            (method == Method::POST && uri.path() == "/" && uri.query().is_none()).then(|| {
                format!(
                    "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                     <Account>{}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
                    account.now()
                )
            })
        });
        let (cluster, store) = tokio::join!(cluster, store);
        let ready = &world.ready;
        let kubeconfig = folder.join("kubeconfig");
        let content = std::fs::read_to_string(&ready.kubeconfig).unwrap();
        std::fs::write(&kubeconfig, content.replace(&ready.kubernetes_url, &cluster)).unwrap();
        let content = std::fs::read_to_string(&ready.config).unwrap();
        // Without an endpoint it is AWS, and whose credentials these are is asked of it.
        let content = content
            .replace(&format!("endpoint = {:?}\n", ready.s3.endpoint), "")
            .replace(&ready.kubeconfig.display().to_string(), &kubeconfig.display().to_string())
            .replace(&format!("port = {}\ndb = 0", ready.redis.port), &format!("port = {}\ndb = 0", cache.port));
        let config = folder.join("config.toml");
        std::fs::write(&config, content).unwrap();
        let env = vec![("AWS_ENDPOINT_URL_S3", store.clone()), ("AWS_ENDPOINT_URL_STS", store)];
        (fronts, Setting { config: Some(config), env, ..Setting::default() })
    }
}

#[tokio::test]
async fn a_target_that_was_exchanged_under_an_approved_plan_is_left_alone() {
    let world = World::build().await;
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut cache = Cache::start(&world.ready, free).await;
    let folder = tempfile::tempdir().unwrap();
    let (fronts, setting) = Fronts::stand(&world, &cache, folder.path()).await;
    let mut cockpit = Cockpit::open(world, BUILT_IN, setting).await;

    // Another cluster behind the same address.
    cockpit.play_until("restore.prove").await;
    let step = "restore.stop-writes";
    let exchange = async || fronts.uid.says("uid-2");
    refuses(&cockpit, (step, "cluster uid"), exchange, async || replicas(&cockpit.ready).await).await;
    fronts.uid.says("uid-1");
    goes_through(&mut cockpit, step, replicas).await;

    // The database is made anew, with the same name and rows.
    cockpit.play_until("restore.quiet").await;
    let name = cockpit.ready.postgres_superuser.database.clone();
    let admin = superuser(&cockpit.ready, "postgres").await;
    let exchange = async || {
        for sql in [
            format!("ALTER DATABASE {name} RENAME TO elsewhere"),
            format!("CREATE DATABASE {name} TEMPLATE elsewhere OWNER fc_app"),
        ] {
            admin.batch_execute(&sql).await.unwrap();
        }
    };
    let step = "restore.swap";
    refuses(&cockpit, (step, "database oid"), exchange, async || databases(&cockpit.ready).await).await;
    for sql in [format!("DROP DATABASE {name}"), format!("ALTER DATABASE elsewhere RENAME TO {name}")] {
        admin.batch_execute(&sql).await.unwrap();
    }
    goes_through(&mut cockpit, step, databases).await;

    // The same bucket's name, and another's bucket; then the same bucket, seen by another account.
    let step = "dependents.objects";
    let look = async || wrong_objects(&cockpit.ready).await;
    refuses(&cockpit, (step, "bucket owner"), async || fronts.owner.says("theirs"), look).await;
    fronts.owner.says("ours");
    refuses(&cockpit, (step, "account"), async || fronts.account.says("444455556666"), look).await;
    fronts.account.says("111122223333");
    goes_through(&mut cockpit, step, wrong_objects).await;

    // The server is made a replica; then it is restarted.
    let step = "dependents.cache";
    let (at, other) = (cache.port, cockpit.ready.redis.port.to_string());
    let keys = async || ask(at, &["DBSIZE"]).await;
    let exchange = async || drop(ask(at, &["REPLICAOF", "127.0.0.1", &other]).await);
    refuses(&cockpit, (step, "role"), exchange, keys).await;
    ask(at, &["REPLICAOF", "NO", "ONE"]).await;
    let exchange = async || {
        cache.child.kill().await.unwrap();
        cache = Cache::start(&cockpit.ready, at).await;
    };
    refuses(&cockpit, (step, "run id"), exchange, keys).await;
    goes_through(&mut cockpit, step, async |_: &Ready| keys().await).await;
}
