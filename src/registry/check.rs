//! Whether a registry will do, found out before any slow work.

use std::time::Duration;

use reqwest::{Method, Request, StatusCode};

use super::auth::{Access, Scope};
use super::blob::Blob;
use super::challenge::Challenge;
use super::classify;
use super::client::Registry;
use super::error::{Reach, RegistryError};
use super::exchange::{Call, location};
use super::image::SMALLEST_BLOB;
use super::meter::Meter;
use super::names;
use super::retry::Retry;
use super::upload::opening;

/// No check takes longer, however many servers dawdle.
const AT_MOST: Duration = Duration::from_secs(5);
/// A registry that is merely busy gets a second chance after so long.
const SECOND_CHANCE: Duration = Duration::from_millis(300);

impl Registry {
    /// Whether `repository` can be reached with `access`: connection, TLS, credentials and rights. For pushing, two
    /// bytes are stored. Takes two seconds when nobody answers, five at the very most.
    pub async fn check(&self, repository: &str, access: Access) -> Result<(), RegistryError> {
        names::check_repository(repository)?;
        let quick = self.clone().with_patience(self.patience.for_check());
        let overdue = |_| RegistryError::Unreachable { host: self.host(), reach: Reach::TimedOut(AT_MOST) };
        tokio::time::timeout(AT_MOST, quick.check_twice(repository, access)).await.map_err(overdue)?
    }

    async fn check_twice(&self, repository: &str, access: Access) -> Result<(), RegistryError> {
        match self.check_once(repository, access).await {
            Err(error) if matches!(error.retry(), Retry::Soon) && !has_timed_out(&error) => {
                tracing::debug!(%error, "registry: checking again");
                tokio::time::sleep(SECOND_CHANCE).await;
                self.check_once(repository, access).await
            }
            result => result,
        }
    }

    /// Whether it would work without credentials too. Decides whether pods need some.
    pub async fn allows_anonymous(&self, repository: &str, access: Access) -> Result<bool, RegistryError> {
        match self.as_nobody().check(repository, access).await {
            Ok(()) => Ok(true),
            Err(RegistryError::Unauthorised { .. } | RegistryError::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn check_once(&self, repository: &str, access: Access) -> Result<(), RegistryError> {
        let scope = Scope::new(repository, access);
        let doing = format!("let us {access} `{repository}`");
        if access == Access::Push {
            return match self.prove_push(repository, &scope, &doing).await {
                Err(error) if !has_timed_out(&error) => {
                    // Is it a registry at all? If not, that is what is to be said.
                    self.ping().await?;
                    Err(error)
                }
                proven => proven,
            };
        }
        self.ping().await?;
        let url = self.endpoint().url(&format!("{repository}/manifests/latest"));
        let call = Call::new(Method::HEAD, url, &scope, &doing);
        let response = self.exchange_once(&call, &|_| ()).await?;
        match response.status() {
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    /// Takes the smallest blob there is over from the repository into itself, or else sends it. That needs the same rights as
    /// a real push, shows a full disk, and is one request from the second time on. (An upload that is opened and taken back
    /// would leave a folder in distribution 2.x each time.)
    async fn prove_push(&self, repository: &str, scope: &Scope, doing: &str) -> Result<(), RegistryError> {
        let blob = Blob::from_bytes(SMALLEST_BLOB);
        let mut url = self.endpoint().url(&format!("{repository}/blobs/uploads/"));
        url.query_pairs_mut().append_pair("mount", blob.digest().as_str()).append_pair("from", repository);
        let call = opening(url, scope, doing);
        let response = self.exchange_once(&call, &|_| ()).await?;
        match response.status() {
            StatusCode::CREATED => Ok(()),
            StatusCode::ACCEPTED => {
                let session = self.session(&call.url, &response)?;
                self.complete(session, &blob, blob.whole(), scope, doing, &|_| ()).await
            }
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    /// Whether a registry answers here at all; learns how it wants to be convinced.
    pub(super) async fn ping(&self) -> Result<(), RegistryError> {
        let request = Request::new(Method::GET, self.endpoint().base().clone());
        let response = self.shared.transport.send(request, self.patience, &Meter::default(), &|_| ()).await?;
        let status = response.status();
        if classify::is_server_trouble(status) {
            return Err(classify::server_trouble(response, self.host(), self.patience.stall).await);
        }
        if status.is_redirection() {
            let to = location(response.headers()).unwrap_or_default();
            return Err(self.sent_away(&to));
        }
        let is_page = classify::is_page(response.headers());
        if let (StatusCode::UNAUTHORIZED, Some(challenge)) = (status, Challenge::find(response.headers())) {
            self.shared.authenticator.learn(challenge);
        }
        let scope = Scope::new("v2", Access::Pull);
        let call = Call::new(Method::GET, self.endpoint().base().clone(), &scope, "answer at /v2/");
        match status {
            StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !is_page => {
                classify::explanation(response, self.patience.stall).await; // read to its end, the connection is kept
                Ok(())
            }
            StatusCode::NOT_FOUND => {
                Err(RegistryError::NotARegistry { host: self.host(), found: "it has nothing at `/v2/`".to_owned() })
            }
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    /// A registry's root does not redirect: this is a web server, or one that insists on TLS.
    fn sent_away(&self, to: &str) -> RegistryError {
        let base = self.endpoint().base();
        let to = base.join(to).unwrap_or_else(|_| base.clone());
        if self.endpoint().is_plain_http() && to.scheme() == "https" && to.host_str() == base.host_str() {
            return RegistryError::WantsTls { host: self.host() };
        }
        let found = format!("it sends us on to `{}`", classify::shown(to.host_str().unwrap_or("?")));
        RegistryError::NotARegistry { host: self.host(), found }
    }
}

/// Whether an error has used up the time for the check already.
const fn has_timed_out(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unreachable { reach: Reach::TimedOut(_) | Reach::Stalled(_), .. })
}
