//! Which image a name means: looked up once, and then what the project's lock file says.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::DeliveryError;
use super::access::open_registry;
use crate::context::Context;
use crate::diagnosis::Result;
use crate::digest::Digest;
use crate::docker::Docker;
use crate::event::Events;
use crate::image::{EnvironmentPlan, ImageReference};
use crate::registry::Patience;
use crate::settings::LockFile;

/// How long a run waits for a registry that does not answer, only to pin an image: a workstation may be offline, and Docker
/// have all that is needed.
const OFFLINE: Duration = Duration::from_secs(3);

/// The plan with its bases pinned. What the lock file does not know yet is looked up and written into it: what Docker has
/// under that name, else what the registry has. An image that is only in Docker, or that nobody can be asked about, stays
/// as it is named.
pub async fn pin(context: &Context, root: &Path, plan: EnvironmentPlan, events: &Events) -> Result<EnvironmentPlan> {
    let mut lock = LockFile::read(root)?;
    let unknown: BTreeSet<String> = plan.bases().into_iter().filter(|name| is_lockable(name, &lock)).collect();
    let mut found = false;
    let docker = if unknown.is_empty() { None } else { context.docker().await.ok() };
    for name in unknown {
        match look_up(context, docker.as_ref(), &name, events).await {
            Ok(Some(digest)) => {
                events.note(format!("{name} is {} from now on ({})", digest.short(), LockFile::NAME));
                lock.images.insert(name, digest);
                found = true;
            }
            Ok(None) => {}
            // Whoever needs the image says why it cannot be had.
            Err(error) => tracing::debug!(%error, name, "the image is not pinned"),
        }
    }
    if found && let Err(error) = lock.write(root) {
        events.warn(format!("{} cannot be written ({error}); another run may build on other images", LockFile::NAME));
    }
    Ok(plan.pinned(|name| lock.pin(name)))
}

/// What the registries have now of these images; what is in Docker only is left out.
pub async fn update(context: &Context, names: &[String], events: &Events) -> Result<LockFile> {
    let mut lock = LockFile::default();
    let docker = context.docker().await.ok();
    for name in names.iter().filter(|name| !name.contains('@')) {
        let digest = match ask_registry(context, name, Patience::default(), events).await {
            Ok(digest) => digest,
            Err(error) => match in_docker(docker.as_ref(), name).await? {
                InDocker::Only => continue,
                _ => return Err(error),
            },
        };
        lock.images.insert(name.clone(), digest);
    }
    Ok(lock)
}

fn is_lockable(name: &str, lock: &LockFile) -> bool {
    !name.contains('@') && !lock.images.contains_key(name)
}

async fn look_up(context: &Context, docker: Option<&Docker>, name: &str, events: &Events) -> Result<Option<Digest>> {
    match in_docker(docker, name).await? {
        InDocker::From(digest) => Ok(Some(digest)),
        InDocker::Only => Ok(None),
        InDocker::No => {
            let patience = Patience { stall: OFFLINE, budget: OFFLINE, ..Patience::default() };
            ask_registry(context, name, patience, events).await.map(Some)
        }
    }
}

/// Whether Docker has an image.
enum InDocker {
    /// No.
    No,
    /// Yes, and no registry is known to have it under this name.
    Only,
    /// Yes, from its registry.
    From(Digest),
}

async fn in_docker(docker: Option<&Docker>, name: &str) -> Result<InDocker> {
    let Some(docker) = docker else { return Ok(InDocker::No) };
    let Some(image) = docker.image(name).await? else { return Ok(InDocker::No) };
    let reference: ImageReference = name.parse().map_err(DeliveryError::from)?;
    let same = |pulled: &&ImageReference| pulled.host == reference.host && pulled.repository == reference.repository;
    let pulled = image.pulled.iter().filter_map(|name| name.parse::<ImageReference>().ok()).collect::<Vec<_>>();
    Ok(pulled.iter().find(same).and_then(|pulled| pulled.digest.clone()).map_or(InDocker::Only, InDocker::From))
}

async fn ask_registry(context: &Context, name: &str, patience: Patience, events: &Events) -> Result<Digest> {
    let reference: ImageReference = name.parse().map_err(DeliveryError::from)?;
    let registry = open_registry(context, &reference.host, None, events).await?.registry.with_patience(patience);
    let manifest = registry.pull_manifest(&reference.repository, reference.version()).await?;
    Ok(manifest.ok_or_else(|| DeliveryError::NoImage { name: name.to_owned() })?.digest)
}
