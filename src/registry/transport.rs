//! HTTP connections: kept alive, with redirects left to us, and proxies only where they make sense.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Client, Request, Response, Url, redirect};

use crate::proxies;

use super::classify;
use super::endpoint::{Endpoint, is_loopback};
use super::error::{Reach, RegistryError};
use super::meter::{Meter, guard};
use super::retry::Patience;
use super::tls;

/// A connection that does not stand after so long never will.
const CONNECT: Duration = Duration::from_secs(10);

/// Connections to one registry, and to the hosts it sends us to.
pub(super) struct Transport {
    endpoint: Endpoint,
    own: Client,
    /// For redirects and token servers, made when the first one is met: on this machine, and elsewhere (proxies apply).
    foreign: [OnceLock<Client>; 2],
    requests: AtomicU64,
}

impl Transport {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let own = if endpoint.is_plain_http() {
            client(tls::without_authorities(), endpoint.is_loopback())
        } else {
            client(tls::configuration(endpoint.authorities()), endpoint.is_loopback())
        };
        Self { endpoint, own, foreign: [OnceLock::new(), OnceLock::new()], requests: AtomicU64::new(0) }
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Requests sent so far, tokens and retries included.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The client to build a request for `url` with.
    pub(super) fn client(&self, url: &Url) -> &Client {
        if self.endpoint.is_own(url) {
            return &self.own;
        }
        let direct = url.host_str().is_some_and(is_loopback);
        self.foreign[usize::from(direct)]
            .get_or_init(|| client(tls::configuration(self.endpoint.authorities()), direct))
    }

    /// Sends a request once and waits for the head of the answer, as long as something moves.
    pub(super) async fn send(
        &self,
        request: Request,
        patience: Patience,
        meter: &Meter,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Response, RegistryError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let url = request.url().clone();
        let host = self.shown_host(&url);
        let sent = guard(self.client(&url).execute(request), patience, meter, progress).await;
        match sent {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(classify::transport(&error, &host, CONNECT)),
            Err(reach) => Err(RegistryError::Unreachable { host, reach }),
        }
    }

    /// The next piece of an answer's body; `None` at its end.
    pub(super) async fn next_piece(
        &self,
        response: &mut Response,
        stall: Duration,
    ) -> Result<Option<bytes::Bytes>, RegistryError> {
        let host = self.shown_host(response.url());
        match tokio::time::timeout(stall, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(classify::transport(&error, &host, CONNECT)),
            Err(_) => Err(RegistryError::Unreachable { host, reach: Reach::Stalled(stall) }),
        }
    }

    /// As the user knows it, or the host alone where the registry has sent us elsewhere.
    pub(super) fn shown_host(&self, url: &Url) -> String {
        if self.endpoint.is_own(url) {
            return self.endpoint.host().to_owned();
        }
        url.host_str().unwrap_or("?").to_owned()
    }
}

fn client(tls: rustls::ClientConfig, direct: bool) -> Client {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("nauta/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(15))
        .pool_idle_timeout(Duration::from_secs(30));
    // A dead network or a peer that takes nothing would otherwise hold the connection for a quarter of an hour.
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(Duration::from_secs(30));
    let builder = if direct || proxies::are_unwanted() { builder.no_proxy() } else { builder };
    builder.build().expect("a client with a ready TLS configuration has nothing left to fail")
}
