//! What is lied to: a worker over a service that stands behind a proxy, and what the service did.

use std::future::Future;
use std::pin::Pin;

use relight::drill::standin::grafana::{Metric, Metrics};
use relight::drill::standin::pagerduty::Account;
use relight::drill::standin::{StandIn, grafana, launchdarkly, pagerduty, slack};
use relight::incident::Fact;
use relight::runbook::TargetRef;
use relight::workers::Worker;
use relight::workers::endpoints::{CheckEndpoints, CheckHttp};
use relight::workers::grafana::{CheckGrafana, ReviewDashboard};
use relight::workers::launchdarkly::{CheckLaunchDarkly, RestoreFlag, SetFlag};
use relight::workers::pagerduty::{CallResponders, CheckPagerDuty, CloseIncident, DeclareIncident, PostStatusUpdate};
use relight::workers::slack::{CheckSlack, PostMessage};
use serde_json::{Value, json};

use super::bench::{Bench, TOKEN, step, tokens};
use super::proxy::{Proxy, Speech};

/// The host of every stand-in.
const HERE: &str = "127.0.0.1";

/// A worker ready to be lied to.
pub(crate) struct Subject {
    pub(crate) bench: Bench,
    pub(crate) worker: Box<dyn Worker>,
    pub(crate) proxy: Proxy,
    /// How the worker's errors name the service.
    pub(crate) system: &'static str,
    /// How they say where it is.
    pub(crate) place: &'static str,
    /// How often the service did what the worker wants of it.
    pub(crate) effects: Box<dyn Fn() -> Counting>,
    /// The service cannot be asked afterwards what became of it.
    pub(crate) is_blind: bool,
    /// What doing it twice does.
    pub(crate) twice: Twice,
    /// It only looks.
    pub(crate) reads: bool,
    /// How the service says within a success that it failed.
    pub(crate) error_inside: Value,
}

/// What comes of doing a thing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    /// Two of them.
    Two,
    /// No more than of doing it once.
    Same,
    /// It is done part by part, may be left half done, and goes on from there.
    GoesOn,
}

pub(crate) type Making = Pin<Box<dyn Future<Output = Subject>>>;
pub(crate) type Maker = fn() -> Making;
pub(crate) type Counting = Pin<Box<dyn Future<Output = usize>>>;

/// A count that is there at once.
pub(crate) fn counted(count: impl Fn() -> usize + 'static) -> Box<dyn Fn() -> Counting> {
    Box::new(move || Box::pin(std::future::ready(count())))
}

/// A maker for each worker, by name.
pub(crate) fn all() -> Vec<(&'static str, Maker)> {
    vec![
        ("check PagerDuty", || Box::pin(pagerduty(0))),
        ("declare in PagerDuty", || Box::pin(pagerduty(1))),
        ("call responders", || Box::pin(pagerduty(2))),
        ("post a status update", || Box::pin(pagerduty(3))),
        ("close the incident", || Box::pin(pagerduty(4))),
        ("check LaunchDarkly", || Box::pin(launchdarkly(0))),
        ("set a flag", || Box::pin(launchdarkly(1))),
        ("give a flag back", || Box::pin(launchdarkly(2))),
        ("check Slack", || Box::pin(slack(0))),
        ("post to Slack", || Box::pin(slack(1))),
        ("post to a webhook", || Box::pin(slack(2))),
        ("check Grafana", || Box::pin(grafana(0))),
        ("review a dashboard", || Box::pin(grafana(1))),
        ("check the service", || Box::pin(endpoints(false))),
        ("validate the endpoints", || Box::pin(endpoints(true))),
    ]
}

/// The proxy before a stand-in, and the address by which it is reached.
async fn before(stand_in: &StandIn) -> (Proxy, String) {
    let rest = stand_in.url.strip_prefix("http://").unwrap();
    let proxy = Proxy::before(rest.parse().unwrap(), Speech::Http).await;
    let url = stand_in.base_url.replace(rest, &proxy.address.to_string());
    (proxy, url)
}

async fn pagerduty(what: u8) -> Subject {
    let config = pagerduty::Config { tokens: tokens(), account: Account::example(), record_to: None };
    let stand_in = pagerduty::start(config).await.unwrap();
    let (proxy, url) = before(&stand_in).await;
    let mut bench = Bench::new(&format!(
        "[pagerduty]\ntoken = TOKEN_SOURCE\nfrom = 'oncall@example.com'\nservice = 'PWIXJZS'\nbase_url = '{url}'\n\
         responders = ['cto@example.com']\nresponder_policies = ['PEP12AB']\n"
    ));
    bench.says("regulated", "no");
    let declare = DeclareIncident {
        incident_type: "Data Loss".to_owned(),
        title: "Data loss: {{ database }}".to_owned(),
        details: "Under way.".to_owned(),
    };
    if what > 1 {
        let done = bench.go(&declare).await.unwrap();
        bench.fact("declare.incident", done.facts[0].clone());
    }
    let incident = step("declare.incident");
    let worker: Box<dyn Worker> = match what {
        0 => Box::new(CheckPagerDuty),
        1 => Box::new(declare),
        2 => Box::new(CallResponders { incident, message: "Join.".to_owned() }),
        3 => Box::new(PostStatusUpdate { incident, text: "We restore.".to_owned() }),
        _ => Box::new(CloseIncident { incident, resolution: "Restored.".to_owned() }),
    };
    let effects = counted(move || {
        let state = stand_in.state();
        let incidents = state["incidents"].as_array().unwrap();
        let listed = |field: &str| incidents.iter().map(|one| one[field].as_array().unwrap().len()).sum();
        match what {
            0 => 0,
            1 => incidents.len(),
            2 => listed("responder_requests"),
            3 => listed("status_updates"),
            _ => incidents.iter().filter(|one| one["status"] == "resolved").count(),
        }
    });
    Subject {
        bench,
        worker,
        proxy,
        system: "PagerDuty",
        place: HERE,
        effects,
        is_blind: false,
        // A second opening under our key is none.
        twice: if what == 1 || what == 4 { Twice::Same } else { Twice::Two },
        reads: what == 0,
        error_inside: json!({"error": {"code": 2001, "message": "Invalid Input Provided"}}),
    }
}

async fn launchdarkly(what: u8) -> Subject {
    let stand_in = launchdarkly::start(launchdarkly::Config::example(tokens())).await.unwrap();
    let (proxy, url) = before(&stand_in).await;
    let mut bench = Bench::new(&format!(
        "[launchdarkly]\ntoken = TOKEN_SOURCE\nproject = 'default'\nenvironment = 'production'\nbase_url = '{url}'"
    ));
    let set = SetFlag { flag: "deployments_locked".to_owned(), on: true };
    if what == 2 {
        let done = bench.go(&set).await.unwrap();
        bench.fact("declare.freeze", done.facts[0].clone());
    }
    let worker: Box<dyn Worker> = match what {
        0 => Box::new(CheckLaunchDarkly),
        1 => Box::new(set),
        _ => Box::new(RestoreFlag { from: step("declare.freeze") }),
    };
    let effects = counted(move || {
        let state = stand_in.state();
        let is_on = state["flags"][0]["environments"]["production"]["on"] == true;
        usize::from(if what == 2 { !is_on } else { is_on })
    });
    let error_inside = json!({"code": "internal_service_error", "message": "Internal Service Error"});
    Subject {
        bench,
        worker,
        proxy,
        system: "LaunchDarkly",
        place: HERE,
        effects,
        is_blind: false,
        twice: Twice::Same,
        reads: what == 0,
        error_inside,
    }
}

async fn slack(what: u8) -> Subject {
    let stand_in = slack::start(slack::Config::example(tokens())).await.unwrap();
    let (proxy, url) = before(&stand_in).await;
    let is_hook = what == 2;
    let bench = if is_hook {
        let bench = Bench::new("[slack]\nwebhook = TOKEN_SOURCE\nchannel_name = '#status'");
        let through = stand_in.url.replace("http://", "");
        bench.token(&slack::webhook(&stand_in, TOKEN).replace(&through, &proxy.address.to_string()));
        bench
    } else {
        Bench::new(&format!(
            "[slack]\ntoken = TOKEN_SOURCE\nchannel = 'C0123456789'\nchannel_name = '#status'\nbase_url = '{url}'"
        ))
    };
    let worker: Box<dyn Worker> = match what {
        0 => Box::new(CheckSlack),
        _ => Box::new(PostMessage { text: "Data loss. ({{ incident }})".to_owned() }),
    };
    let posted = move || stand_in.state()["channels"][0]["messages"].as_array().unwrap().len();
    Subject {
        bench,
        worker,
        proxy,
        system: "Slack",
        place: HERE,
        effects: counted(posted),
        is_blind: is_hook,
        twice: Twice::Two,
        reads: what == 0,
        error_inside: json!({"ok": false, "error": "fatal_error"}),
    }
}

/// Calm numbers.
struct Calm;

impl Metrics for Calm {
    fn series(&self, _metric: Metric, _from: i64, to: i64, _step: i64) -> Option<Vec<(i64, Option<f64>)>> {
        Some(vec![(to - 60_000, Some(0.1)), (to, Some(0.1))])
    }
}

async fn grafana(what: u8) -> Subject {
    let config = grafana::Config::example(tokens(), std::sync::Arc::new(Calm));
    let stand_in = grafana::start(config).await.unwrap();
    let (proxy, url) = before(&stand_in).await;
    let bench = Bench::new(&format!(
        "[grafana]\ntoken = TOKEN_SOURCE\nurl = '{url}'\norg_id = 1\n\
         [[grafana.panel]]\ntitle = 'Replication lag'\nunit = 's'\nwarn = 5.0\nbad = 30.0\n"
    ));
    let worker: Box<dyn Worker> = match what {
        0 => Box::new(CheckGrafana),
        _ => Box::new(ReviewDashboard { dashboard: "Platform > Database".to_owned() }),
    };
    // Only reads; the stand-in must live as long as the subject.
    let effects = counted(move || usize::from(stand_in.url.is_empty()));
    let error_inside = json!({"results": {"A": {"status": 500, "error": "query timed out"}}});
    Subject {
        bench,
        worker,
        proxy,
        system: "Grafana",
        place: HERE,
        effects,
        is_blind: false,
        twice: Twice::Same,
        reads: true,
        error_inside,
    }
}

/// Any service that says how it is.
async fn endpoints(must_be_well: bool) -> Subject {
    let config = grafana::Config::example(tokens(), std::sync::Arc::new(Calm));
    let stand_in = grafana::start(config).await.unwrap();
    let (proxy, url) = before(&stand_in).await;
    let bench = Bench::new(&format!("[http.api]\nbase_url = '{url}'\npaths = ['/api/health']\n"));
    let service = TargetRef::Http("api".to_owned());
    let worker: Box<dyn Worker> =
        if must_be_well { Box::new(CheckEndpoints { service }) } else { Box::new(CheckHttp { target: service }) };
    // Only reads; the stand-in must live as long as the subject.
    let effects = counted(move || usize::from(stand_in.url.is_empty()));
    let error_inside = json!({"status": "down"});
    Subject {
        bench,
        worker,
        proxy,
        system: "http.api",
        place: HERE,
        effects,
        is_blind: false,
        twice: Twice::Same,
        reads: true,
        error_inside,
    }
}

/// Whether what was done is owed instead: a message that waits in the outbox.
pub(crate) fn is_owed(facts: &[Fact]) -> bool {
    facts.iter().any(|fact| matches!(fact, Fact::Owed { .. }))
}
