//! LaunchDarkly's REST API v2, version 20240415.

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::{self, Config};
use crate::workers::WorkerError;
use crate::workers::http::{Answer, Call, Called, Effect, Pace, Service};

/// Always sent: the default is whatever version the token was made under.
const VERSION: &str = "20240415";
/// Without the parameter a semantic patch is read as a JSON patch.
pub(super) const SEMANTIC: &str = "application/json; domain-model=launchdarkly.semanticpatch";

const READ: &str = "the role Reader for this project";
const WRITE: &str = "the action updateOn for this flag and environment (the role Writer has it)";

/// The client, and where it works.
#[derive(Debug)]
pub(super) struct Api {
    service: Service,
    pub(super) project: String,
    pub(super) environment: String,
}

/// Who the token is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Caller {
    #[serde(default)]
    pub(super) account_id: Option<String>,
    #[serde(default)]
    pub(super) token_name: Option<String>,
}

/// A flag, with the one environment that was asked for (or all of them).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Flag {
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    #[serde(default)]
    variations: Vec<Variation>,
    #[serde(default)]
    environments: std::collections::BTreeMap<String, Switch>,
}

#[derive(Debug, Clone, Deserialize)]
struct Variation {
    #[serde(default)]
    value: Value,
}

/// A flag in one environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Switch {
    pub(super) on: bool,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    off_variation: Option<usize>,
    #[serde(default)]
    fallthrough: Fallthrough,
    #[serde(default)]
    targets: Vec<Value>,
    #[serde(default)]
    rules: Vec<Value>,
    #[serde(default, rename = "_access")]
    access: Access,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Fallthrough {
    #[serde(default)]
    variation: Option<usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Access {
    #[serde(default)]
    denied: Vec<Denied>,
}

#[derive(Debug, Clone, Deserialize)]
struct Denied {
    #[serde(default)]
    action: String,
}

/// What a flag gives to those who ask.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Served {
    /// This value, to everybody that no rule or target singles out.
    Value(Value),
    /// Whatever each program has as its default: no off variation is set.
    CodeDefault,
    /// A percentage rollout.
    Mixed,
}

impl Flag {
    /// The flag in an environment.
    pub(super) fn switch(&self, environment: &str) -> Option<&Switch> {
        self.environments.get(environment)
    }

    /// What it serves in an environment. Off is not false: it serves the off variation, whatever that is.
    pub(super) fn served(&self, switch: &Switch) -> Served {
        let index = if switch.on {
            let Some(index) = switch.fallthrough.variation else { return Served::Mixed };
            index
        } else {
            let Some(index) = switch.off_variation else { return Served::CodeDefault };
            index
        };
        self.variations.get(index).map_or(Served::CodeDefault, |variation| Served::Value(variation.value.clone()))
    }
}

impl Switch {
    /// Targets and rules that give some a value of their own while the flag is on.
    pub(super) fn exceptions(&self) -> usize {
        self.targets.len() + self.rules.len()
    }

    /// Whether the token is told that it may not turn the flag.
    pub(super) fn denies_turning(&self) -> bool {
        self.access.denied.iter().any(|denied| denied.action == "updateOn" || denied.action == "*")
    }
}

/// An environment's approval settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Approval {
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) required_approval_tags: Vec<String>,
}

impl Approval {
    /// Whether a change of that flag needs another person's approval.
    pub(super) fn guards(&self, flag: &Flag) -> bool {
        let tags = &self.required_approval_tags;
        self.required && (tags.is_empty() || tags.iter().any(|tag| flag.tags.contains(tag)))
    }
}

impl Api {
    /// Finds LaunchDarkly in the config and reads its token.
    pub(super) async fn open(config: &Config) -> Result<Self, WorkerError> {
        let target = configured(config)?;
        let base = target.base_url.as_deref().unwrap_or("https://app.launchdarkly.com");
        let service = Service::open("LaunchDarkly", base, &target.token, config, Pace::LAUNCHDARKLY).await?;
        Ok(Self { service, project: target.project.clone(), environment: target.environment.clone() })
    }

    /// The address that calls go to, which is also the one for people.
    pub(super) fn base(&self) -> &str {
        self.service.base()
    }

    /// As errors name it.
    pub(super) fn target(&self) -> String {
        self.service.target()
    }

    /// The flag's page.
    pub(super) fn page(&self, flag: &str) -> String {
        format!("{}/projects/{}/flags/{flag}/targeting?env={}", self.base(), self.project, self.environment)
    }

    fn request(&self, method: Method, path: &[&str]) -> Called<RequestBuilder> {
        let path: Vec<&str> = ["api", "v2"].into_iter().chain(path.iter().copied()).collect();
        let request = self
            .service
            .request(method, &path)?
            .header("authorization", self.service.authorization("")?)
            .header("ld-api-version", VERSION);
        Ok(request)
    }

    async fn call(&self, call: &Call<'_>, request: RequestBuilder) -> Called<Answer> {
        #[derive(Deserialize)]
        struct Refused {
            #[serde(default)]
            code: Option<String>,
            #[serde(default)]
            message: String,
        }
        let answer = self.service.send(call, request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let refused = serde_json::from_slice::<Refused>(&answer.body).ok();
        let (code, said) = refused.map_or((None, String::new()), |refused| (refused.code, refused.message));
        let failed = self.service.refused(call, &answer, code, &said);
        if failed.status == Some(401) {
            // LaunchDarkly also answers 401 where the token is good and lacks the right.
            let cause = failed.error.cause.replace("the token", "the token for this call");
            let next = format!("{} If the token is good, it lacks {}.", failed.error.next, call.right);
            return Err(failed.explained(cause, next));
        }
        Err(failed)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        operation: &str,
        subject: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Called<T> {
        let call = Call { operation, effect: Effect::Read, right: READ, subject };
        let answer = self.call(&call, self.request(Method::GET, path)?.query(query)).await?;
        self.service.decode(&call, &answer)
    }

    /// Who the token is.
    pub(super) async fn caller(&self) -> Called<Caller> {
        self.get("read whose token it is", "its caller", &["caller-identity"], &[]).await
    }

    fn subject(&self, flag: &str) -> String {
        format!(
            "a flag {flag} in the project {} and its environment {} (launchdarkly.project, launchdarkly.environment)",
            self.project, self.environment
        )
    }

    /// A flag in our environment.
    pub(super) async fn flag(&self, key: &str) -> Called<Flag> {
        let query = [("env", self.environment.as_str())];
        self.get("read the flag", &self.subject(key), &["flags", &self.project, key], &query).await
    }

    /// Our environment's approval settings.
    pub(super) async fn approval(&self) -> Called<Approval> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Environment {
            #[serde(default)]
            approval_settings: Approval,
        }
        let subject = format!("an environment {} in the project {}", self.environment, self.project);
        let path = ["projects", &self.project, "environments", &self.environment];
        let found: Environment = self.get("read the environment", &subject, &path, &[]).await?;
        Ok(found.approval_settings)
    }

    /// The body that turns a flag.
    pub(super) fn turning(&self, on: bool, comment: &str) -> Value {
        json!({
            "environmentKey": self.environment,
            "comment": comment,
            "instructions": [{"kind": if on { "turnFlagOn" } else { "turnFlagOff" }}],
        })
    }

    /// Turns a flag, or with `dry` only asks what it would become. Turning twice is turning once.
    pub(super) async fn turn(&self, key: &str, on: bool, comment: &str, dry: bool) -> Called<Flag> {
        let subject = self.subject(key);
        let call = Call {
            operation: if dry { "try the change out" } else { "turn the flag" },
            effect: if dry { Effect::Read } else { Effect::Repeatable },
            right: WRITE,
            subject: &subject,
        };
        let dry = if dry { &[("dryRun", "true")][..] } else { &[] };
        let body = self.turning(on, comment).to_string();
        let request = self.request(Method::PATCH, &["flags", &self.project, key])?;
        let request = request.header("content-type", SEMANTIC).query(dry).body(body);
        let answer = self.call(&call, request).await?;
        self.service.decode(&call, &answer)
    }
}

/// The `[launchdarkly]` of the config.
pub(super) fn configured(config: &Config) -> Result<&config::LaunchDarkly, WorkerError> {
    config.launchdarkly.as_ref().ok_or_else(|| {
        let cause = "The config has no [launchdarkly].";
        WorkerError::new("read the config", "launchdarkly", cause, "Add it to the config.")
    })
}
