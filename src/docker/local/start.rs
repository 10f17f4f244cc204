//! Starting a run: the janitor first, then the network, the containers, and each container as soon as all is in it. What
//! is put into them is written meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
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

/// Containers that are made, or filled and started, at the same time; more only contend for the engine's disk.
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
        // Before the janitor is there: it would end the other run of that name.
        self.refuse_second(plan.run()).await?;
        let writing = plan.clone();
        let contents = upload::begin(move || Contents::write(&writing));
        let janitor = Janitor::start(&plan.janitor, &Order::new(self.settings(), &plan.spec)).await?;
        let labels = plan.labels(janitor.owner());
        match self.start_ranks(&plan, &labels, contents, events).await {
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
        let is_free = find::ranks_of(self, run).await?.is_empty() && cleanup::nothing_beside_ranks(self, run).await?;
        if is_free { Ok(()) } else { Err(DockerError::RunExists { run: run.to_owned() }) }
    }

    async fn start_ranks(
        &self,
        plan: &LocalPlan,
        labels: &HashMap<String, String>,
        contents: impl Future<Output = Result<Contents, DockerError>>,
        events: &Events,
    ) -> Result<(BTreeMap<u32, String>, Vec<Lease>), DockerError> {
        let network = self.api().create_network(plan.network(labels)).await;
        network.map_err(|e| self.error("make the run's network", e))?;
        if let Some(volume) = plan.volume(labels) {
            let made = self.api().create_volume(volume).await;
            made.map_err(|e| self.error("make the volume that the ranks share", e))?;
        }
        let image = self.image(&plan.image).await?;
        let own = &image.ok_or_else(|| DockerError::NoSuchImage { image: plan.image.clone() })?.entrypoint;
        let made = futures::stream::iter(plan.ranks()).map(|rank| self.make_rank(plan, rank, labels, own));
        let made: Vec<(u32, String)> = made.buffer_unordered(AT_ONCE).try_collect().await?;
        let contents = contents.await?;
        let started = futures::stream::iter(&made)
            .map(|(rank, container)| self.fill_and_start(plan, *rank, container, &contents))
            .buffer_unordered(AT_ONCE);
        let (mut done, total) = (0, Some(u64::from(plan.spec.nodes)));
        let started = started.inspect_ok(|_| {
            done += 1;
            let detail = "starting containers".to_owned();
            events.send(Event::Progress { phase: Phase::Submit, done, total, detail });
        });
        let leases: Vec<Option<Lease>> = started.try_collect().await?;
        Ok((made.into_iter().collect(), leases.into_iter().flatten().collect()))
    }

    async fn make_rank(
        &self,
        plan: &LocalPlan,
        rank: u32,
        labels: &HashMap<String, String>,
        own: &[String],
    ) -> Result<(u32, String), DockerError> {
        let options = CreateContainerOptionsBuilder::default().name(&container_name(plan.run(), rank)).build();
        let created = self.api().create_container(Some(options), plan.container(rank, labels, own)).await;
        match created.map_err(|e| self.error(format!("make the container of rank {rank}"), e)) {
            Err(error) if error.is_absent() => Err(DockerError::NoSuchImage { image: plan.image.clone() }),
            created => Ok((rank, created?.id)),
        }
    }

    async fn fill_and_start(
        &self,
        plan: &LocalPlan,
        rank: u32,
        container: &str,
        contents: &Contents,
    ) -> Result<Option<Lease>, DockerError> {
        self.fill_rank(rank, container, contents).await?;
        let lease = if plan.lease { Some(self.take_lease(container).await?) } else { None };
        self.start_rank(rank, container).await?;
        Ok(lease)
    }

    async fn fill_rank(&self, rank: u32, container: &str, contents: &Contents) -> Result<(), DockerError> {
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let body = bollard::body_try_stream(contents.stream()?);
        let api = self.api().clone().with_timeout(UPLOAD_TIMEOUT);
        let sent = api.upload_to_container(container, Some(options), body).await;
        sent.map_err(|e| self.error(format!("take the code for rank {rank}"), e))
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
