//! Changing a flag by semantic patch: all instructions or none, and no change where nothing needs one.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{LaunchDarkly, Outcome, fail, invalid, not_found};
use crate::drill::standin::message::{Reply, Request, Rights, text};

/// The parameter of `application/json` without which a body is read as a JSON patch.
const SEMANTIC: &str = "launchdarkly.semanticpatch";

/// A body that must be plain JSON.
pub(super) fn json_body(request: &Request) -> Result<Map<String, Value>, Reply> {
    if !request.media_type().is_some_and(|media| media.is_json()) {
        return Err(invalid("Content-Type must be application/json"));
    }
    request.object().map_err(|why| invalid(&why))
}

/// The non-empty list of instructions.
pub(super) fn instructions(body: &Map<String, Value>) -> Result<Vec<Value>, Reply> {
    match body.get("instructions") {
        Some(Value::Array(list)) if !list.is_empty() => Ok(list.clone()),
        _ => Err(invalid("instructions must be a list that is not empty")),
    }
}

/// The state that an instruction asks for.
pub(super) fn kind(instruction: &Value) -> Result<bool, Reply> {
    match instruction.get("kind").and_then(Value::as_str) {
        Some("turnFlagOn") => Ok(true),
        Some("turnFlagOff") => Ok(false),
        Some(other) => Err(invalid(&format!("unknown instruction kind {other}"))),
        None => Err(invalid("an instruction needs a kind")),
    }
}

impl LaunchDarkly {
    /// `PATCH /api/v2/flags/{project}/{flag}`.
    pub(super) fn patch(&mut self, key: &str, request: &Request, now: Timestamp) -> Outcome {
        let media = request.media_type();
        let semantic = media.is_some_and(|media| media.is_json() && media.parameter("domain-model") == Some(SEMANTIC));
        if !semantic {
            // What LaunchDarkly then reads as a JSON patch, an object of instructions is not.
            return Err(invalid(
                "The body is not a JSON patch; a semantic patch needs domain-model=launchdarkly.semanticpatch",
            ));
        }
        let body = request.object().map_err(|why| invalid(&why))?;
        let flag = self.flag(key)?;
        let environment =
            text(&body, "environmentKey").ok_or_else(|| invalid("environmentKey is required by these instructions"))?;
        let guarded = self.environment(environment)?.guards(flag);
        let comment = match body.get("comment") {
            None | Some(Value::Null) => None,
            Some(Value::String(comment)) => Some(comment.as_str()),
            Some(_) => return Err(invalid("comment must be a string")),
        };
        let instructions = instructions(&body)?;
        let dry = match request.param("dryRun") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(invalid("dryRun must be true or false")),
        };
        if guarded && (!dry || self.dry_run_reports_approval) {
            return Err(fail(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Approval is required to make changes in this environment",
            ));
        }
        if dry {
            // The preview comes from a copy, which is then forgotten.
            return self.clone().turn(key, environment, &instructions, comment, now);
        }
        self.turn(key, environment, &instructions, comment, now)
    }

    /// Checks every instruction before it follows the first one.
    pub(super) fn turn(
        &mut self,
        key: &str,
        environment: &str,
        instructions: &[Value],
        comment: Option<&str>,
        now: Timestamp,
    ) -> Outcome {
        let wanted: Vec<bool> = instructions.iter().map(kind).collect::<Result<_, _>>()?;
        let unknown = || not_found("Unknown flag or environment key");
        let flag = self.flags.iter_mut().find(|flag| flag.key == key);
        let flag = flag.ok_or_else(unknown)?;
        for on in wanted {
            if flag.turn(environment, on, now).ok_or_else(unknown)? {
                self.changes.push(json!({
                    "at": now, "flag": key, "environment": environment, "on": on,
                    "comment": comment, "by": "relight",
                }));
            }
        }
        Ok(Reply::ok(flag.json(&[], Rights::Full)))
    }
}
