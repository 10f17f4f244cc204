//! A look at a target: whether its cluster and its registry take this run, all but what is in its image. It begins before
//! the snapshot is taken and goes on beside it, since it is waiting and the snapshot is work.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio_util::task::AbortOnDropHandle;

use super::request::{Decided, random_key};
use crate::architecture::Architecture;
use crate::cluster::{Cluster, Survey};
use crate::commands::cluster_access::{Names, TargetRegistry, open_registry};
use crate::context::{Context, Destination};
use crate::credentials::{Credential, docker_config_json};
use crate::delivery::{DeliveryError, supervisor};
use crate::diagnosis::{Failure, Result};
use crate::digest::Digest;
use crate::event::{Event, Events, Phase};
use crate::job::objects::{ClusterRun, NODE_ARCHITECTURE, RunObjects};
use crate::job::{self, ProgramSecret, RunSpec};
use crate::registry::Access;
use crate::secret::Secret;
use crate::settings::{MailboxPolicy, Target};

/// Where a run will be.
pub(super) struct Seen {
    pub(super) access: TargetRegistry,
    pub(super) cluster: Arc<Cluster>,
    /// The nodes'.
    pub(super) architecture: Architecture,
    /// The project's repository.
    pub(super) repository: String,
    /// That repository as nodes have to say it, with the registry's host.
    pub(super) repository_from_nodes: String,
    /// All but the image, which another one stands for: it is named for real once it is pushed.
    pub(super) place: ClusterRun,
    /// Whether we have the rights, and pods like the run's are admitted.
    pub(super) admission: Asked<()>,
}

/// Something that is being found out; that ends when this is dropped.
pub(super) struct Asked<T>(AbortOnDropHandle<Result<T>>);

/// What a target does not say itself, and a run depends on.
struct Facts {
    names: Names,
    architecture: Architecture,
    openness: Openness,
}

/// What a registry lets others do who have no login.
struct Openness {
    /// Whether ranks deliver their outputs through it.
    use_mailbox: bool,
    /// Whether nodes can pull without a login.
    is_open: bool,
}

/// A pod that the cluster is asked about while the facts are still being found out.
struct Trial {
    pod: Pod,
    admitted: Asked<()>,
}

impl<T: Send + 'static> Asked<T> {
    fn begin(asking: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(asking)))
    }

    /// What came out; only once.
    pub(super) async fn answer(&mut self) -> Result<T> {
        // It is not stopped before it is dropped, so what is no result is a panic.
        (&mut self.0).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// Begins to look, where a run goes to a cluster.
pub(super) fn begin_look(decided: &Decided, context: &Context, events: &Events) -> Option<Asked<Seen>> {
    let Destination::Cluster(name, target) = &decided.destination.value else { return None };
    events.send(Event::Started { phase: Phase::Check, detail: name.clone() });
    let (context, target, events) = (context.clone(), target.clone(), events.clone());
    let (spec, secrets) = (decided.spec.clone(), decided.secrets.clone());
    Some(Asked::begin(async move { Box::pin(look(&context, &target, &spec, &secrets, &events)).await }))
}

async fn look(
    context: &Context,
    target: &Target,
    spec: &RunSpec,
    secrets: &[ProgramSecret],
    events: &Events,
) -> Result<Seen> {
    let access = open_registry(context, target, events).await?;
    let repository = access.repository(&spec.project);
    let key = random_key()?;
    let place = |cluster: &Cluster, facts: &Facts| ClusterRun {
        secrets: secrets.to_vec(),
        ..place(target, &access, (cluster.namespace(), &repository), facts, key.clone())
    };
    let cluster = async {
        let cluster = context.cluster(target).await?;
        let likely = place(&cluster, &Facts::likely(target, &access));
        let trial = Trial::begin(&cluster, &RunObjects::plan(spec, &likely)?);
        let (survey, announced) = tokio::join!(cluster.survey(), cluster.registry_hosting());
        Ok::<_, Failure>((cluster, trial, survey, announced))
    };
    // The registry's name is looked up while the kubeconfig is read.
    let (checked, openness, cluster) = tokio::join!(
        access.check(&repository, Access::Push),
        Openness::find_out(target, &access, &repository),
        cluster,
    );
    let (cluster, trial, survey, announced) = cluster?;
    checked?;
    let names = Names::new(target, &access.host, announced?);
    let (survey, openness) = (survey?, openness?);
    let architecture = architecture(target, &survey.architectures)?;
    supervisor(&context.program, architecture)?;
    let repository_from_nodes = format!("{}/{repository}", names.from_nodes);
    let facts = Facts { names, architecture, openness };
    let place = place(&cluster, &facts);
    announce(target, &place, &access, &facts, events);
    let objects = RunObjects::plan(spec, &place)?;
    let admission = Asked::begin(admission(Arc::clone(&cluster), survey, objects, trial, events.clone()));
    Ok(Seen { access, cluster, architecture, repository, repository_from_nodes, place, admission })
}

/// The second half of a look: what an edit can be sent beside.
async fn admission(
    cluster: Arc<Cluster>,
    survey: Survey,
    objects: RunObjects,
    mut trial: Trial,
    events: Events,
) -> Result<()> {
    let pod = objects.sample_pod();
    let admitted =
        async { if trial.pod == pod { trial.admitted.answer().await } else { Ok(cluster.admit_pod(&pod).await?) } };
    let (findings, admitted) = tokio::join!(cluster.rights(&survey, objects.shared.is_some()), admitted);
    for warning in findings?.warnings {
        events.warn(warning);
    }
    admitted?;
    Ok(cluster.admit_claim(objects.shared.as_ref()).await?)
}

impl Trial {
    fn begin(cluster: &Arc<Cluster>, objects: &RunObjects) -> Self {
        let (cluster, pod) = (Arc::clone(cluster), objects.sample_pod());
        let asked = pod.clone();
        Self { pod, admitted: Asked::begin(async move { Ok(cluster.admit_pod(&asked).await?) }) }
    }
}

impl Facts {
    /// How it is with most targets: nodes like this machine, and one name for the registry.
    fn likely(target: &Target, access: &TargetRegistry) -> Self {
        Self {
            names: Names::new(target, &access.host, None),
            architecture: target.architecture.unwrap_or(Architecture::OWN),
            openness: Openness::likely(target, access),
        }
    }
}

impl Openness {
    /// Closed, where only the registry knows: it does not let others in where it wants a login from us.
    fn likely(target: &Target, access: &TargetRegistry) -> Self {
        let use_mailbox = match target.mailbox {
            MailboxPolicy::Stream => false,
            MailboxPolicy::Secret | MailboxPolicy::Login => true,
            // Who has no login is asked about once: the registry is checked in any case.
            MailboxPolicy::Automatic => access.login.is_none(),
        };
        Self { use_mailbox, is_open: access.login.is_none() || target.pull_secret.is_some() }
    }

    /// Asks the registry where that is needed.
    async fn find_out(target: &Target, access: &TargetRegistry, repository: &str) -> Result<Self> {
        let likely = Self::likely(target, access);
        let lets_in =
            async |known: bool, to| Ok::<_, Failure>(known || access.registry.allows_anonymous(repository, to).await?);
        let mailbox =
            async { Ok(target.mailbox != MailboxPolicy::Stream && lets_in(likely.use_mailbox, Access::Push).await?) };
        let (use_mailbox, is_open) = tokio::try_join!(mailbox, lets_in(likely.is_open, Access::Pull))?;
        Ok(Self { use_mailbox, is_open })
    }
}

/// Which of the nodes' architectures a run is for: the one that the target says, else this machine's, if nodes have it or
/// nobody may know.
fn architecture(target: &Target, found: &[String]) -> Result<Architecture, DeliveryError> {
    let own = || found.is_empty() || found.iter().any(|name| name == Architecture::OWN.name());
    match target.architecture.or_else(|| own().then_some(Architecture::OWN)) {
        Some(architecture) => Ok(architecture),
        None => Ok(found[0].parse()?),
    }
}

/// Where a run will be, under these circumstances.
fn place(
    target: &Target,
    access: &TargetRegistry,
    (namespace, repository): (&str, &str),
    facts: &Facts,
    key: Secret,
) -> ClusterRun {
    let Facts { names, architecture, openness } = facts;
    let image = format!("{}/{repository}@{}", names.from_nodes, Digest::of(""));
    let mut place = ClusterRun::new(namespace, image, key);
    place.node_selector.insert(NODE_ARCHITECTURE.to_owned(), architecture.to_string());
    if let Some(resource) = &target.gpu_resource {
        place.gpu_resource.clone_from(resource);
    }
    place.storage_class.clone_from(&target.storage_class);
    if openness.use_mailbox {
        let from_ranks = format!("{}/{repository}", names.from_pods);
        place.mailbox = Some(job::Mailbox { from_ranks, plain_http: target.plain_http.contains(&names.from_pods) });
        place.mailbox_repository = format!("{}/{repository}", access.host);
        place.mailbox_secret = target.mailbox_secret.clone().filter(|_| target.mailbox == MailboxPolicy::Secret);
    }
    place.pull_secrets = target.pull_secret.clone().into_iter().collect();
    let Some(login) = &access.login else { return place };
    // Kubelets read nothing but users and passwords in a pull secret (`DockerConfigEntry` in pkg/credentialprovider): a token
    // would lie there for nothing.
    if !openness.is_open && matches!(login, Credential::Password { .. }) {
        place.pull_credentials = Some(docker_config_json(&[(&names.from_nodes, login)]));
    }
    if target.mailbox == MailboxPolicy::Login {
        place.mailbox_credentials = Some(docker_config_json(&[(&names.from_pods, login)]));
    }
    place
}

/// Says where outputs come from, and where credentials go: the latter also to those who want to hear only warnings.
fn announce(target: &Target, place: &ClusterRun, access: &TargetRegistry, facts: &Facts, events: &Events) {
    let Facts { names, openness, .. } = facts;
    if !openness.use_mailbox {
        events.note("outputs come over the control stream: pods may not push to the registry");
    } else if let Some(doubt) = names.doubt(target, access) {
        events.warn(doubt);
    }
    let (Some(login), namespace) = (&access.login, &place.namespace) else { return };
    if place.pull_credentials.is_some() {
        events.warn(format!(
            "your login for {} lies in namespace {namespace} until the run has ended, for its nodes to pull with: whoever may make \
             pods there can have it; `pull_secret` in the target names a Secret that may do less",
            names.from_nodes
        ));
    } else if !openness.is_open && !matches!(login, Credential::Password { .. }) {
        events.warn(format!(
            "your login for {} is a token, which nodes cannot pull with: they need credentials of their own, or a Secret that \
             `pull_secret` in the target names",
            names.from_nodes
        ));
    }
    if place.mailbox_credentials.is_some() {
        events.warn(format!(
            "your login for {} lies in namespace {namespace} until the run has ended, for its pods to push with, as the target \
             says (`mailbox = \"login\"`): whoever may make pods there can have it",
            names.from_pods
        ));
    }
}
