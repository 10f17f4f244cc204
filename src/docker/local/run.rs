//! A run that has been started, or found.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use bollard::query_parameters::KillContainerOptionsBuilder;
use futures::future::join_all;
use tokio::io::AsyncWrite;

use super::cleanup;
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::docker::janitor::Janitor;

/// A run on this engine. Dropping it without [`LocalRun::remove`] or [`LocalRun::detach`] is like dying: a leased run
/// ends, and the janitor removes it.
pub struct LocalRun {
    docker: Docker,
    run: String,
    /// Containers by rank.
    ranks: BTreeMap<u32, String>,
    /// The ends of the containers' standard inputs that keep them alive.
    leases: Vec<Lease>,
    /// Who cleans up after us; nobody after a run that was found.
    janitor: Option<Janitor>,
}

/// An open standard input. The container's supervisor ends the run when it is closed, and the kernel closes it when we
/// die.
pub(super) struct Lease {
    /// In a mutex, although nobody ever locks it, so that a run can be looked at from several threads.
    pub(super) _input: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
}

impl LocalRun {
    pub(super) fn started(
        docker: Docker,
        run: &str,
        ranks: BTreeMap<u32, String>,
        leases: Vec<Lease>,
        janitor: Janitor,
    ) -> Self {
        Self { docker, run: run.to_owned(), ranks, leases, janitor: Some(janitor) }
    }

    pub(super) fn found(docker: Docker, run: &str, ranks: BTreeMap<u32, String>) -> Self {
        Self { docker, run: run.to_owned(), ranks, leases: Vec::new(), janitor: None }
    }

    /// The run's name.
    pub fn name(&self) -> &str {
        &self.run
    }

    /// The ranks that there are.
    pub fn ranks(&self) -> impl Iterator<Item = u32> {
        self.ranks.keys().copied()
    }

    pub(super) const fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(super) const fn containers(&self) -> &BTreeMap<u32, String> {
        &self.ranks
    }

    /// The container of a rank.
    pub(super) fn container(&self, rank: u32) -> Result<&str, DockerError> {
        self.ranks.get(&rank).map(String::as_str).ok_or_else(|| DockerError::NotRunning {
            run: self.run.clone(),
            rank,
            message: format!("the run has {} ranks", self.ranks.len()),
        })
    }

    /// Asks all ranks to stop, and kills those that still run after `grace`.
    pub async fn stop(&self, grace: Duration) -> Result<(), DockerError> {
        cleanup::stop_all(&self.docker, self.ranks.values(), grace).await
    }

    /// Kills all ranks at once.
    pub async fn kill(&self) -> Result<(), DockerError> {
        let kill = |container: &String| {
            let container = container.clone();
            async move {
                let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
                let killed = self.docker.api().kill_container(&container, Some(options)).await;
                match cleanup::gone_is_fine(&self.docker, "kill a container", killed) {
                    Err(DockerError::Rejected { status: 409, message, .. }) if message.contains("is not running") => {
                        Ok(())
                    }
                    outcome => outcome,
                }
            }
        };
        join_all(self.ranks.values().map(kill)).await.into_iter().collect()
    }

    /// Removes everything that the run has on the engine, whatever it does. When this fails, the janitor goes on trying.
    pub async fn remove(mut self) -> Result<(), DockerError> {
        self.leases.clear();
        cleanup::remove_what_remains(&self.docker, &self.run).await?;
        if let Some(janitor) = self.janitor.take() {
            janitor.goodbye().await;
        }
        Ok(())
    }

    /// Leaves the run to itself (it must have been started without a lease): the janitor removes it when it has ended
    /// and was kept for its time, or when its deadline has passed.
    pub async fn detach(mut self) -> Result<(), DockerError> {
        match self.janitor.take() {
            Some(janitor) => janitor.detach().await,
            None => Ok(()),
        }
    }
}
