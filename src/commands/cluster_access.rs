//! A target's cluster and registry, opened.

use crate::context::Context;
use crate::credentials::{Credential, Skipped};
use crate::delivery::{self, HostAccess};
use crate::diagnosis::{Failure, Result};
use crate::event::Events;
use crate::follow::Mailbox;
use crate::registry::{Access, Registry, RegistryError};
use crate::settings::Target;

/// A target's registry, with the user's login when one is stored.
pub(super) struct TargetRegistry {
    pub(super) registry: Registry,
    pub(super) host: String,
    /// The prefix of all repositories; empty or ending in `/`.
    pub(super) prefix: String,
    pub(super) login: Option<Credential>,
    /// Places that a login may be in, and that could not be looked into.
    skipped: Vec<Skipped>,
}

impl TargetRegistry {
    /// The repository of a project.
    pub(super) fn repository(&self, project: &str) -> String {
        format!("{}{project}", self.prefix)
    }

    /// Whether the registry lets us do that in a repository. When it wants a login, places that could not be looked into
    /// are part of the answer.
    pub(super) async fn check(&self, repository: &str, access: Access) -> Result<()> {
        self.registry.check(repository, access).await.map_err(|error| {
            let wants_login = matches!(error, RegistryError::Unauthorised { .. });
            let skipped = self.skipped.iter().filter(|_| wants_login);
            skipped.fold(Failure::from(error), |failure, skipped| failure.hinted(skipped.to_string()))
        })
    }
}

pub(super) async fn open_registry(context: &Context, target: &Target, events: &Events) -> Result<TargetRegistry> {
    let (host, prefix) = target.registry_parts();
    let prefix = if prefix.is_empty() { String::new() } else { format!("{}/", prefix.trim_end_matches('/')) };
    let HostAccess { registry, login, skipped } = delivery::open_registry(context, host, Some(target), events).await?;
    Ok(TargetRegistry { registry, host: host.to_owned(), prefix, login, skipped })
}

/// The mailbox of a run at `address` (`host/repository`, as the workstation sees it); `None` where a run has none.
pub(super) async fn open_mailbox(
    context: &Context,
    target: &Target,
    address: Option<&str>,
    run: &str,
    events: &Events,
) -> Result<Option<Mailbox>> {
    let Some((_, repository)) = address.and_then(|address| address.split_once('/')) else { return Ok(None) };
    let registry = open_registry(context, target, events).await?.registry;
    Ok(Some(Mailbox { registry, repository: repository.to_owned(), run: run.to_owned() }))
}
