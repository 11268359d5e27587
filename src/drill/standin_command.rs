//! The programs that the drill's configuration names as smoke and deploy commands. They work over HTTP like the real ones,
//! and take addresses and tokens from their environment.
//!
//! | variable | smoke | deploy |
//! |---|---|---|
//! | `FC_API_URL` | the api's base address | |
//! | `KUBERNETES_URL`, `KUBERNETES_TOKEN` | | the cluster |
//! | `LAUNCHDARKLY_URL`, `LAUNCHDARKLY_TOKEN` | | the flag `deployments_locked` (project `default`, environment `production`) |
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 refused because deployments are locked.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::kubernetes::NAMESPACE;
use super::scorecard::http_client;

/// Done.
const DONE: u8 = 0;
/// Something failed.
const FAILED: u8 = 1;
/// Wrong arguments or a missing variable.
const USAGE: u8 = 2;
/// Deployments are locked.
const LOCKED: u8 = 3;
/// No single answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A rollout that takes longer has failed.
const ROLLOUT: Duration = Duration::from_mins(1);

/// The environment of a stand-in command.
pub type Environment = BTreeMap<String, String>;

/// What ends a command early: its message and exit code.
struct Fault(String, u8);

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self(format!("{error}{cause}"), FAILED)
    }
}

fn variable<'a>(env: &'a Environment, name: &str) -> Result<&'a str, Fault> {
    let value = env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    value.ok_or_else(|| Fault(format!("the environment variable {name} is not set"), USAGE))
}

/// The value of `--name value` or `--name=value`.
fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix(name) {
            Some("") => return args.next().map(String::as_str),
            Some(rest) if rest.starts_with('=') => return rest.get(1..),
            _ => {}
        }
    }
    None
}

/// Prints to `out`; a reader that went away is no reason to stop.
fn say(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn end(out: &mut impl Write, result: Result<u8, Fault>) -> u8 {
    match result {
        Ok(code) => code,
        Err(Fault(message, code)) => {
            say(out, &format!("error: {message}"));
            code
        }
    }
}

/// `smoke --filter=core`: calls the api's routes like a test harness and returns the exit code.
pub async fn smoke(args: &[String], env: &Environment, out: &mut (impl Write + Send)) -> u8 {
    let result = run_smoke(args, env, out).await;
    end(out, result)
}

async fn run_smoke(args: &[String], env: &Environment, out: &mut (impl Write + Send)) -> Result<u8, Fault> {
    match option(args, "--filter") {
        None | Some("core") => {}
        Some(other) => {
            return Err(Fault(format!("no smoke tests match the filter {other}; there is: core"), USAGE));
        }
    }
    let base = variable(env, "FC_API_URL")?.trim_end_matches('/').to_owned();
    let client = http_client()?;
    say(out, &format!("smoke › core › {base}"));
    let mut tests = vec![
        ("health checks pass".to_owned(), "/pj/status".to_owned()),
        ("recent transactions are complete".to_owned(), "/pj/transactions/recent?limit=1000".to_owned()),
        ("latest imports are complete".to_owned(), "/pj/imports/latest?limit=100".to_owned()),
    ];
    // Which accounts there are is the service's to say; the balances of a spread of them must add up.
    let (mut passed, mut failed) = (0, 0);
    let started = Instant::now();
    match fetch(&client, &format!("{base}/pj/accounts?limit=20")).await {
        Ok(body) => {
            let ids = body["accounts"].as_array().into_iter().flatten().filter_map(Value::as_i64);
            tests.extend(ids.map(|id| (format!("balance of account {id}"), format!("/pj/accounts/{id}/balance"))));
            passed += 1;
            say(out, "  ✓ accounts are listed");
        }
        Err(reason) => {
            failed += 1;
            say(out, &format!("  ✗ accounts are listed\n      {reason}"));
        }
    }
    for (name, path) in tests {
        let began = Instant::now();
        match fetch(&client, &format!("{base}{path}")).await {
            Ok(_) => {
                passed += 1;
                say(out, &format!("  ✓ {name} ({} ms)", began.elapsed().as_millis()));
            }
            Err(reason) => {
                failed += 1;
                say(out, &format!("  ✗ {name} ({} ms)\n      GET {path}: {reason}", began.elapsed().as_millis()));
            }
        }
    }
    say(out, &format!("\n{passed} passed, {failed} failed ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(if failed == 0 { DONE } else { FAILED })
}

/// The body of a 200, or why there is none.
async fn fetch(client: &reqwest::Client, url: &str) -> Result<Value, String> {
    let response = client.get(url).timeout(PATIENCE).send().await.map_err(|error| Fault::from(error).0)?;
    let status = response.status();
    let text = response.text().await.map_err(|error| Fault::from(error).0)?;
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status == reqwest::StatusCode::OK && !body.is_null() {
        return Ok(body);
    }
    let detail = body["detail"].as_str().map_or_else(|| text.chars().take(300).collect(), str::to_owned);
    Err(format!("{status}: {detail}"))
}

/// `deploy --service api --ref v2.13.0`: refuses while deployments are locked, else changes the image and waits for the rollout.
/// Returns the exit code.
pub async fn deploy(args: &[String], env: &Environment, out: &mut (impl Write + Send)) -> u8 {
    let result = run_deploy(args, env, out).await;
    end(out, result)
}

async fn run_deploy(args: &[String], env: &Environment, out: &mut (impl Write + Send)) -> Result<u8, Fault> {
    let usage = || Fault("usage: deploy --service NAME --ref vX.Y.Z".to_owned(), USAGE);
    let service = option(args, "--service").ok_or_else(usage)?;
    let tag = option(args, "--ref").filter(|tag| is_version(tag)).ok_or_else(usage)?;
    let client = http_client()?;
    if is_locked(&client, env).await? {
        let message =
            "deployments are locked (LaunchDarkly flag deployments_locked is on); unlock them and deploy again";
        return Err(Fault(message.to_owned(), LOCKED));
    }
    let cluster = Cluster {
        base: format!("{}/apis/apps/v1/namespaces/{NAMESPACE}/deployments", variable(env, "KUBERNETES_URL")?),
        token: variable(env, "KUBERNETES_TOKEN")?.to_owned(),
        client,
    };
    let deployment = cluster.ask(cluster.client.get(format!("{}/{service}", cluster.base))).await?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap_or_default();
    let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
    let wanted = format!("{repository}:{tag}");
    say(out, &format!("deploy {service}: {image} -> {wanted}"));
    let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": service, "image": wanted }] } } } });
    let request = cluster
        .client
        .patch(format!("{}/{service}?fieldManager=deploy", cluster.base))
        .header("content-type", "application/strategic-merge-patch+json")
        .body(patch.to_string());
    cluster.ask(request).await?;
    cluster.follow_rollout(service, &wanted, out).await?;
    say(out, &format!("deploy {service}: {wanted} is out"));
    Ok(DONE)
}

fn is_version(tag: &str) -> bool {
    let numbers: Vec<&str> = tag.strip_prefix('v').unwrap_or_default().split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The value that the flag serves: a flag that is off serves its off variation, which need not be `false`.
async fn is_locked(client: &reqwest::Client, env: &Environment) -> Result<bool, Fault> {
    let base = variable(env, "LAUNCHDARKLY_URL")?.trim_end_matches('/');
    let url = format!("{base}/api/v2/flags/default/deployments_locked?env=production");
    let request = client
        .get(&url)
        .header("authorization", variable(env, "LAUNCHDARKLY_TOKEN")?)
        .header("ld-api-version", "20240415")
        .timeout(PATIENCE);
    let response = request.send().await?;
    let status = response.status();
    if !status.is_success() {
        return Err(Fault(format!("cannot read the flag deployments_locked: {status}"), FAILED));
    }
    let flag: Value = response.json().await?;
    served(&flag).ok_or_else(|| Fault("the flag deployments_locked serves neither true nor false".to_owned(), FAILED))
}

fn served(flag: &Value) -> Option<bool> {
    let environment = &flag["environments"]["production"];
    let on = environment["on"].as_bool()?;
    let variation = if on { &environment["fallthrough"]["variation"] } else { &environment["offVariation"] };
    flag["variations"].get(usize::try_from(variation.as_u64()?).ok()?)?["value"].as_bool()
}

struct Cluster {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Cluster {
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, Fault> {
        let response = request.bearer_auth(&self.token).timeout(PATIENCE).send().await?;
        let status = response.status();
        let body: Value = response.json().await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(Fault(format!("{status}: {}", body["message"].as_str().unwrap_or_default()), FAILED))
    }

    /// Watches until every wanted pod runs the image and none of another one is left.
    async fn follow_rollout(&self, service: &str, image: &str, out: &mut (impl Write + Send)) -> Result<(), Fault> {
        let url = format!("{}?watch=1&fieldSelector=metadata.name%3D{service}", self.base);
        let request = self.client.get(url).bearer_auth(&self.token).timeout(ROLLOUT);
        let mut response = request.send().await?.error_for_status()?;
        let mut waiting = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            waiting.extend_from_slice(&chunk);
            while let Some(newline) = waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = waiting.drain(..=newline).collect();
                let event: Value = serde_json::from_slice(&line).unwrap_or(Value::Null);
                let object = &event["object"];
                let number = |value: &Value| value.as_i64().unwrap_or(0);
                let (wanted, status) = (number(&object["spec"]["replicas"]), &object["status"]);
                let updated = number(&status["updatedReplicas"]);
                say(
                    out,
                    &format!("  {updated} of {wanted} updated, {} available", number(&status["availableReplicas"])),
                );
                let done = object["spec"]["template"]["spec"]["containers"][0]["image"] == image
                    && updated >= wanted
                    && number(&status["availableReplicas"]) >= wanted
                    && number(&status["replicas"]) <= updated
                    && number(&status["terminatingReplicas"]) == 0;
                if done {
                    return Ok(());
                }
            }
        }
        Err(Fault(format!("the rollout of {service} did not finish"), FAILED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_come_in_both_forms() {
        let args = words("--service api --ref=v2.13.0");
        assert_eq!(option(&args, "--service"), Some("api"));
        assert_eq!(option(&args, "--ref"), Some("v2.13.0"));
        assert_eq!(option(&args, "--filter"), None);
        assert!(is_version("v2.13.0") && !is_version("v2.13") && !is_version("latest; rm -rf"));
    }

    #[test]
    fn a_flag_that_is_off_serves_its_off_variation() {
        let flag = |on: bool, off: u64| {
            json!({
                "variations": [{ "value": true }, { "value": false }],
                "environments": { "production": { "on": on, "offVariation": off, "fallthrough": { "variation": 0 } } },
            })
        };
        assert_eq!(served(&flag(true, 1)), Some(true));
        assert_eq!(served(&flag(false, 1)), Some(false));
        assert_eq!(served(&flag(false, 0)), Some(true));
        assert_eq!(served(&json!({})), None);
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let mut out = Vec::new();
        assert_eq!(smoke(&words("--filter=core"), &Environment::new(), &mut out).await, USAGE);
        assert_eq!(deploy(&words("--service api"), &Environment::new(), &mut out).await, USAGE);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("FC_API_URL") && text.contains("--ref"), "{text}");
    }
}
