//! The environment image: what it is made of, and its making by Docker.

use std::collections::BTreeMap;
use std::path::Path;

use super::DeliveryError;
use super::lock::logins;
use crate::bounded_file::{HAND_WRITTEN, read_text_inside};
use crate::context::Context;
use crate::diagnosis::{Failure, Result};
use crate::docker::{Docker, DockerError};
use crate::event::{Event, Events, Phase};
use crate::image::build_plan::{BuildPlan, ContextFile, Dockerfile};
use crate::image::inputs::{Inputs, gather};
use crate::image::{Builder, CA_SECRET, Environment, EnvironmentPlan, Recipe, Site, render};
use crate::layout::{label, project_folder};
use crate::project::{Dependencies, Project};
use crate::secret::Secret;
use crate::settings::{Setting, Source, UserFile};
use crate::snapshot::{Content, Snapshot};

/// The image that Python projects are built on where nobody says another.
const PYTHON: &str = "python:3.12-slim";
/// The same for projects with an `environment.yml`.
const CONDA: &str = "mambaorg/micromamba:2";

/// What environment images are called in Docker.
const ENVIRONMENTS: &str = "nauta/environment";

/// What builds need from the workstation.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Certificates to trust, and nothing else.
    pub ca_bundle: Option<String>,
    /// Proxy variables.
    pub proxies: BTreeMap<String, Secret>,
}

/// Decides how the environment is made. `snapshot` tells whether named files are there.
pub fn plan_environment(project: &Project, user: &UserFile, snapshot: &Snapshot) -> Result<EnvironmentPlan> {
    let section = &project.file.environment;
    let named = |path: &String, key: &'static str| {
        let clean = path.trim_start_matches("./").to_owned();
        match snapshot.entry(&clean).map(|entry| entry.content) {
            Some(Content::File { .. }) => Ok(clean),
            _ => Err(DeliveryError::NoFile { path: path.clone(), source_text: Source::ProjectFile(key).to_string() }),
        }
    };
    let base = Setting::any([
        (section.base.clone(), Source::ProjectFile("environment.base")),
        (user.defaults.base.clone(), Source::UserFile("defaults.base")),
    ]);
    let dockerfile = match &section.dockerfile {
        Some(path) => Some(named(path, "environment.dockerfile")?),
        None if section.base.is_none() && project.found.dockerfile => Some("Dockerfile".to_owned()),
        None => None,
    };
    if let Some(path) = dockerfile {
        let text = read_text_inside(&project.root, &path, HAND_WRITTEN)
            .map_err(|source| DeliveryError::ProjectFile { path: path.clone().into(), source })?;
        return Ok(EnvironmentPlan::Dockerfile { path, text });
    }
    let dependencies = match &section.requirements {
        Some(path) => Some(Dependencies::Requirements(named(path, "environment.requirements")?)),
        None => project.found.dependencies.clone(),
    };
    let is_python = dependencies.is_some() || project.found.program.is_some();
    let usual = if matches!(dependencies, Some(Dependencies::Conda(_))) { CONDA } else { PYTHON };
    let usual = is_python.then(|| Setting { value: usual.to_owned(), source: Source::Default });
    let base = base.or(usual).ok_or_else(|| DeliveryError::NoBase { root: project.root.clone() })?;
    if dependencies.is_none() && section.packages.is_empty() {
        return Ok(EnvironmentPlan::Base { base });
    }
    let mut packages = section.packages.clone();
    packages.sort();
    Ok(EnvironmentPlan::Generated { base, recipe: Recipe { packages, dependencies } })
}

/// What a plan's build reads; what a Dockerfile of nauta's own cannot do without has to be there. `state` is nauta's folder for what
/// may be lost.
pub fn environment(project: &Project, plan: EnvironmentPlan, snapshot: &Snapshot, state: &Path) -> Result<Environment> {
    let inputs = gather(&plan, project, snapshot, Some(state))?;
    if let (EnvironmentPlan::Generated { .. }, Some(problem)) = (&plan, inputs.problems.first()) {
        return Err(DeliveryError::Input(Box::new(problem.clone())).into());
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
        finished(format!("is {} (from {})", base.value, base.source));
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
    let mut build = build_plan(environment, surroundings, builder);
    build.logins = logins(context, plan, events).await?;
    build.tags = vec![tag.clone()];
    build.platform = Some(platform.clone()).filter(|platform| *platform != docker.platform());
    build.labels.insert(label::MANAGED_BY.to_owned(), label::MANAGED_BY_NAUTA.to_owned());
    let done = docker.build(&build, events).await;
    done.map_err(|error| with_hints(error, &environment.inputs))?;
    finished(format!("built {}", plan.describe()));
    Ok(tag)
}

/// A failure of a build, and what may be the reason: what it was told to read, and is not there.
fn with_hints(error: DockerError, inputs: &Inputs) -> Failure {
    let mut failure = Failure::from(error);
    for problem in &inputs.problems {
        failure = failure.hinted(format!("{problem}: {}", problem.hint()));
    }
    failure
}

fn build_plan(environment: &Environment, surroundings: &Surroundings, builder: Builder) -> BuildPlan {
    let Environment { plan, inputs, folder } = environment;
    let mut context = Vec::new();
    let ca = surroundings.ca_bundle.as_ref();
    let (dockerfile, uses_ca) = match plan {
        EnvironmentPlan::Base { base } => (Dockerfile::Text(format!("FROM {}\n", base.value)), false),
        EnvironmentPlan::Dockerfile { path, text } => {
            context.push((path.clone().into_bytes(), ContextFile::Bytes(text.clone().into_bytes())));
            (Dockerfile::InContext(path.clone()), true)
        }
        EnvironmentPlan::Generated { base, recipe } => {
            (Dockerfile::Text(render(&base.value, recipe, &Site::new(inputs, folder), builder, ca.is_some())), true)
        }
    };
    let is_dockerfile = |path: &[u8]| matches!(&dockerfile, Dockerfile::InContext(own) if own.as_bytes() == path);
    for (path, input) in inputs.files.iter().filter(|(path, _)| !is_dockerfile(path)) {
        let file = match &input.content {
            _ if input.hollow => ContextFile::Bytes(Vec::new()),
            Content::Directory => ContextFile::Folder,
            Content::Link { target } => ContextFile::Link(target.clone()),
            Content::File { digest, executable, .. } => {
                ContextFile::Version { path: inputs.place(path), digest: digest.clone(), executable: *executable }
            }
        };
        context.push((path.clone(), file));
    }
    let mut build = BuildPlan::new(dockerfile, builder);
    if let Some(certificates) = ca.filter(|_| uses_ca) {
        match builder {
            Builder::BuildKit => build.secrets.push((CA_SECRET.to_owned(), Secret::new(certificates))),
            Builder::Classic => context.push((CA_SECRET.into(), ContextFile::Bytes(certificates.clone().into()))),
        }
    }
    build.context = context;
    build.proxies = surroundings.proxies.clone();
    build
}
