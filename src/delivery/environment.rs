//! The environment image: what it is made of, and its making by Docker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::DeliveryError;
use super::logins::Logins;
use crate::bounded_file::{HAND_WRITTEN, KEPT, read_text, read_text_inside};
use crate::context::Context;
use crate::diagnosis::{Failure, Result};
use crate::docker::Docker;
use crate::event::{Event, Events, Phase};
use crate::image::build_plan::{BuildPlan, ContextFile, Dockerfile};
use crate::image::inputs::{Inputs, gather};
use crate::image::passwords::may_name_indexes;
use crate::image::{
    BuildOptions, Builder, CA_SECRET, CONDARC_SECRET, Environment, EnvironmentPlan, Mounts, NETRC_SECRET,
    PackageSettings, Recipe, Site, Torch, VARIABLES_SECRET, render, short_name,
};
use crate::job::is_variable_name;
use crate::layout::{label, project_folder};
use crate::project::{Declared, Dependencies, Heavy, Project, wanted_python};
use crate::secret::Secret;
use crate::settings::{Setting, Source, UserFile};
use crate::snapshot::{Content, Snapshot};

/// What environment images are called in Docker.
const ENVIRONMENTS: &str = "nauta/environment";

/// What builds need from the workstation.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Certificates to trust, and nothing else.
    pub ca_bundle: Option<String>,
    /// Proxy variables.
    pub proxies: BTreeMap<String, Secret>,
    /// Build secrets by id.
    pub secrets: Vec<(String, Secret)>,
    /// Sockets of SSH agents by id.
    pub agents: Vec<(String, PathBuf)>,
    /// What pip, uv and conda know here of where packages come from.
    pub packages: PackageSettings,
}

/// Decides how the environment is made; `options` are for a Dockerfile.
pub fn plan_environment(project: &Project, user: &UserFile, options: BuildOptions) -> Result<EnvironmentPlan> {
    let section = &project.file.environment;
    let base = Setting::any([
        (section.base.clone(), Source::ProjectFile("environment.base")),
        (user.defaults.base.clone(), Source::UserFile("defaults.base")),
    ]);
    let dockerfile = match &section.dockerfile {
        Some(path) => Some(path.trim_start_matches("./").to_owned()),
        None if section.base.is_none() => project.found.dockerfile.clone(),
        None => None,
    };
    if let Some(path) = dockerfile {
        let text = read_text_inside(&project.root, &path, HAND_WRITTEN)
            .map_err(|source| DeliveryError::ProjectFile { path: path.clone().into(), source })?;
        return Ok(EnvironmentPlan::Dockerfile { path, text, options });
    }
    if !options.args.is_empty() || options.target.is_some() {
        let what = if options.args.is_empty() { "target stage" } else { "build argument" };
        return Err(DeliveryError::NoDockerfile { what }.into());
    }
    let dependencies = match &section.requirements {
        _ if section.install == Some(false) => None,
        Some(path) => Some(Dependencies::Requirements(path.trim_start_matches("./").to_owned())),
        None => project.found.dependencies.clone(),
    };
    let usual = project.found.usual_base(dependencies.as_ref());
    let usual = usual.map(|value| Setting { value, source: Source::Default });
    let base = base.or(usual).ok_or_else(|| DeliveryError::NoBase { root: project.root.clone() })?;
    if dependencies.is_none() && section.packages.is_empty() {
        return Ok(EnvironmentPlan::Base { base });
    }
    Ok(EnvironmentPlan::Generated { base, recipe: Box::new(recipe(project, dependencies)?) })
}

fn recipe(project: &Project, dependencies: Option<Dependencies>) -> Result<Recipe> {
    let section = &project.file.environment;
    let (extras, groups) = (section.extras.clone(), section.groups.clone());
    let declared = match &dependencies {
        Some(Dependencies::Project(_)) => Declared::read(&project.root, &extras, groups.as_deref().unwrap_or_default()),
        Some(Dependencies::Foreign(file)) => return Err(DeliveryError::Foreign { file: file.clone() }.into()),
        _ => Declared::default(),
    };
    let (heavy, python) = match &dependencies {
        Some(Dependencies::Uv) => (Heavy::read(&project.root, &extras), wanted_python(&project.root)),
        _ => (Vec::new(), String::new()),
    };
    if let Some(name) = declared.unknown.first() {
        return Err(DeliveryError::NoSuchGroup { name: name.clone() }.into());
    }
    let mut packages = section.packages.clone();
    packages.sort();
    Ok(Recipe { packages, dependencies, extras, groups, declared, heavy, python, torch: None })
}

/// What a plan's build reads; what a Dockerfile of nauta's own cannot do without has to be there. `state` is nauta's folder for what
/// may be lost.
///
/// `gpus`: how many accelerators each rank asks for.
pub fn environment(
    project: &Project,
    mut plan: EnvironmentPlan,
    snapshot: &Snapshot,
    state: &Path,
    gpus: u32,
) -> Result<Environment> {
    let inputs = gather(&plan, project, snapshot, Some(state))?;
    if let (EnvironmentPlan::Generated { .. }, Some(problem)) = (&plan, inputs.problems.first()) {
        return Err(DeliveryError::Input(Box::new(problem.clone())).into());
    }
    let is_pips =
        |recipe: &Recipe| matches!(recipe.dependencies, Some(Dependencies::Requirements(_) | Dependencies::Project(_)));
    if let EnvironmentPlan::Generated { recipe, .. } = &mut plan
        && is_pips(recipe)
        && !inputs.has_own_index
    {
        let said = project.file.environment.pytorch.as_deref();
        recipe.torch = Torch::choose(&inputs.requirements, said, gpus);
    }
    Ok(Environment { plan, inputs, folder: project_folder(&project.name()) })
}

/// Where an environment image is made, and what for.
pub struct LocalEnvironment<'a> {
    /// The engine.
    pub docker: &'a Docker,
    /// Where it is to run, such as `linux/amd64`.
    pub platform: String,
}

/// Makes sure that Docker has the environment image; gives its name. Nothing is built when nothing has changed.
pub async fn local_environment(
    context: &Context,
    local: &LocalEnvironment<'_>,
    environment: &Environment,
    surroundings: &Surroundings,
    events: &Events,
) -> Result<String> {
    let LocalEnvironment { docker, platform } = local;
    let plan = &environment.plan;
    events.send(Event::Started { phase: Phase::Environment, detail: plan.describe() });
    let finished = |detail: String| events.send(Event::Finished { phase: Phase::Environment, detail });
    if let EnvironmentPlan::Base { base } = plan
        && docker.image(&base.value).await?.is_some_and(|image| image.platform() == *platform)
    {
        finished(format!("is {} (from {})", short_name(&base.value), base.source));
        return Ok(base.value.clone());
    }
    let key = environment.key(platform);
    // One for all projects: the key says what it is made of, whoever made it first.
    let tag = format!("{ENVIRONMENTS}:env-{}", key.short());
    if docker.image(&tag).await?.is_some() {
        finished(format!("{} is unchanged", plan.describe()));
        return Ok(tag);
    }
    let builder = docker.builder().await?;
    if builder == Builder::Classic && !surroundings.packages.passwords().is_empty() {
        events.warn("this engine has no BuildKit, and its builds get no logins for package indexes".to_owned());
    }
    say_how_to_trust(plan, surroundings, builder, events);
    let logins = Logins::new(context);
    let mut build = build_plan(environment, surroundings, builder);
    if builder == Builder::Classic {
        build.logins = logins.of(plan).await;
    }
    build.tags = vec![tag.clone()];
    build.platform = Some(platform.clone()).filter(|platform| *platform != docker.platform());
    build.labels.insert(label::MANAGED_BY.to_owned(), label::MANAGED_BY_NAUTA.to_owned());
    let done = docker.build_asking(&build, Some(logins.finder()), events).await;
    done.map_err(|error| with_hints(logins.explain(error), environment))?;
    finished(format!("built {}", plan.describe()));
    Ok(tag)
}

/// A failure of a build, and what may be the reason: what it was told to read, and is not there; or words that the engine's
/// builder does not know.
fn with_hints(mut failure: Failure, environment: &Environment) -> Failure {
    for problem in &environment.inputs.problems {
        failure = failure.hinted(format!("{problem}: {}", problem.hint()));
    }
    match &environment.plan {
        // A builder without here-documents takes their lines for instructions.
        EnvironmentPlan::Dockerfile { path, text, .. }
            if text.contains("<<") && failure.to_string().contains("unknown instruction") =>
        {
            failure.hinted(format!(
                "{path} has a here-document (`<<`), which this engine's own builder does not know: begin it with \
                 `# syntax=docker/dockerfile:1`, or update Docker"
            ))
        }
        _ => failure,
    }
}

fn build_plan(environment: &Environment, surroundings: &Surroundings, builder: Builder) -> BuildPlan {
    let Environment { plan, inputs, folder } = environment;
    let mut context = Vec::new();
    let mut options = BuildOptions::default();
    let own = own_secrets(environment, surroundings, builder);
    let (dockerfile, is_built) = match plan {
        EnvironmentPlan::Base { base } => (Dockerfile::Text(format!("FROM {}\n", base.value)), false),
        EnvironmentPlan::Dockerfile { path, text, options: said } => {
            context.push((path.clone().into_bytes(), ContextFile::Bytes(text.clone().into_bytes())));
            options = said.clone();
            (Dockerfile::InContext(path.clone()), true)
        }
        EnvironmentPlan::Generated { base, recipe } => {
            let site = Site::new(inputs, folder);
            (Dockerfile::Text(render(&base.value, recipe, &site, builder, &mounts(surroundings, &own))), true)
        }
    };
    let is_dockerfile = |path: &[u8]| matches!(&dockerfile, Dockerfile::InContext(own) if own.as_bytes() == path);
    for (path, input) in inputs.files.iter().filter(|(path, _)| !is_dockerfile(path)) {
        let file = match &input.content {
            _ if input.hollow => ContextFile::Bytes(Vec::new()),
            Content::Directory => ContextFile::Folder,
            Content::Link { target } => ContextFile::Link(target.clone()),
            Content::File { digest, size, executable } => ContextFile::Version {
                path: inputs.place(path),
                digest: digest.clone(),
                size: *size,
                executable: *executable,
            },
        };
        context.push((path.clone(), file));
    }
    let mut build = BuildPlan::new(dockerfile, builder);
    (build.args, build.target) = (options.args, options.target);
    if is_built {
        build.secrets = surroundings.secrets.iter().cloned().chain(own).collect();
        build.agents.clone_from(&surroundings.agents);
        match (builder, &surroundings.ca_bundle) {
            (_, None) => {}
            (Builder::BuildKit, Some(ca)) => build.secrets.push((CA_SECRET.to_owned(), Secret::new(ca))),
            (Builder::Classic, Some(ca)) => context.push((CA_SECRET.into(), ContextFile::Bytes(ca.clone().into()))),
        }
    }
    build.context = context;
    build.proxies = surroundings.proxies.clone();
    build
}

/// What the tools of this workstation know of where packages come from, as secrets for a Dockerfile that nauta writes.
fn own_secrets(environment: &Environment, surroundings: &Surroundings, builder: Builder) -> Vec<(String, Secret)> {
    let recipe = match &environment.plan {
        EnvironmentPlan::Generated { recipe, .. } if builder == Builder::BuildKit => recipe,
        _ => return Vec::new(),
    };
    if recipe.dependencies.is_none() {
        return Vec::new();
    }
    let packages = &surroundings.packages;
    let named = surroundings.secrets.iter().filter(|(id, _)| is_variable_name(id));
    let all = [
        (VARIABLES_SECRET, packages.shell(named.map(|(id, value)| (id.as_str(), value)))),
        (NETRC_SECRET, packages.netrc(&texts(&environment.inputs))),
        (CONDARC_SECRET, packages.condarc().cloned()),
    ];
    all.into_iter().filter_map(|(id, secret)| Some((id.to_owned(), secret?))).collect()
}

/// What the files say that name packages.
fn texts(inputs: &Inputs) -> Vec<String> {
    let paths = inputs.files.iter().filter(|(_, input)| matches!(input.content, Content::File { .. }) && !input.hollow);
    let named = paths.filter(|(path, _)| {
        let path = String::from_utf8_lossy(path);
        may_name_indexes(&path) || path.ends_with(".txt") || path.ends_with(".in")
    });
    // What cannot be read is said where it is sent.
    named.filter_map(|(path, _)| read_text(&inputs.place(path), KEPT).ok()).collect()
}

/// What the steps of a Dockerfile that nauta writes get.
fn mounts(surroundings: &Surroundings, own: &[(String, Secret)]) -> Mounts {
    let has = |id: &str| own.iter().any(|(own, _)| own == id);
    Mounts {
        ca: surroundings.ca_bundle.is_some(),
        variables: has(VARIABLES_SECRET),
        netrc: has(NETRC_SECRET),
        condarc: has(CONDARC_SECRET),
        secrets: surroundings.secrets.iter().map(|(id, _)| id.clone()).collect(),
        agents: surroundings.agents.iter().map(|(id, _)| id.clone()).collect(),
    }
}

/// A Dockerfile of the user's own trusts what it says itself: certificates are offered to it, and that is said.
fn say_how_to_trust(plan: &EnvironmentPlan, surroundings: &Surroundings, builder: Builder, events: &Events) {
    let EnvironmentPlan::Dockerfile { path, text, .. } = plan else { return };
    if surroundings.ca_bundle.is_none() || text.contains(CA_SECRET) {
        return;
    }
    events.note(match builder {
        Builder::BuildKit => format!(
            "{path} does not use the certificates of `ca_bundle`: a step gets them with `RUN --mount=type=secret,id={CA_SECRET},mode=0444`, \
             as /run/secrets/{CA_SECRET}, and trusts them with `SSL_CERT_FILE=/run/secrets/{CA_SECRET} PIP_CERT=/run/secrets/{CA_SECRET} …`"
        ),
        Builder::Classic => format!(
            "{path} does not use the certificates of `ca_bundle`: they are the file `{CA_SECRET}` for its COPY instructions"
        ),
    });
}
