//! Logins for a build, looked up when the builder asks for them, and what that came to where the build then fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::context::Context;
use crate::credentials::{self, CredentialSources, Lookup, Place, Skipped};
use crate::diagnosis::Failure;
use crate::docker::{DockerError, FindLogin};
use crate::image::build_plan::RegistryLogin;
use crate::image::{EnvironmentPlan, ImageReference};

/// Docker Hub, as image names say it, and as builders call its registry.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// Looks for logins.
pub(super) struct Logins {
    sources: CredentialSources,
    seen: Arc<Mutex<Seen>>,
}

/// What became of the looking.
#[derive(Default)]
struct Seen {
    /// Registries without a login.
    without: BTreeSet<String>,
    /// Places that could not be looked into.
    skipped: Vec<Skipped>,
}

impl Logins {
    pub(super) fn new(context: &Context) -> Self {
        Self { sources: context.credential_sources(), seen: Arc::default() }
    }

    /// What BuildKit asks, for each registry as it comes to it: the names in a Dockerfile are no longer of interest.
    pub(super) fn finder(&self) -> FindLogin {
        let (sources, seen) = (self.sources.clone(), Arc::clone(&self.seen));
        Arc::new(move |host| {
            let (sources, seen) = (sources.clone(), Arc::clone(&seen));
            Box::pin(async move { find(&host, &sources, &seen).await })
        })
    }

    /// All that a plan may need, for the classic builder, which cannot ask.
    pub(super) async fn of(&self, plan: &EnvironmentPlan) -> Vec<RegistryLogin> {
        let references = plan.bases().into_iter().filter_map(|name| name.parse::<ImageReference>().ok());
        let hosts: BTreeSet<String> = references.map(|reference| reference.host).collect();
        let mut logins = Vec::new();
        for host in hosts {
            if let Some(credential) = find(&host, &self.sources, &self.seen).await {
                let registry = if host == HUB.0 { HUB.1.to_owned() } else { host };
                logins.push(RegistryLogin { registry, credential });
            }
        }
        logins
    }

    /// A failed build; where a registry wanted a login, with what is known of why it got none.
    pub(super) fn explain(&self, error: DockerError) -> Failure {
        let wants_login = error.wants_login();
        let failure = Failure::from(error);
        if !wants_login {
            return failure;
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = seen.skipped.iter().fold(failure, |failure, skipped| failure.hinted(skipped.to_string()));
        seen.without.iter().fold(failure, |failure, host| {
            failure.hinted(format!("no login for `{host}` was found here: run `nauta login {host}`"))
        })
    }
}

async fn find(host: &str, sources: &CredentialSources, seen: &Mutex<Seen>) -> Option<credentials::Credential> {
    let host = if host == HUB.1 { HUB.0 } else { host };
    let Lookup { found, skipped } = credentials::find(host, sources).await;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if found.is_none() {
        seen.without.insert(host.to_owned());
        // Machines without a keyring are many, and it is not what is missing there.
        let told = skipped.into_iter().filter(|skipped| skipped.place != Place::Keyring);
        let new: Vec<Skipped> = told.filter(|skipped| !seen.skipped.contains(skipped)).collect();
        seen.skipped.extend(new);
    }
    found.map(|found| found.credential)
}
