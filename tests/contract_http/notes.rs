//! Notes of the outbox.

use relight::drill::standin::pagerduty::{self, Account, OpenIncident};
use relight::workers::send_note;

use super::*;

const MARK: &str = "[INC-7F3K #9]";

#[tokio::test]
async fn a_note_is_written_once_however_often_it_is_sent() {
    let mut account = Account::example();
    account.open_incidents.push(OpenIncident {
        title: "paged".into(),
        service: "PWIXJZS".into(),
        created_at: Timestamp::now(),
        alert_key: None,
    });
    let pd = pagerduty::start(pagerduty::Config { tokens: tokens(), account, record_to: None }).await.expect("one");
    let mut bench = Bench::new(&format!(
        "[pagerduty]\ntoken = TOKEN_SOURCE\nfrom = 'oncall@example.com'\nservice = 'PWIXJZS'\nbase_url = '{}'",
        pd.base_url
    ));
    let incident = pd.state()["incidents"][0]["id"].as_str().expect("an id").to_owned();
    let notes = || pd.state()["incidents"][0]["notes"].as_array().expect("notes").clone();
    let text = format!("08:52:10Z Writes stopped {MARK}");
    strike(&pd, "POST", "/incidents/", FaultKind::LoseAnswer);
    let cx = bench.cx();
    let error = send_note(&cx.config, &incident, &text, MARK, false).await.expect_err("lost");
    assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
    let id = send_note(&cx.config, &incident, &text, MARK, true).await.expect("there already");
    assert_eq!(notes().len(), 1);
    assert_eq!((notes()[0]["id"].as_str(), notes()[0]["content"].as_str()), (Some(id.as_str()), Some(text.as_str())));
    let other = send_note(&cx.config, &incident, "Restored", "[INC-7F3K #10]", true).await.expect("written");
    assert_eq!((notes().len(), notes()[1]["id"].as_str()), (2, Some(other.as_str())));
    assert_eq!(notes()[1]["content"], "Restored [INC-7F3K #10]");
    for (kind, disposition) in [
        (answer(401), Disposition::AskOperator),
        (answer(404), Disposition::Fatal),
        (answer(500), Disposition::InDoubt),
        (answer(429), Disposition::Wait(std::time::Duration::from_secs(7))),
    ] {
        strike(&pd, "POST", "/incidents/", kind);
        let error = send_note(&cx.config, &incident, "x", MARK, false).await.expect_err("refused");
        assert_eq!(error.disposition, disposition, "{error}");
    }
    let full = json!({"error": {"message": "Product Limit Reached", "code": 2019, "errors": []}});
    let kind = FaultKind::Answer { status: 400, headers: None, body: Some(full), bare: false, effect: false };
    strike(&pd, "POST", "/incidents/", kind);
    let error = send_note(&cx.config, &incident, "x", MARK, false).await.expect_err("full");
    assert!(error.disposition == Disposition::Fatal && error.cause.contains("2,000"), "{error}");
    bench.hurry();
    strike(&pd, "GET", "/incidents/", FaultKind::Hold { after_effect: false });
    let error = send_note(&bench.cx().config, &incident, "x", MARK, true).await.expect_err("silence");
    assert_eq!(error.disposition, Disposition::Retry, "nothing was sent: {error}");
}
