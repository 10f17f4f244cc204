//! A run on Kubernetes.

use serde_json::json;

use super::request::{Request, random_key};
use super::{RunArgs, report};
use crate::cluster::{Cluster, ClusterRun};
use crate::commands::cluster_access::{TargetRegistry, open_cluster, open_registry};
use crate::commands::cluster_follow::{Followed, follow_on_cluster};
use crate::commands::record::{Record, folder};
use crate::context::Context;
use crate::credentials::docker_config_json;
use crate::delivery::{Delivery, run_image};
use crate::diagnosis::{Kind, Result};
use crate::event::{Event, Events, Phase};
use crate::follow::{Collector, FollowError, Mailbox};
use crate::job;
use crate::job::objects::{self, ClusterPlan};
use crate::output::Output;
use crate::registry::Access;
use crate::secret::Secret;
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
    let Prepared { access, cluster, repository, mut plan, secrets } =
        prepare(&request, target, context, events).await?;
    events.send(Event::Finished { phase: Phase::Check, detail: format!("{target_name} takes the run") });
    let delivery = Delivery {
        context,
        registry: &access.registry,
        repository: &repository,
        project_name: &request.spec.project,
        events,
    };
    let image = run_image(&delivery, &request.environment, &request.snapshot, &request.surroundings).await?;
    let from_nodes = target.registry_from_nodes.as_deref().unwrap_or(&access.host);
    plan.image = format!("{from_nodes}/{repository}@{}", image.digest);
    if args.dry_run {
        let manifests: Vec<_> = objects::all(&plan);
        let texts: Vec<String> = manifests.iter().map(|m| serde_saphyr::to_string(m).unwrap_or_default()).collect();
        output.result(&texts.join("---\n"), &json!({ "schema": 1, "manifests": manifests }));
        return Ok(0);
    }
    let address = (!plan.mailbox_from_workstation.is_empty()).then(|| plan.mailbox_from_workstation.clone());
    let record = request.record(target_name, address);
    record.save(&request.project.root)?;
    let run = cluster.submit(&plan, &secrets).await?;
    let detail = format!("job {} in namespace {} (context {})", run.name, cluster.namespace, cluster.context);
    events.send(Event::Finished { phase: Phase::Submit, detail });
    if args.detach {
        come_back(&run.name, events);
        output.result(&format!("{}\n", run.name), &json!({ "schema": 1, "run": run.name, "target": target_name }));
        return Ok(0);
    }
    let registry = access.registry;
    let mailbox = plan.mailbox.is_some().then(|| Mailbox { registry, repository, run: request.spec.name.clone() });
    attend(&run, &request, mailbox, record, events).await
}

/// What is known to work before anything slow is done.
struct Prepared {
    access: TargetRegistry,
    cluster: Cluster,
    repository: String,
    plan: ClusterPlan,
    secrets: Vec<(String, Secret)>,
}

async fn prepare(request: &Request, target: &Target, context: &Context, events: &Events) -> Result<Prepared> {
    let access = open_registry(context, target, events).await?;
    let cluster = open_cluster(target).await?;
    let repository = format!("{}{}", access.prefix, request.spec.project);
    let (checked, registry_checked) = tokio::join!(cluster.check(None), access.check(&repository, Access::Push));
    registry_checked?;
    checked?;
    let mut plan = cluster_plan(request, target, &access, &repository, &cluster.namespace).await?;
    let secrets = secrets(&mut plan, target, &access, &repository, events).await?;
    cluster.check(Some(&plan)).await?;
    Ok(Prepared { access, cluster, repository, plan, secrets })
}

/// Follows the run to its end, unless the user goes away.
async fn attend(
    run: &ClusterRun,
    request: &Request,
    mailbox: Option<Mailbox>,
    mut record: Record,
    events: &Events,
) -> Result<u8> {
    let folder = folder(&request.project.root, &request.spec.name);
    let collector = Some(Collector::open(&folder)?);
    let (nodes, start) = (request.spec.nodes, request.spec.deadlines.start);
    let outcome = match follow_on_cluster(run, nodes, start, collector, mailbox, events).await? {
        Followed::Ended(outcome) => outcome,
        Followed::CannotStart(message) => {
            run.delete().await?;
            return Err(FollowError::CannotStart { message }.into());
        }
        Followed::Left => {
            come_back(&run.name, events);
            return Ok(Kind::Interrupted.exit_code());
        }
    };
    let code = report(&outcome, &request.spec, &folder, events);
    record.code = Some(code);
    record.save(&request.project.root)?;
    Ok(code)
}

fn come_back(run: &str, events: &Events) {
    events.note(format!("{run} goes on; `nauta logs -f {run}` follows it, `nauta pull {run}` brings its outputs, `nauta cancel {run}` ends it"));
}

async fn cluster_plan(
    request: &Request,
    target: &Target,
    access: &TargetRegistry,
    repository: &str,
    namespace: &str,
) -> Result<ClusterPlan> {
    let from_ranks = target.registry_from_pods.as_deref().unwrap_or(&access.host);
    let mailbox = job::Mailbox {
        from_ranks: format!("{from_ranks}/{repository}"),
        plain_http: target.plain_http.iter().any(|allowed| allowed == from_ranks),
    };
    let use_mailbox = match target.mailbox {
        MailboxPolicy::Stream => false,
        MailboxPolicy::Secret | MailboxPolicy::Login => true,
        MailboxPolicy::Automatic => access.registry.allows_anonymous(repository, Access::Push).await?,
    };
    Ok(ClusterPlan {
        spec: request.spec.clone(),
        namespace: namespace.to_owned(),
        // Named for real once it is pushed; the cluster's dry run only wants it to be a name.
        image: format!("{}/{repository}:check", access.host),
        mailbox: use_mailbox.then_some(mailbox),
        mailbox_from_workstation: if use_mailbox { format!("{}/{repository}", access.host) } else { String::new() },
        mailbox_secret: target.mailbox_secret.clone().filter(|_| target.mailbox == MailboxPolicy::Secret),
        pull_secrets: target.pull_secret.clone().into_iter().collect(),
        gpu_resource: target.gpu_resource.clone().unwrap_or_else(|| "nvidia.com/gpu".to_owned()),
        run_key: random_key()?,
    })
}

/// The Secrets that the run needs besides its key.
async fn secrets(
    plan: &mut ClusterPlan,
    target: &Target,
    access: &TargetRegistry,
    repository: &str,
    events: &Events,
) -> Result<Vec<(String, Secret)>> {
    let mut secrets = Vec::new();
    if plan.mailbox.is_none() {
        events.note("outputs come over the control stream: pods may not push to the registry");
    }
    let Some(login) = &access.login else { return Ok(secrets) };
    if target.pull_secret.is_none() && !access.registry.allows_anonymous(repository, Access::Pull).await? {
        let name = format!("{}-pull", plan.spec.name);
        let host = target.registry_from_nodes.as_deref().unwrap_or(&access.host);
        events.note(format!("the nodes get your login for {host} in the Secret {name}, which goes with the run"));
        secrets.push((name.clone(), docker_config_json(&[(host, login)])));
        plan.pull_secrets.push(name);
    }
    if target.mailbox == MailboxPolicy::Login {
        let name = format!("{}-mailbox", plan.spec.name);
        let host = target.registry_from_pods.as_deref().unwrap_or(&access.host);
        events.note(format!("the pods get your login for {host} in the Secret {name}, as the target says"));
        secrets.push((name.clone(), docker_config_json(&[(host, login)])));
        plan.mailbox_secret = Some(name);
    }
    Ok(secrets)
}
