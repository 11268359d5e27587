//! Errors as the API tells them: a `v1` Status with code, reason and details.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let dotted = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        Self {
            details: json!({ "name": name, "group": group, "kind": resource }),
            ..Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{dotted} \"{name}\" not found"))
        }
    }

    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub(super) fn conflict(name: &str) -> Self {
        Self {
            details: json!({ "name": name, "group": "apps", "kind": "deployments" }),
            ..Self::new(
                StatusCode::CONFLICT,
                "Conflict",
                format!(
                    "Operation cannot be fulfilled on deployments.apps \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
                ),
            )
        }
    }

    pub(super) fn invalid(kind: &str, name: &str, field: &str, why: &str) -> Self {
        Self {
            details: json!({
                "name": name, "kind": kind,
                "causes": [{ "reason": "FieldValueInvalid", "message": why, "field": field }],
            }),
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                format!("{kind} \"{name}\" is invalid: {field}: {why}"),
            )
        }
    }

    pub(super) fn media_type(given: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: application/merge-patch+json, application/strategic-merge-patch+json; got {given}"
            ),
        )
    }

    pub(super) fn expired(version: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {version}"))
    }

    /// The Status object.
    pub(super) fn body(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.code, Json(self.body())).into_response()
    }
}
