//! Removing everything that a run has on the engine.

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::{
    ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures::future::join_all;
use tokio::time::Instant;

use super::find::ranks_of;
use crate::docker::Docker;
use crate::docker::engine::ANSWER_TIMEOUT;
use crate::docker::error::DockerError;
use crate::layout::label;

/// How often removing is tried: an engine under load says "in progress" or "still in use" for a while.
const ATTEMPTS: u32 = 40;
/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a network may wait for its containers to end, and how often it is tried meanwhile.
const FREE_WITHIN: Duration = Duration::from_secs(10);
const FREE_PAUSE: Duration = Duration::from_millis(20);

/// Ends a run's containers, gently for `grace`, and removes all that is left.
pub(in crate::docker) async fn end_and_remove(docker: &Docker, run: &str, grace: Duration) -> Result<(), DockerError> {
    stop_all(docker, ranks_of(docker, run).await?.values(), grace).await?;
    remove_what_remains(docker, run).await
}

/// Sends SIGTERM to each container, and SIGKILL to those that still run after `grace`.
pub(super) async fn stop_all(
    docker: &Docker,
    containers: impl Iterator<Item = &String>,
    grace: Duration,
) -> Result<(), DockerError> {
    let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
    let api = docker.api().clone().with_timeout(grace + ANSWER_TIMEOUT);
    let stop = |container: &String| {
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let (api, container) = (&api, container.clone());
        async move { gone_is_fine(docker, "stop a container", api.stop_container(&container, Some(options)).await) }
    };
    join_all(containers.map(stop)).await.into_iter().collect()
}

/// Removes a run's containers, whatever they do, its network and its volume.
pub(in crate::docker) async fn remove_what_remains(docker: &Docker, run: &str) -> Result<(), DockerError> {
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS {
        outcome = remove_once(docker, run).await;
        if outcome.is_ok() {
            let (ranks, is_all) = tokio::try_join!(ranks_of(docker, run), nothing_beside_ranks(docker, run))?;
            if ranks.is_empty() && is_all {
                return Ok(());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    outcome
}

async fn remove_once(docker: &Docker, run: &str) -> Result<(), DockerError> {
    let (containers, networks) = tokio::try_join!(ranks_of(docker, run), networks_of(docker, run))?;
    let remove = |container: &String| {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let container = container.clone();
        async move {
            let removed = docker.api().remove_container(&container, Some(options)).await;
            gone_is_fine(docker, "remove a container", removed)
        }
    };
    let containers = join_all(containers.values().map(remove));
    // A network is free when its containers have ended, which is some time before they are removed.
    let networks = join_all(networks.iter().map(|network| remove_once_free(docker, network)));
    let (containers, networks) = tokio::join!(containers, networks);
    containers.into_iter().chain(networks).collect::<Result<(), _>>()?;
    // A volume is in use for as long as a container is there that has it.
    for volume in volumes_of(docker, run).await? {
        let options = RemoveVolumeOptionsBuilder::default().build();
        let removed = docker.api().remove_volume(&volume, Some(options)).await;
        gone_is_fine(docker, "remove a volume", removed)?;
    }
    Ok(())
}

async fn remove_once_free(docker: &Docker, network: &str) -> Result<(), DockerError> {
    let deadline = Instant::now() + FREE_WITHIN;
    loop {
        let removed = gone_is_fine(docker, "remove a network", docker.api().remove_network(network).await);
        match removed {
            Err(DockerError::Rejected { message, .. })
                if message.contains("active endpoints") && Instant::now() < deadline =>
            {
                tokio::time::sleep(FREE_PAUSE).await;
            }
            removed => return removed,
        }
    }
}

/// Whether an engine has nothing of a run but, perhaps, containers.
pub(super) async fn nothing_beside_ranks(docker: &Docker, run: &str) -> Result<bool, DockerError> {
    let (networks, volumes) = tokio::try_join!(networks_of(docker, run), volumes_of(docker, run))?;
    Ok(networks.is_empty() && volumes.is_empty())
}

/// The names of a run's volumes.
async fn volumes_of(docker: &Docker, run: &str) -> Result<Vec<String>, DockerError> {
    let filter = HashMap::from([("label", vec![format!("{}={run}", label::RUN)])]);
    let options = ListVolumesOptionsBuilder::default().filters(&filter).build();
    let volumes = docker.api().list_volumes(Some(options)).await;
    let volumes = volumes.map_err(|e| docker.error("list its volumes", e))?;
    Ok(volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
}

/// The ids of a run's networks; an engine may hold several of the same name.
async fn networks_of(docker: &Docker, run: &str) -> Result<Vec<String>, DockerError> {
    let filter = HashMap::from([("label", vec![format!("{}={run}", label::RUN)])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
    let networks = docker.api().list_networks(Some(options)).await;
    let networks = networks.map_err(|e| docker.error("list its networks", e))?;
    Ok(networks.into_iter().filter_map(|network| network.id).collect())
}

/// What is not there, or is about to go, needs no removing.
pub(super) fn gone_is_fine(
    docker: &Docker,
    what: &str,
    outcome: Result<(), bollard::errors::Error>,
) -> Result<(), DockerError> {
    match outcome.map_err(|e| docker.error(what, e)) {
        Err(DockerError::Rejected { status: 404, .. }) => Ok(()),
        Err(DockerError::Rejected { status: 409, message, .. }) if message.contains("in progress") => Ok(()),
        outcome => outcome,
    }
}
