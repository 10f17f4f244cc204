//! One registry host: its address, and whether TLS is needed to talk to it.

use std::net::IpAddr;

use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::error::RegistryError;

/// Docker Hub answers under another name than images say.
const HUB_NAMES: [&str; 2] = ["docker.io", "index.docker.io"];
const HUB_HOST: &str = "registry-1.docker.io";

/// Where a registry is, and how to talk to it.
///
/// Loopback hosts are spoken to in plain HTTP (as Docker and containerd do), all others with TLS; [`Endpoint::plain_http`] and
/// [`Endpoint::tls`] say otherwise by name.
#[derive(Clone, Debug)]
pub struct Endpoint {
    host: String,
    base: Url,
    /// The user has said that this host is spoken to without TLS.
    plain_by_name: bool,
    authorities: Vec<CertificateDer<'static>>,
}

impl Endpoint {
    /// The registry at `host`, with an optional port: `localhost:5000`, `registry.example.com`, `[::1]:5000`, `docker.io`.
    pub fn new(host: &str) -> Result<Self, RegistryError> {
        let invalid = |reason| RegistryError::InvalidHost { host: host.chars().take(200).collect(), reason };
        let address = if HUB_NAMES.contains(&host) { HUB_HOST } else { host };
        if address.is_empty() || !address.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(c)) {
            return Err(invalid("expected a name or an address, with an optional port"));
        }
        let mut base =
            Url::parse(&format!("https://{address}/v2/")).map_err(|_| invalid("it cannot be part of a URL"))?;
        if base.host_str().is_some_and(is_loopback) {
            base = with_scheme(&base, "http", address);
        }
        Ok(Self { host: host.to_owned(), base, plain_by_name: false, authorities: Vec::new() })
    }

    /// Speak plain HTTP to this host, because the user's own configuration says so.
    #[must_use]
    pub fn plain_http(mut self) -> Self {
        self.base = with_scheme(&self.base, "http", self.address());
        self.plain_by_name = true;
        self
    }

    /// Reach this registry through a tunnel that begins at `address` on this machine. What the tunnel carries is plain HTTP;
    /// the tunnel itself keeps it from others.
    #[must_use]
    pub fn through(mut self, address: std::net::SocketAddr) -> Self {
        self.base = with_scheme(&self.base, "http", &address.to_string());
        self
    }

    /// Speak TLS to this host, though it is loopback.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.base = with_scheme(&self.base, "https", self.address());
        self.plain_by_name = false;
        self
    }

    /// Trust these authorities (PEM) too, besides the machine's own. Implies [`Endpoint::tls`].
    pub fn trusting(mut self, pem: &[u8]) -> Result<Self, RegistryError> {
        let invalid = |reason: String| RegistryError::InvalidAuthorities { host: self.host.clone(), reason };
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let authorities = read.map_err(|error| invalid(error.to_string()))?;
        if authorities.is_empty() {
            return Err(invalid("there is no PEM certificate in them".into()));
        }
        self.authorities.extend(authorities);
        Ok(self.tls())
    }

    /// The host as it was given: what image names start with.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether this host is spoken to in plain HTTP.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// Whether the registry runs on this very machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.base.host_str().is_some_and(is_loopback)
    }

    pub(super) fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// The API's root, `…/v2/`.
    pub(super) const fn base(&self) -> &Url {
        &self.base
    }

    /// Host and port that requests go to: Docker Hub is called `docker.io` and answers elsewhere.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.base.authority()
    }

    /// The URL of `path` below `…/v2/`; `path` consists of checked names only.
    pub(super) fn url(&self, path: &str) -> Url {
        self.base.join(path).expect("checked names make a valid relative URL")
    }

    /// Whether credentials for this registry may go to `url`: same scheme, host and port.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Where an answer of `from` sends us: `Ok` when it may be followed (credentials or not is another question).
    ///
    /// A registry behind a proxy that ends TLS may name itself with `http`; that is taken as itself.
    pub(super) fn follow(&self, from: &Url, location: &str) -> Result<Url, RegistryError> {
        let refuse = |to: &str, reason| RegistryError::Redirect { host: self.host.clone(), to: to.to_owned(), reason };
        let mut to = from.join(location).map_err(|_| refuse("?", "it is no URL"))?;
        let shown = format!("{}://{}", to.scheme(), to.host_str().unwrap_or("?"));
        to.set_fragment(None);
        if !to.username().is_empty() || to.password().is_some() {
            return Err(refuse(&shown, "it has credentials in it"));
        }
        match to.scheme() {
            "https" => Ok(to),
            "http" if !self.is_plain_http() && to.host_str() == self.base.host_str() => {
                Ok(with_scheme(&to, "https", self.address()))
            }
            "http" if from.scheme() == "http" && self.may_be_plain(&to) => Ok(to),
            "http" => Err(refuse(&shown, "it has no TLS")),
            _ => Err(refuse(&shown, "it is not HTTP")),
        }
    }

    /// Whether plain HTTP may be spoken to `url`, once this registry itself is spoken to in plain HTTP.
    pub(super) fn may_be_plain(&self, url: &Url) -> bool {
        self.is_plain_http() && (self.plain_by_name || self.is_own(url) || url.host_str().is_some_and(is_loopback))
    }

    /// Host and port of the API.
    fn address(&self) -> &str {
        if HUB_NAMES.contains(&self.host.as_str()) { HUB_HOST } else { &self.host }
    }
}

/// Whether a URL's host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `url` with another scheme at `address` (host and optional port): the port follows the scheme's default, which
/// `Url::set_scheme` alone would not do.
fn with_scheme(url: &Url, scheme: &str, address: &str) -> Url {
    let mut changed = Url::parse(&format!("{scheme}://{address}/")).expect("the address was checked before");
    changed.set_path(url.path());
    changed.set_query(url.query());
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(endpoint: &Endpoint) -> &str {
        endpoint.base().as_str()
    }

    #[test]
    fn only_loopback_or_a_named_host_goes_without_tls() {
        let new = |host| Endpoint::new(host).expect("valid");
        assert_eq!(base(&new("localhost:5000")), "http://localhost:5000/v2/");
        assert_eq!(base(&new("127.0.0.2")), "http://127.0.0.2/v2/");
        assert_eq!(base(&new("[::1]:5000")), "http://[::1]:5000/v2/");
        assert_eq!(base(&new("registry.example.com")), "https://registry.example.com/v2/");
        assert_eq!(base(&new("10.0.0.1:5000")), "https://10.0.0.1:5000/v2/");
        assert_eq!(base(&new("10.0.0.1:443").plain_http()), "http://10.0.0.1:443/v2/");
        assert_eq!(base(&new("localhost:80").tls()), "https://localhost:80/v2/");
        assert_eq!(base(&new("docker.io")), "https://registry-1.docker.io/v2/");
        assert_eq!(new("docker.io").host(), "docker.io");
        assert!(!is_loopback("localhost.example.com") && !is_loopback("127.example.com"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["", "a b", "http://a", "a/b", "user@host", "a?b", "host:port", "host:99999", "\u{e9}.com"] {
            assert!(Endpoint::new(host).is_err(), "{host}");
        }
        assert!(Endpoint::new("a").expect("valid").trusting(b"no certificate").is_err());
    }

    #[test]
    fn addresses_are_followed_only_where_tls_is_kept() {
        let tls = Endpoint::new("r.example.com").expect("valid");
        let from = tls.url("a/blobs/uploads/");
        let to =
            |endpoint: &Endpoint, from: &Url, location| endpoint.follow(from, location).map(|url| url.to_string()).ok();
        let relative = to(&tls, &from, "/v2/a/blobs/uploads/1?_state=x");
        assert_eq!(relative.as_deref(), Some("https://r.example.com/v2/a/blobs/uploads/1?_state=x"));
        let downgraded = to(&tls, &from, "http://r.example.com/v2/a?x=1");
        assert_eq!(downgraded.as_deref(), Some("https://r.example.com/v2/a?x=1"));
        assert_eq!(to(&tls, &from, "https://store.example.com/x").as_deref(), Some("https://store.example.com/x"));
        for refused in
            ["http://store.example.com/x", "ftp://r.example.com/", "https://a:b@r.example.com/", "http://[::1"]
        {
            assert_eq!(to(&tls, &from, refused), None, "{refused}");
        }
        let local = Endpoint::new("localhost:5000").expect("valid");
        let from = local.url("");
        assert!(to(&local, &from, "http://127.0.0.1:9000/x").is_some());
        assert!(to(&local, &from, "http://store.example.com/x").is_none());
        assert!(to(&local.clone().plain_http(), &from, "http://store.example.com/x").is_some());
    }

    #[test]
    fn credentials_stay_with_scheme_host_and_port() {
        let endpoint = Endpoint::new("r.example.com").expect("valid");
        let own = |url: &str| endpoint.is_own(&url.parse().expect("valid"));
        assert!(own("https://r.example.com/x") && own("https://r.example.com:443/x"));
        assert!(
            !own("http://r.example.com/x") && !own("https://r.example.com:444/x") && !own("https://s.example.com/")
        );
    }
}
