//! The client of one registry.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::auth::{Access, Auth, IssuedToken, Scope};
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::names;
use super::retry::{Attempts, Patience};
use super::token::Authenticator;
use super::transport::Transport;
use crate::event::Events;

/// One registry. Cheap to clone; clones share connections, tokens and counters.
#[derive(Clone)]
pub struct Registry {
    pub(super) shared: Arc<Shared>,
    pub(super) patience: Patience,
    events: Events,
}

pub(super) struct Shared {
    pub(super) transport: Arc<Transport>,
    pub(super) authenticator: Authenticator,
    bytes_sent: AtomicU64,
}

/// What a [`Registry`] and its clones have sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// HTTP requests, with those for tokens and second tries.
    pub requests: u64,
    /// Bytes of blobs and manifests, with second tries.
    pub bytes_sent: u64,
}

impl Registry {
    /// A client for the registry at `endpoint`, as `auth`. Nothing is sent before the first call.
    pub fn new(endpoint: Endpoint, auth: Auth) -> Self {
        Self::over(Arc::new(Transport::new(endpoint)), auth)
    }

    fn over(transport: Arc<Transport>, auth: Auth) -> Self {
        let authenticator = Authenticator::new(auth);
        let shared = Arc::new(Shared { transport, authenticator, bytes_sent: AtomicU64::new(0) });
        Self { shared, patience: Patience::default(), events: Events::none() }
    }

    /// Nobody in particular, over the same connections.
    pub(super) fn as_nobody(&self) -> Self {
        Self::over(Arc::clone(&self.shared.transport), Auth::Anonymous).with_patience(self.patience)
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The same, and pauses of a second and more before another try are said to `events`.
    #[must_use]
    pub fn with_events(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    /// Where this registry is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.shared.transport.endpoint()
    }

    /// From now on, this client and its clones are somebody else, or have a newer token.
    pub async fn replace_auth(&self, auth: Auth) {
        self.shared.authenticator.replace(auth).await;
    }

    /// A token for one repository, to be handed on in place of a password; `None` when the registry has no token server
    /// or we have no more than a token ourselves.
    pub async fn issue_token(&self, repository: &str, access: Access) -> Result<Option<IssuedToken>, RegistryError> {
        names::check_repository(repository)?;
        self.ping().await?;
        let scope = Scope::new(repository, access);
        let mut attempts = self.attempts();
        loop {
            match self.shared.authenticator.issue(&self.shared.transport, &scope, self.patience).await {
                Ok(issued) => return Ok(issued),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    /// What has been sent so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.shared.transport.requests(),
            bytes_sent: self.shared.bytes_sent.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count_sent(&self, bytes: u64) {
        self.shared.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn attempts(&self) -> Attempts<'_> {
        Attempts::new(self.patience.budget, &self.events)
    }

    /// The host, for messages.
    pub(super) fn host(&self) -> String {
        self.endpoint().host().to_owned()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("host", &self.endpoint().host()).finish_non_exhaustive()
    }
}
