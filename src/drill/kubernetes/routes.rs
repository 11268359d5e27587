//! The HTTP API of the stand-in.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path as UrlPath, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::selector::Selector;
use super::state::{Cluster, Kind};
use super::status::Refusal;
use super::{NAMESPACE, objects, watch};
use crate::drill::error::SandboxError;

/// No body that the stand-in understands is longer.
const LONGEST_BODY: usize = 1 << 20;

/// The tokens that open the API.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// May do all that relight needs.
    pub(crate) operator: String,
    /// May only look.
    pub(crate) viewer: String,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Operator,
    Viewer,
}

struct Api {
    cluster: Cluster,
    tokens: Tokens,
    /// One JSON line for every request; no headers, so no tokens.
    record: Mutex<std::fs::File>,
}

type Shared = State<Arc<Api>>;
type Params = Query<HashMap<String, String>>;
type Answer = Result<Response, Refusal>;

/// Serves the API on a free port of 127.0.0.1 and returns the base address.
pub(crate) async fn serve(cluster: Cluster, tokens: Tokens, record: &Path) -> Result<String, SandboxError> {
    let file = std::fs::File::create(record).map_err(SandboxError::io("write", record))?;
    let api = Arc::new(Api { cluster, tokens, record: Mutex::new(file) });
    let deployments = "/apis/apps/v1/namespaces/{namespace}/deployments";
    let router = Router::new()
        .route("/version", get(version))
        .route("/api", get(async || Json(json!({ "kind": "APIVersions", "versions": ["v1"] }))))
        .route("/apis", get(groups))
        .route("/api/v1", get(async || resources("v1", &[("pods", "Pod", true), ("namespaces", "Namespace", false)])))
        .route(
            "/apis/apps/v1",
            get(async || resources("apps/v1", &[("deployments", "Deployment", true), ("deployments/scale", "Scale", true)])),
        )
        .route("/api/v1/namespaces/{name}", get(namespace))
        .route("/api/v1/namespaces/{namespace}/pods", get(pods))
        .route("/api/v1/namespaces/{namespace}/pods/{name}", get(pod))
        .route(deployments, get(list_deployments))
        .route(&format!("{deployments}/{{name}}"), get(deployment).patch(patch_deployment))
        .route(&format!("{deployments}/{{name}}/scale"), get(scale).put(set_scale).patch(set_scale))
        .route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(review))
        .fallback(async || Refusal::no_route())
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api);
    let address = Path::new("127.0.0.1:0");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(SandboxError::io("bind", address))?;
    let port = listener.local_addr().map_err(SandboxError::io("bind", address))?.port();
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the Kubernetes stand-in ended");
        }
    });
    Ok(format!("http://127.0.0.1:{port}"))
}

/// Records the request, checks the token and the right.
async fn guard(State(api): Shared, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LONGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let response = match caller(&api.tokens, &parts.headers) {
        None => Refusal::unauthorized().into_response(),
        Some(caller) if caller == Caller::Viewer && !may_view(&method, uri.path()) => {
            let message = format!("User \"viewer\" cannot {} {}", verb(&method), uri.path());
            Refusal::forbidden(message).into_response()
        }
        Some(caller) => {
            let mut request = Request::from_parts(parts, axum::body::Body::from(body.clone()));
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
    };
    let line = json!({
        "at": Timestamp::now().to_string(),
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query().unwrap_or_default(),
        "agent": agent,
        "body": serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null),
        "status": response.status().as_u16(),
    });
    if let Ok(mut record) = api.record.lock() {
        use std::io::Write as _;
        let _ = writeln!(record, "{line}");
    }
    response
}

fn caller(tokens: &Tokens, headers: &HeaderMap) -> Option<Caller> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    match token {
        _ if token == tokens.operator => Some(Caller::Operator),
        _ if token == tokens.viewer => Some(Caller::Viewer),
        _ => None,
    }
}

fn may_view(method: &Method, path: &str) -> bool {
    method == Method::GET || path.ends_with("/selfsubjectaccessreviews")
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::PATCH => "patch",
        Method::PUT => "update",
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => "get",
    }
}

async fn version() -> Json<Value> {
    Json(json!({ "major": "1", "minor": "35", "gitVersion": "v1.35.0+drill", "platform": "linux/amd64" }))
}

async fn groups() -> Json<Value> {
    let group = |name: &str, version: &str| {
        let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    let groups = [group("apps", "v1"), group("authorization.k8s.io", "v1")];
    Json(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
}

fn resources(version: &str, known: &[(&str, &str, bool)]) -> Json<Value> {
    let resources: Vec<Value> = known
        .iter()
        .map(|(name, kind, namespaced)| {
            json!({ "name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get", "list", "watch", "patch", "update"] })
        })
        .collect();
    Json(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources }))
}

async fn namespace(UrlPath(name): UrlPath<String>) -> Answer {
    // The uid of kube-system never changes and is the usual identity of a cluster.
    if name != NAMESPACE && name != "kube-system" {
        return Err(Refusal::not_found("", "namespaces", &name));
    }
    let metadata = json!({ "name": name, "uid": objects::uid(&format!("namespace {name}")), "resourceVersion": "1" });
    Ok(Json(json!({ "kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": { "phase": "Active" } })).into_response())
}

/// A list or, with `watch`, a stream.
fn list(api: &Api, kind: Kind, namespace: &str, params: &HashMap<String, String>) -> Answer {
    let text = |key: &str| params.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let number = |key: &str| -> Result<Option<u64>, Refusal> {
        let parse = |value: &str| value.parse().map_err(|_| Refusal::bad_request(format!("{key}: invalid value {value}")));
        text(key).map(parse).transpose()
    };
    let selector = Selector::parse(text("labelSelector"), text("fieldSelector"))?;
    if matches!(text("watch"), Some("1" | "true")) {
        if text("sendInitialEvents").is_some() {
            return Err(Refusal::invalid("ListOptions", "", "sendInitialEvents", "Forbidden: watch-list is not enabled"));
        }
        let (since, seconds) = (number("resourceVersion")?, number("timeoutSeconds")?);
        return Ok(watch::stream_events(&api.cluster, kind, selector, since, seconds));
    }
    let state = api.cluster.lock();
    let items: Vec<Value> = match namespace {
        NAMESPACE => state.list(kind).into_iter().filter(|object| selector.matches(object)).collect(),
        _ => Vec::new(),
    };
    let (version, kind) = match kind {
        Kind::Deployments => ("apps/v1", "DeploymentList"),
        Kind::Pods => ("v1", "PodList"),
    };
    let metadata = json!({ "resourceVersion": state.version.to_string() });
    Ok(Json(json!({ "kind": kind, "apiVersion": version, "metadata": metadata, "items": items })).into_response())
}

async fn pods(State(api): Shared, UrlPath(namespace): UrlPath<String>, Query(params): Params) -> Answer {
    list(&api, Kind::Pods, &namespace, &params)
}

async fn list_deployments(State(api): Shared, UrlPath(namespace): UrlPath<String>, Query(params): Params) -> Answer {
    list(&api, Kind::Deployments, &namespace, &params)
}

async fn pod(State(api): Shared, UrlPath((_, name)): UrlPath<(String, String)>) -> Answer {
    let state = api.cluster.lock();
    let pod = state.pods.get(&name).ok_or_else(|| Refusal::not_found("", "pods", &name))?;
    Ok(Json(objects::pod(pod)).into_response())
}

fn known(namespace: &str, name: &str) -> Result<(), Refusal> {
    if namespace == NAMESPACE { Ok(()) } else { Err(Refusal::not_found("apps", "deployments", name)) }
}

async fn deployment(State(api): Shared, UrlPath((namespace, name)): UrlPath<(String, String)>) -> Answer {
    known(&namespace, &name)?;
    let found = objects::deployment_of(&api.cluster.lock(), &name);
    found.map(|found| Json(found).into_response()).ok_or_else(|| Refusal::not_found("apps", "deployments", &name))
}

async fn scale(State(api): Shared, UrlPath((namespace, name)): UrlPath<(String, String)>) -> Answer {
    known(&namespace, &name)?;
    let found = objects::scale(&api.cluster.lock(), &name, None);
    found.map(|found| Json(found).into_response()).ok_or_else(|| Refusal::not_found("apps", "deployments", &name))
}

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

async fn set_scale(
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
        api.cluster.change(&mut state, &name, |deployment| deployment.replicas = replicas);
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
    let unknown = |field: &str| Refusal::invalid("Deployment", name, field, "the drill's stand-in cannot change this field");
    let empty = serde_json::Map::new();
    let mut edit = Edit::default();
    for (key, value) in patch.as_object().unwrap_or(&empty) {
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                for (key, value) in value.as_object().unwrap_or(&empty) {
                    match key.as_str() {
                        "name" | "namespace" | "resourceVersion" => {}
                        "annotations" => edit.annotations = value.as_object().cloned().unwrap_or_default(),
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

async fn patch_deployment(
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

async fn review(Extension(caller): Extension<Caller>, Json(mut body): Json<Value>) -> Answer {
    if body["kind"] != "SelfSubjectAccessReview" || body["apiVersion"] != "authorization.k8s.io/v1" {
        return Err(Refusal::bad_request("the body is no SelfSubjectAccessReview of authorization.k8s.io/v1"));
    }
    let asked = &body["spec"]["resourceAttributes"];
    let part = |key: &str| asked[key].as_str().unwrap_or_default();
    let looks = ["get", "list", "watch"].contains(&part("verb"));
    // Rights on deployments do not include their scale subresource, and the other way round; the operator has both.
    let changes = part("namespace") == NAMESPACE
        && part("group") == "apps"
        && part("resource") == "deployments"
        && matches!((part("verb"), part("subresource")), ("patch" | "update", "scale" | ""));
    let looks = looks && [NAMESPACE, "kube-system"].contains(&part("namespace"));
    let allowed = looks || (changes && caller == Caller::Operator);
    let reason = if allowed { "RBAC: allowed by RoleBinding \"relight\"" } else { "" };
    body["status"] = json!({ "allowed": allowed, "denied": false, "reason": reason });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
