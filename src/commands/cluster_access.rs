//! A target's cluster and registry, opened.

use std::path::Path;

use crate::cluster::{Cluster, ClusterSettings};
use crate::context::Context;
use crate::credentials::{Credentials, Login};
use crate::diagnosis::Result;
use crate::env_vars;
use crate::follow::Mailbox;
use crate::registry::{Auth, Endpoint, Registry};
use crate::settings::{SettingsError, Target};

/// Where credentials are looked for.
pub(super) fn credentials(context: &Context) -> Credentials {
    let home = context.variable("HOME").map(|home| Path::new(home).join(".docker"));
    let bus = context.variable("DBUS_SESSION_BUS_ADDRESS").is_some()
        || context.variable("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(folder).join("bus").exists());
    Credentials {
        docker_config: context.variable(env_vars::DOCKER_CONFIG).map(Into::into).or(home),
        search_path: context.variable("PATH").map(str::to_owned),
        has_session_bus: bus,
    }
}

/// A target's registry, with the user's login when one is stored.
pub(super) struct TargetRegistry {
    pub(super) registry: Registry,
    pub(super) host: String,
    /// The prefix of all repositories; empty or ending in `/`.
    pub(super) prefix: String,
    pub(super) login: Option<Login>,
}

pub(super) fn open_registry(context: &Context, target: &Target) -> Result<TargetRegistry> {
    let (host, prefix) = target.registry.split_once('/').unwrap_or((&target.registry, ""));
    let prefix = if prefix.is_empty() { String::new() } else { format!("{}/", prefix.trim_end_matches('/')) };
    let mut endpoint = Endpoint::new(host).allow_plain_http(target.plain_http.iter().any(|allowed| allowed == host));
    if let Some(path) = &target.registry_ca {
        let read = std::fs::read(path).map_err(|source| SettingsError::Unreadable { path: path.into(), source });
        endpoint.ca = Some(read?);
    }
    let login = credentials(context).find(host)?;
    let auth = match &login {
        None => Auth::Anonymous,
        Some(Login { user, secret }) if user == "<token>" => Auth::IdentityToken(secret.clone()),
        Some(Login { user, secret }) => Auth::Basic { user: user.clone(), password: secret.clone() },
    };
    Ok(TargetRegistry { registry: Registry::new(endpoint, auth)?, host: host.to_owned(), prefix, login })
}

/// The mailbox of a run at `address` (`host/repository`, as the workstation sees it); `None` where a run has none.
pub(super) fn open_mailbox(
    context: &Context,
    target: &Target,
    address: Option<&str>,
    run: &str,
) -> Result<Option<Mailbox>> {
    let Some((_, repository)) = address.and_then(|address| address.split_once('/')) else { return Ok(None) };
    let registry = open_registry(context, target)?.registry;
    Ok(Some(Mailbox { registry, repository: repository.to_owned(), run: run.to_owned() }))
}

pub(super) async fn open_cluster(target: &Target) -> Result<Cluster> {
    let settings = ClusterSettings {
        kubeconfig: target.kubeconfig.clone(),
        context: target.context.clone(),
        namespace: target.namespace.clone(),
    };
    Ok(Cluster::connect(&settings).await?)
}
