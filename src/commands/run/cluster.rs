//! A run on Kubernetes.

use std::sync::Arc;

use serde_json::json;
use tokio::task::spawn_blocking;

use super::RunArgs;
use super::look::{Asked, Seen};
use super::request::Request;
use crate::cluster::{Cause, Cluster};
use crate::commands::budget::budget;
use crate::commands::cluster_access::take_credentials_back;
use crate::commands::cluster_follow::{Followed, follow_on_cluster};
use crate::commands::end::{come_back, report};
use crate::commands::rebase;
use crate::commands::record::{Record, folder};
use crate::context::Context;
use crate::delivery::{Delivery, RunImage, Work, run_image};
use crate::diagnosis::{Kind, Result};
use crate::event::{Event, Events, NOT_RUN, Phase};
use crate::follow::{Collector, Mailbox};
use crate::job::objects::RunObjects;
use crate::output::Output;
use crate::sync::Budget;

/// Delivers, submits and follows.
pub(super) async fn run_on_cluster(
    request: Request,
    look: Asked<Seen>,
    target_name: &str,
    args: &RunArgs,
    context: &Context,
    output: &Output,
) -> Result<u8> {
    let events = &output.events();
    let (Seen { access, cluster, repository, repository_from_nodes, mut place, .. }, image) =
        Box::pin(deliver(&request, look, target_name, context, events)).await?;
    if image.is_heavy {
        rebase::begin(context, target_name);
    }
    place.image = format!("{repository_from_nodes}@{}", image.digest);
    let objects = RunObjects::plan(&request.spec, &place)?;
    if args.dry_run {
        output.data(&objects.render_yaml(), &json!({ "schema": 1, "manifests": objects.manifests() }));
        return Ok(0);
    }
    let address = Some(place.mailbox_repository.clone()).filter(|address| !address.is_empty());
    let record = request.record(target_name, address);
    let file = record.begin(&request.project.root)?;
    // It is there, should nauta be stopped; until it is on the disk, the cluster can be at work.
    let syncing = spawn_blocking(move || file.sync_all());
    events.send(Event::Started { phase: Phase::Submit, detail: target_name.to_owned() });
    let submitted = cluster.submit(&objects).await;
    if let Ok(Err(error)) = syncing.await {
        events.warn(format!("the record of this run may not outlast a power cut: {error}"));
    }
    let run = match submitted {
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
        come_back(&run, &format!("on {target_name}"), "get its outputs", events);
        output.result(
            &format!("{run}\n"),
            &json!({ "schema": 1, "run": run, "target": target_name, "timings": output.timings() }),
        );
        return Ok(0);
    }
    let registry = access.registry;
    let mailbox = place.mailbox.is_some().then(|| Mailbox { registry, repository, run });
    let budget = budget(&request.project.file, context.user_file())?;
    let following = Following { cluster, mailbox, budget, holds_credentials: !objects.credentials.is_empty() };
    attend(following, &request, record, context, output).await
}

/// Makes sure that the cluster would admit the run, and that the registry has its image: one after the other where there is
/// much to be built or sent, and else at the same time.
async fn deliver(
    request: &Request,
    mut look: Asked<Seen>,
    target_name: &str,
    context: &Context,
    events: &Events,
) -> Result<(Seen, RunImage)> {
    let mut seen = look.answer().await?;
    let delivery = Delivery {
        context,
        registry: &seen.access.registry,
        repository: &seen.repository,
        project_name: &request.spec.project,
        architecture: seen.architecture,
        events,
    };
    let (environment, snapshot) = (&request.environment, &request.snapshot);
    let work = delivery.work(environment, snapshot);
    let (admission, cluster, place) = (&mut seen.admission, &seen.cluster, &seen.place);
    let admit = async {
        admission.answer().await?;
        if work != Work::None {
            cluster.admit_objects(&RunObjects::plan(&request.spec, place)?).await?;
        }
        events.send(Event::Finished { phase: Phase::Check, detail: format!("{target_name} takes the run") });
        Ok(())
    };
    let deliver = run_image(&delivery, environment, snapshot, &request.surroundings);
    let image = if work == Work::Much {
        admit.await?;
        deliver.await?
    } else {
        tokio::try_join!(admit, deliver)?.1
    };
    Ok((seen, image))
}

/// What following a run takes.
struct Following {
    cluster: Arc<Cluster>,
    mailbox: Option<Mailbox>,
    budget: Budget,
    /// Whether credentials were put into the namespace for it.
    holds_credentials: bool,
}

/// Follows the run to its end, unless the user goes away.
async fn attend(
    following: Following,
    request: &Request,
    mut record: Record,
    context: &Context,
    output: &Output,
) -> Result<u8> {
    let Following { cluster, mailbox, budget, holds_credentials } = following;
    let events = &output.events();
    let run = &request.spec.name;
    let folder = folder(&request.project.root, run);
    let collector = Some(Collector::open(&folder)?.with_budget(budget));
    let (strength, start) = (request.spec.strength(), Some(request.spec.deadlines.start));
    let outcome = match follow_on_cluster(&cluster, run, strength, start, collector, mailbox, events).await? {
        Followed::Ended(outcome) => outcome,
        Followed::CannotStart(error) => {
            match cluster.cancel(run).await {
                Err(cannot) if !matches!(cannot.cause(), Cause::NoSuchRun { .. }) => {
                    events.warn(format!("{run} is still there: {cannot}"));
                }
                _ => {}
            }
            record.is_failed(NOT_RUN, &error.to_string());
            record.save(&request.project.root)?;
            return Err(error.into());
        }
        Followed::Left => {
            come_back(run, "on the cluster", "get its outputs", events);
            return Ok(Kind::Interrupted.exit_code());
        }
    };
    if holds_credentials {
        take_credentials_back(&cluster, run, events).await;
    }
    report(&outcome, record, &request.project, context, output)
}
