//! A run on this engine as a value, and the containers and the network that it means.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, EndpointSettings, HostConfig, HostConfigLogConfig, Mount, MountType,
    NetworkCreateRequest, NetworkingConfig, VolumeCreateRequest,
};

use super::contents::Code;
use super::owner::Owner;
use crate::job::RunSpec;
use crate::secret::Secret;
use crate::{env_vars, layout};

/// Label: the process that answers for the run.
pub(super) const OWNER: &str = "nauta.dev/owner";
/// Label: the process that cleans up after the owner.
pub(super) const JANITOR: &str = "nauta.dev/janitor";
/// Label: `stdin` when the run ends with its owner, `none` when it goes on without.
pub(super) const LEASE: &str = "nauta.dev/lease";
/// Label: seconds that the run is kept after its end.
pub(super) const KEEP: &str = "nauta.dev/keep-seconds";

/// How many processes and threads a rank may have at a time: more than any program means to, and less than what a fork that
/// never ends would take from the workstation.
const MOST_PROCESSES: i64 = 32_768;

/// A run for this engine.
#[derive(Clone)]
pub struct LocalPlan {
    /// What is to run.
    pub spec: RunSpec,
    /// The environment image, by name or id; it must be there.
    pub image: String,
    /// What runs as PID 1; the command follows it. [`LocalPlan::SUPERVISE`] unless there is a reason.
    pub entrypoint: Vec<String>,
    /// The supervisor's binary, for Linux and the engine's architecture.
    pub supervisor: PathBuf,
    /// What is put into `/workspace/<project>`.
    pub code: Code,
    /// Put in as [`layout::RUN_KEY`].
    pub run_key: Secret,
    /// The program's secrets, by variable: put in as [`layout::SECRETS`].
    pub secrets: BTreeMap<String, Secret>,
    /// Size of `/dev/shm` in bytes; absent: the engine's default of 64 MiB.
    pub shm_bytes: Option<u64>,
    /// Whether the run ends as soon as this process is no more.
    pub lease: bool,
    /// The program that cleans up after us.
    pub janitor: JanitorProgram,
}

/// How to start the process that cleans up: a program that calls [`super::super::janitor::main`].
#[derive(Clone, Debug)]
pub struct JanitorProgram {
    /// The program; usually this very binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl LocalPlan {
    /// What runs as PID 1: the supervisor, which runs what follows.
    pub const SUPERVISE: [&'static str; 3] = [layout::SUPERVISOR, "supervise", "--"];

    pub(super) fn run(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn ranks(&self) -> std::ops::Range<u32> {
        0..self.spec.nodes
    }

    pub(super) fn labels(&self, janitor: &Owner) -> HashMap<String, String> {
        use layout::label;
        let spec = &self.spec;
        [
            (label::MANAGED_BY, label::MANAGED_BY_NAUTA.to_owned()),
            (label::RUN, spec.name.clone()),
            (label::PROJECT, spec.project.clone()),
            (label::USER, spec.user.clone()),
            (label::NODES, spec.nodes.to_string()),
            (label::COMMAND, json(&spec.command)),
            (label::SNAPSHOT, spec.snapshot.to_string()),
            (label::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
            (LEASE, if self.lease { "stdin" } else { "none" }.to_owned()),
            (KEEP, spec.deadlines.keep.as_secs().to_string()),
            (OWNER, json(&Owner::this_process())),
            (JANITOR, json(janitor)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    pub(super) fn network(&self, labels: &HashMap<String, String>) -> NetworkCreateRequest {
        NetworkCreateRequest {
            name: network_name(self.run()),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.clone()),
            ..NetworkCreateRequest::default()
        }
    }

    /// What the ranks share, where they do. The engine's own volumes have no size.
    pub(super) fn volume(&self, labels: &HashMap<String, String>) -> Option<VolumeCreateRequest> {
        self.spec.shared.map(|_| VolumeCreateRequest {
            name: Some(volume_name(self.run())),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        })
    }

    fn mounts(&self) -> Option<Vec<Mount>> {
        let shared = self.spec.shared.map(|_| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume_name(self.run())),
            target: Some(layout::SHARED.to_owned()),
            ..Mount::default()
        });
        shared.map(|mount| vec![mount])
    }

    /// A rank's container; `own` is the image's entry point, which the supervisor is told of.
    pub(super) fn container(&self, rank: u32, labels: &HashMap<String, String>, own: &[String]) -> ContainerCreateBody {
        let user = layout::USER_ID;
        let mut labels = labels.clone();
        labels.insert(layout::label::RANK.to_owned(), rank.to_string());
        ContainerCreateBody {
            hostname: Some(layout::hostname(self.run(), rank)),
            user: Some(format!("{user}:{user}")),
            image: Some(self.image.clone()),
            entrypoint: Some(self.entrypoint.clone()),
            cmd: Some(self.spec.command.clone()),
            working_dir: Some(layout::project_folder(&self.spec.project)),
            env: Some(self.env(rank, own)),
            labels: Some(labels),
            open_stdin: Some(self.lease),
            stdin_once: Some(self.lease),
            attach_stdin: Some(self.lease),
            host_config: Some(self.host_config()),
            networking_config: Some(self.networking(rank)),
            ..ContainerCreateBody::default()
        }
    }

    fn env(&self, rank: u32, own: &[String]) -> Vec<String> {
        let mut env = self.spec.supervisor_env(&layout::coordinator(self.run()), None);
        env.push((env_vars::RANK.to_owned(), rank.to_string()));
        if self.lease {
            env.push((env_vars::LEASE.to_owned(), "stdin".to_owned()));
        }
        if !own.is_empty() {
            env.push((env_vars::ENTRYPOINT.to_owned(), json(&own)));
        }
        if !self.spec.env.contains_key("HOME") {
            env.push(("HOME".to_owned(), layout::HOME.to_owned()));
        }
        env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn host_config(&self) -> HostConfig {
        let resources = &self.spec.resources;
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let memory = resources.memory.map(|memory| signed(memory.bytes));
        let gpus = DeviceRequest {
            count: Some(i64::from(resources.gpus)),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        };
        HostConfig {
            network_mode: Some(network_name(self.run())),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            shm_size: self.shm_bytes.map(signed),
            nano_cpus: resources.cpu.map(|cpu| signed(cpu.milli.saturating_mul(1_000_000))),
            memory,
            // Without a limit of its own, swap would double the memory.
            memory_swap: memory,
            pids_limit: Some(MOST_PROCESSES),
            device_requests: (resources.gpus > 0).then(|| vec![gpus]),
            log_config: Some(bounded_log()),
            mounts: self.mounts(),
            ..HostConfig::default()
        }
    }

    fn networking(&self, rank: u32) -> NetworkingConfig {
        let run = self.run();
        let host = layout::hostname(run, rank);
        let endpoint = EndpointSettings {
            // On Kubernetes, the run's service puts the second name there.
            aliases: Some(vec![host.clone(), format!("{host}.{run}")]),
            ..EndpointSettings::default()
        };
        NetworkingConfig { endpoints_config: Some([(network_name(run), endpoint)].into()) }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers serialise")
}

/// The name of a run's network.
pub(super) fn network_name(run: &str) -> String {
    format!("nauta-{run}")
}

/// The name of the volume that a run's ranks share.
fn volume_name(run: &str) -> String {
    format!("nauta-{run}-shared")
}

/// The name of a rank's container.
pub(super) fn container_name(run: &str, rank: u32) -> String {
    format!("nauta-{}", layout::hostname(run, rank))
}

/// The engine keeps what containers write for `docker logs`; the journal has it all, so this need not grow for ever.
fn bounded_log() -> HostConfigLogConfig {
    let config = [("max-size", "32m"), ("max-file", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(config.into()) }
}
