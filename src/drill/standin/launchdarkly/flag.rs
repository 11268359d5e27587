//! Flags and environments: what is kept of them and how they read.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::drill::standin::message::Rights;

/// An environment and its approval settings.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    pub(super) key: String,
    pub(super) approval_required: bool,
    /// Where there are any, only flags with one of these tags need approval.
    pub(super) approval_tags: Vec<String>,
}

impl Environment {
    pub(super) fn new(key: String) -> Self {
        Self { key, approval_required: false, approval_tags: Vec::new() }
    }

    /// Whether a change of that flag needs an approval here.
    pub(super) fn guards(&self, flag: &Flag) -> bool {
        self.approval_required
            && (self.approval_tags.is_empty() || self.approval_tags.iter().any(|tag| flag.tags.contains(tag)))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "_id": format!("env-{}", self.key), "key": self.key, "name": self.key,
            "color": "417505", "tags": [], "critical": self.key == "production",
            "requireComments": false, "confirmChanges": false,
            "approvalSettings": {
                "required": self.approval_required, "minNumApprovals": 1,
                "canReviewOwnRequest": false, "canApplyDeclinedChanges": false,
                "bypassApprovalsForPendingChanges": false,
                "requiredApprovalTags": self.approval_tags, "serviceKind": "launchdarkly",
            },
        })
    }
}

/// A flag in one environment.
#[derive(Debug, Clone)]
struct Switch {
    environment: String,
    on: bool,
    version: u64,
    modified: Timestamp,
}

/// A boolean flag: variation 0 is true, variation 1 is false.
#[derive(Debug, Clone)]
pub(super) struct Flag {
    pub(super) key: String,
    pub(super) tags: Vec<String>,
    pub(super) off_variation: Option<u64>,
    version: u64,
    created: Timestamp,
    switches: Vec<Switch>,
}

impl Flag {
    /// Off everywhere, serving false then.
    pub(super) fn new(key: String, environments: &[String], now: Timestamp) -> Self {
        let switches = environments.iter().map(|environment| Switch {
            environment: environment.clone(),
            on: false,
            version: 1,
            modified: now,
        });
        Self { key, tags: Vec::new(), off_variation: Some(1), version: 1, created: now, switches: switches.collect() }
    }

    /// Turns it on or off; versions only move when something changed. `None` when the environment is unknown, else
    /// whether it changed.
    pub(super) fn turn(&mut self, environment: &str, on: bool, now: Timestamp) -> Option<bool> {
        let switch = self.switches.iter_mut().find(|it| it.environment == environment)?;
        if switch.on == on {
            return Some(false);
        }
        switch.on = on;
        switch.version += 1;
        switch.modified = now;
        self.version += 1;
        Some(true)
    }

    /// The flag's representation with the wanted environments, or with all when none is named.
    pub(super) fn json(&self, wanted: &[&str], rights: Rights) -> Value {
        let denied: Vec<Value> = match rights {
            Rights::Full => Vec::new(),
            Rights::ReadOnly => vec![json!({
                "action": "updateOn",
                "reason": {"effect": "deny", "resources": ["proj/*:env/*:flag/*"], "actions": ["*"]},
            })],
        };
        let environments: Map<String, Value> = self
            .switches
            .iter()
            .filter(|switch| wanted.is_empty() || wanted.contains(&switch.environment.as_str()))
            .map(|switch| {
                let mut json = json!({
                    "on": switch.on, "archived": false, "salt": self.key, "sel": self.key,
                    "lastModified": switch.modified.as_millisecond(), "version": switch.version,
                    "targets": [], "rules": [], "fallthrough": {"variation": 0},
                    "prerequisites": [], "_environmentName": switch.environment,
                    "_access": {"allowed": [], "denied": denied},
                });
                if let (Some(index), Value::Object(json)) = (self.off_variation, &mut json) {
                    json.insert("offVariation".into(), json!(index));
                }
                (switch.environment.clone(), json)
            })
            .collect();
        json!({
            "name": self.key, "key": self.key, "kind": "boolean", "description": "",
            "_version": self.version, "creationDate": self.created.as_millisecond(),
            "variations": [
                {"_id": format!("{}-0", self.key), "value": true, "name": "True"},
                {"_id": format!("{}-1", self.key), "value": false, "name": "False"},
            ],
            "temporary": false, "tags": self.tags, "archived": false, "deprecated": false,
            "environments": environments,
        })
    }
}
