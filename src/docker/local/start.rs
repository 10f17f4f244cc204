//! Starting a run: the janitor first, then the network, the containers, what is in them, and all of them at once.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};

use super::contents::Contents;
use super::plan::{LocalPlan, container_name};
use super::run::{Lease, LocalRun};
use super::{cleanup, find};
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::docker::janitor::{Janitor, Order};
use crate::docker::upload;
use crate::event::{Event, Events, Phase};

/// Containers that are made and filled at the same time; more only contend for the engine's disk.
const AT_ONCE: usize = 4;
/// How long putting the code into one container may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_hours(1);

impl Docker {
    /// Starts a run. Whatever ends this early, nothing stays: errors clean up at once, and if this future is dropped or
    /// the process dies, the janitor does.
    pub async fn start_local(&self, plan: LocalPlan, events: &Events) -> Result<LocalRun, DockerError> {
        for run in self.sweep().await? {
            events.note(format!("removed what was left of the run `{run}`, whose nauta had died"));
        }
        self.refuse_second(plan.run()).await?;
        let janitor = Janitor::start(&plan.janitor, &Order::new(self.settings(), &plan.spec)).await?;
        let labels = plan.labels(janitor.owner());
        match self.start_ranks(&plan, &labels, events).await {
            Ok((ranks, leases)) => Ok(LocalRun::started(self.clone(), plan.run(), ranks, leases, janitor)),
            Err(error) => {
                // The error counts; if cleaning up fails too, dropping the janitor without a goodbye lets it go on.
                if cleanup::remove_what_remains(self, plan.run()).await.is_ok() {
                    janitor.goodbye().await;
                }
                Err(error)
            }
        }
    }

    async fn refuse_second(&self, run: &str) -> Result<(), DockerError> {
        let is_free = find::ranks_of(self, run).await?.is_empty() && cleanup::networks_of(self, run).await?.is_empty();
        if is_free { Ok(()) } else { Err(DockerError::RunExists { run: run.to_owned() }) }
    }

    async fn start_ranks(
        &self,
        plan: &LocalPlan,
        labels: &HashMap<String, String>,
        events: &Events,
    ) -> Result<(BTreeMap<u32, String>, Vec<Lease>), DockerError> {
        let writing = plan.clone();
        let contents = upload::blocking(move || Contents::write(&writing)).await?;
        let network = self.api().create_network(plan.network(labels)).await;
        network.map_err(|e| self.error("make the run's network", e))?;
        let total = u64::from(plan.spec.nodes);
        let made = futures::stream::iter(plan.ranks())
            .map(|rank| self.make_rank(plan, rank, labels, &contents))
            .buffer_unordered(AT_ONCE)
            .inspect_ok(|(rank, _)| {
                let detail = format!("made the container of rank {rank}");
                events.send(Event::Progress {
                    phase: Phase::Submit,
                    done: u64::from(*rank) + 1,
                    total: Some(total),
                    detail,
                });
            });
        let ranks: BTreeMap<u32, String> = made.try_collect().await?;
        let leases = if plan.lease {
            try_join_all(ranks.values().map(|container| self.take_lease(container))).await?
        } else {
            Vec::new()
        };
        try_join_all(ranks.iter().map(|(rank, container)| self.start_rank(*rank, container))).await?;
        Ok((ranks, leases))
    }

    async fn make_rank(
        &self,
        plan: &LocalPlan,
        rank: u32,
        labels: &HashMap<String, String>,
        contents: &Contents,
    ) -> Result<(u32, String), DockerError> {
        let options = CreateContainerOptionsBuilder::default().name(&container_name(plan.run(), rank)).build();
        let created = self.api().create_container(Some(options), plan.container(rank, labels)).await;
        let created = match created.map_err(|e| self.error(format!("make the container of rank {rank}"), e)) {
            Err(error) if error.is_absent() => return Err(DockerError::NoSuchImage { image: plan.image.clone() }),
            created => created?,
        };
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let body = bollard::body_try_stream(contents.stream()?);
        let api = self.api().clone().with_timeout(UPLOAD_TIMEOUT);
        let sent = api.upload_to_container(&created.id, Some(options), body).await;
        sent.map_err(|e| self.error(format!("take the code for rank {rank}"), e))?;
        Ok((rank, created.id))
    }

    /// Opens a container's standard input; nothing is ever written to it.
    async fn take_lease(&self, container: &str) -> Result<Lease, DockerError> {
        let options = AttachContainerOptionsBuilder::default().stdin(true).stream(true).build();
        let attached = self.api().attach_container(container, Some(options)).await;
        let attached = attached.map_err(|e| self.error("attach to a container", e))?;
        Ok(Lease { _input: std::sync::Mutex::new(attached.input) })
    }

    async fn start_rank(&self, rank: u32, container: &str) -> Result<(), DockerError> {
        let started = self.api().start_container(container, None).await;
        started.map_err(|e| self.error(format!("start rank {rank}"), e))
    }
}
