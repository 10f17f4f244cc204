//! The environment: base and dependencies, and the key that says whether it was made before.

use crate::digest::{Digest, Hasher};
use crate::settings::Setting;
use crate::snapshot::Content;

use super::build_options::BuildOptions;
use super::dockerfile::{Recipe, Site, render};
use super::inputs::Inputs;
use super::mounts::Mounts;
use super::stages::{bases, pinned};
use super::torch::Torch;

/// Which builder reads the Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    /// With mounts for caches and secrets.
    BuildKit,
    /// The engine's classic builder.
    Classic,
}

/// How an environment is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentPlan {
    /// The base is all that is needed.
    Base {
        /// The image.
        base: Setting<String>,
    },
    /// A Dockerfile of the user's own.
    Dockerfile {
        /// Relative to the project.
        path: String,
        /// Its text.
        text: String,
        /// What it is built with.
        options: BuildOptions,
    },
    /// A Dockerfile that nauta writes.
    Generated {
        /// The image to build on.
        base: Setting<String>,
        /// What goes on top of it.
        recipe: Box<Recipe>,
    },
}

impl EnvironmentPlan {
    /// What it is made of, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Base { base } => shown(&base.value).to_owned(),
            Self::Dockerfile { path, .. } => format!("{path} of the project"),
            Self::Generated { base, recipe } => {
                let mut parts = vec![shown(&base.value).to_owned()];
                if !recipe.packages.is_empty() {
                    parts.push(recipe.packages.join(", "));
                }
                parts.extend(recipe.dependencies.as_ref().map(|dependencies| dependencies.file().to_owned()));
                parts.join(" + ")
            }
        }
    }

    /// The names of the images that it is built on.
    pub fn bases(&self) -> Vec<String> {
        match self {
            Self::Base { base } | Self::Generated { base, .. } => vec![base.value.clone()],
            Self::Dockerfile { text, options, .. } => bases(text, &options.args),
        }
    }

    /// The same with other names for the images that it is built on, where `pin` gives one.
    #[must_use]
    pub fn pinned(self, pin: impl Fn(&str) -> Option<String>) -> Self {
        let named =
            |base: Setting<String>| Setting { value: pin(&base.value).unwrap_or(base.value), source: base.source };
        match self {
            Self::Base { base } => Self::Base { base: named(base) },
            Self::Generated { base, recipe } => Self::Generated { base: named(base), recipe },
            Self::Dockerfile { path, text, options } => {
                let text = pinned(&text, &options.args, pin);
                Self::Dockerfile { path, text, options }
            }
        }
    }
}

/// An image's name without its digest, for people.
fn shown(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

/// An environment: how it is made, and what that reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// How.
    pub plan: EnvironmentPlan,
    /// What it reads.
    pub inputs: Inputs,
    /// The folder that the project's code has in ranks (see [`crate::layout::project_folder`]).
    pub folder: String,
}

impl Environment {
    /// What was chosen that somebody may want otherwise. `unread`: files that name dependencies, too.
    pub fn notes(&self, unread: &[String]) -> Vec<String> {
        let EnvironmentPlan::Generated { recipe, .. } = &self.plan else { return Vec::new() };
        let mut notes = Vec::new();
        let place = |name: &str| match self.inputs.project.as_str() {
            "" => name.to_owned(),
            project => format!("{project}/{name}"),
        };
        let is_read = |name: &String| self.inputs.files.contains_key(place(name).as_bytes());
        let unread: Vec<&str> = unread.iter().filter(|name| !is_read(name)).map(String::as_str).collect();
        if let Some(dependencies) = recipe.dependencies.as_ref().filter(|_| !unread.is_empty()) {
            notes.push(format!("dependencies come from {}; not read: {}", dependencies.file(), unread.join(", ")));
        }
        if let Some(Torch { index: Some(index), is_said: false, .. }) = &recipe.torch {
            notes.push(format!(
                "PyTorch comes from {index}, as the run asks for no accelerators (`--gpus`, or `pytorch` under [environment])"
            ));
        }
        notes
    }

    /// Its key: the digest of all that it is made from. The base counts by its name, and so by its digest where the project's lock
    /// file pins it.
    pub fn key(&self, platform: &str) -> Digest {
        let mut hasher = Hasher::default();
        let mut field = |text: &[u8]| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        field(format!("nauta environment 2 {platform}").as_bytes());
        match &self.plan {
            EnvironmentPlan::Base { base } => field(base.value.as_bytes()),
            EnvironmentPlan::Dockerfile { text, options, .. } => {
                field(text.as_bytes());
                options.fields().for_each(|text| field(text.as_bytes()));
            }
            // All that nauta decides stands in its Dockerfile; which builder reads it does not matter.
            EnvironmentPlan::Generated { base, recipe } => {
                let site = Site::new(&self.inputs, &self.folder);
                field(render(&base.value, recipe, &site, Builder::BuildKit, &Mounts::default()).as_bytes());
            }
        }
        field(self.inputs.project.as_bytes());
        for (path, input) in &self.inputs.files {
            field(path);
            match &input.content {
                _ if input.hollow => field(b"hollow"),
                Content::File { digest, executable, .. } => {
                    field(digest.as_str().as_bytes());
                    field(&[u8::from(*executable)]);
                }
                Content::Link { target } => field(&[b"link ", target.as_slice()].concat()),
                Content::Directory => field(b"folder"),
            }
        }
        hasher.finish()
    }
}
