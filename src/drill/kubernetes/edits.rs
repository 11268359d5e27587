//! Changes that clients ask for: scaling a deployment and patching it.

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};
use axum::response::IntoResponse as _;
use serde_json::Value;

use super::objects;
use super::routes::{Answer, Params, Shared, known};
use super::status::Refusal;

/// `dryRun=All` or nothing.
fn dry_run(params: &HashMap<String, String>) -> Result<bool, Refusal> {
    match params.get("dryRun").map(String::as_str) {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => Err(Refusal::invalid("PatchOptions", "", "dryRun", &format!("Unsupported value: \"{other}\""))),
    }
}

/// The patch or object in the body. PUT takes JSON; PATCH takes the two merge patches, which mean the same here.
fn parse(method: &Method, headers: &HeaderMap, body: &Bytes) -> Result<Value, Refusal> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim();
    let fits = match *method {
        Method::PUT => media == "application/json",
        _ => matches!(media, "application/merge-patch+json" | "application/strategic-merge-patch+json"),
    };
    if !fits {
        return Err(Refusal::media_type(given));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("error decoding the body: {error}")))
}

/// Refuses a stale `metadata.resourceVersion`.
fn check_lock(body: &Value, name: &str, version: u64) -> Result<(), Refusal> {
    match body["metadata"].get("resourceVersion") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(given)) if given.is_empty() || *given == version.to_string() => Ok(()),
        Some(_) => Err(Refusal::conflict(name)),
    }
}

fn replicas_in(value: &Value, kind: &str, name: &str) -> Result<i32, Refusal> {
    let invalid = |why: &str| Refusal::invalid(kind, name, "spec.replicas", why);
    let number = value.as_i64().ok_or_else(|| invalid("must be an integer"))?;
    i32::try_from(number).ok().filter(|n| *n >= 0).ok_or_else(|| invalid("must be greater than or equal to 0"))
}

pub(super) async fn set_scale(
    State(api): Shared,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    Query(params): Params,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    known(&namespace, &name)?;
    let body = parse(&method, &headers, &body)?;
    match body["apiVersion"].as_str() {
        Some("autoscaling/v1") => {}
        None if method == Method::PATCH => {}
        other => {
            let given = other.unwrap_or_default();
            return Err(Refusal::bad_request(format!("no kind \"Scale\" is registered for version \"{given}\"")));
        }
    }
    let dry = dry_run(&params)?;
    let mut state = api.cluster.lock();
    let Some((version, now)) = state.deployments.get(&name).map(|d| (d.version, d.replicas)) else {
        return Err(Refusal::not_found("apps", "deployments", &name));
    };
    check_lock(&body, &name, version)?;
    let replicas = match body["spec"].get("replicas") {
        Some(value) => replicas_in(value, "Scale", &name)?,
        // A PUT replaces the object, and a missing number means none.
        None if method == Method::PUT => 0,
        None => now,
    };
    if !dry && replicas != now {
        api.cluster.change(&mut state, &name, |deployment| {
            deployment.replicas = replicas;
        });
    }
    let scale = objects::scale(&state, &name, Some(replicas));
    scale.map(|scale| Json(scale).into_response()).ok_or_else(|| Refusal::not_found("apps", "deployments", &name))
}

/// What a patch of a deployment may change here.
#[derive(Debug, Default)]
struct Edit {
    replicas: Option<i32>,
    image: Option<String>,
    annotations: serde_json::Map<String, Value>,
}

/// Reads a patch and refuses what the stand-in does not know, rather than ignore it.
fn read_edit(patch: &Value, name: &str) -> Result<Edit, Refusal> {
    let unknown =
        |field: &str| Refusal::invalid("Deployment", name, field, "the drill's stand-in cannot change this field");
    let empty = serde_json::Map::new();
    let mut edit = Edit::default();
    for (key, value) in patch.as_object().unwrap_or(&empty) {
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                for (key, value) in value.as_object().unwrap_or(&empty) {
                    match key.as_str() {
                        "name" | "namespace" | "resourceVersion" => {}
                        "annotations" => {
                            edit.annotations = value.as_object().cloned().unwrap_or_default();
                        }
                        other => return Err(unknown(&format!("metadata.{other}"))),
                    }
                }
            }
            "spec" => {
                for (key, value) in value.as_object().unwrap_or(&empty) {
                    match key.as_str() {
                        "replicas" => edit.replicas = Some(replicas_in(value, "Deployment", name)?),
                        "template" => edit.image = Some(image_in(value, name)?),
                        other => return Err(unknown(&format!("spec.{other}"))),
                    }
                }
            }
            other => return Err(unknown(other)),
        }
    }
    Ok(edit)
}

fn image_in(template: &Value, name: &str) -> Result<String, Refusal> {
    let invalid = |why: &str| Refusal::invalid("Deployment", name, "spec.template.spec.containers", why);
    let containers = template["spec"]["containers"].as_array().ok_or_else(|| invalid("Required value"))?;
    match containers.as_slice() {
        [container] if container["name"] == name => {
            let image = container["image"].as_str().filter(|image| image.contains(':') && !image.contains(' '));
            image.map(str::to_owned).ok_or_else(|| invalid("image: Required value, with a tag"))
        }
        _ => Err(invalid("must be the one container of that name")),
    }
}

pub(super) async fn patch_deployment(
    State(api): Shared,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    Query(params): Params,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    known(&namespace, &name)?;
    let patch = parse(&method, &headers, &body)?;
    let dry = dry_run(&params)?;
    let missing = || Refusal::not_found("apps", "deployments", &name);
    let mut state = api.cluster.lock();
    let version = state.deployments.get(&name).ok_or_else(missing)?.version;
    check_lock(&patch, &name, version)?;
    let edit = read_edit(&patch, &name)?;
    if !dry {
        api.cluster.change(&mut state, &name, |deployment| {
            deployment.replicas = edit.replicas.unwrap_or(deployment.replicas);
            if let Some(image) = edit.image {
                deployment.image = image;
            }
            for (key, value) in edit.annotations {
                if value.is_null() {
                    deployment.annotations.remove(&key);
                } else {
                    deployment.annotations.insert(key, value);
                }
            }
        });
    }
    objects::deployment_of(&state, &name).map(|found| Json(found).into_response()).ok_or_else(missing)
}
