//! A run on Kubernetes.

use std::sync::Arc;

use serde_json::json;

use super::look::{Look, Seen};
use super::request::{Request, random_key};
use super::{RunArgs, report};
use crate::architecture::Architecture;
use crate::cluster::{Cause, Cluster};
use crate::commands::cluster_follow::{Followed, follow_on_cluster};
use crate::commands::rebase;
use crate::commands::record::{Record, folder};
use crate::context::Context;
use crate::credentials::docker_config_json;
use crate::delivery::{Delivery, DeliveryError, RunImage, Work, run_image, supervisor};
use crate::diagnosis::{Kind, Result};
use crate::digest::Digest;
use crate::event::{Event, Events, NOT_RUN, Phase};
use crate::follow::{Collector, Mailbox};
use crate::job;
use crate::job::objects::{ClusterRun, NODE_ARCHITECTURE, RunObjects};
use crate::output::Output;
use crate::settings::{MailboxPolicy, Target};

/// Delivers, submits and follows.
pub(super) async fn run_on_cluster(
    request: Request,
    look: Look,
    target_name: &str,
    target: &Target,
    args: &RunArgs,
    context: &Context,
    output: &Output,
) -> Result<u8> {
    let events = &output.events();
    let delivered = deliver(&request, look, target_name, target, context, events).await;
    // Not before: it is still being written while answers are waited for.
    request.snapshot.remember(&context.state_folder());
    let (Prepared { seen, mut place, .. }, image) = delivered?;
    let Seen { access, cluster, repository, names, .. } = seen;
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

/// What is known before anything slow is done.
struct Prepared {
    seen: Seen,
    architecture: Architecture,
    place: ClusterRun,
}

async fn prepare(look: Look, target: &Target, context: &Context, events: &Events) -> Result<Prepared> {
    let seen = look.seen().await?;
    for warning in &seen.findings.warnings {
        events.warn(warning.clone());
    }
    // The image is named for real once it is pushed; until then the cluster is asked about one that looks like it.
    let image = format!("{}/{}@{}", seen.names.from_nodes, seen.repository, Digest::of(""));
    let mut place = ClusterRun::new(seen.cluster.namespace(), image, random_key()?);
    equip(&mut place, target, &seen, events);
    let architecture = architecture(target, &seen.findings.architectures)?;
    supervisor(&context.program, architecture)?;
    place.node_selector.insert(NODE_ARCHITECTURE.to_owned(), architecture.to_string());
    Ok(Prepared { seen, architecture, place })
}

/// Makes sure that the cluster would admit the run, and that the registry has its image: one after the other where there is
/// much to be built or sent, and else at the same time.
async fn deliver(
    request: &Request,
    look: Look,
    target_name: &str,
    target: &Target,
    context: &Context,
    events: &Events,
) -> Result<(Prepared, RunImage)> {
    let prepared = prepare(look, target, context, events).await?;
    let Prepared { seen, architecture, place } = &prepared;
    let delivery = Delivery {
        context,
        registry: &seen.access.registry,
        repository: &seen.repository,
        project_name: &request.spec.project,
        architecture: *architecture,
        events,
    };
    let objects = RunObjects::plan(&request.spec, place)?;
    let (plan, snapshot) = (&request.environment, &request.snapshot);
    let work = delivery.work(plan, snapshot);
    let admit = async {
        seen.cluster.admit(&objects, &seen.findings, work != Work::None).await?;
        events.send(Event::Finished { phase: Phase::Check, detail: format!("{target_name} takes the run") });
        Ok(())
    };
    let deliver = run_image(&delivery, plan, snapshot, &request.surroundings);
    let image = if work == Work::Much {
        admit.await?;
        deliver.await?
    } else {
        tokio::try_join!(admit, deliver)?.1
    };
    Ok((prepared, image))
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
    let (strength, start) = (request.spec.strength(), Some(request.spec.deadlines.start));
    let outcome = match follow_on_cluster(cluster, run, strength, start, collector, mailbox, events).await? {
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

/// Mailbox, credentials and accelerators: what the run gets beside its image.
fn equip(place: &mut ClusterRun, target: &Target, seen: &Seen, events: &Events) {
    let Seen { access, names, repository, .. } = seen;
    if let Some(resource) = &target.gpu_resource {
        place.gpu_resource.clone_from(resource);
    }
    if seen.use_mailbox {
        let from_ranks = format!("{}/{repository}", names.from_pods);
        place.mailbox = Some(job::Mailbox { from_ranks, plain_http: target.plain_http.contains(&names.from_pods) });
        place.mailbox_repository = format!("{}/{repository}", access.host);
        place.mailbox_secret = target.mailbox_secret.clone().filter(|_| target.mailbox == MailboxPolicy::Secret);
    } else {
        events.note("outputs come over the control stream: pods may not push to the registry");
    }
    place.pull_secrets = target.pull_secret.clone().into_iter().collect();
    let Some(login) = &access.login else { return };
    if !seen.is_open {
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
}
