//! The paid services of the drill: starts their stand-ins and writes their sections of the configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::config_file::{path, quoted};
use super::error::SandboxError;
use super::folder::Secrets;
use super::meters::Meters;
use super::scenario;
use super::standin::pagerduty::{Account, OpenIncident};
use super::standin::{StandIn, Tokens, grafana, launchdarkly, pagerduty, slack};

/// How soon after the onset somebody was paged.
const PAGED_AFTER: SignedDuration = SignedDuration::from_mins(4);

/// Where a stand-in is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFact {
    /// What stands in the configuration.
    pub base_url: String,
    /// Where its `/_control/…` lies.
    pub control_url: String,
    /// Holds the operator's token; mode 0600.
    pub token_file: PathBuf,
    /// Holds a token that may not change anything; mode 0600.
    pub viewer_token_file: PathBuf,
}

/// The running stand-ins; dropping them stops them.
pub(crate) struct PaidServices {
    running: Vec<StandIn>,
    /// By the name of their section in the configuration, which is also that of their record.
    pub(crate) facts: BTreeMap<String, ServiceFact>,
}

/// Token files of one service, and the tokens.
struct Keys {
    tokens: Tokens,
    token_file: PathBuf,
    viewer_token_file: PathBuf,
}

impl PaidServices {
    /// Starts all four. PagerDuty holds the incident that paged somebody shortly after the onset.
    pub(crate) async fn start(
        secrets: &Secrets,
        records: &Path,
        meters: &Meters,
        onset: Timestamp,
    ) -> Result<Self, SandboxError> {
        let keys = |name: &str, prefix: &str| -> Result<Keys, SandboxError> {
            let full = secrets.invent(&format!("{name}-token"), prefix, 16)?;
            let viewer = secrets.invent(&format!("{name}-viewer-token"), prefix, 16)?;
            Ok(Keys {
                tokens: Tokens::new(full.value).with_read_only(viewer.value),
                token_file: full.file,
                viewer_token_file: viewer.file,
            })
        };
        let record = |name: &str| records.join(format!("{name}.jsonl"));
        let failed = |name: &'static str| SandboxError::io("start the stand-in for", Path::new(name));
        let mut paid = Self { running: Vec::new(), facts: BTreeMap::new() };

        let key = keys("pagerduty", "u+")?;
        let mut account = Account::example();
        account.open_incidents.push(OpenIncident {
            title: "api: integrity errors above 5 %".to_owned(),
            service: "PWIXJZS".to_owned(),
            created_at: scenario::at(onset, PAGED_AFTER),
            alert_key: Some("api-integrity-errors".to_owned()),
        });
        let config = pagerduty::Config { tokens: key.tokens.clone(), account, record_to: Some(record("pagerduty")) };
        let running = pagerduty::start(config).await.map_err(failed("PagerDuty"))?;
        paid.keep("pagerduty", running, key);

        let key = keys("launchdarkly", "api-")?;
        let mut config = launchdarkly::Config::example(key.tokens.clone());
        config.record_to = Some(record("launchdarkly"));
        let running = launchdarkly::start(config).await.map_err(failed("LaunchDarkly"))?;
        paid.keep("launchdarkly", running, key);

        let key = keys("slack", "xoxb-")?;
        let mut config = slack::Config::example(key.tokens.clone());
        config.record_to = Some(record("slack"));
        let running = slack::start(config).await.map_err(failed("Slack"))?;
        paid.keep("slack", running, key);

        let key = keys("grafana", "glsa_")?;
        let mut config = grafana::Config::example(key.tokens.clone(), Arc::new(meters.clone()));
        config.record_to = Some(record("grafana"));
        let running = grafana::start(config).await.map_err(failed("Grafana"))?;
        paid.keep("grafana", running, key);
        Ok(paid)
    }

    fn keep(&mut self, name: &str, running: StandIn, keys: Keys) {
        let fact = ServiceFact {
            base_url: running.base_url.clone(),
            control_url: running.url.clone(),
            token_file: keys.token_file,
            viewer_token_file: keys.viewer_token_file,
        };
        self.facts.insert(name.to_owned(), fact);
        self.running.push(running);
    }

    /// Stops them and waits for their connections to end.
    pub(crate) async fn stop(self) {
        for running in self.running {
            running.stop().await;
        }
    }
}

/// The sections of the paid services, in the format of the configuration.
pub(crate) fn sections(facts: &BTreeMap<String, ServiceFact>) -> String {
    let mut text = String::new();
    for (name, fact) in facts {
        let address = if name == "grafana" { "url" } else { "base_url" };
        let _ = writeln!(
            text,
            "[{name}]\n{address} = {}\ntoken = {{ file = {} }}",
            quoted(&fact.base_url),
            path(&fact.token_file),
        );
        text.push_str(match name.as_str() {
            "pagerduty" => {
                "from = \"oncall@example.com\"\nservice = \"PWIXJZS\"\nescalation_policy = \"PT20YPA\"\n\
                 responders = [\"cto@example.com\", \"vp-engineering@example.com\"]\nresponder_policies = [\"PEP12AB\"]\n\
                 [pagerduty.bridge]\nnumber = \"+1 415-555-1212,,,,1234#\"\nurl = \"https://meet.example.com/bridge\"\n"
            }
            "launchdarkly" => "project = \"default\"\nenvironment = \"production\"\n",
            "slack" => "channel = \"C0123456789\"\nchannel_name = \"#status\"\n",
            "grafana" => {
                "[[grafana.panel]]\ntitle = \"Replication lag\"\nunit = \"s\"\nwarn = 5.0\nbad = 30.0\n\
                 [[grafana.panel]]\ntitle = \"Error rate\"\nunit = \"%\"\nwarn = 1.0\nbad = 5.0\n"
            }
            _ => "",
        });
        text.push('\n');
    }
    text
}
