//! The connected engine: what it is, what it speaks, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::SystemVersion;
use bollard::{BollardRequest, ClientVersion};
use http::Response;
use hyper::body::Incoming;

use super::endpoint::{DockerSettings, Endpoint};
use super::error::DockerError;
use super::transport::{self, Transport};

/// Oldest API that will do, 1.40: device requests, and a BuildKit that has secrets. Docker 19.03.
const OLDEST_API: u16 = 40;
/// Newest API that is known here.
const NEWEST_API: u16 = 53;
/// How long the engine may take to say its version.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the engine may take to begin an answer. Creating and removing containers on a busy disk takes a while.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// A Docker engine that answers. Cheap to clone.
#[derive(Clone)]
pub struct Docker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: DockerSettings,
    transport: Arc<Transport>,
    api: bollard::Docker,
    version: String,
    os: String,
    architecture: String,
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Docker {} at {}", self.version(), self.endpoint())
    }
}

impl Docker {
    /// Finds the engine as the `docker` command would, and makes sure that it answers in a language we share.
    pub async fn connect(settings: &DockerSettings) -> Result<Self, DockerError> {
        let transport = Arc::new(Transport::new(settings.resolve()?)?);
        let api = bollard_over(&transport);
        let hello = hello(&transport, &api).await?;
        let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
        let version = text(hello.version);
        transport.speak(agreed_api(
            transport.endpoint(),
            &version,
            hello.api_version.as_deref(),
            hello.min_api_version.as_deref(),
        )?);
        let (os, architecture) = (text(hello.os), text(hello.arch));
        let settings = settings.clone();
        Ok(Self { inner: Arc::new(Inner { settings, transport, api, version, os, architecture }) })
    }

    /// Where the engine is, and who said so.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.transport.endpoint()
    }

    /// The engine's own version, such as `20.10.24`.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The platform of the engine's machine, such as `linux/amd64`.
    pub fn platform(&self) -> String {
        format!("{}/{}", self.inner.os, self.inner.architecture)
    }

    /// The architecture of the engine's machine, such as `amd64`.
    pub fn architecture(&self) -> &str {
        &self.inner.architecture
    }

    /// What was read from the environment, for a process that has to find the same engine.
    pub(super) fn settings(&self) -> &DockerSettings {
        &self.inner.settings
    }

    pub(super) fn api(&self) -> &bollard::Docker {
        &self.inner.api
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    /// What bollard says about a request, in our words. `what` continues "did not …".
    pub(super) fn error(&self, what: impl Into<String>, error: bollard::errors::Error) -> DockerError {
        DockerError::of(self.endpoint(), what, error)
    }

    /// Sends a request of our own; an answer that is no success is an error.
    pub(super) async fn send(&self, what: &str, request: BollardRequest) -> Result<Response<Incoming>, DockerError> {
        let response = self.transport().send(request).await.map_err(|e| self.error(what, e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = transport::text(response).await;
        Err(DockerError::rejected(what.to_owned(), status, &message(&body)))
    }
}

/// The `message` of an error document, or all of it when it is none.
fn message(body: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    serde_json::from_str::<Refusal>(body).map_or_else(|_| body.to_owned(), |refusal| refusal.message)
}

fn bollard_over(transport: &Arc<Transport>) -> bollard::Docker {
    let transport = Arc::clone(transport);
    let send = move |request: BollardRequest| {
        let transport = Arc::clone(&transport);
        async move { transport.send(request).await }
    };
    let newest = ClientVersion { major_version: 1, minor_version: usize::from(NEWEST_API) };
    bollard::Docker::connect_with_custom_transport(send, Some("http://docker"), ANSWER_TIMEOUT.as_secs(), &newest)
        .expect("a transport at hand always connects")
}

async fn hello(transport: &Transport, api: &bollard::Docker) -> Result<SystemVersion, DockerError> {
    let endpoint = transport.endpoint();
    let answer = tokio::time::timeout(HELLO_TIMEOUT, api.version()).await.map_err(|_| DockerError::Unreachable {
        endpoint: endpoint.clone(),
        source: std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 10 seconds"),
    })?;
    match answer.map_err(|e| DockerError::of(endpoint, "say its version", e)) {
        Err(DockerError::Rejected { message, .. }) if message.contains("HTTP request to an HTTPS server") => {
            Err(DockerError::Tls { endpoint: endpoint.clone(), source: "the engine speaks TLS on this port".into() })
        }
        answer => answer,
    }
}

/// The newest API that both sides speak, as its minor version.
fn agreed_api(
    endpoint: &Endpoint,
    version: &str,
    newest: Option<&str>,
    oldest: Option<&str>,
) -> Result<u16, DockerError> {
    let minor = |text: &str| text.strip_prefix("1.").and_then(|minor| minor.parse::<u16>().ok());
    let theirs = newest.and_then(minor).unwrap_or(0);
    if theirs < OLDEST_API {
        return Err(DockerError::TooOld {
            endpoint: endpoint.clone(),
            version: version.to_owned(),
            api: newest.unwrap_or("unknown").to_owned(),
            needed: format!("1.{OLDEST_API}"),
        });
    }
    match oldest {
        Some(oldest) if minor(oldest).is_some_and(|oldest| oldest > NEWEST_API) => Err(DockerError::TooNew {
            endpoint: endpoint.clone(),
            version: version.to_owned(),
            oldest: oldest.to_owned(),
            ours: format!("1.{NEWEST_API}"),
        }),
        _ => Ok(theirs.min(NEWEST_API)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_the_newest_that_both_speak() {
        let endpoint = DockerSettings { host: Some("unix:///x".into()), ..DockerSettings::default() };
        let endpoint = endpoint.resolve().unwrap();
        let agreed = |newest, oldest| agreed_api(&endpoint, "1", Some(newest), Some(oldest));
        assert_eq!(agreed("1.41", "1.12").unwrap(), 41);
        assert_eq!(agreed("1.99", "1.44").unwrap(), 53);
        assert!(matches!(agreed("1.39", "1.12"), Err(DockerError::TooOld { .. })));
        assert!(matches!(agreed("2.0", "1.60"), Err(DockerError::TooOld { .. })));
        assert!(matches!(agreed("1.99", "1.60"), Err(DockerError::TooNew { .. })));
    }
}
