//! A target's cluster and registry, opened.

use crate::cluster::{Cluster, RegistryHosting};
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

/// The registry's host as others have to say it.
pub(super) struct Names {
    pub(super) from_nodes: String,
    pub(super) from_pods: String,
}

impl Names {
    /// What the target says, else what the cluster announces of this registry, else the workstation's own name for it.
    pub(super) fn new(target: &Target, host: &str, announced: Option<RegistryHosting>) -> Self {
        let announced = announced.filter(|hosting| hosting.host.as_deref() == Some(host)).unwrap_or_default();
        let named = |said: &Option<String>, announced: Option<String>| {
            said.clone().or(announced).unwrap_or_else(|| host.to_owned())
        };
        Self {
            from_nodes: named(&target.registry_from_nodes, announced.host_from_container_runtime),
            from_pods: named(&target.registry_from_pods, announced.host_from_cluster_network),
        }
    }

    /// Why ranks may not reach the registry, as far as that can be told from here: neither a target nor an announcement says
    /// whether TLS is spoken under another name.
    pub(super) fn doubt(&self, target: &Target, access: &TargetRegistry) -> Option<String> {
        let Self { from_pods, .. } = self;
        let is_said = *from_pods == access.host || target.plain_http.contains(from_pods);
        let is_plain_here = access.registry.endpoint().is_plain_http();
        (is_plain_here && !is_said).then(|| plain_http_doubt(&access.host, from_pods))
    }
}

/// In words.
pub(super) fn plain_http_doubt(host: &str, from_pods: &str) -> String {
    format!(
        "pods reach the registry as `{from_pods}` with TLS, and this workstation as `{host}` without: if it has none there either, \
         allow that with `--plain-http {from_pods}` (`nauta target add`)"
    )
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

/// Takes back the credentials that were put into the namespace for a run that has ended.
pub(super) async fn take_credentials_back(cluster: &Cluster, run: &str, events: &Events) {
    if let Err(error) = cluster.release(run).await {
        events.warn(format!("the Secrets with credentials of {run} stay until its Job is deleted: {error}"));
    }
}
