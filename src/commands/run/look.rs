//! A look at a target: whether its cluster and its registry take runs of this project. It begins before the snapshot is
//! taken and goes on beside it, since it is waiting and the snapshot is work.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::request::Decided;
use crate::cluster::{Cluster, Findings, RegistryHosting};
use crate::commands::cluster_access::{TargetRegistry, open_registry};
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::event::{Event, Events, Phase};
use crate::registry::Access;
use crate::settings::{MailboxPolicy, Target};

/// A look that has begun; it ends when this is dropped.
pub(super) struct Look(AbortOnDropHandle<Result<Seen>>);

/// What a target is like, as far as a project's runs are concerned.
pub(super) struct Seen {
    pub(super) access: TargetRegistry,
    pub(super) cluster: Arc<Cluster>,
    pub(super) findings: Findings,
    /// The project's repository.
    pub(super) repository: String,
    pub(super) names: Names,
    /// Whether ranks deliver their outputs through the registry.
    pub(super) use_mailbox: bool,
    /// Whether nodes can pull without a login.
    pub(super) is_open: bool,
}

/// The registry's host as others have to say it.
pub(super) struct Names {
    pub(super) from_nodes: String,
    pub(super) from_pods: String,
}

impl Look {
    /// Begins it, where a run goes to a cluster.
    pub(super) fn begin(decided: &Decided, context: &Context, events: &Events) -> Option<Self> {
        let Destination::Cluster(name, target) = &decided.destination.value else { return None };
        events.send(Event::Started { phase: Phase::Check, detail: name.clone() });
        let (context, target, events) = (context.clone(), target.clone(), events.clone());
        let project = decided.spec.project.clone();
        let looking = tokio::spawn(async move { Box::pin(look(&context, &target, &project, &events)).await });
        Some(Self(AbortOnDropHandle::new(looking)))
    }

    /// What was seen.
    pub(super) async fn seen(self) -> Result<Seen> {
        // It is not stopped before it is dropped, so what is no result is a panic.
        self.0.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

async fn look(context: &Context, target: &Target, project: &str, events: &Events) -> Result<Seen> {
    let access = open_registry(context, target, events).await?;
    let cluster = context.cluster(target).await?;
    let repository = access.repository(project);
    let (findings, announced, checked, use_mailbox, is_open) = tokio::join!(
        cluster.survey(),
        cluster.registry_hosting(),
        access.check(&repository, Access::Push),
        may_use_mailbox(target, &access, &repository),
        is_open(target, &access, &repository),
    );
    checked?;
    let names = Names::new(target, &access.host, announced?);
    let (findings, use_mailbox, is_open) = (findings?, use_mailbox?, is_open?);
    Ok(Seen { access, cluster, findings, repository, names, use_mailbox, is_open })
}

impl Names {
    /// What the target says, else what the cluster announces of this registry, else the workstation's own name for it.
    fn new(target: &Target, host: &str, announced: Option<RegistryHosting>) -> Self {
        let announced = announced.filter(|hosting| hosting.host.as_deref() == Some(host)).unwrap_or_default();
        let named = |said: &Option<String>, announced: Option<String>| {
            said.clone().or(announced).unwrap_or_else(|| host.to_owned())
        };
        Self {
            from_nodes: named(&target.registry_from_nodes, announced.host_from_container_runtime),
            from_pods: named(&target.registry_from_pods, announced.host_from_cluster_network),
        }
    }
}

async fn may_use_mailbox(target: &Target, access: &TargetRegistry, repository: &str) -> Result<bool> {
    match target.mailbox {
        MailboxPolicy::Stream => Ok(false),
        MailboxPolicy::Secret | MailboxPolicy::Login => Ok(true),
        // Who has no login is asked about once: the registry is checked in any case.
        MailboxPolicy::Automatic if access.login.is_none() => Ok(true),
        MailboxPolicy::Automatic => Ok(access.registry.allows_anonymous(repository, Access::Push).await?),
    }
}

async fn is_open(target: &Target, access: &TargetRegistry, repository: &str) -> Result<bool> {
    let matters = access.login.is_some() && target.pull_secret.is_none();
    Ok(!matters || access.registry.allows_anonymous(repository, Access::Pull).await?)
}
