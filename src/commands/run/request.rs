//! Flags, `nauta.toml` and the user's configuration become one request; every value knows where it came from.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::build::{self, Build};
use super::error::RunError;
use super::{RunArgs, command, files, script, secrets};
use crate::bounded_file::{self, HAND_WRITTEN};
use crate::certificates::only_certificates;
use crate::commands::budget::rank_limits;
use crate::commands::record::Record;
use crate::context::{Context, Destination};
use crate::delivery::{Surroundings, environment, plan_environment};
use crate::diagnosis::Result;
use crate::digest::Digest;
use crate::event::{Event, Events, Phase};
use crate::image::Environment;
use crate::job::{
    Cpu, Deadlines, Launch, Memory, Nodes, OutputRules, ProgramSecret, Resources, RestartOn, Restarts, RunSpec,
    Variables, duration,
};
use crate::output::{Output, counted};
use crate::project::{Project, run_name};
use crate::secret::{Secret, names_a_secret};
use crate::settings::{ProjectFile, RunSection, Setting, Source, UserFile};
use crate::snapshot::{self, Snapshot};

/// Nothing of a run lasts longer.
const LONGEST: Duration = Duration::from_hours(365 * 24);
/// More processes on one rank are a slip of the finger.
const MOST_SLOTS: u32 = 1024;

/// Everything decided before anything is done.
pub(super) struct Request {
    pub(super) project: Project,
    pub(super) snapshot: Snapshot,
    pub(super) environment: Environment,
    pub(super) spec: RunSpec,
    pub(super) destination: Setting<Destination>,
    pub(super) surroundings: Surroundings,
    /// The program's.
    pub(super) secrets: Vec<ProgramSecret>,
    /// Whether the record of the run holds the variables' values.
    records_env: bool,
}

impl Request {
    /// What is kept of the run beside its outputs.
    pub(super) fn record(&self, target: &str, mailbox: Option<String>) -> Record {
        let created = jiff::Timestamp::now().as_second();
        let mut spec = self.spec.clone();
        let env_names = spec.env.keys().cloned().collect();
        if !self.records_env {
            spec.env.clear();
        }
        Record {
            schema: 1,
            spec,
            env_names,
            secrets: self.secrets.iter().map(|secret| secret.variable.clone()).collect(),
            target: target.to_owned(),
            created,
            mailbox,
            code: None,
            outputs_missing: false,
            state: None,
            ended: None,
            verdict: None,
        }
    }

    /// Keeps the snapshot as that of the last run, beside what comes next: it is still being written, and that of the run before takes its
    /// time to go. Only a memory, whatever becomes of it.
    pub(super) fn remember(&self, context: &Context) -> JoinHandle<()> {
        let (snapshot, state) = (self.snapshot.clone(), context.state_folder());
        spawn_blocking(move || snapshot.remember(&state))
    }
}

/// The first line of every run.
fn announce(spec: &RunSpec, destination: &Setting<Destination>, events: &Events) {
    let place = match &destination.value {
        Destination::Local => "Docker here".to_owned(),
        Destination::Cluster(name, _) => name.clone(),
    };
    let ranks = counted(spec.nodes.into(), "rank");
    let ranks = match spec.min_nodes.filter(|_| spec.nodes > 1) {
        Some(least) => format!("{ranks}, and goes on with {least}"),
        None => ranks,
    };
    let launch = if spec.launch.is_host(spec.nodes - 1) { "; rank 0 starts the programs of all" } else { "" };
    events.note(format!("{}: {ranks} on {place} (from {}){launch}", spec.name, destination.source));
}

/// Where a variable comes from.
fn source_of(name: &str, args: &RunArgs) -> &'static str {
    let is_flag = args.env.iter().any(|pair| pair.split_once('=').is_some_and(|(flag, _)| flag == name));
    if is_flag { "--env" } else { "`run.env` in nauta.toml" }
}

/// What nauta sets on each rank anew would not be what the user has written: that is said, and not done in silence.
fn refuse_facts<'a>(spec: &'a RunSpec, args: &RunArgs, secrets: impl Iterator<Item = &'a str>) -> Result<()> {
    let is_fact = |name: &str| spec.variables.is_fact(name, spec.nodes, spec.slots());
    let variables = spec.env.keys().map(|name| (name.as_str(), source_of(name, args)));
    let mut all = secrets.map(|name| (name, "the run's secrets")).chain(variables);
    match all.find(|(name, _)| is_fact(name)) {
        Some((name, from)) => Err(RunError::Fact { name: name.to_owned(), from }.into()),
        None => Ok(()),
    }
}

/// Variables are no place for secrets: engines show them to everybody who may look at a run.
fn warn_of_secrets(args: &RunArgs, spec: &RunSpec, events: &Events) {
    for name in spec.env.keys().filter(|name| names_a_secret(name)) {
        let source = source_of(name, args);
        events.warn(format!(
            "`{name}` (from {source}) looks like a secret, and everybody who may look at the run's Job or container can read it; \
             `--secret-env {name}` hands its value over unseen"
        ));
    }
}

/// What is decided before the project's files are looked at.
pub(super) struct Decided {
    project: Project,
    pub(super) spec: RunSpec,
    pub(super) destination: Setting<Destination>,
    pub(super) secrets: Vec<ProgramSecret>,
    build: Build,
    records_env: bool,
}

impl Decided {
    /// Finds what the environment is built with.
    pub(super) async fn find_build(&mut self, args: &RunArgs, context: &Context, output: &Output) -> Result<()> {
        let Project { file, root, .. } = &self.project;
        self.build = build::find(&args.build, &file.environment, root, context, output).await?;
        Ok(())
    }

    /// Finds the program's secrets, which take the place of variables of their names.
    pub(super) async fn find_secrets(&mut self, args: &RunArgs, context: &Context, output: &Output) -> Result<()> {
        let (named, root) = (&self.project.file.secrets.names, &self.project.root);
        self.secrets = secrets::find(args, named, root, &self.destination.value, context, output).await?;
        refuse_facts(&self.spec, args, self.secrets.iter().map(|secret| secret.variable.as_str()))?;
        for secret in &self.secrets {
            self.spec.env.remove(&secret.variable);
        }
        warn_of_secrets(args, &self.spec, &output.events());
        Ok(())
    }
}

/// Decides what needs no look at the project's files.
pub(super) fn decide(args: &RunArgs, context: &Context, events: &Events) -> Result<Decided> {
    let project = context.project()?;
    if !project.found.any_file {
        return Err(RunError::Empty.into());
    }
    let flag =
        if args.local { Some(("--local", "local")) } else { args.target.as_deref().map(|name| ("--target", name)) };
    let destination = context.destination(flag, project.file.run.target.as_deref())?;
    let mut spec = spec(args, context, &project)?;
    if args.detach && destination.value == Destination::Local && args.drain.is_none() {
        // Nobody is there at its end: what it leaves waits for who comes back.
        spec.deadlines.drain = project.file.run.drain.as_ref().map_or(spec.deadlines.keep, |_| spec.deadlines.drain);
    }
    announce(&spec, &destination, events);
    command::announce(args, &project, &spec.command, events);
    let records_env = args.record_env || project.file.run.record_env;
    Ok(Decided { project, spec, destination, secrets: Vec::new(), build: Build::default(), records_env })
}

/// Takes the snapshot, and decides the rest.
pub(super) fn resolve(decided: Decided, context: &Context, events: &Events) -> Result<Request> {
    let Decided { project, mut spec, destination, secrets, build, records_env } = decided;
    events.send(Event::Started { phase: Phase::Snapshot, detail: project.root.display().to_string() });
    let snapshot = snapshot::take(project.origin(), Some(&context.state_folder()))?;
    files::tell(&snapshot, events)?;
    if project.found.dockerfile.is_none() && project.file.environment.dockerfile.is_none() {
        // An image of one's own may have any file.
        script::check(&spec.command, &snapshot)?;
    }
    let (files, size) = (snapshot.files(), snapshot.size());
    events.send(Event::Finished { phase: Phase::Snapshot, detail: format!("{files} files, {size} bytes") });
    let plan = plan_environment(&project, context.user_file(), build.options)?;
    let environment = environment(&project, plan, &snapshot, &context.state_folder(), spec.resources.gpus)?;
    for note in environment.notes(&project.found.unread) {
        events.note(note);
    }
    spec.snapshot = snapshot.digest().clone();
    let surroundings = Surroundings {
        ca_bundle: ca_bundle(&project, context)?,
        proxies: context.proxies(),
        secrets: build.secrets,
        agents: build.agents,
        packages: build.packages,
    };
    Ok(Request { project, snapshot, environment, spec, destination, surroundings, secrets, records_env })
}

/// The certificates that builds must trust.
fn ca_bundle(project: &Project, context: &Context) -> Result<Option<String>> {
    let of_project = project.file.environment.ca_bundle.as_ref();
    let of_user = context.user_file().defaults.ca_bundle.as_ref();
    let named = Setting::any([
        (of_project, Source::ProjectFile("environment.ca_bundle")),
        (of_user, Source::UserFile("defaults.ca_bundle")),
    ]);
    let Some(Setting { value: path, source }) = named else { return Ok(None) };
    let path = Path::new(path);
    // A project says nothing about other files of this workstation; who works here may name any.
    let read = match of_project {
        Some(_) => bounded_file::read_inside(&project.root, path, HAND_WRITTEN),
        None => bounded_file::read(path, HAND_WRITTEN),
    };
    let certificates =
        read.and_then(|pem| only_certificates(&pem).map_err(|e| io::Error::new(ErrorKind::InvalidData, e)));
    let unusable = |error| RunError::Certificates { path: path.into(), source_text: source.to_string(), source: error };
    Ok(Some(certificates.map_err(unusable)?))
}

/// All but the snapshot, which takes longer.
fn spec(args: &RunArgs, context: &Context, project: &Project) -> Result<RunSpec> {
    let section = &project.file.run;
    let nodes = match &args.nodes {
        Some(text) => text.parse().map_err(RunError::Nodes)?,
        None => section.nodes.unwrap_or(Nodes::all(1)),
    };
    let mut env: BTreeMap<String, String> = section.env.clone();
    for pair in &args.env {
        let named = pair.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains(['\0', ' ']));
        let (name, value) = named.ok_or_else(|| RunError::Value {
            what: "--env".to_owned(),
            // What follows may be a secret that was not meant to be one.
            value: format!("`{}`", pair.split('=').next().unwrap_or_default()),
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
    let memory = size(args.memory.as_ref().or(section.memory.as_ref()))?;
    let command = command::command(args, project)?;
    let launch = launch(args, section, &command)?;
    let min_nodes = nodes.is_elastic().then_some(nodes.least);
    if launch == Launch::Rank0 && min_nodes.is_some() {
        return Err(RunError::ElasticLaunch(nodes).into());
    }
    let name = project.name();
    let random = getrandom::u64().map_err(RunError::Random)?;
    Ok(RunSpec {
        name: run_name(args.name.as_deref().unwrap_or(&name), random),
        project: name,
        user: context.user(),
        nodes: nodes.most,
        min_nodes,
        command,
        env,
        resources: Resources { cpu, memory, gpus: args.gpus.or(section.gpus).unwrap_or(0) },
        deadlines: deadlines(args, section)?,
        restarts: restarts(args, section)?,
        launch,
        slots: slots(args.slots.or(section.slots))?,
        variables: variables(args, section)?,
        outputs: output_rules(args, &project.file, context.user_file())?,
        shared: size(args.shared.as_ref().or(section.shared.as_ref()))?,
        snapshot: Digest::of(""),
    })
}

/// So many bytes, where something says how many.
fn size(text: Option<&String>) -> Result<Option<Memory>> {
    Ok(text.map(|text| text.parse()).transpose().map_err(RunError::from)?)
}

/// What of the working directory comes back.
fn output_rules(args: &RunArgs, project: &ProjectFile, user: &UserFile) -> Result<OutputRules> {
    let section = &project.outputs;
    let (max_file_size, max_rank_files) = rank_limits(project, user)?;
    let mut rules = OutputRules {
        workspace: section.workspace.unwrap_or(true) || !args.outputs.is_empty(),
        include: section.include.clone(),
        exclude: section.exclude.clone(),
        ranks: section.ranks.clone(),
        max_file_size,
        max_rank_files,
    };
    rules.add(&args.outputs);
    rules.patterns().map_err(RunError::from)?;
    Ok(rules)
}

fn deadlines(args: &RunArgs, section: &RunSection) -> Result<Deadlines> {
    let mut deadlines = Deadlines::default();
    deadlines.run =
        time("--max-duration", args.max_duration.as_ref(), section.max_duration.as_ref())?.unwrap_or(deadlines.run);
    deadlines.grace = time("--grace", args.grace.as_ref(), section.grace.as_ref())?.unwrap_or(deadlines.grace);
    deadlines.drain = time("--drain", args.drain.as_ref(), section.drain.as_ref())?.unwrap_or(deadlines.drain);
    deadlines.stall = time("--stall-timeout", args.stall_timeout.as_ref(), section.stall_timeout.as_ref())?;
    Ok(deadlines)
}

/// A time as a flag or `nauta.toml` gives it. Engines count whole seconds, and nothing of a run lasts for a year.
fn time(name: &str, flag: Option<&String>, key: Option<&String>) -> Result<Option<Duration>> {
    let Some(text) = flag.or(key) else { return Ok(None) };
    let time = duration(text).map_err(RunError::from)?;
    if (Duration::from_secs(1)..=LONGEST).contains(&time) {
        return Ok(Some(time));
    }
    let (value, hint) = (format!("`{text}`"), "from 1s to 365d".to_owned());
    Err(RunError::Value { what: name.to_owned(), value, hint }.into())
}

/// How many processes a program starts on each rank.
fn slots(asked: Option<u32>) -> Result<Option<u32>> {
    match asked {
        Some(slots) if !(1..=MOST_SLOTS).contains(&slots) => {
            let (value, hint) = (format!("`{slots}`"), format!("from 1 to {MOST_SLOTS}"));
            Err(RunError::Value { what: "--slots".to_owned(), value, hint }.into())
        }
        fitting => Ok(fitting),
    }
}

fn restarts(args: &RunArgs, section: &RunSection) -> Result<Restarts> {
    let most = args.restarts.or(section.restarts).unwrap_or(0);
    let on = args.restart_on.as_ref().or(section.restart_on.as_ref());
    let on = on.map_or_else(|| Ok(RestartOn::default()), |text| text.parse()).map_err(RunError::from)?;
    Ok(Restarts::new(most, on).map_err(RunError::from)?)
}

/// Who runs the command: what the user says, or what its first word means.
fn launch(args: &RunArgs, section: &RunSection, command: &[String]) -> Result<Launch> {
    let flag = args.launch.as_ref().map(|text| text.parse()).transpose().map_err(RunError::from)?;
    Ok(flag.or(section.launch).unwrap_or_else(|| Launch::of(command)))
}

fn variables(args: &RunArgs, section: &RunSection) -> Result<Variables> {
    let flag = args.variables.as_ref().map(|text| text.parse()).transpose().map_err(RunError::from)?;
    Ok(flag.or(section.variables).unwrap_or_default())
}

/// 256 random bits, as 64 hexadecimal digits.
pub(super) fn random_key() -> Result<Secret> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(RunError::Random)?;
    // A digest of random bits has as many bits, and is written in hexadecimal digits already.
    Ok(Secret::new(Digest::of(key).hex()))
}
