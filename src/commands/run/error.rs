//! What can be wrong with a run before it begins.

use std::path::PathBuf;

use crate::bounded_file::{self, Unfit};
use crate::diagnosis::{Diagnosis, Kind};
use crate::env_vars;
use crate::job::Nodes;

#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("{what} cannot be {value}")]
    Value { what: String, value: String, hint: String },
    #[error("there is nothing to run in `{directory}`")]
    NoCommand { directory: String, programs: Vec<String> },
    #[error("`{path}` is not among the files that are sent from `{}`{}", root.display(), left.as_ref().map(|left| format!(": {left}")).unwrap_or_default())]
    NoScript { path: String, root: PathBuf, left: Option<String>, near: Option<String> },
    #[error("the directory is empty")]
    Empty,
    #[error(transparent)]
    Quantity(#[from] crate::job::quantity::InvalidQuantity),
    #[error(transparent)]
    Restarts(#[from] crate::job::restarts::InvalidRestarts),
    #[error("{0} (from --nodes)")]
    Nodes(#[from] crate::job::nodes::InvalidNodes),
    #[error("a run whose ranks are started by rank 0 needs all of them, and `--nodes {0}` lets it go on with fewer")]
    ElasticLaunch(Nodes),
    #[error(transparent)]
    Launch(#[from] crate::job::launch::UnknownLaunch),
    #[error(transparent)]
    Variables(#[from] crate::job::variables::UnknownVariables),
    #[error("`{name}` (from {from}) is nauta's to set")]
    Fact { name: String, from: &'static str },
    #[error("{0} (from --outputs or `[outputs]` in nauta.toml)")]
    Outputs(#[from] crate::job::InvalidPattern),
    #[error("a secret value cannot be made: {0}")]
    Random(getrandom::Error),
    #[error("cannot take the certificates in `{}` (from {source_text})", path.display())]
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
            Self::NoCommand { programs, .. } => {
                let program = programs.first().map_or("python3 train.py", String::as_str);
                format!("say it, as in `nauta run {program}`, or set `run.command` in nauta.toml")
            }
            Self::NoScript { left: Some(_), .. } => "`nauta files` shows what else is left out".to_owned(),
            Self::NoScript { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::NoScript { .. } => {
                "paths in a command are relative to the project's folder; `nauta files --all` lists what is sent"
                    .to_owned()
            }
            Self::Empty => "begin with `nauta init --template pytorch`, or go to your program's directory".to_owned(),
            Self::Quantity(_) => "amounts are written as Kubernetes writes them".to_owned(),
            Self::Restarts(_) => "for example `--restarts 3 --restart-on signal,lost,75`".to_owned(),
            Self::Nodes(_) => "for example `--nodes 4`".to_owned(),
            Self::ElasticLaunch(nodes) => format!("`--nodes {}`, or a program that all ranks run", nodes.most),
            Self::Launch(_) => {
                "`--launch rank0` for a program that starts the other ranks' itself, as mpirun does".to_owned()
            }
            Self::Variables(_) => "for example `--variables torch`".to_owned(),
            Self::Fact { name, .. } if name.starts_with(env_vars::PREFIX) => {
                "take another name: those that begin with `NAUTA_` are nauta's own".to_owned()
            }
            Self::Fact { .. } => {
                "leave it out, as each rank gets its own value; with `--variables none` all are yours".to_owned()
            }
            Self::Outputs(_) => {
                "for example `--outputs 'data/*.bin'`, or `--outputs '!logs/'` to leave files out".to_owned()
            }
            Self::Random(_) => "the system's random source does not answer".to_owned(),
            Self::Certificates { source, .. } if Unfit::of(source) == Some(Unfit::Outside) => {
                "put a copy into the project, or name the file in your own configuration: `defaults.ca_bundle`"
                    .to_owned()
            }
            Self::Certificates { source, .. } => {
                bounded_file::hint(source, "name a readable file of PEM certificates and nothing else")
            }
            Self::DryRunLocal => "name a target with `--target`".to_owned(),
        };
        vec![hint]
    }
}
