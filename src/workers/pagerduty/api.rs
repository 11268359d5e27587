//! PagerDuty's REST API v2. Fields that it does not know it ignores without a word, so whoever writes reads back.

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::{self, Config};
use crate::workers::WorkerError;
use crate::workers::http::{Answer, Call, Called, Effect, Pace, Service};

use super::model::{Bridge, Incident, IncidentType, Monitored, Note, Policy, User};

/// The largest page; offset and limit together may not exceed 10,000.
const PAGE: usize = 100;
const LAST: usize = 10_000;

/// What an error of a reading call names as missing.
const READ: &str = "the right to read (a REST API key of this account)";
/// What an error of a writing call names as missing.
const WRITE: &str = "write access (a full-access REST API key; a read-only key cannot, OAuth needs incidents.write)";

/// The client.
#[derive(Debug)]
pub(crate) struct Api {
    service: Service,
    /// The e-mail that writes are made in the name of.
    from: String,
}

/// What an incident is opened with.
pub(super) struct New<'a> {
    pub(super) title: &'a str,
    pub(super) details: &'a str,
    pub(super) service: &'a str,
    pub(super) key: &'a str,
    pub(super) kind: Option<&'a str>,
    pub(super) policy: Option<&'a str>,
    pub(super) bridge: Option<&'a Bridge>,
}

impl New<'_> {
    /// The body of `POST /incidents`. `details` is a string although the schema says object.
    pub(super) fn body(&self) -> Value {
        let mut incident = json!({
            "type": "incident",
            "title": self.title,
            "service": {"id": self.service, "type": "service_reference"},
            "urgency": "high",
            "incident_key": self.key,
            "body": {"type": "incident_body", "details": self.details},
        });
        if let Some(members) = incident.as_object_mut() {
            if let Some(kind) = self.kind {
                members.insert("incident_type".into(), json!({"name": kind}));
            }
            if let Some(policy) = self.policy {
                let policy = json!({"id": policy, "type": "escalation_policy_reference"});
                members.insert("escalation_policy".into(), policy);
            }
            if let Some(bridge) = self.bridge {
                members.insert("conference_bridge".into(), json!(bridge));
            }
        }
        json!({"incident": incident})
    }
}

#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: Option<u32>,
    #[serde(default)]
    errors: Vec<Value>,
}

/// The one object that an answer wraps.
#[derive(Deserialize)]
struct Incidental {
    incident: Incident,
}

impl Api {
    /// Finds PagerDuty in the config and reads its token.
    pub(crate) async fn open(config: &Config) -> Result<Self, WorkerError> {
        let target = configured(config)?;
        let base = target.base_url.as_deref().unwrap_or("https://api.pagerduty.com");
        let service = Service::open("PagerDuty", base, &target.token, config, Pace::PAGERDUTY).await?;
        Ok(Self { service, from: target.from.clone() })
    }

    /// The address that calls go to.
    pub(super) fn base(&self) -> &str {
        self.service.base()
    }

    /// As errors name it.
    pub(super) fn target(&self) -> String {
        self.service.target()
    }

    fn request(&self, method: Method, path: &[&str]) -> Called<RequestBuilder> {
        let request = self
            .service
            .request(method, path)?
            .header("authorization", self.service.authorization("Token token=")?)
            .header("accept", "application/vnd.pagerduty+json;version=2")
            .header("content-type", "application/json")
            .header("from", &self.from);
        Ok(request)
    }

    async fn call(&self, call: &Call<'_>, request: RequestBuilder) -> Called<Answer> {
        let answer = self.service.send(call, request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let refusal = serde_json::from_slice::<Refused>(&answer.body).ok().map(|refused| refused.error);
        let (code, said) = refusal.map_or((None, String::new()), |refusal| {
            let errors =
                refusal.errors.iter().map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned));
            let said = std::iter::once(refusal.message).chain(errors).filter(|part| !part.is_empty());
            (refusal.code.map(|code| code.to_string()), said.collect::<Vec<_>>().join("; "))
        });
        let mut failed = self.service.refused(call, &answer, code, &said);
        if failed.is("1008") {
            let cause = format!("PagerDuty knows no user {} ({}).", self.from, failed.said);
            failed = failed.explained(cause, "Write the e-mail of a user of the account into pagerduty.from.");
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

    /// Every page of a list.
    async fn all<T: DeserializeOwned>(
        &self,
        operation: &str,
        subject: &str,
        path: &[&str],
        name: &str,
        query: &[(&str, &str)],
    ) -> Called<Vec<T>> {
        let call = Call { operation, effect: Effect::Read, right: READ, subject };
        let limit = PAGE.to_string();
        let mut found = Vec::new();
        loop {
            let offset = found.len().to_string();
            let paging = [("limit", limit.as_str()), ("offset", offset.as_str())];
            let request = self.request(Method::GET, path)?.query(query).query(&paging);
            let mut page: Value = self.service.decode(&call, &self.call(&call, request).await?)?;
            let items = page.get_mut(name).map(Value::take).unwrap_or_default();
            let items: Vec<T> =
                serde_json::from_value(items).map_err(|_| self.strange(&call, &format!("holds no list of {name}")))?;
            let more = page.get("more").and_then(Value::as_bool).unwrap_or(false) && !items.is_empty();
            found.extend(items);
            if !more || found.len() + PAGE > LAST {
                return Ok(found);
            }
        }
    }

    fn strange(&self, call: &Call<'_>, kind: &str) -> Box<crate::workers::http::CallError> {
        self.service.unreadable(call, kind)
    }

    /// What the account's plan includes.
    pub(super) async fn abilities(&self) -> Called<Vec<String>> {
        #[derive(Deserialize)]
        struct Abilities {
            abilities: Vec<String>,
        }
        let found: Abilities = self.get("read the account's abilities", "abilities", &["abilities"], &[]).await?;
        Ok(found.abilities)
    }

    /// A service.
    pub(super) async fn monitored(&self, id: &str) -> Called<Monitored> {
        #[derive(Deserialize)]
        struct Found {
            service: Monitored,
        }
        let subject = format!("a service {id} (pagerduty.service)");
        let found: Found = self.get("read the service", &subject, &["services", id], &[]).await?;
        Ok(found.service)
    }

    /// All incident types. An account whose plan lacks them answers 402.
    pub(super) async fn types(&self) -> Called<Vec<IncidentType>> {
        #[derive(Deserialize)]
        struct Found {
            incident_types: Vec<IncidentType>,
        }
        let found: Found = self
            .get("list the incident types", "incident types", &["incidents", "types"], &[("filter", "all")])
            .await?;
        Ok(found.incident_types)
    }

    /// The user with exactly this e-mail. The search itself is by parts of names.
    pub(super) async fn user(&self, email: &str) -> Called<Option<User>> {
        let found: Vec<User> = self.all("look up a user", "users", &["users"], "users", &[("query", email)]).await?;
        let same = |user: &User| user.email.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(email));
        Ok(found.into_iter().find(same))
    }

    /// An escalation policy.
    pub(super) async fn policy(&self, id: &str) -> Called<Policy> {
        #[derive(Deserialize)]
        struct Found {
            escalation_policy: Policy,
        }
        let subject = format!("an escalation policy {id}");
        let found: Found = self.get("read an escalation policy", &subject, &["escalation_policies", id], &[]).await?;
        Ok(found.escalation_policy)
    }

    /// The open incidents of a service, newest first, however old they are.
    pub(super) async fn open_incidents(&self, service: &str) -> Called<Vec<Incident>> {
        let query = [
            ("service_ids[]", service),
            ("statuses[]", "triggered"),
            ("statuses[]", "acknowledged"),
            ("date_range", "all"),
            ("sort_by", "created_at:desc"),
        ];
        self.all("list the open incidents", "incidents", &["incidents"], "incidents", &query).await
    }

    /// The newest incident of a service that was opened with exactly this key; an open one before a resolved one.
    pub(super) async fn by_key(&self, service: &str, key: &str) -> Called<Option<Incident>> {
        let query = [
            ("incident_key", key),
            ("service_ids[]", service),
            ("date_range", "all"),
            ("sort_by", "created_at:desc"),
            ("include[]", "conference_bridge"),
        ];
        let found: Vec<Incident> =
            self.all("look an incident up by its key", "incidents", &["incidents"], "incidents", &query).await?;
        // A search by key also finds incidents whose alerts have that key.
        let mut own: Vec<_> = found.into_iter().filter(|it| it.incident_key.as_deref() == Some(key)).collect();
        own.sort_by_key(|incident| !incident.is_open());
        Ok(own.into_iter().next())
    }

    /// An incident, with its bridge.
    pub(super) async fn incident(&self, id: &str) -> Called<Incident> {
        let subject = format!("an incident {id}");
        let query = [("include[]", "conference_bridge")];
        let found: Incidental = self.get("read the incident", &subject, &["incidents", id], &query).await?;
        Ok(found.incident)
    }

    /// Opens an incident. The key makes it safe to repeat: a second one is refused while the first is open.
    pub(super) async fn create(&self, new: &New<'_>) -> Called<Incident> {
        let call = Call {
            operation: "open an incident",
            effect: Effect::Repeatable,
            right: WRITE,
            subject: "the address /incidents",
        };
        let answer = self.call(&call, self.request(Method::POST, &["incidents"])?.json(&new.body())).await?;
        let created: Incidental = self.service.decode(&call, &answer)?;
        Ok(created.incident)
    }

    /// Proves the right to write with a call that must be refused as incomplete: an incident without a service.
    pub(super) async fn may_write(&self) -> Called<()> {
        let call = Call {
            operation: "prove the right to open incidents",
            effect: Effect::Read,
            right: WRITE,
            subject: "the address /incidents",
        };
        let body = json!({"incident": {"type": "incident"}});
        match self.call(&call, self.request(Method::POST, &["incidents"])?.json(&body)).await {
            Ok(_) => Err(self.strange(&call, "is a success to a call that must fail")),
            Err(refused) if refused.status == Some(400) && !refused.is("1008") => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// Changes an incident.
    async fn update(&self, operation: &str, id: &str, change: &Value) -> Called<Incident> {
        let subject = format!("an incident {id}");
        let call = Call { operation, effect: Effect::Repeatable, right: WRITE, subject: &subject };
        let answer = self.call(&call, self.request(Method::PUT, &["incidents", id])?.json(change)).await?;
        let changed: Incidental = self.service.decode(&call, &answer)?;
        Ok(changed.incident)
    }

    /// Gives an incident its conference bridge.
    pub(super) async fn set_bridge(&self, id: &str, bridge: &Bridge) -> Called<Incident> {
        let change = json!({"incident": {"type": "incident_reference", "conference_bridge": bridge}});
        self.update("set the conference bridge", id, &change).await
    }

    /// Resolves an incident.
    pub(super) async fn resolve(&self, id: &str, resolution: &str) -> Called<Incident> {
        self.update("resolve the incident", id, &resolving(resolution)).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        operation: &str,
        right: &str,
        id: &str,
        part: &str,
        body: &Value,
    ) -> Called<T> {
        let subject = format!("an incident {id}");
        let call = Call { operation, effect: Effect::Once, right, subject: &subject };
        let answer = self.call(&call, self.request(Method::POST, &["incidents", id, part])?.json(body)).await?;
        self.service.decode(&call, &answer)
    }

    /// Asks people onto an incident and gives the request as it was taken. Every call pages again.
    pub(super) async fn request_responders(&self, id: &str, body: &Value) -> Called<Value> {
        #[derive(Deserialize)]
        struct Taken {
            responder_request: Value,
        }
        let taken: Called<Taken> = self.post("call the responders", WRITE, id, "responder_requests", body).await;
        taken.map(|taken| taken.responder_request)
    }

    /// Sends a status update to the subscribers and gives its id.
    pub(super) async fn status_update(&self, id: &str, message: &str) -> Called<String> {
        #[derive(Deserialize)]
        struct Sent {
            status_update: Update,
        }
        #[derive(Deserialize)]
        struct Update {
            id: String,
        }
        let right = "the right to send status updates (write access, and a plan that includes them)";
        let body = json!({"message": message});
        let sent: Sent = self.post("send a status update", right, id, "status_updates", &body).await?;
        Ok(sent.status_update.id)
    }

    /// The incident's notes; there are at most 2,000 and they come on one page.
    pub(crate) async fn notes(&self, id: &str) -> Called<Vec<Note>> {
        #[derive(Deserialize)]
        struct Found {
            notes: Vec<Note>,
        }
        let subject = format!("an incident {id}");
        let found: Found = self.get("list the notes", &subject, &["incidents", id, "notes"], &[]).await?;
        Ok(found.notes)
    }

    /// Writes a note.
    pub(crate) async fn add_note(&self, id: &str, content: &str) -> Called<Note> {
        #[derive(Deserialize)]
        struct Written {
            note: Note,
        }
        let body = json!({"note": {"content": content}});
        let written: Written = self.post("write a note", WRITE, id, "notes", &body).await?;
        Ok(written.note)
    }

    /// The incident's log, newest first, with what each entry says.
    pub(super) async fn log(&self, id: &str) -> Called<Vec<Value>> {
        let path = ["incidents", id, "log_entries"];
        let subject = format!("an incident {id}");
        self.all("read the incident's log", &subject, &path, "log_entries", &[("include[]", "channels")]).await
    }
}

/// The body of a resolving `PUT`. The resolution is stored in the log and not shown on the page.
pub(super) fn resolving(resolution: &str) -> Value {
    json!({"incident": {"type": "incident_reference", "status": "resolved", "resolution": resolution}})
}

/// The `[pagerduty]` of the config.
pub(super) fn configured(config: &Config) -> Result<&config::PagerDuty, WorkerError> {
    config.pagerduty.as_ref().ok_or_else(|| {
        WorkerError::new("read the config", "pagerduty", "The config has no [pagerduty].", "Add it to the config.")
    })
}
