//! The project's own file, `nauta.toml`. It is data: no hooks, and nothing that points somebody's credentials elsewhere.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuildSecretsSection, CommandLine, SecretsSection};
use crate::job::{Launch, Nodes, Variables};

/// `nauta.toml`: makes a project's choices permanent. Every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectFile {
    /// The project itself.
    pub project: ProjectSection,
    /// What the program needs around it.
    pub environment: EnvironmentSection,
    /// How it runs.
    pub run: RunSection,
    /// How much of what it writes is brought back.
    pub outputs: OutputsSection,
    /// The secrets that the program needs, by name.
    pub secrets: SecretsSection,
}

/// The project itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectSection {
    /// Its name; the directory's name where absent.
    pub name: Option<String>,
}

/// What the program needs around it: the environment image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentSection {
    /// The image to build on.
    pub base: Option<String>,
    /// A Dockerfile of your own, relative to the project; excludes the keys below.
    pub dockerfile: Option<String>,
    /// A file of Python requirements, relative to the project; found by itself when it is called `requirements.txt`.
    pub requirements: Option<String>,
    /// Whether what the project declares (locks, requirements, `pyproject.toml`) is installed; it is where absent.
    pub install: Option<bool>,
    /// Extras of the project to install; `all` is every one.
    pub extras: Vec<String>,
    /// Groups of dependencies to install (PEP 735, Poetry's, Pipenv's `dev`); absent: those that the tool takes by itself.
    pub groups: Option<Vec<String>>,
    /// Where pip gets PyTorch: a build of its own index as `cpu` or `cu126`, an index's address, or `pypi`; absent: `cpu` for runs
    /// without accelerators.
    pub pytorch: Option<String>,
    /// Debian packages to install.
    pub packages: Vec<String>,
    /// A file of certificates that builds must trust, in the project (company proxies).
    pub ca_bundle: Option<String>,
    /// Values for the Dockerfile's `ARG` instructions. The image's history shows them: they are no place for secrets.
    pub args: BTreeMap<String, String>,
    /// The stage of the Dockerfile to build; its last one where absent.
    pub target: Option<String>,
    /// The secrets that the build needs, by name.
    pub secrets: BuildSecretsSection,
}

/// How the program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunSection {
    /// The program and its arguments.
    pub command: Option<CommandLine>,
    /// How many ranks: a number, or `LEAST:MOST` as `3:4` for a run that goes on with fewer when some are lost.
    pub nodes: Option<Nodes>,
    /// Processors of each rank, as `2` or `500m`.
    pub cpu: Option<String>,
    /// Main memory of each rank, as `8Gi`.
    pub memory: Option<String>,
    /// Accelerators of each rank.
    pub gpus: Option<u32>,
    /// Variables for the program.
    pub env: BTreeMap<String, String>,
    /// Whether the record of a run (`runs/RUN/.nauta/record.json`) holds the values of its variables, and not only their names.
    pub record_env: bool,
    /// How often all ranks begin again after one has failed.
    pub restarts: Option<u32>,
    /// After which failures: `failure` (any), `signal`, `memory`, `lost`, `stall`, exit codes; separated by commas.
    pub restart_on: Option<String>,
    /// How long the run may take, as `12h` or `2d`.
    pub max_duration: Option<String>,
    /// How long a rank has between being asked to stop and being killed, as `30s`.
    pub grace: Option<String>,
    /// How long nothing may move, at a rank's end, before outputs that are not delivered are given up, as `5m`.
    pub drain: Option<String>,
    /// How long no rank may give a sign of life before the run has stalled, as `10m`.
    pub stall_timeout: Option<String>,
    /// Which ranks run the command: `all`, or `rank0`, whose program starts the others' itself. Absent: `rank0` for `mpirun`,
    /// `deepspeed` and their like, else `all`.
    pub launch: Option<Launch>,
    /// How many processes such a program starts on each rank; one for each accelerator where absent.
    pub slots: Option<u32>,
    /// Which variables the program finds beside `NAUTA_*`: `auto` (what frameworks read, in runs of several ranks), `none`, `torch`
    /// (PyTorch's also with one rank), `jax`, `slurm` or `mpi`; `auto` where absent.
    pub variables: Option<Variables>,
    /// How large a folder all ranks share, `$NAUTA_SHARED`, as `10Gi`; none where absent. On a cluster it needs a storage class
    /// that allows `ReadWriteMany`; on this workstation it is as large as Docker's disk.
    pub shared: Option<String>,
    /// The name of a target of the user's configuration, or `local`.
    pub target: Option<String>,
}

/// What of a run's files is brought back, and how much: a program that has gone wrong must not fill a workstation's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsSection {
    /// How large all files of a run may be together, as `500Gi`; 1 TiB where absent.
    pub max_size: Option<String>,
    /// How many files and folders a run may have; a million where absent.
    pub max_files: Option<u64>,
    /// Whether what the program makes or changes in its working directory comes back, beside `$NAUTA_OUTPUTS`; it does where
    /// absent.
    pub workspace: Option<bool>,
    /// Patterns as in a `.gitignore` of what comes back from there though it looks like a cache or a data set, or `exclude` names
    /// it.
    pub include: Vec<String>,
    /// Such patterns of what stays there.
    pub exclude: Vec<String>,
    /// The ranks whose working directories it comes from; all where absent.
    pub ranks: Vec<u32>,
    /// How large a file of a working directory may be to come back, as `20Gi`, unless `include` names it; any size where absent.
    pub max_file_size: Option<String>,
    /// How many files of each rank's working directory come back, beside those that `include` names; all where absent.
    pub max_rank_files: Option<u64>,
}
