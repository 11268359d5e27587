//! Grafana.

use relight::drill::standin::grafana::{self, Metric, Metrics};
use relight::workers::grafana::{CheckGrafana, ReviewDashboard};

use super::*;

/// Numbers that a test sets: by seconds before the end of what is asked for.
#[derive(Default)]
struct Numbers(Mutex<Shown>);

#[derive(Default, Clone)]
struct Shown {
    lag: Option<Vec<(i64, Option<f64>)>>,
    errors: Option<Vec<(i64, Option<f64>)>>,
    /// So many questions are answered without a value first.
    silent_for: u32,
    /// The longest time that may be asked for, in milliseconds.
    window: Option<i64>,
}

impl Metrics for Numbers {
    fn series(&self, metric: Metric, from: i64, to: i64, _step: i64) -> Option<Vec<(i64, Option<f64>)>> {
        let mut shown = self.0.lock().unwrap();
        match shown.window {
            Some(most) => assert!(to - from <= most, "only the time since writes were started"),
            None => assert_eq!(to - from, 900_000, "the last 15 minutes"),
        }
        if metric == Metric::ErrorRate && shown.silent_for > 0 {
            shown.silent_for -= 1;
            return Some(Vec::new());
        }
        let shown = shown.clone();
        let points = match metric {
            Metric::ReplicationLag => shown.lag?,
            Metric::ErrorRate => shown.errors?,
        };
        Some(points.into_iter().map(|(ago, value)| (to - ago * 1000, value)).collect())
    }
}

async fn start() -> (StandIn, Arc<Numbers>) {
    let numbers = Arc::new(Numbers::default());
    *numbers.0.lock().unwrap() = Shown {
        lag: Some(vec![(60, Some(0.4)), (0, Some(0.2))]),
        errors: Some(vec![(60, Some(0.0)), (0, Some(0.5))]),
        ..Shown::default()
    };
    let metrics: Arc<dyn Metrics> = numbers.clone();
    let stand_in = grafana::start(grafana::Config::example(tokens(), metrics)).await.expect("a Grafana");
    (stand_in, numbers)
}

fn bench(stand_in: &StandIn) -> Bench {
    Bench::new(&format!(
        "[grafana]\ntoken = TOKEN_SOURCE\nurl = '{}'\norg_id = 1\n\
         [[grafana.panel]]\ntitle = 'Replication lag'\nunit = 's'\nwarn = 5.0\nbad = 30.0\n\
         [[grafana.panel]]\ntitle = 'Error rate'\nunit = '%'\nwarn = 1.0\nbad = 5.0\n",
        stand_in.base_url
    ))
}

fn review() -> ReviewDashboard {
    ReviewDashboard { dashboard: "Platform > Database".to_owned() }
}

#[tokio::test]
async fn panels_are_found_asked_and_judged() {
    let (grafana, numbers) = start().await;
    let bench = bench(&grafana);
    let plan = bench.ready(&review()).await;
    assert_eq!(plan.target.proofs["dashboard"], "db-platform");
    let link = format!("The dashboard: {}/d/db-platform?from=now-1h&to=now&orgId=1", grafana.url);
    assert_eq!(plan.effects.last(), Some(&link));
    let done = bench.run(&review(), &plan).await.expect("good");
    assert_eq!(
        done.evidence,
        [
            "Replication lag: 0.2 s now, at most 0.4 s in the last 5 minutes (warn above 5 s, bad above 30 s)",
            "Error rate: 0.5 % now, at most 0.5 % in the last 5 minutes (warn above 1 %, bad above 5 %)",
        ]
    );
    let state = grafana.state();
    let asked: Vec<_> =
        state["queried"].as_array().unwrap().iter().map(|query| query["expr"].as_str().unwrap()).collect();
    assert_eq!(asked[0], r#"max(pg_replication_lag_seconds{cluster="primary"})"#);
    assert!(!asked[1].contains('$') && asked.len() == 2, "hidden queries are not asked: {asked:?}");
    let notices = bench.heard.notices.lock().unwrap().clone();
    let [Notice::Measured { series, .. }] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!(
        (series[0].title.as_str(), series[0].points.len(), series[1].points[1].1),
        ("Replication lag", 2, Some(0.5))
    );
    let queried = grafana.requests().into_iter().find(|it| it.path == "/api/ds/query").expect("a query");
    assert_eq!(
        (queried.headers["x-cache-skip"].as_str(), queried.headers["x-grafana-org-id"].as_str()),
        (Some("true"), Some("1"))
    );
    numbers.0.lock().unwrap().lag = Some(vec![(0, Some(6.0))]);
    let done = bench.run(&review(), &plan).await.expect("a warning");
    assert!(done.evidence[0].starts_with("Above its warning threshold: Replication lag: 6 s"), "{done:?}");
}

#[tokio::test]
async fn bad_numbers_and_missing_ones_fail() {
    let (grafana, numbers) = start().await;
    let bench = bench(&grafana);
    let plan = bench.ready(&review()).await;
    for (lag, says) in [
        (Some(vec![(0, Some(31.0))]), "Replication lag: 31 s now"),
        (Some(vec![(0, Some(f64::INFINITY))]), "inf s now"),
        (Some(vec![(0, Some(f64::NAN))]), "no data"),
        (Some(vec![(600, Some(1.0)), (0, None)]), "no data since"),
        (Some(Vec::new()), "no data"),
        (None, "Replication lag: no data"),
    ] {
        numbers.0.lock().unwrap().lag = lag;
        let error = bench.run(&review(), &plan).await.expect_err("bad");
        assert!(error.cause.contains(says), "{error}");
        assert!(error.cause.contains("/d/db-platform?") && error.cause.contains("viewPanel=2"), "{error}");
        assert!(!error.cause.contains("Error rate"), "the other panel is good: {error}");
    }
}

/// A peak that has passed is the trouble that was repaired: it is said, and does not hold the step up.
#[tokio::test]
async fn a_peak_that_has_passed_is_a_warning() {
    let (grafana, numbers) = start().await;
    let bench = bench(&grafana);
    let plan = bench.ready(&review()).await;
    numbers.0.lock().unwrap().lag = Some(vec![(120, Some(90.0)), (0, Some(1.0))]);
    let done = bench.run(&review(), &plan).await.expect("good now");
    assert!(
        done.evidence[0].contains("Above its warning threshold: Replication lag: 1 s now, at most 90 s"),
        "{done:?}"
    );
}

/// Right after writes were started there may be no value yet: the outage's numbers do not count, and a first one is
/// waited for.
#[tokio::test]
async fn the_first_value_since_writes_were_started_is_waited_for() {
    let (grafana, numbers) = start().await;
    let mut bench = bench(&grafana);
    bench.fact("restore.start", Fact::WritesStarted { at: Timestamp::now() });
    {
        let mut shown = numbers.0.lock().unwrap();
        (shown.silent_for, shown.window) = (1, Some(60_000));
    }
    let plan = bench.ready(&review()).await;
    let done = bench.run(&review(), &plan).await.expect("there is a value at last");
    assert!(done.evidence[1].starts_with("Error rate: 0.5 % now"), "{done:?}");
    let lines = bench.heard.lines.lock().unwrap().clone();
    assert!(lines[0].contains("no value yet since writes were started"), "{lines:?}");
    assert_eq!(numbers.0.lock().unwrap().silent_for, 0);
}

#[tokio::test]
async fn a_partial_failure_is_the_panels_own() {
    let (grafana, _) = start().await;
    let bench = bench(&grafana);
    let plan = bench.ready(&review()).await;
    for multi in [false, true] {
        grafana.set(&json!({"failing": ["error_rate"], "multi_status": multi})).expect("set");
        let error = bench.run(&review(), &plan).await.expect_err("one failed");
        assert!(error.cause.contains("Error rate: query A failed: execution: query timed out"), "{error}");
        let lines = bench.heard.lines.lock().unwrap().clone();
        assert!(lines.iter().any(|line| line.starts_with("Replication lag: 0.2 s")), "{lines:?}");
    }
}

#[tokio::test]
async fn reading_tells_refusals_apart() {
    let (grafana, _) = start().await;
    let mut bench = bench(&grafana);
    let plan = bench.ready(&review()).await;
    for (kind, disposition, says) in [
        (answer(401), Disposition::AskOperator, "does not accept the token"),
        (answer(403), Disposition::AskOperator, "datasources:query"),
        (answer(404), Disposition::AskOperator, "the panel's data source"),
        (answer(500), Disposition::Retry, "failed on its side"),
        (answer(429), Disposition::Wait(std::time::Duration::from_secs(5)), "left alone"),
        (bare(429), Disposition::Wait(std::time::Duration::from_secs(10)), "left alone"),
        (bare(400), Disposition::AskOperator, "refuses it (400)"),
        (FaultKind::Drop, Disposition::Retry, "broke off"),
        (FaultKind::Cut { after_bytes: 80 }, Disposition::Retry, "broke off"),
        (FaultKind::Garble { body: Some("<html>login</html>".into()) }, Disposition::AskOperator, "is no JSON"),
        (FaultKind::Garble { body: Some("{}".into()) }, Disposition::AskOperator, "not what its API documents"),
    ] {
        strike(&grafana, "POST", "/api/ds/query", kind);
        let error = bench.run(&review(), &plan).await.expect_err("refused");
        assert_eq!(error.disposition, disposition, "{error}");
        assert!(error.cause.contains(says), "{error}");
    }
    bench.hurry();
    strike(&grafana, "POST", "/api/ds/query", FaultKind::Hold { after_effect: false });
    let error = bench.run(&review(), &plan).await.expect_err("silence");
    assert_eq!(error.disposition, Disposition::Retry, "{error}");
}

#[tokio::test]
async fn what_cannot_be_found_is_named() {
    let (grafana, _) = start().await;
    let mut bench = bench(&grafana);
    for (path, says) in [
        ("Platform > Databases", "sees no dashboard"),
        ("Plat > Database", "sees no folder \"Plat\""),
        ("Database", "Several dashboards fit"),
        (" > ", "No dashboard is named"),
    ] {
        let error = bench.plan(&ReviewDashboard { dashboard: path.to_owned() }).await.expect_err("nothing");
        assert!(error.cause.contains(says), "{path}: {error}");
    }
    let worker = ReviewDashboard { dashboard: "Database backups".to_owned() };
    let plan = bench.plan(&worker).await.expect("a plan");
    assert!(blocking(&plan)[0].contains("has no panel \"Replication lag\""), "{plan:?}");
    grafana.set(&json!({"visible": false})).expect("set");
    let error = bench.plan(&review()).await.expect_err("nothing to be seen");
    assert!(error.next.contains("may not"), "{error}");
    bench.config = bench.config.split("[[grafana").next().unwrap().to_owned();
    grafana.set(&json!({"visible": true})).expect("set");
    assert!(blocking(&bench.plan(&review()).await.expect("a plan"))[0].contains("names no panels"));
}

#[tokio::test]
async fn the_check_proves_the_right_to_query() {
    let (grafana, _) = start().await;
    let mut bench = bench(&grafana);
    let done = bench.go(&CheckGrafana).await.expect("good");
    assert_eq!(
        done.evidence,
        ["Grafana 11.4.0 is up", "the token sees 4 dashboards", "the token may query the default data source"]
    );
    bench.token(READ_ONLY);
    let error = bench.go(&CheckGrafana).await.expect_err("may not query");
    assert!(error.cause.contains("datasources:query"), "{error}");
    bench.token("wrong");
    assert!(bench.go(&CheckGrafana).await.expect_err("401").cause.contains("does not accept the token"));
    bench.token(TOKEN);
    grafana.set(&json!({"datasource_up": false})).expect("set");
    assert!(bench.go(&CheckGrafana).await.expect_err("down").cause.contains("connection refused"));
    grafana.set(&json!({"datasource_up": true, "database_up": false})).expect("set");
    assert!(bench.go(&CheckGrafana).await.expect_err("unwell").cause.contains("failed on its side (503"));
    grafana.set(&json!({"database_up": true, "visible": false})).expect("set");
    assert!(bench.go(&CheckGrafana).await.expect_err("blind").cause.contains("sees no dashboard"));
    bench.config = bench.config.replace("org_id = 1", "org_id = 2");
    assert!(bench.go(&CheckGrafana).await.expect_err("elsewhere").cause.contains("No access to this organization"));
    bench.config = bench.config.replace("url = 'http", "url = 'ftp");
    assert!(bench.plan(&CheckGrafana).await.expect_err("no address").cause.contains("is no address of a web service"));
}
