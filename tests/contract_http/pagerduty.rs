//! PagerDuty.

use relight::drill::standin::pagerduty::{self, Account, OpenIncident};
use relight::workers::pagerduty::{CallResponders, CheckPagerDuty, CloseIncident, DeclareIncident, PostStatusUpdate};

use super::*;

async fn start() -> StandIn {
    let config = pagerduty::Config { tokens: tokens(), account: Account::example(), record_to: None };
    pagerduty::start(config).await.expect("a PagerDuty")
}

fn bench(stand_in: &StandIn) -> Bench {
    Bench::new(&format!(
        "[pagerduty]\ntoken = TOKEN_SOURCE\nfrom = 'oncall@example.com'\nservice = 'PWIXJZS'\nbase_url = '{}'\n\
         responders = ['cto@example.com', 'Gone@example.com']\nresponder_policies = ['PEP12AB']\n\
         [pagerduty.bridge]\nnumber = '+1 415,,1#'\nurl = 'https://meet.example.com/b'\n",
        stand_in.base_url
    ))
}

fn declare() -> DeclareIncident {
    DeclareIncident {
        incident_type: "data LOSS".to_owned(),
        title: "Data loss: {{ database }}".to_owned(),
        details: "Under way, {{ incident }}.".to_owned(),
    }
}

fn incidents(stand_in: &StandIn) -> Vec<Value> {
    stand_in.state()["incidents"].as_array().expect("incidents").clone()
}

fn page(title: &str, key: Option<&str>) -> Value {
    json!({"open_incident": OpenIncident {
        title: title.into(), service: "PWIXJZS".into(), created_at: Timestamp::now(), alert_key: key.map(str::to_owned),
    }})
}

/// A bench whose incident is declared.
async fn declared(stand_in: &StandIn) -> (Bench, String) {
    let mut bench = bench(stand_in);
    let done = bench.says("regulated", "no").go(&declare()).await.expect("declared");
    let Some(Fact::PagerDuty { id, .. }) = done.facts.first().cloned() else { panic!("{done:?}") };
    bench.fact("declare.incident", done.facts[0].clone());
    (bench, id)
}

#[tokio::test]
async fn an_incident_is_opened_with_type_bridge_and_key() {
    let pd = start().await;
    let mut bench = bench(&pd);
    let plan = bench.plan(&declare()).await.expect("a plan");
    assert_eq!(
        plan.obstacle().as_deref(),
        Some("Is regulated data (personal, payment) concerned? is not answered yet")
    );
    assert_eq!(incidents(&pd).len(), 0, "planning changes nothing");
    assert!(plan.commands[0].contains("$PAGERDUTY_TOKEN") && plan.commands[0].contains("'From: oncall@example.com'"));
    let done = bench.says("regulated", "yes").go(&declare()).await.expect("declared");
    let [incident] = incidents(&pd).try_into().expect("one");
    assert_eq!(incident["title"], "Data loss: financecopilot");
    assert_eq!(incident["incident_key"], "INC-7F3K");
    assert_eq!(incident["incident_type"]["name"], "data_loss");
    assert_eq!(incident["body"]["details"], "Under way, INC-7F3K.");
    assert_eq!(incident["conference_bridge"]["conference_number"], "+1 415,,1#");
    let id = incident["id"].as_str().unwrap().to_owned();
    let url = format!("https://example.pagerduty.com/incidents/{id}");
    let facts = [Fact::PagerDuty { id, number: 1, url, adopted: false }, Fact::Regulated { yes: true }];
    assert_eq!(done.facts, facts);
    assert!(done.evidence.iter().any(|line| line == "Its type is data_loss"), "{done:?}");
    // The same again finds the one that is open under the key, and its plan says so.
    let plan = bench.ready(&declare()).await;
    assert_eq!(plan.effects, ["Takes #1 Data loss: financecopilot, which is open under our key already"]);
    let again = bench.go(&declare()).await.expect("adopted");
    assert!(matches!(&again.facts[0], Fact::PagerDuty { number: 1, adopted: true, .. }));
    assert_eq!(incidents(&pd).len(), 1);
}

#[tokio::test]
async fn the_one_that_just_paged_is_adopted() {
    let pd = start().await;
    pd.set(&page("API errors", Some("alert-1"))).expect("a page");
    let mut bench = bench(&pd);
    let plan = bench.says("regulated", "no").ready(&declare()).await;
    let relight::incident::AskKind::Choice(choices) = &plan.asks[0].kind else { panic!("{plan:?}") };
    assert_eq!((choices.len(), plan.asks[0].value.as_str()), (2, "new"));
    assert!(choices[1].label.contains("#1 API errors (triggered"), "{choices:?}");
    let id = choices[1].value.clone();
    let plan = bench.says("incident", &id).ready(&declare()).await;
    let done = bench.run(&declare(), &plan).await.expect("adopted");
    let all = incidents(&pd);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["conference_bridge"]["conference_url"], "https://meet.example.com/b");
    assert!(matches!(&done.facts[0], Fact::PagerDuty { adopted: true, id: is, .. } if *is == id));
    assert!(done.evidence.iter().any(|line| line.contains("incident_default and not data_loss")), "{done:?}");
    pd.set(&json!({"incident_status": {"id": id, "status": "resolved"}})).expect("resolved");
    let error = bench.run(&declare(), &plan).await.expect_err("resolved meanwhile");
    assert!(error.cause.contains("resolved meanwhile"), "{error}");
    assert!(matches!(bench.probe(&declare(), &plan).await, Probe::DidNot(_)));
}

#[tokio::test]
async fn what_would_open_nothing_blocks_the_plan() {
    let pd = start().await;
    let mut bench = bench(&pd);
    bench.says("regulated", "no");
    for status in ["disabled", "maintenance"] {
        pd.set(&json!({"service_status": {"id": "PWIXJZS", "status": status}})).expect("set");
        let plan = bench.plan(&declare()).await.expect("a plan");
        assert!(blocking(&plan)[0].contains("opens no incidents"), "{plan:?}");
    }
    pd.set(&json!({"service_status": {"id": "PWIXJZS", "status": "active"}})).expect("set");
    let security = DeclareIncident { incident_type: "Security".to_owned(), ..declare() };
    assert!(blocking(&bench.plan(&security).await.expect("a plan"))[0].contains("is disabled"));
    let odd = DeclareIncident { incident_type: "Flood".to_owned(), ..declare() };
    let plan = bench.plan(&odd).await.expect("a plan");
    assert_eq!(blocking(&plan), ["PagerDuty has no incident type \"Flood\"; it has Base Incident, Data Loss"]);
    pd.set(&json!({"incident_types_available": false})).expect("set");
    let done = bench.go(&declare()).await.expect("opened without a type");
    assert!(!done.evidence.iter().any(|line| line.contains("type is")), "{done:?}");
}

#[tokio::test]
async fn a_type_that_is_dropped_in_silence_is_told() {
    let pd = start().await;
    let mut bench = bench(&pd);
    let plan = bench.says("regulated", "no").ready(&declare()).await;
    let gone =
        json!({"unknown_incident_type": "base", "incident_type_enabled": {"name": "data_loss", "enabled": false}});
    pd.set(&gone).expect("set");
    let done = bench.run(&declare(), &plan).await.expect("opened");
    assert!(done.evidence[1].contains("incident_default and not data_loss"), "{done:?}");
    assert!(matches!(&done.facts[0], Fact::PagerDuty { .. }), "it is open all the same");
}

#[tokio::test]
async fn opening_tells_refusals_apart() {
    let pd = start().await;
    let mut bench = bench(&pd);
    bench.says("regulated", "no");
    let on = ("POST", "/incidents");
    refusals(&bench, &pd, &declare(), on, false).await;
    // The cut request had its effect: what follows needs it gone.
    let id = incidents(&pd)[0]["id"].clone();
    pd.set(&json!({"incident_status": {"id": id, "status": "resolved"}})).expect("resolved");
    assert_eq!(waits(&struck(&bench, &pd, &declare(), on, answer(429)).await), 7);
    assert_eq!(waits(&struck(&bench, &pd, &declare(), on, bare(429)).await), 30);
    pd.set(&json!({"on_call": {"policy": "PT20YPA", "user": null}})).expect("set");
    let error = bench.go(&declare()).await.expect_err("nobody on call");
    assert!(error.cause.contains("nobody on call"), "{error}");
    bench.token(READ_ONLY);
    pd.set(&json!({"on_call": {"policy": "PT20YPA", "user": "PCTO001"}})).expect("set");
    let error = bench.go(&declare()).await.expect_err("read-only");
    assert!(error.cause.contains("write access"), "{error}");
}

#[tokio::test]
async fn an_opening_whose_answer_is_lost_is_found_by_its_key() {
    for kind in [FaultKind::LoseAnswer, FaultKind::Garble { body: None }, FaultKind::Cut { after_bytes: 60 }] {
        let pd = start().await;
        let mut bench = bench(&pd);
        let plan = bench.says("regulated", "no").ready(&declare()).await;
        assert!(matches!(bench.probe(&declare(), &plan).await, Probe::DidNot(_)));
        strike(&pd, "POST", "/incidents", kind);
        let error = bench.run(&declare(), &plan).await.expect_err("lost");
        assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
        let Probe::Happened(done) = bench.probe(&declare(), &plan).await else { panic!("it happened") };
        assert!(matches!(&done.facts[0], Fact::PagerDuty { number: 1, adopted: false, .. }));
        assert_eq!(incidents(&pd).len(), 1);
    }
}

#[tokio::test]
async fn a_silent_pagerduty_leaves_a_write_in_doubt_and_a_read_to_retry() {
    let pd = start().await;
    let mut bench = bench(&pd);
    let plan = bench.says("regulated", "no").ready(&declare()).await;
    bench.hurry();
    strike(&pd, "POST", "/incidents", FaultKind::Hold { after_effect: true });
    let error = bench.run(&declare(), &plan).await.expect_err("silence");
    assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
    assert!(error.cause.contains("did not answer within 0.2 s"), "{error}");
    pd.release();
    assert!(matches!(bench.probe(&declare(), &plan).await, Probe::Happened(_)));
    strike(&pd, "GET", "/services", FaultKind::Hold { after_effect: false });
    let error = bench.plan(&declare()).await.expect_err("silence");
    assert_eq!(error.disposition, Disposition::Retry, "{error}");
    pd.stop().await;
    let error = bench.plan(&declare()).await.expect_err("nobody there");
    assert_eq!(error.disposition, Disposition::Retry, "{error}");
    assert!(error.cause.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn responders_are_paged_once_with_the_bridge() {
    let pd = start().await;
    let (mut bench, _) = declared(&pd).await;
    let worker = CallResponders { incident: step("declare.incident"), message: "Join, {{ database }}.".to_owned() };
    let plan = bench.ready(&worker).await;
    let warned = plan.findings.iter().any(|it| it.gravity == Gravity::Warning && it.text.contains("Gone@example.com"));
    assert!(warned, "{plan:?}");
    assert_eq!(plan.effects[0], "Pages Kim Chief <cto@example.com>");
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::DidNot(_)));
    let done = bench.run(&worker, &plan).await.expect("paged");
    assert_eq!(done.evidence, ["Paged: Kim Chief <cto@example.com>, whoever is on call for Executives"]);
    let request = incidents(&pd)[0]["responder_requests"][0].clone();
    let message = "Join, financecopilot. Bridge: +1 415,,1# or https://meet.example.com/b (INC-7F3K attempt 4)";
    assert_eq!(request["message"], message);
    assert_eq!(request["requester"]["id"], "PONCALL");
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::Happened(_)));
    bench.attempt = 5;
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::Unknown(_)), "another attempt's page proves nothing");
    strike(&pd, "POST", "/incidents/", FaultKind::LoseAnswer);
    let error = bench.run(&worker, &plan).await.expect_err("lost");
    assert_eq!(error.disposition, Disposition::InDoubt);
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::Happened(_)));
    refusals(&bench, &pd, &worker, ("POST", "/incidents/"), true).await;
}

#[tokio::test]
async fn a_plan_without_responders_is_explained() {
    let pd = start().await;
    let (mut bench, _) = declared(&pd).await;
    let worker = CallResponders { incident: step("declare.incident"), message: "Join.".to_owned() };
    let plan = bench.ready(&worker).await;
    pd.set(&json!({"abilities": ["teams"]})).expect("set");
    assert!(blocking(&bench.plan(&worker).await.expect("a plan"))[0].contains("coordinated_responding"));
    let error = bench.run(&worker, &plan).await.expect_err("402");
    assert!(error.cause.contains("does not include calling responders in"), "{error}");
    assert_eq!(error.disposition, Disposition::AskOperator);
    bench.config = bench.config.replace("'cto@example.com', 'Gone@example.com'", "").replace("'PEP12AB'", "");
    assert!(bench.plan(&worker).await.expect("a plan").nothing_to_do.is_some());
    bench.knowledge.facts.clear();
    let error = bench.plan(&worker).await.expect_err("no incident");
    assert!(error.cause.contains("No step has opened"), "{error}");
}

#[tokio::test]
async fn a_status_update_is_edited_sent_and_found() {
    let pd = start().await;
    let (mut bench, _) = declared(&pd).await;
    let worker =
        PostStatusUpdate { incident: step("declare.incident"), text: "{{ database }}: {{ phase }}.".to_owned() };
    assert_eq!(bench.ready(&worker).await.asks[0].value, "financecopilot: Declare.");
    bench.says("text", "We restore now.");
    let plan = bench.ready(&worker).await;
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::DidNot(_)));
    strike(&pd, "POST", "/incidents/", FaultKind::LoseAnswer);
    let error = bench.run(&worker, &plan).await.expect_err("lost");
    assert_eq!(error.disposition, Disposition::InDoubt);
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::Happened(_)));
    assert_eq!(incidents(&pd)[0]["status_updates"][0]["message"], "We restore now. (INC-7F3K attempt 4)");
    let done = bench.run(&worker, &plan).await.expect("sent");
    assert_eq!(done.evidence[0], "Status update sent: We restore now.");
    refusals(&bench, &pd, &worker, ("POST", "/incidents/"), true).await;
    bench.says("text", " ");
    assert!(bench.plan(&worker).await.expect("a plan").obstacle().is_some());
}

#[tokio::test]
async fn closing_resolves_and_proves_it() {
    let pd = start().await;
    let (bench, id) = declared(&pd).await;
    let worker =
        CloseIncident { incident: step("declare.incident"), resolution: "Restored {{ database }}.".to_owned() };
    let on = ("PUT", "/incidents/");
    let plan = bench.ready(&worker).await;
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::DidNot(_)));
    strike(&pd, on.0, on.1, FaultKind::LoseAnswer);
    let error = bench.run(&worker, &plan).await.expect_err("lost");
    assert_eq!(error.disposition, Disposition::InDoubt);
    assert!(matches!(bench.probe(&worker, &plan).await, Probe::Happened(_)));
    assert_eq!(incidents(&pd)[0]["status"], "resolved");
    // Resolved already: what was wanted is so.
    let done = bench.run(&worker, &plan).await.expect("resolved");
    assert_eq!(done.evidence, ["PagerDuty incident #1 Data loss: financecopilot is resolved"]);
    let plan = bench.ready(&worker).await;
    assert_eq!(plan.nothing_to_do, None, "ours still has to close");
    pd.set(&json!({"incident_status": {"id": id, "status": "triggered"}})).expect("reopened");
    refusals(&bench, &pd, &worker, on, false).await;
    let log = incidents(&pd)[0]["log_entries"].to_string();
    assert!(log.contains("Restored financecopilot."), "{log}");
}

#[tokio::test]
async fn the_check_proves_people_and_rights_and_changes_nothing() {
    let pd = start().await;
    let mut bench = bench(&pd);
    let error = bench.go(&CheckPagerDuty).await.expect_err("one is gone");
    assert!(error.cause.contains("Gone@example.com"), "{error}");
    bench.config = bench.config.replace(", 'Gone@example.com'", "");
    let before = pd.state();
    let done = bench.go(&CheckPagerDuty).await.expect("good");
    assert!(done.evidence.iter().any(|line| line == "the token may open incidents"), "{done:?}");
    assert_eq!(pd.state(), before);
    bench.token(READ_ONLY);
    let error = bench.go(&CheckPagerDuty).await.expect_err("read-only");
    assert!(error.cause.contains("write access"), "{error}");
    bench.token("wrong");
    let error = bench.plan(&CheckPagerDuty).await.expect_err("401");
    assert!(error.cause.contains("does not accept the token") && error.next.contains("the file"), "{error}");
    bench.token(TOKEN);
    bench.config = bench.config.replace("oncall@", "nobody@");
    let error = bench.go(&CheckPagerDuty).await.expect_err("no such user");
    assert!(error.cause.contains("nobody@example.com"), "{error}");
    bench.config = bench.config.replace("PWIXJZS", "PNONE");
    let error = bench.plan(&CheckPagerDuty).await.expect_err("no such service");
    assert!(error.cause.contains("PNONE (pagerduty.service)"), "{error}");
    std::fs::remove_file(bench.token_file()).expect("to remove");
    let error = bench.plan(&CheckPagerDuty).await.expect_err("no token");
    assert!(error.cause.contains("cannot be read"), "{error}");
}
