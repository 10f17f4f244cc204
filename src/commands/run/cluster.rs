//! A run on Kubernetes.

use std::sync::Arc;

use serde_json::json;

use super::request::{Request, random_key};
use super::{RunArgs, report};
use crate::architecture::Architecture;
use crate::cluster::{Cause, Cluster, RegistryHosting};
use crate::commands::cluster_access::{TargetRegistry, open_registry};
use crate::commands::cluster_follow::{Followed, follow_on_cluster};
use crate::commands::rebase;
use crate::commands::record::{Record, folder};
use crate::context::Context;
use crate::credentials::docker_config_json;
use crate::delivery::{Delivery, DeliveryError, run_image, supervisor};
use crate::diagnosis::{Kind, Result};
use crate::digest::Digest;
use crate::event::{Event, Events, NOT_RUN, Phase};
use crate::follow::{Collector, Mailbox};
use crate::job;
use crate::job::objects::{ClusterRun, NODE_ARCHITECTURE, RunObjects};
use crate::output::Output;
use crate::registry::Access;
use crate::settings::{MailboxPolicy, Target};

/// Delivers, submits and follows.
pub(super) async fn run_on_cluster(
    request: Request,
    target_name: &str,
    target: &Target,
    args: &RunArgs,
    context: &Context,
    output: &Output,
) -> Result<u8> {
    let events = &output.events();
    events.send(Event::Started { phase: Phase::Check, detail: target_name.to_owned() });
    let prepared = prepare(&request, target, context, events).await?;
    let Prepared { access, cluster, repository, names, architecture, mut place } = prepared;
    events.send(Event::Finished { phase: Phase::Check, detail: format!("{target_name} takes the run") });
    let delivery = Delivery {
        context,
        registry: &access.registry,
        repository: &repository,
        project_name: &request.spec.project,
        architecture,
        events,
    };
    let image = run_image(&delivery, &request.environment, &request.snapshot, &request.surroundings).await?;
    if image.is_heavy {
        rebase::begin(context, target_name);
    }
    place.image = format!("{}/{repository}@{}", names.from_nodes, image.digest);
    let objects = RunObjects::plan(&request.spec, &place)?;
    if args.dry_run {
        output.result(&objects.render_yaml(), &json!({ "schema": 1, "manifests": objects.manifests() }));
        return Ok(0);
    }
    let address = Some(place.mailbox_repository.clone()).filter(|address| !address.is_empty());
    let record = request.record(target_name, address);
    record.save(&request.project.root)?;
    events.send(Event::Started { phase: Phase::Submit, detail: target_name.to_owned() });
    let run = match cluster.submit(&objects).await {
        Ok(submitted) => submitted.run,
        // It may be there: its record is how to come back to it.
        Err(error) if matches!(error.cause(), Cause::Uncertain { .. }) => return Err(error.into()),
        Err(error) => {
            record.discard(&request.project.root);
            return Err(error.into());
        }
    };
    let at = cluster.place();
    let detail = format!("job {run} in namespace {} (context {})", at.namespace, at.context);
    events.send(Event::Finished { phase: Phase::Submit, detail });
    if args.detach {
        come_back(&run, events);
        output.result(
            &format!("{run}\n"),
            &json!({ "schema": 1, "run": run, "target": target_name, "timings": output.timings() }),
        );
        return Ok(0);
    }
    let registry = access.registry;
    let mailbox = place.mailbox.is_some().then(|| Mailbox { registry, repository, run });
    attend(&cluster, &request, mailbox, record, output).await
}

/// The registry's host as others have to say it.
struct Names {
    from_nodes: String,
    from_pods: String,
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

/// What is known to work before anything slow is done.
struct Prepared {
    access: TargetRegistry,
    cluster: Arc<Cluster>,
    repository: String,
    names: Names,
    architecture: Architecture,
    place: ClusterRun,
}

async fn prepare(request: &Request, target: &Target, context: &Context, events: &Events) -> Result<Prepared> {
    let access = open_registry(context, target, events).await?;
    let cluster = context.cluster(target).await?;
    let repository = access.repository(&request.spec.project);
    let (announced, checked, use_mailbox) = tokio::join!(
        cluster.registry_hosting(),
        access.check(&repository, Access::Push),
        may_use_mailbox(target, &access, &repository)
    );
    checked?;
    let names = Names::new(target, &access.host, announced?);
    // The image is named for real once it is pushed; until then the cluster is asked about one that looks like it.
    let image = format!("{}/{repository}@{}", names.from_nodes, Digest::of(""));
    let mut place = ClusterRun::new(cluster.namespace(), image, random_key()?);
    equip(&mut place, target, &access, &names, &repository, use_mailbox?, events).await?;
    let findings = cluster.check(&RunObjects::plan(&request.spec, &place)?).await?;
    for warning in &findings.warnings {
        events.warn(warning.clone());
    }
    let architecture = architecture(target, &findings.architectures)?;
    // Before anything slow.
    supervisor(&context.program, architecture)?;
    place.node_selector.insert(NODE_ARCHITECTURE.to_owned(), architecture.to_string());
    Ok(Prepared { access, cluster, repository, names, architecture, place })
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

/// Follows the run to its end, unless the user goes away.
async fn attend(
    cluster: &Arc<Cluster>,
    request: &Request,
    mailbox: Option<Mailbox>,
    mut record: Record,
    output: &Output,
) -> Result<u8> {
    let events = &output.events();
    let run = &request.spec.name;
    let folder = folder(&request.project.root, run);
    let collector = Some(Collector::open(&folder)?);
    let (nodes, start) = (request.spec.nodes, Some(request.spec.deadlines.start));
    let outcome = match follow_on_cluster(cluster, run, nodes, start, collector, mailbox, events).await? {
        Followed::Ended(outcome) => outcome,
        Followed::CannotStart(error) => {
            match cluster.cancel(run).await {
                Err(cannot) if !matches!(cannot.cause(), Cause::NoSuchRun { .. }) => {
                    events.warn(format!("{run} is still there: {cannot}"));
                }
                _ => {}
            }
            record.code = Some(NOT_RUN);
            record.save(&request.project.root)?;
            return Err(error.into());
        }
        Followed::Left => {
            come_back(run, events);
            return Ok(Kind::Interrupted.exit_code());
        }
    };
    report(&outcome, record, &request.project.root, output)
}

fn come_back(run: &str, events: &Events) {
    events.note(format!("{run} goes on; `nauta logs -f {run}` follows it, `nauta pull {run}` brings its outputs, `nauta cancel {run}` ends it"));
}

/// Whether ranks deliver their outputs through the registry.
async fn may_use_mailbox(target: &Target, access: &TargetRegistry, repository: &str) -> Result<bool> {
    match target.mailbox {
        MailboxPolicy::Stream => Ok(false),
        MailboxPolicy::Secret | MailboxPolicy::Login => Ok(true),
        MailboxPolicy::Automatic => Ok(access.registry.allows_anonymous(repository, Access::Push).await?),
    }
}

/// Mailbox, credentials and accelerators: what the run gets beside its image.
async fn equip(
    place: &mut ClusterRun,
    target: &Target,
    access: &TargetRegistry,
    names: &Names,
    repository: &str,
    use_mailbox: bool,
    events: &Events,
) -> Result<()> {
    if let Some(resource) = &target.gpu_resource {
        place.gpu_resource.clone_from(resource);
    }
    if use_mailbox {
        let from_ranks = format!("{}/{repository}", names.from_pods);
        place.mailbox = Some(job::Mailbox { from_ranks, plain_http: target.plain_http.contains(&names.from_pods) });
        place.mailbox_repository = format!("{}/{repository}", access.host);
        place.mailbox_secret = target.mailbox_secret.clone().filter(|_| target.mailbox == MailboxPolicy::Secret);
    } else {
        events.note("outputs come over the control stream: pods may not push to the registry");
    }
    place.pull_secrets = target.pull_secret.clone().into_iter().collect();
    let Some(login) = &access.login else { return Ok(()) };
    if target.pull_secret.is_none() && !access.registry.allows_anonymous(repository, Access::Pull).await? {
        let host = &names.from_nodes;
        events.note(format!("the nodes get your login for {host} in a Secret that goes with the run"));
        place.pull_credentials = Some(docker_config_json(&[(host, login)]));
    }
    if target.mailbox == MailboxPolicy::Login {
        let host = &names.from_pods;
        events
            .note(format!("the pods get your login for {host} in a Secret that goes with the run, as the target says"));
        place.mailbox_credentials = Some(docker_config_json(&[(host, login)]));
    }
    Ok(())
}
