//! The pod of a rank, within Pod Security `restricted`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath, LocalObjectReference,
    ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile,
    SecretVolumeSource, SecurityContext, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::credentials::variables;
use super::escape_expansion;
use super::indexed_job::seconds;
use super::metadata::labels;
use super::plan::{ClusterRun, DOCKER_CONFIG};
use super::shared;
use crate::env_vars;
use crate::job::{Memory, RunSpec};
use crate::layout::{self, label};

/// The name of a rank's main container.
pub const CONTAINER: &str = "rank";
/// Where Kubernetes says which rank a pod is: an annotation, and a label from 1.28 on.
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The label by which every kubelet says its node's architecture.
pub const NODE_ARCHITECTURE: &str = "kubernetes.io/arch";
/// `/dev/shm` when no memory was asked for, in bytes.
const DEFAULT_SHM: u64 = 1 << 30;
/// Seconds between the supervisor's own last deadline and the kubelet's SIGKILL.
const MARGIN: i64 = 5;
/// Seconds that a pod stays bound to a node that does not answer; Kubernetes' own default of 300 leaves a dead gang
/// waiting for five minutes.
const NODE_LOST: i64 = 60;

/// What the Job makes its pods from.
pub(super) fn template(spec: &RunSpec, at: &ClusterRun) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels(spec)), ..ObjectMeta::default() }),
        spec: Some(pod_spec(spec, at)),
    }
}

fn pod_spec(spec: &RunSpec, at: &ClusterRun) -> PodSpec {
    let pull_secrets = at.pull_secret_names(&spec.name);
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        subdomain: Some(spec.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(
            seconds(spec.deadlines.grace).saturating_add(seconds(spec.deadlines.drain)).saturating_add(MARGIN),
        ),
        security_context: Some(pod_security()),
        image_pull_secrets: some(pull_secrets.into_iter().map(|name| LocalObjectReference { name }).collect()),
        node_selector: (!at.node_selector.is_empty()).then(|| at.node_selector.clone()),
        tolerations: Some(tolerations(spec, at)),
        topology_spread_constraints: Some(vec![spread(spec)]),
        containers: vec![container(spec, at)],
        volumes: Some(volumes(spec, at)),
        ..PodSpec::default()
    }
}

fn pod_security() -> PodSecurityContext {
    let id = i64::from(layout::USER_ID);
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(id),
        run_as_group: Some(id),
        fs_group: Some(id),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// A preference only: a small cluster still runs all ranks.
fn spread(spec: &RunSpec) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(label::RUN.to_owned(), spec.name.clone())])),
            match_expressions: None,
        }),
        ..TopologySpreadConstraint::default()
    }
}

fn tolerations(spec: &RunSpec, at: &ClusterRun) -> Vec<Toleration> {
    let lost = |key: &str| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(NODE_LOST),
        value: None,
    };
    let mut tolerations = vec![lost("node.kubernetes.io/not-ready"), lost("node.kubernetes.io/unreachable")];
    if spec.resources.gpus > 0 {
        // Nodes with accelerators are often tainted with the resource's name, so that nothing else lands there.
        tolerations.push(Toleration {
            key: Some(at.gpu_resource.clone()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoSchedule".to_owned()),
            ..Toleration::default()
        });
    }
    tolerations
}

fn container(spec: &RunSpec, at: &ClusterRun) -> Container {
    let own = [layout::SUPERVISOR, "supervise", "--"].map(str::to_owned);
    let theirs = spec.command.iter().map(|argument| escape_expansion(argument));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(at.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(own.into_iter().chain(theirs).collect()),
        working_dir: Some(layout::project_folder(&spec.project)),
        env: Some(environment(spec, at)),
        resources: Some(resources(spec, at)),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts(spec, at)),
        ..Container::default()
    }
}

/// The supervisor's variables; of two with one name the later one wins, as in a shell.
fn environment(spec: &RunSpec, at: &ClusterRun) -> Vec<EnvVar> {
    let mut environment: Vec<EnvVar> = variables(&spec.name, &at.secrets).collect();
    for (name, value) in spec.supervisor_env(&layout::coordinator(&spec.name), at.mailbox.as_ref()) {
        environment.retain(|former| former.name != name);
        environment.push(EnvVar { name, value: Some(escape_expansion(&value)), value_from: None });
    }
    if spec.replaces_lost() {
        environment.push(EnvVar { name: env_vars::REPLACED.to_owned(), value: Some("1".to_owned()), value_from: None });
    }
    let told = [
        (env_vars::NODE, "spec.nodeName".to_owned()),
        (env_vars::RANK, format!("metadata.annotations['{COMPLETION_INDEX}']")),
    ];
    for (name, field_path) in told {
        environment.retain(|former| former.name != name);
        let field_ref = Some(ObjectFieldSelector { api_version: None, field_path });
        let value_from = Some(EnvVarSource { field_ref, ..EnvVarSource::default() });
        environment.push(EnvVar { name: name.to_owned(), value: None, value_from });
    }
    environment
}

/// Memory is asked for and limited alike: a rank that outgrows it must not take its node down. Processors are asked for
/// but not limited: throttling a rank slows the whole gang and helps nobody.
fn resources(spec: &RunSpec, at: &ClusterRun) -> ResourceRequirements {
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    if let Some(cpu) = spec.resources.cpu {
        requests.insert("cpu".to_owned(), Quantity(cpu.to_string()));
    }
    if let Some(memory) = spec.resources.memory {
        requests.insert("memory".to_owned(), Quantity(memory.to_string()));
        limits.insert("memory".to_owned(), Quantity(memory.to_string()));
    }
    if spec.resources.gpus > 0 {
        limits.insert(at.gpu_resource.clone(), Quantity(spec.resources.gpus.to_string()));
    }
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        claims: None,
    }
}

/// The part of a path behind its last slash, and the part before.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn mounts(spec: &RunSpec, at: &ClusterRun) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: Option<bool>| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("outputs", layout::OUTPUTS, None),
        mount("state", layout::STATE, None),
        mount("home", layout::HOME, None),
        mount("shm", "/dev/shm", None),
        mount("run-key", split(layout::RUN_KEY).0, Some(true)),
    ];
    if at.mailbox_secret_name(&spec.name).is_some() {
        mounts.push(mount("mailbox", split(layout::MAILBOX_CREDENTIALS).0, Some(true)));
    }
    if spec.shared.is_some() {
        mounts.push(mount(shared::VOLUME, layout::SHARED, None));
    }
    mounts
}

fn volumes(spec: &RunSpec, at: &ClusterRun) -> Vec<Volume> {
    let empty = |name: &str| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut volumes = vec![empty("outputs"), empty("state"), empty("home"), shm(spec, at)];
    let key = split(layout::RUN_KEY).1;
    volumes.push(secret("run-key", format!("{}-key", spec.name), key, key));
    if let Some(name) = at.mailbox_secret_name(&spec.name) {
        volumes.push(secret("mailbox", name, DOCKER_CONFIG, split(layout::MAILBOX_CREDENTIALS).1));
    }
    volumes.extend(shared::volume(spec));
    volumes
}

/// Data loaders and NCCL share memory here, and the runtime's own 64 MiB are never enough. What is written counts against
/// the rank's memory, so half of that leaves the program its share.
fn shm(spec: &RunSpec, at: &ClusterRun) -> Volume {
    let half = |memory: Memory| Memory { bytes: (memory.bytes / 2).max(1) };
    let size = at.shm.or(spec.resources.memory.map(half)).unwrap_or(Memory { bytes: DEFAULT_SHM });
    Volume {
        name: "shm".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(size.to_string())),
        }),
        ..Volume::default()
    }
}

/// One key of a Secret as a file that the rank's group may read.
fn secret(volume: &str, name: String, key: &str, file: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name),
            default_mode: Some(0o440),
            items: Some(vec![KeyToPath { key: key.to_owned(), path: file.to_owned(), mode: None }]),
            optional: None,
        }),
        ..Volume::default()
    }
}

/// Nothing at all rather than an empty list: manifests stay short.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
