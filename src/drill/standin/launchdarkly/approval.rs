//! Approval requests: asked for by the client, reviewed by somebody else, then applied.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{LaunchDarkly, Outcome, invalid, not_found, patch};
use crate::drill::standin::message::{Reply, Request, text};

#[derive(Debug, Clone)]
pub(super) struct Approval {
    pub(super) id: String,
    flag: String,
    environment: String,
    pub(super) approved: bool,
    applied: bool,
    description: String,
    instructions: Vec<Value>,
    comment: Option<String>,
    created: Timestamp,
}

impl Approval {
    pub(super) fn json(&self) -> Value {
        let (review, status) = match (self.approved, self.applied) {
            (_, true) => ("approved", "completed"),
            (true, false) => ("approved", "pending"),
            (false, false) => ("pending", "pending"),
        };
        json!({
            "_id": self.id, "_version": 1, "creationDate": self.created.as_millisecond(),
            "serviceKind": "launchdarkly", "reviewStatus": review, "status": status,
            "allReviews": [], "notifyMemberIds": [], "description": self.description,
            "instructions": self.instructions, "comment": self.comment,
            "flag": self.flag, "environment": self.environment,
        })
    }
}

impl LaunchDarkly {
    pub(super) fn approval(&self, id: &str) -> Result<&Approval, Reply> {
        let found = self.approvals.iter().find(|it| it.id == id);
        found.ok_or_else(|| not_found(&format!("Unknown approval request {id}")))
    }

    /// Asks for an approval.
    pub(super) fn ask(&mut self, flag: &str, environment: &str, request: &Request, now: Timestamp) -> Outcome {
        let body = patch::json_body(request)?;
        let description = text(&body, "description").ok_or_else(|| invalid("description is required"))?;
        let instructions = patch::instructions(&body)?;
        for instruction in &instructions {
            patch::kind(instruction)?;
        }
        let approval = Approval {
            id: format!("6a00000000000000{:08x}", self.approvals.len() + 1),
            flag: flag.to_owned(),
            environment: environment.to_owned(),
            approved: false,
            applied: false,
            description: description.to_owned(),
            instructions,
            comment: text(&body, "comment").map(str::to_owned),
            created: now,
        };
        let json = approval.json();
        self.approvals.push(approval);
        Ok(Reply::json(StatusCode::CREATED, json))
    }

    /// The requests for a flag in an environment.
    pub(super) fn asked(&self, flag: &str, environment: &str) -> Reply {
        let items: Vec<_> = self
            .approvals
            .iter()
            .filter(|it| it.flag == flag && it.environment == environment)
            .map(Approval::json)
            .collect();
        Reply::ok(json!({"items": items}))
    }

    /// Applies an approved request; one that nobody reviewed is refused.
    pub(super) fn apply(&mut self, id: &str, now: Timestamp) -> Outcome {
        let approval = self.approval(id)?.clone();
        if !approval.approved || approval.applied {
            return Err(invalid("the approval request cannot be applied in its state"));
        }
        self.turn(&approval.flag, &approval.environment, &approval.instructions, approval.comment.as_deref(), now)?;
        if let Some(approval) = self.approvals.iter_mut().find(|it| it.id == id) {
            approval.applied = true;
        }
        Ok(Reply::ok(self.approval(id)?.json()))
    }
}
