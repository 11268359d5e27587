//! The HTTP API of the stand-in.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::{Path as UrlPath, Query, Request, State};
use axum::http::header::{AUTHORIZATION, USER_AGENT};
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
use super::{NAMESPACE, edits, objects, watch};
use crate::drill::error::SandboxError;

/// No body that the stand-in understands is longer.
const LONGEST_BODY: usize = 1 << 20;

/// The tokens that open the API. Not `Debug`: they are secrets.
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

pub(super) struct Api {
    pub(super) cluster: Cluster,
    tokens: Tokens,
    /// One JSON line for every request; no headers, so no tokens.
    record: Mutex<std::fs::File>,
}

pub(super) type Shared = State<Arc<Api>>;
pub(super) type Params = Query<HashMap<String, String>>;
pub(super) type Answer = Result<Response, Refusal>;

/// Serves the API on a free port of 127.0.0.1 and returns the base address.
pub(crate) async fn serve(cluster: Cluster, tokens: Tokens, record: &Path) -> Result<String, SandboxError> {
    let file = crate::private::create(record).map_err(SandboxError::io("write", record))?;
    let api = Arc::new(Api { cluster, tokens, record: Mutex::new(file) });
    let deployments = "/apis/apps/v1/namespaces/{namespace}/deployments";
    let router = Router::new()
        .route("/version", get(version))
        .route("/api", get(async || Json(json!({ "kind": "APIVersions", "versions": ["v1"] }))))
        .route("/apis", get(groups))
        .route("/api/v1", get(async || resources("v1", &[("pods", "Pod", true), ("namespaces", "Namespace", false)])))
        .route(
            "/apis/apps/v1",
            get(async || {
                resources("apps/v1", &[("deployments", "Deployment", true), ("deployments/scale", "Scale", true)])
            }),
        )
        .route("/api/v1/namespaces/{name}", get(namespace))
        .route("/api/v1/namespaces/{namespace}/pods", get(pods))
        .route("/api/v1/namespaces/{namespace}/pods/{name}", get(pod))
        .route(deployments, get(list_deployments))
        .route(&format!("{deployments}/{{name}}"), get(deployment).patch(edits::patch_deployment))
        .route(&format!("{deployments}/{{name}}/scale"), get(scale).put(edits::set_scale).patch(edits::set_scale))
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
    Ok(Json(json!({ "kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": { "phase": "Active" } }))
        .into_response())
}

/// A list or, with `watch`, a stream.
fn list(api: &Api, kind: Kind, namespace: &str, params: &HashMap<String, String>) -> Answer {
    let text = |key: &str| params.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let number = |key: &str| -> Result<Option<u64>, Refusal> {
        let parse =
            |value: &str| value.parse().map_err(|_| Refusal::bad_request(format!("{key}: invalid value {value}")));
        text(key).map(parse).transpose()
    };
    let selector = Selector::parse(text("labelSelector"), text("fieldSelector"))?;
    if matches!(text("watch"), Some("1" | "true")) {
        if text("sendInitialEvents").is_some() {
            return Err(Refusal::invalid(
                "ListOptions",
                "",
                "sendInitialEvents",
                "Forbidden: watch-list is not enabled",
            ));
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

pub(super) fn known(namespace: &str, name: &str) -> Result<(), Refusal> {
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
