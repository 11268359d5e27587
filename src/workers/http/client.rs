//! The process's HTTP clients: one over the system's proxies, one past them for this host's own services.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// A host that does not take a connection within this is taken for unreachable.
const CONNECT: Duration = Duration::from_secs(5);

/// Idle connections serve the calls of one step and are gone before the next: a write on a connection that the
/// other side has dropped meanwhile would end in doubt for nothing.
const IDLE: Duration = Duration::from_secs(4);

static CLIENTS: OnceLock<Result<(Client, Client), String>> = OnceLock::new();

/// The client for an address. Clones share its connections.
pub(super) fn client(url: &Url) -> Result<Client, String> {
    let (far, near) = CLIENTS.get_or_init(make).as_ref().map_err(Clone::clone)?;
    Ok(if is_here(url) { near } else { far }.clone())
}

fn make() -> Result<(Client, Client), String> {
    // Another room of the process may have installed it already, and it is the same one: a refusal changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        Client::builder()
            .user_agent(concat!("relight/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            // A redirect would carry a write, or a token, to an address that nobody configured.
            .redirect(Policy::none())
            // Nothing is sent twice unasked, not even what looks safe from below.
            .retry(reqwest::retry::never())
    };
    let build = |builder: reqwest::ClientBuilder| builder.build().map_err(super::fault::causes);
    Ok((build(builder())?, build(builder().no_proxy())?))
}

/// Whether the address is on this host's loopback, where a proxy has no business.
fn is_here(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_here() {
        for (text, here) in [
            ("http://127.0.0.1:8080/x", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("https://10.0.0.1", false),
            ("https://localhost.example.com", false),
        ] {
            assert_eq!(is_here(&Url::parse(text).unwrap()), here, "{text}");
        }
    }
}
