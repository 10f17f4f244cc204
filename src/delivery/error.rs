//! What can go wrong on the way from a project to an image.

use std::path::PathBuf;

use crate::architecture::Architecture;
use crate::bounded_file;
use crate::diagnosis::{Diagnosis, Kind};
use crate::image::compose::ComposeError;
use crate::image::inputs::Problem;
use crate::image::passwords::is_dockerfile;

/// What went wrong on the way from a project to an image.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// There is nothing to run programs in.
    #[error("no base image is set, and `{}` has no Dockerfile and no Python dependencies", root.display())]
    NoBase {
        /// The project.
        root: PathBuf,
    },
    /// Something for a Dockerfile, and there is none.
    #[error("a {what} is for a Dockerfile, and this environment is made without one")]
    NoDockerfile {
        /// What.
        what: &'static str,
    },
    /// What a build needs cannot be read.
    #[error("{0}")]
    Input(Box<Problem>),
    /// A tool's file, and nauta installs nothing with that tool.
    #[error("`{file}` is for {}, which nauta does not install with", tool_of(file))]
    Foreign {
        /// The file.
        file: String,
    },
    /// An extra or a group that the project does not have.
    #[error("pyproject.toml has neither an extra nor a group `{name}`")]
    NoSuchGroup {
        /// Its name.
        name: String,
    },
    /// A file of the project is not one that is read.
    #[error("cannot read `{}`", path.display())]
    ProjectFile {
        /// The file, relative to the project.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A temporary or state file cannot be written or read.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An image is not what it should be.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// A file that was to be sent holds a secret.
    #[error("`{path}` line {line} looks like {kind}; nothing of it was sent")]
    Secret {
        /// The file, relative to the project.
        path: String,
        /// From 1.
        line: usize,
        /// What it looks like.
        kind: &'static str,
    },
    /// A file that a build reads holds a password.
    #[error("`{path}` line {line} holds a password, which images that are pushed would show")]
    Password {
        /// The file, relative to the project.
        path: String,
        /// From 1.
        line: usize,
    },
    /// A registry has no image of that name.
    #[error("there is no image `{name}`")]
    NoImage {
        /// The name.
        name: String,
    },
    /// An image is no longer in Docker.
    #[error("Docker no longer has the environment image `{image}` as it was")]
    Vanished {
        /// Its name.
        image: String,
    },
    /// The image's name is none.
    #[error(transparent)]
    Reference(#[from] crate::image::InvalidReference),
    /// The environment image is for other machines.
    #[error("the environment image is for {found}, and the nodes are {expected}")]
    Platform {
        /// What the image says.
        found: String,
        /// What the nodes are.
        expected: String,
    },
    /// The nodes have other processors than this machine, and nothing to run there was installed.
    #[error("the nodes are {}, and no nauta for them is at `{}`", architecture.platform(), path.display())]
    NoSupervisor {
        /// What the nodes are.
        architecture: Architecture,
        /// Where it would be.
        path: PathBuf,
    },
    /// A supervisor is not what was installed.
    #[error("`{}` is not what its checksum says", path.display())]
    DamagedSupervisor {
        /// The file.
        path: PathBuf,
    },
    /// The nodes have processors that nauta does not run on.
    #[error(transparent)]
    Architecture(#[from] crate::architecture::UnknownArchitecture),
}

impl Diagnosis for DeliveryError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoBase { .. } => {
                vec![
                    "set `base` under `[environment]` in nauta.toml, or begin with `nauta init --template pytorch`"
                        .to_owned(),
                ]
            }
            Self::NoDockerfile { .. } => {
                vec![
                    "write a Dockerfile, or leave out `--build-arg`, `--build-target` and their keys in nauta.toml"
                        .to_owned(),
                ]
            }
            Self::Input(problem) => vec![problem.hint()],
            Self::Foreign { file } => vec![
                match tool_of(file) {
                    "pixi" => "`pixi project export conda-environment environment.yml` writes a file that is installed from, once the \
                               others are left out of the project; a Dockerfile on pixi's own image does as well"
                        .to_owned(),
                    _ => "`requirements` under [environment] in nauta.toml names a file of pip's; an environment.yml is installed from, too"
                        .to_owned(),
                },
                "`install = false` under [environment] in nauta.toml takes the base as it is".to_owned(),
            ],
            Self::NoSuchGroup { .. } => vec!["check `extras` and `groups` under [environment] in nauta.toml".to_owned()],
            Self::Secret { path, .. } => vec![
                format!("take it out of the file, or leave the file out with a line `{path}` in .nautaignore"),
                format!("`!{path}` in .nautaignore sends it nonetheless"),
            ],
            Self::Password { path, .. } if is_dockerfile(path) => vec![
                "give it with `--build-secret id=ID,env=VARIABLE`, and read it with `RUN --mount=type=secret,id=ID`".to_owned(),
                format!("if it opens nothing: `!{path}` in .nautaignore"),
            ],
            Self::Password { path, .. } => vec![
                "take it out: builds get the logins of `~/.netrc`, pip.conf, `PIP_INDEX_URL`, `UV_INDEX_NAME_PASSWORD` as secrets".to_owned(),
                "or write `${NAME}` in its place, and name NAME in `names` under `[environment.secrets]` in nauta.toml".to_owned(),
                format!("if it opens nothing: `!{path}` in .nautaignore"),
            ],
            Self::NoImage { .. } => vec!["check its name and tag".to_owned()],
            Self::Vanished { .. } => vec!["run the command again; it is built anew".to_owned()],
            Self::ProjectFile { source, .. } => vec![bounded_file::hint(source, "check its name and permissions")],
            Self::File { .. } => vec!["check permissions and free space".to_owned()],
            Self::Compose(ComposeError::TooManyLayers(_)) => vec!["build it on a base with fewer layers".to_owned()],
            Self::Compose(_) => vec!["is it really a container image?".to_owned()],
            Self::Reference(_) => vec!["write it as for `docker pull`".to_owned()],
            Self::Platform { .. } => vec!["build the image for the nodes' architecture".to_owned()],
            Self::NoSupervisor { architecture, .. } => vec![
                format!(
                    "put the release archive for linux-{} beside install.sh, and run install.sh again",
                    architecture.machine()
                ),
                "or say `architecture` in the target, if some of its nodes have this machine's".to_owned(),
            ],
            Self::DamagedSupervisor { .. } => vec!["install nauta again".to_owned()],
            Self::Architecture(_) => vec!["nauta runs on amd64 and arm64 nodes".to_owned()],
        }
    }
}

/// The tool that a file is for.
fn tool_of(file: &str) -> &'static str {
    if file.starts_with("pixi") { "pixi" } else { "conda-lock" }
}
