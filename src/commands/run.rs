//! `nauta run`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;

use super::cluster_access::{TargetRegistry, open_cluster, open_registry};
use super::cluster_follow::{Followed, follow_on_cluster};
use super::record::{Record, folder};
use crate::context::{Context, Destination};
use crate::credentials::docker_config_json;
use crate::delivery::{Delivery, Surroundings, local_environment, plan_environment, run_image, write_code};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::digest::Digest;
use crate::docker::{Code, JanitorProgram, LocalPlan};
use crate::event::{Event, Events, Phase};
use crate::follow::{Collector, Engine, FollowError, Mailbox, Outcome, follow};
use crate::image::EnvironmentPlan;
use crate::job::objects::{self, ClusterPlan};
use crate::job::{self, Cpu, Deadlines, Memory, Resources, RunSpec};
use crate::output::Output;
use crate::project::{Project, project_name, run_name, template};
use crate::registry::Access;
use crate::secret::Secret;
use crate::settings::{MailboxPolicy, Setting, Source, Target};
use crate::snapshot::{self, Snapshot};

/// More ranks than this are a slip of the finger.
const MOST_NODES: u32 = 4096;

/// Run a program on this workstation or on a cluster
///
/// The first line says which. Outputs that the program writes to `$NAUTA_OUTPUTS` come back to runs/RUN/ while it runs.
/// The exit code is the program's: that of the rank that failed first, 128+n for signals, and 125 when nauta itself could
/// not run it.
///
/// Ctrl-C leaves a cluster's run alone and says how to come back; with --local it stops the run, twice kills it.
///
/// Example: nauta run --nodes 4 -- python train.py --epochs 20
#[derive(Args, Debug)]
pub struct RunArgs {
    /// How many ranks
    #[arg(long, short = 'n', value_name = "N")]
    nodes: Option<u32>,
    /// Run with Docker on this workstation
    #[arg(long, conflicts_with = "target")]
    local: bool,
    /// Run on a target of your configuration
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// What the run's name begins with; the project's name where absent
    #[arg(long)]
    name: Option<String>,
    /// A variable for the program
    #[arg(long, short = 'e', value_name = "K=V")]
    env: Vec<String>,
    /// Processors of each rank, such as 2 or 500m
    #[arg(long, value_name = "AMOUNT")]
    cpu: Option<String>,
    /// Main memory of each rank, such as 8Gi
    #[arg(long, value_name = "AMOUNT")]
    memory: Option<String>,
    /// Accelerators of each rank
    #[arg(long, value_name = "N")]
    gpus: Option<u32>,
    /// Put a template's files into this directory first, if it is empty
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Submit to the cluster and return
    #[arg(long, short = 'd', conflicts_with = "local")]
    detach: bool,
    /// Print the cluster's manifests and submit nothing (the image is pushed: they name it)
    #[arg(long)]
    dry_run: bool,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("{what} cannot be {value}")]
    Value { what: String, value: String, hint: String },
    #[error("there is nothing to run in `{directory}`")]
    NoCommand { directory: String },
    #[error("the directory is empty")]
    Empty,
    #[error(transparent)]
    Quantity(#[from] crate::job::quantity::InvalidQuantity),
    #[error("a secret value cannot be made: {0}")]
    Random(getrandom::Error),
    #[error("cannot read the certificates in `{}` (from {source_text})", path.display())]
    Certificates { path: PathBuf, source_text: String, source: std::io::Error },
    #[error("--dry-run prints a cluster's manifests, and this run is for Docker")]
    DryRunLocal,
}

impl Diagnosis for RunError {
    fn kind(&self) -> Kind {
        match self {
            Self::Random(_) => Kind::Unavailable,
            _ => Kind::Input,
        }
    }
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Value { hint, .. } => hint.clone(),
            Self::NoCommand { .. } => {
                "say it behind `--`, as in `nauta run -- python train.py`, or set `run.command` in nauta.toml"
                    .to_owned()
            }
            Self::Empty => "begin with `nauta init --template pytorch`, or go to your program's directory".to_owned(),
            Self::Quantity(_) => "amounts are written as Kubernetes writes them".to_owned(),
            Self::Random(_) => "the system's random source does not answer".to_owned(),
            Self::Certificates { .. } => "name a readable file of PEM certificates".to_owned(),
            Self::DryRunLocal => "name a target with `--target`".to_owned(),
        };
        vec![hint]
    }
}

/// Everything decided before anything is done.
struct Request {
    project: Project,
    snapshot: Snapshot,
    environment: EnvironmentPlan,
    spec: RunSpec,
    destination: Setting<Destination>,
    surroundings: Surroundings,
}

/// Runs; the exit code is the program's.
pub async fn run(args: RunArgs, context: &Context, output: &Output) -> Result<u8> {
    let events = output.events();
    if let Some(name) = &args.template {
        let template = template::find(&context.templates(), name)?;
        for path in template.write_to(&context.directory)? {
            events.note(format!("wrote {}", path.display()));
        }
    }
    let request = resolve(&args, context, &events)?;
    match &request.destination.value {
        Destination::Local if args.dry_run => Err(RunError::DryRunLocal.into()),
        Destination::Local => run_locally(request, context, &events).await,
        Destination::Cluster(name, target) => {
            let (name, target) = (name.clone(), (**target).clone());
            run_on_cluster(request, &name, &target, &args, context, output).await
        }
    }
}

/// The first line of every run.
fn announce(spec: &RunSpec, destination: &Setting<Destination>, events: &Events) {
    let place = match &destination.value {
        Destination::Local => "Docker here".to_owned(),
        Destination::Cluster(name, _) => format!("target {name}"),
    };
    let ranks = if spec.nodes == 1 { "1 rank".to_owned() } else { format!("{} ranks", spec.nodes) };
    events.note(format!("{} runs on {place} with {ranks} (from {})", spec.name, destination.source));
}

fn resolve(args: &RunArgs, context: &Context, events: &Events) -> Result<Request> {
    let project = context.project()?;
    if !project.found.any_file {
        return Err(RunError::Empty.into());
    }
    let flag =
        if args.local { Some(("--local", "local")) } else { args.target.as_deref().map(|name| ("--target", name)) };
    let destination = context.destination(flag, project.file.run.target.as_deref())?;
    let mut spec = spec(args, context, &project)?;
    announce(&spec, &destination, events);
    events.send(Event::Started { phase: Phase::Snapshot, detail: project.root.display().to_string() });
    let snapshot = snapshot::take(&project.root)?;
    for (path, pattern) in &snapshot.withheld {
        events.warn(format!(
            "`{path}` stays here: it may hold a secret (`{pattern}`); `!{path}` in .nautaignore sends it"
        ));
    }
    for path in &snapshot.unsendable {
        events.warn(format!("`{path}` stays here: it is no file, folder or link"));
    }
    let (files, size) = (snapshot.files(), snapshot.size());
    events.send(Event::Finished { phase: Phase::Snapshot, detail: format!("{files} files, {size} bytes") });
    let environment = plan_environment(&project, context.user_file(), &snapshot)?;
    spec.snapshot = snapshot.digest();
    let surroundings = Surroundings { ca_bundle: ca_bundle(&project, context)?, proxies: context.proxies() };
    Ok(Request { project, snapshot, environment, spec, destination, surroundings })
}

/// The certificates that builds must trust.
fn ca_bundle(project: &Project, context: &Context) -> Result<Option<PathBuf>> {
    let of_project = project.file.environment.ca_bundle.as_ref().map(|path| project.root.join(path));
    let of_user = context.user_file().defaults.ca_bundle.as_ref().map(PathBuf::from);
    let named = Setting::any([
        (of_project, Source::ProjectFile("environment.ca_bundle")),
        (of_user, Source::UserFile("defaults.ca_bundle")),
    ]);
    let Some(Setting { value: path, source }) = named else { return Ok(None) };
    match std::fs::File::open(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) => Err(RunError::Certificates { path, source_text: source.to_string(), source: error }.into()),
    }
}

/// All but the snapshot, which takes longer.
fn spec(args: &RunArgs, context: &Context, project: &Project) -> Result<RunSpec> {
    let section = &project.file.run;
    let nodes =
        Setting::first([(args.nodes, Source::Flag("--nodes")), (section.nodes, Source::ProjectFile("run.nodes"))], 1);
    if !(1..=MOST_NODES).contains(&nodes.value) {
        let (what, value) = (format!("the number of ranks (from {})", nodes.source), nodes.value.to_string());
        return Err(RunError::Value { what, value, hint: format!("choose 1 to {MOST_NODES}") }.into());
    }
    let mut env: BTreeMap<String, String> = section.env.clone();
    for pair in &args.env {
        let named = pair.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains(['\0', ' ']));
        let (name, value) = named.ok_or_else(|| RunError::Value {
            what: "--env".to_owned(),
            value: format!("`{pair}`"),
            hint: "write it as NAME=VALUE".to_owned(),
        })?;
        env.insert(name.to_owned(), value.to_owned());
    }
    let cpu = args
        .cpu
        .as_ref()
        .or(section.cpu.as_ref())
        .map(|text| text.parse::<Cpu>())
        .transpose()
        .map_err(RunError::from)?;
    let memory = args
        .memory
        .as_ref()
        .or(section.memory.as_ref())
        .map(|text| text.parse::<Memory>())
        .transpose()
        .map_err(RunError::from)?;
    let own_name = project.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = project_name(project.file.project.name.as_deref().unwrap_or(&own_name));
    let random = getrandom::u64().map_err(RunError::Random)?;
    Ok(RunSpec {
        name: run_name(args.name.as_deref().unwrap_or(&name), random),
        project: name,
        user: context.user(),
        nodes: nodes.value,
        command: command(args, project)?,
        env,
        resources: Resources { cpu, memory, gpus: args.gpus.or(section.gpus).unwrap_or(0) },
        deadlines: Deadlines::default(),
        snapshot: Digest::of(""),
    })
}

fn command(args: &RunArgs, project: &Project) -> Result<Vec<String>> {
    if !args.command.is_empty() {
        return Ok(args.command.clone());
    }
    if let Some(command) = &project.file.run.command {
        return Ok(command.0.clone());
    }
    let program = project
        .found
        .program
        .clone()
        .ok_or_else(|| RunError::NoCommand { directory: project.root.display().to_string() })?;
    Ok(vec!["python3".to_owned(), program])
}

/// 256 random bits, as 64 hexadecimal digits.
fn random_key() -> Result<Secret> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(RunError::Random)?;
    // A digest of random bits has as many bits, and is written in hexadecimal digits already.
    Ok(Secret::new(Digest::of(key).hex()))
}

fn record(request: &Request, target: &str, mailbox: Option<String>) -> Record {
    let created = jiff::Timestamp::now().as_second();
    Record { schema: 1, spec: request.spec.clone(), target: target.to_owned(), created, mailbox, code: None }
}

async fn run_locally(request: Request, context: &Context, events: &Events) -> Result<u8> {
    let docker = context.docker().await?;
    for leftover in docker.sweep().await? {
        events.note(format!("removed what was left of {leftover}"));
    }
    let (plan, snapshot) = (&request.environment, &request.snapshot);
    let image =
        local_environment(&docker, &request.spec.project, plan, snapshot, &request.surroundings, events).await?;
    let files = snapshot.clone();
    let plan = LocalPlan {
        spec: request.spec.clone(),
        image,
        entrypoint: LocalPlan::SUPERVISE.map(str::to_owned).to_vec(),
        supervisor: context.program.clone(),
        code: Code::new(move |archive| write_code(archive, &files)),
        run_key: random_key()?,
        shm_bytes: Some(request.spec.resources.memory.map_or(1 << 30, |memory| memory.bytes / 2)),
        lease: true,
        janitor: JanitorProgram { program: context.program.clone(), arguments: vec!["janitor".to_owned()] },
    };
    let mut record = record(&request, "local", None);
    record.save(&request.project.root)?;
    events.send(Event::Started { phase: Phase::Start, detail: "containers".to_owned() });
    let run = docker.start_local(plan, events).await?;
    events.send(Event::Finished { phase: Phase::Start, detail: format!("started {} containers", request.spec.nodes) });
    let (states_tx, states) = mpsc::unbounded_channel();
    let mut watched = Box::pin(run.watch().await?);
    let watching = tokio::spawn(async move {
        while let Some(Ok(state)) = watched.next().await {
            if states_tx.send(state).is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    });
    let engine = Arc::new(Engine::Local(Box::new(run)));
    let folder = folder(&request.project.root, &request.spec.name);
    let collector = Some(Collector::open(&folder)?);
    let following = follow(Arc::clone(&engine), request.spec.nodes, collector, None, states, events);
    let outcome = until_done_or_stopped(following, &engine, &request.spec, events).await;
    watching.abort();
    if let Some(Engine::Local(run)) = Arc::into_inner(engine) {
        run.remove().await?;
    }
    let outcome = outcome?;
    let code = report(&outcome, &request.spec, &folder, events);
    record.code = Some(code);
    record.save(&request.project.root)?;
    Ok(code)
}

/// First Ctrl-C stops the run gently, the second kills it.
async fn until_done_or_stopped(
    following: impl Future<Output = Result<Outcome, FollowError>>,
    engine: &Engine,
    spec: &RunSpec,
    events: &Events,
) -> Result<Outcome, FollowError> {
    tokio::pin!(following);
    let mut presses = 0;
    loop {
        tokio::select! {
            outcome = &mut following => return outcome,
            Ok(()) = tokio::signal::ctrl_c() => {
                presses += 1;
                let Engine::Local(run) = engine else { continue };
                if presses == 1 {
                    events.note("stopping the run (Ctrl-C again kills it)");
                    let grace = spec.deadlines.grace + Duration::from_secs(2);
                    tokio::select! {
                        _ = run.stop(grace) => {}
                        outcome = &mut following => return outcome,
                        Ok(()) = tokio::signal::ctrl_c() => drop(run.kill().await),
                    }
                } else {
                    let _ = run.kill().await;
                }
            }
        }
    }
}

/// Says how it went; gives the run's exit code.
fn report(outcome: &Outcome, spec: &RunSpec, folder: &std::path::Path, events: &Events) -> u8 {
    let code = outcome.code(spec.nodes);
    for missing in &outcome.missing_outputs {
        events.warn(format!("outputs are not complete: {missing}"));
    }
    let first = outcome.first_failed.and_then(|rank| Some((rank, outcome.ends.get(&rank)?)));
    let detail = match (code, first) {
        (0, _) => format!("done, outputs are in {}", folder.display()),
        (_, Some((rank, end))) => format!("failed: rank {rank} {end}; outputs are in {}", folder.display()),
        _ => format!("failed with code {code}; outputs are in {}", folder.display()),
    };
    events.send(Event::Finished { phase: Phase::Run, detail });
    code
}

async fn run_on_cluster(
    request: Request,
    target_name: &str,
    target: &Target,
    args: &RunArgs,
    context: &Context,
    output: &Output,
) -> Result<u8> {
    let events = &output.events();
    events.send(Event::Started { phase: Phase::Check, detail: target_name.to_owned() });
    let access = open_registry(context, target)?;
    let cluster = open_cluster(target).await?;
    let repository = format!("{}{}", access.prefix, request.spec.project);
    let (checked, registry_checked) =
        tokio::join!(cluster.check(None), access.registry.check(&repository, Access::Push));
    registry_checked?;
    checked?;
    let mut plan = cluster_plan(&request, target, &access, &repository, &cluster.namespace).await?;
    let secrets = secrets(&mut plan, target, &access, &repository, events).await?;
    cluster.check(Some(&plan)).await?;
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
    let mailbox = plan.mailbox.is_some().then(|| Mailbox {
        registry: access.registry.clone(),
        repository: repository.clone(),
        run: request.spec.name.clone(),
    });
    let address = (!plan.mailbox_from_workstation.is_empty()).then(|| plan.mailbox_from_workstation.clone());
    let mut record = record(&request, target_name, address);
    record.save(&request.project.root)?;
    let run = cluster.submit(&plan, &secrets).await?;
    let detail = format!("job {} in namespace {} (context {})", run.name, cluster.namespace, cluster.context);
    events.send(Event::Finished { phase: Phase::Submit, detail });
    if args.detach {
        come_back(&run.name, events);
        output.result(&format!("{}\n", run.name), &json!({ "schema": 1, "run": run.name, "target": target_name }));
        return Ok(0);
    }
    let folder = folder(&request.project.root, &request.spec.name);
    let collector = Some(Collector::open(&folder)?);
    let (nodes, start) = (request.spec.nodes, request.spec.deadlines.start);
    let outcome = match follow_on_cluster(&run, nodes, start, collector, mailbox, events).await? {
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
        secrets.push((name.clone(), docker_config_json(host, login)));
        plan.pull_secrets.push(name);
    }
    if target.mailbox == MailboxPolicy::Login {
        let name = format!("{}-mailbox", plan.spec.name);
        let host = target.registry_from_pods.as_deref().unwrap_or(&access.host);
        events.note(format!("the pods get your login for {host} in the Secret {name}, as the target says"));
        secrets.push((name.clone(), docker_config_json(host, login)));
        plan.mailbox_secret = Some(name);
    }
    Ok(secrets)
}
