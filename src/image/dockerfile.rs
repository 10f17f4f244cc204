//! The Dockerfile that nauta writes where the user has none.

use std::fmt::Write;

use super::Builder;
use super::inputs::Inputs;
use super::mounts::{CA_SECRET, Mounts, ca_path};
use super::recipe::{self, Step};
use super::torch::Torch;
use crate::project::{Declared, Dependencies, Heavy};

/// Where the inputs of a build are that leave nothing of themselves behind but what is installed.
const NOWHERE: &str = "/nauta/environment";
/// Where a repository is of which something above the project is installed: it stays there.
const REPOSITORY: &str = "/nauta/source";

/// What goes on top of a base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Debian packages.
    pub packages: Vec<String>,
    /// Python dependencies.
    pub dependencies: Option<Dependencies>,
    /// Extras of the project; `all` is every one.
    pub extras: Vec<String>,
    /// Groups of dependencies; none: what the tool takes by itself.
    pub groups: Option<Vec<String>>,
    /// What pip installs of the project's own description, where that is what is installed.
    pub declared: Declared,
    /// The large packages of a lock of uv's.
    pub heavy: Vec<Heavy>,
    /// The Python that uv is asked for: a version or a specifier.
    pub python: String,
    /// What is installed of PyTorch before all else.
    pub torch: Option<Torch>,
}

/// Where a build's inputs are in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The folder of the project's code in ranks, where something is installed such that its code is there; else empty.
    folder: String,
    /// Where the project is in the build's context; empty: it is all of it.
    prefix: String,
}

impl Site {
    /// The place for these inputs; `folder` is that of the project's code in ranks.
    pub fn new(inputs: &Inputs, folder: &str) -> Self {
        let folder = if inputs.is_located { folder.to_owned() } else { String::new() };
        Self { folder, prefix: inputs.project.clone() }
    }

    /// Where the context is put.
    fn source(&self) -> &str {
        match (self.folder.is_empty(), self.prefix.is_empty()) {
            (true, _) => NOWHERE,
            (false, true) => &self.folder,
            (false, false) => REPOSITORY,
        }
    }

    /// Where the project is in it.
    pub(super) fn project(&self) -> String {
        let source = self.source();
        if self.prefix.is_empty() { source.to_owned() } else { format!("{source}/{}", self.prefix) }
    }

    /// What is done when all is installed: the project's code comes with each run, and nothing of it is to be left.
    fn leave(&self) -> String {
        let (source, project, folder) = (self.source(), quote(&self.project()), quote(&self.folder));
        if source != REPOSITORY {
            return format!("rm -rf {}", quote(source));
        }
        format!("rm -rf {project} {source}/.nauta-build {source}/{CA_SECRET} && ln -s {folder} {project}")
    }
}

/// A word for a shell.
pub(super) fn quote(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| String::from("''"), std::borrow::Cow::into_owned)
}

/// The Dockerfile's text; its steps get the `mounts`. The classic builder has to copy certificates in, which is no leak
/// (certificates are public), and removes them again.
pub fn render(base: &str, recipe: &Recipe, site: &Site, builder: Builder, mounts: &Mounts) -> String {
    let mut text = format!("FROM {base}\nUSER 0\n");
    if mounts.ca && builder == Builder::Classic {
        let _ = writeln!(text, "COPY {CA_SECRET} {}", ca_path(builder));
    }
    if !recipe.packages.is_empty() {
        let step = recipe::packages(&recipe.packages, builder);
        run(&mut text, builder, mounts, &step);
    }
    if let Some(dependencies) = &recipe.dependencies {
        let steps = recipe::steps(recipe, dependencies, site);
        for step in &steps.before {
            run(&mut text, builder, mounts, step);
        }
        let source = site.source();
        let _ = writeln!(text, "COPY [\".\", {}]", serde_json::Value::from(format!("{source}/")));
        for step in &steps.install {
            run(&mut text, builder, mounts, step);
        }
        let _ = writeln!(text, "RUN {}", site.leave());
        for (name, value) in &steps.variables {
            let _ = writeln!(text, "ENV {name}={value}");
        }
    }
    if mounts.ca && builder == Builder::Classic {
        let _ = writeln!(text, "RUN rm -f {}", ca_path(builder));
    }
    text
}

/// One `RUN`, with its caches and what it gets from the workstation.
fn run(text: &mut String, builder: Builder, mounts: &Mounts, step: &Step) {
    text.push_str("RUN ");
    if builder == Builder::BuildKit {
        for (cache, sharing) in &step.caches {
            // One for all projects: a cache is known by its path.
            let _ = write!(text, "--mount=type=cache,target={cache},sharing={sharing} ");
        }
    }
    text.push_str(&mounts.flags(builder));
    text.push_str("set -e");
    for command in mounts.commands(builder).iter().chain(&step.commands) {
        text.push_str("; \\\n    ");
        text.push_str(command);
    }
    text.push('\n');
}

/// Where what nauta installs is.
pub(super) const VENV: &str = "/opt/nauta/venv";

#[cfg(test)]
mod tests {
    use super::*;

    fn requirements() -> Recipe {
        let dependencies = Some(Dependencies::Requirements("deps/requirements.txt".to_owned()));
        Recipe { packages: vec!["git".to_owned()], dependencies, ..Recipe::default() }
    }

    #[test]
    fn secrets_and_caches_are_mounts_where_the_builder_has_them() {
        let site = Site::default();
        let certificates = Mounts { ca: true, ..Mounts::default() };
        let text = render("debian:12", &requirements(), &site, Builder::BuildKit, &certificates);
        assert!(text.starts_with("FROM debian:12\n"));
        assert!(text.contains("--mount=type=cache,target=/root/.cache/pip"), "{text}");
        assert!(text.contains("--mount=type=secret,id=nauta-ca"), "{text}");
        assert!(text.contains("COPY [\".\", \"/nauta/environment/\"]\n"), "{text}");
        let text = render("debian:12", &requirements(), &site, Builder::Classic, &certificates);
        assert!(!text.contains("--mount") && text.ends_with("RUN rm -f /nauta/environment/nauta-ca\n"), "{text}");
        assert!(!render("debian:12", &requirements(), &site, Builder::BuildKit, &Mounts::default()).contains("CERT"));
    }

    #[test]
    fn what_is_installed_in_place_is_installed_where_the_code_will_be() {
        let (folder, none) = ("/workspace/p".to_owned(), String::new());
        let text = |site: &Site| render("x", &requirements(), site, Builder::BuildKit, &Mounts::default());
        let inside = text(&Site { folder: folder.clone(), prefix: none });
        assert!(inside.contains("COPY [\".\", \"/workspace/p/\"]\n"), "{inside}");
        assert!(inside.contains("cd /workspace/p;") && inside.contains("\nRUN rm -rf /workspace/p\n"), "{inside}");
        let above = text(&Site { folder, prefix: "apps/p".to_owned() });
        assert!(above.contains("COPY [\".\", \"/nauta/source/\"]\n"), "{above}");
        assert!(above.contains("cd /nauta/source/apps/p;"), "{above}");
        assert!(above.contains("ln -s /workspace/p /nauta/source/apps/p"), "{above}");
    }
}
