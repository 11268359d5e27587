//! What the workers of HTTP services share: one client, bounded answers, and what a refusal or a silence means.
//!
//! The rule behind every mapping here: a call that may have had an effect, and of which nobody knows whether it had,
//! is in doubt. Whatever surely had none may be tried again.

mod client;
mod fault;
mod finish;
mod pace;

pub(super) use fault::{CallError, Called};
pub(super) use finish::{Checklist, basis, curl, excerpt, only_reads, reading, tell};
pub(super) use pace::Pace;

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;

use crate::config::{Config, SecretSource};

use super::WorkerError;

/// The longest answer that is read; a dashboard with hundreds of panels stays below it.
const LONGEST_ANSWER: usize = 8 << 20;

/// What a call may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Read,
    /// Something, and the same call twice changes no more than once.
    Repeatable,
    /// Something, and once more with every call.
    Once,
}

/// One call, in the words that its errors are told in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// What is tried: `open an incident`.
    pub(super) operation: &'a str,
    /// What it may change.
    pub(super) effect: Effect,
    /// The right that a 403 says is missing.
    pub(super) right: &'a str,
    /// What a 404 says is missing, with the place that names it.
    pub(super) subject: &'a str,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body, at most 8 MiB.
    pub(super) body: Vec<u8>,
}

/// One service of the config: where it is and who we are there.
pub(super) struct Service {
    /// What people call it: `PagerDuty`.
    pub(super) name: &'static str,
    base: Url,
    limit: Duration,
    token: SecretString,
    /// Where the token comes from, in words; never the token.
    source: String,
    pace: Pace,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Service {
    /// Finds the service's address and reads its token.
    ///
    /// # Errors
    /// The address is no HTTP address, or the token cannot be read.
    pub(super) async fn open(
        name: &'static str,
        base: &str,
        token: &SecretSource,
        config: &Config,
        pace: Pace,
    ) -> Result<Self, WorkerError> {
        let base = base_url(name, base)?;
        let source = token.to_string();
        let token = secret(name, token).await?;
        Ok(Self { name, base, limit: config.http_timeout.unsigned_abs(), token, source, pace })
    }

    /// A service whose whole address is a secret, as an incoming webhook's is: whoever knows it may post.
    ///
    /// # Errors
    /// The address cannot be read, or is none.
    pub(super) async fn open_hook(
        name: &'static str,
        address: &SecretSource,
        config: &Config,
        pace: Pace,
    ) -> Result<Self, WorkerError> {
        let source = address.to_string();
        let secret = secret(name, address).await?;
        let url = Url::parse(secret.expose_secret().trim()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.path().len() > 1);
        let Some(url) = url else {
            // Not the text itself: it may be most of a good address.
            let cause = format!("What {source} holds is no webhook's address.");
            return Err(WorkerError::new("read the webhook's address", name, cause, "Put the whole address there."));
        };
        let token = SecretString::from(url.path().trim_start_matches('/').to_owned());
        let base = url.join("/").unwrap_or(url);
        Ok(Self { name, base, limit: config.http_timeout.unsigned_abs(), token, source, pace })
    }

    /// A digest of the secret, by which it is known to be the same one later.
    pub(super) fn mark(&self) -> String {
        crate::incident::Digest::of(self.token.expose_secret().as_bytes()).0.chars().take(12).collect()
    }

    /// A request to the secret address itself.
    ///
    /// # Errors
    /// No client can be made on this host.
    pub(super) fn hook(&self, method: Method) -> Result<RequestBuilder, WorkerError> {
        let parts: Vec<&str> = self.token.expose_secret().split('/').collect();
        self.request(method, &parts)
    }

    /// The address that calls go to, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// `PagerDuty (api.pagerduty.com)`, as errors name the target.
    pub(super) fn target(&self) -> String {
        format!("{} ({})", self.name, self.base.host_str().unwrap_or_default())
    }

    /// The token as a header's value behind `prefix`, kept out of `Debug`.
    ///
    /// # Errors
    /// The token holds characters that no header may hold.
    pub(super) fn authorization(&self, prefix: &str) -> Result<HeaderValue, WorkerError> {
        let mut value = HeaderValue::try_from(format!("{prefix}{}", self.token.expose_secret())).map_err(|_| {
            WorkerError::new(
                "send the token",
                self.target(),
                "The token holds characters that no HTTP header may hold.",
                format!("Put a valid token into {}.", self.source),
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A request to a path below the base, given as its parts, which are encoded.
    ///
    /// # Errors
    /// No client can be made on this host.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, WorkerError> {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        let client = client::client(&url).map_err(|why| {
            WorkerError::new("make an HTTP client", self.target(), why, "Check the certificates of this host.")
        })?;
        Ok(client.request(method, url).timeout(self.limit))
    }

    /// Sends a request and reads the answer, whatever its status.
    pub(super) async fn send(&self, call: &Call<'_>, request: RequestBuilder) -> Called<Answer> {
        let mut response = request.send().await.map_err(|error| self.unanswered(call, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(Answer { status, headers, body }),
                Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_ANSWER => body.extend_from_slice(&chunk),
                // A refusal stands by its status alone.
                Ok(Some(_)) | Err(_) if !status.is_success() => {
                    return Ok(Answer { status, headers, body: Vec::new() });
                }
                Ok(Some(_)) => return Err(self.unreadable(call, "is longer than 8 MiB")),
                Err(error) => return Err(self.unanswered(call, error)),
            }
        }
    }

    /// Reads a JSON answer.
    pub(super) fn decode<T: DeserializeOwned>(&self, call: &Call<'_>, answer: &Answer) -> Called<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let kind = match error.classify() {
                serde_json::error::Category::Data => "is not what its API documents",
                _ => "is no JSON",
            };
            self.unreadable(call, kind)
        })
    }

    /// What a server says, without the token should it repeat it, and not at any length.
    fn clean(&self, said: &str) -> String {
        excerpt(&said.replace(self.token.expose_secret(), "[redacted]"), 300)
    }
}

/// Reads an HTTP address of the config.
pub(super) fn base_url(name: &str, text: &str) -> Result<Url, WorkerError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| {
        WorkerError::new(
            "read the config",
            name,
            format!("`{text}` is no address of a web service."),
            "Write it in the config as https://host or https://host/prefix.",
        )
    })
}

/// Reads a secret, which may run a command, away from the runtime's threads.
pub(super) async fn secret(name: &str, source: &SecretSource) -> Result<SecretString, WorkerError> {
    let reader = source.clone();
    let read = tokio::task::spawn_blocking(move || reader.read()).await;
    let why = match read {
        Ok(Ok(secret)) => return Ok(secret),
        Ok(Err(error)) => format!("{error}."),
        Err(_) => format!("Reading {source} broke off."),
    };
    Err(WorkerError::new("read the token", name, why, format!("Provide it in {source}, then retry (r).")))
}

/// A client and the time limit for addresses that are no service of ours, such as the endpoints to validate.
pub(super) fn plain(url: &Url, config: &Config) -> Result<(reqwest::Client, Duration), String> {
    Ok((client::client(url)?, config.http_timeout.unsigned_abs()))
}

/// An error of reqwest and its causes in one line, without the address.
pub(super) fn causes(error: reqwest::Error) -> String {
    fault::causes(error)
}
