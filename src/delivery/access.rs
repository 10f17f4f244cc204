//! A registry as this user reaches it: the way there from the user's targets, the login from wherever one is kept.

use std::path::Path;

use crate::bounded_file::{self, HAND_WRITTEN};
use crate::context::Context;
use crate::credentials::{self, Credential, Lookup, Skipped};
use crate::diagnosis::Result;
use crate::event::Events;
use crate::registry::{Auth, Endpoint, Registry};
use crate::settings::{SettingsError, Target};

/// A registry, with the user's login when one is stored.
pub struct HostAccess {
    /// The registry.
    pub registry: Registry,
    /// The login.
    pub login: Option<Credential>,
    /// Places that a login may be in, and that could not be looked into.
    pub skipped: Vec<Skipped>,
}

/// Opens the registry at `host` as `target` says, or as any target does that has to do with this host.
pub async fn open_registry(
    context: &Context,
    host: &str,
    target: Option<&Target>,
    events: &Events,
) -> Result<HostAccess> {
    let targets = || target.into_iter().chain(context.user_file().targets.values().filter(|_| target.is_none()));
    let mut endpoint = Endpoint::new(host)?;
    if targets().any(|target| target.plain_http.iter().any(|allowed| allowed == host)) {
        endpoint = endpoint.plain_http();
    }
    let is_its = |target: &&Target| target.registry_parts().0 == host;
    if let Some(path) = targets().filter(is_its).find_map(|target| target.registry_ca.as_ref()) {
        let read = bounded_file::read(Path::new(path), HAND_WRITTEN);
        let read = read.map_err(|source| SettingsError::Unreadable { path: path.into(), source });
        endpoint = endpoint.trusting(&read?)?;
    }
    if let Some(its) = targets().find(is_its)
        && let Some(address) = context.tunnel(its).await?
    {
        endpoint = endpoint.through(address);
    }
    let Lookup { found, skipped } = credentials::find(host, &context.credential_sources()).await;
    let login = found.map(|found| found.credential);
    let auth = login.clone().map_or(Auth::Anonymous, Auth::from);
    let registry = Registry::new(endpoint, auth).with_events(events.clone());
    Ok(HostAccess { registry, login, skipped })
}
