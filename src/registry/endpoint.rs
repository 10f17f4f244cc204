//! Where a registry is and how it may be reached.

/// A registry's host, and whether TLS may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port, such as `localhost:5000`.
    pub host: String,
    /// Whether the user said that this host is reached without TLS. Loopback always is.
    pub plain_http: bool,
    /// Certificates (PEM) to trust besides the system's.
    pub ca: Option<Vec<u8>>,
}

impl Endpoint {
    /// A host with the system's certificates; without TLS only when it is this machine.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into(), plain_http: false, ca: None }
    }

    /// Lets this host be reached without TLS.
    #[must_use]
    pub const fn allow_plain_http(mut self, allow: bool) -> Self {
        self.plain_http = allow;
        self
    }

    /// Whether requests go without TLS: only to this machine, or where the user allowed it.
    pub fn is_plain(&self) -> bool {
        self.plain_http || (is_loopback(&self.host) && self.ca.is_none())
    }

    /// `http://localhost:5000`.
    pub(super) fn base(&self) -> String {
        // Docker Hub's API is at another name than its images'.
        let host = if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host };
        format!("{}://{host}", if self.is_plain() { "http" } else { "https" })
    }
}

/// Whether a `host[:port]` is this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_left_out_only_on_this_machine_or_by_word() {
        for (host, base) in [
            ("localhost:5000", "http://localhost:5000"),
            ("127.0.0.2:5000", "http://127.0.0.2:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("localhost.example.com", "https://localhost.example.com"),
            ("docker.io", "https://registry-1.docker.io"),
        ] {
            assert_eq!(Endpoint::new(host).base(), base);
        }
        assert!(Endpoint::new("10.0.0.1:5000").allow_plain_http(true).is_plain());
    }
}
