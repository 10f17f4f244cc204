//! A run as Kubernetes objects: an Indexed Job, a headless Service, a Secret. Plain manifests: `kubectl apply` runs them
//! without nauta.

use serde_json::{Value, json};

use super::{Mailbox, RunSpec};
use crate::layout::{self, label};
use crate::secret::Secret;

/// What a run on a cluster needs besides its specification.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// What is to run.
    pub spec: RunSpec,
    /// The namespace.
    pub namespace: String,
    /// The run image, by digest, as nodes pull it.
    pub image: String,
    /// The mailbox as pods reach it; absent: outputs go over the control stream.
    pub mailbox: Option<Mailbox>,
    /// The mailbox as the workstation sees it, for `nauta pull`.
    pub mailbox_from_workstation: String,
    /// A Secret with a `.dockerconfigjson` for the mailbox.
    pub mailbox_secret: Option<String>,
    /// Pull secrets by name.
    pub pull_secrets: Vec<String>,
    /// The resource that `gpus` counts.
    pub gpu_resource: String,
    /// The run's key: 64 hexadecimal digits.
    pub run_key: Secret,
}

/// `/dev/shm` where no memory was asked for.
const SHM: u64 = 1024 * 1024 * 1024;

/// The Job.
pub fn job(plan: &ClusterPlan) -> Value {
    let spec = &plan.spec;
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(plan, &spec.name),
        "spec": {
            "completionMode": "Indexed",
            "completions": spec.nodes,
            "parallelism": spec.nodes,
            // One rank's failure is the run's: the supervisors stop the others themselves.
            "backoffLimit": 0,
            "activeDeadlineSeconds": spec.deadlines.run.as_secs(),
            "ttlSecondsAfterFinished": spec.deadlines.keep.as_secs(),
            "template": { "metadata": { "labels": labels(plan) }, "spec": pod_spec(plan) },
        },
    })
}

/// The headless Service that gives ranks their names, also before they are ready.
pub fn service(plan: &ClusterPlan) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(plan, &plan.spec.name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": { (label::RUN): plan.spec.name },
            "ports": [{ "name": "gang", "port": layout::GANG_PORT }],
        },
    })
}

/// The Secret with the run's key, by which ranks know each other.
pub fn key_secret(plan: &ClusterPlan) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": metadata(plan, &plan.spec.name),
        "stringData": { "run-key": plan.run_key.expose() },
    })
}

/// A Secret with credentials for a registry, owned by the run.
pub fn registry_secret(plan: &ClusterPlan, name: &str, docker_config: &Secret) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": metadata(plan, name),
        "stringData": { ".dockerconfigjson": docker_config.expose() },
    })
}

fn labels(plan: &ClusterPlan) -> Value {
    json!({
        (label::MANAGED_BY): label::MANAGED_BY_NAUTA,
        (label::RUN): plan.spec.name,
        (label::PROJECT): plan.spec.project,
        (label::USER): plan.spec.user,
    })
}

fn metadata(plan: &ClusterPlan, name: &str) -> Value {
    let spec = &plan.spec;
    json!({
        "name": name,
        "namespace": plan.namespace,
        "labels": labels(plan),
        "annotations": {
            (label::NODES): spec.nodes.to_string(),
            (label::COMMAND): json!(spec.command).to_string(),
            (label::SNAPSHOT): spec.snapshot,
            (label::MAILBOX): plan.mailbox_from_workstation,
            (label::VERSION): env!("CARGO_PKG_VERSION"),
        },
    })
}

fn pod_spec(plan: &ClusterPlan) -> Value {
    let spec = &plan.spec;
    let deadlines = &spec.deadlines;
    let mut pod = json!({
        "restartPolicy": "Never",
        "subdomain": spec.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": (deadlines.grace + deadlines.drain).as_secs(),
        // Pod Security `restricted`, in full.
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": layout::USER_ID,
            "runAsGroup": layout::USER_ID,
            "fsGroup": layout::USER_ID,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { (label::RUN): spec.name } },
        }],
        "containers": [container(plan)],
        "volumes": volumes(plan),
    });
    if !plan.pull_secrets.is_empty() {
        pod["imagePullSecrets"] = plan.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    }
    pod
}

fn container(plan: &ClusterPlan) -> Value {
    let spec = &plan.spec;
    let mut env: Vec<Value> = spec
        .supervisor_env(&layout::coordinator(&spec.name), plan.mailbox.as_ref())
        .into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    // Of Kubernetes' own: the label that an indexed Job gives each of its pods.
    let index = "metadata.labels['batch.kubernetes.io/job-completion-index']";
    env.push(json!({ "name": crate::env_vars::RANK, "valueFrom": { "fieldRef": { "fieldPath": index } } }));
    let mut mounts = vec![
        mount("outputs", layout::OUTPUTS),
        mount("state", layout::STATE),
        mount("home", layout::HOME),
        mount("shm", "/dev/shm"),
        json!({ "name": "key", "mountPath": parent(layout::RUN_KEY), "readOnly": true }),
    ];
    if plan.mailbox_secret.is_some() {
        mounts.push(json!({ "name": "mailbox", "mountPath": parent(layout::MAILBOX_CREDENTIALS), "readOnly": true }));
    }
    let command: Vec<&str> =
        [layout::SUPERVISOR, "supervise", "--"].into_iter().chain(spec.command.iter().map(String::as_str)).collect();
    json!({
        "name": "rank",
        "image": plan.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": env,
        "resources": resources(plan),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts,
    })
}

fn mount(name: &str, path: &str) -> Value {
    json!({ "name": name, "mountPath": path })
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(parent, _)| parent)
}

fn volumes(plan: &ClusterPlan) -> Value {
    // Counts against the memory limit: half of it is left for the program where a limit is set.
    let shm = plan.spec.resources.memory.map_or(SHM, |memory| memory.bytes / 2);
    let mut volumes = vec![
        json!({ "name": "outputs", "emptyDir": {} }),
        json!({ "name": "state", "emptyDir": {} }),
        json!({ "name": "home", "emptyDir": {} }),
        json!({ "name": "shm", "emptyDir": { "medium": "Memory", "sizeLimit": shm.to_string() } }),
        json!({ "name": "key", "secret": { "secretName": plan.spec.name, "defaultMode": 0o440 } }),
    ];
    if let Some(secret) = &plan.mailbox_secret {
        let items = json!([{ "key": ".dockerconfigjson", "path": "config.json" }]);
        volumes.push(
            json!({ "name": "mailbox", "secret": { "secretName": secret, "defaultMode": 0o440, "items": items } }),
        );
    }
    Value::Array(volumes)
}

fn resources(plan: &ClusterPlan) -> Value {
    let asked = &plan.spec.resources;
    let (mut requests, mut limits) = (serde_json::Map::new(), serde_json::Map::new());
    if let Some(cpu) = asked.cpu {
        requests.insert("cpu".to_owned(), json!(cpu.to_string()));
    }
    if let Some(memory) = asked.memory {
        requests.insert("memory".to_owned(), json!(memory.to_string()));
        limits.insert("memory".to_owned(), json!(memory.to_string()));
    }
    if asked.gpus > 0 {
        limits.insert(plan.gpu_resource.clone(), json!(asked.gpus));
    }
    json!({ "requests": requests, "limits": limits })
}

/// All objects in the order in which they are made.
pub fn all(plan: &ClusterPlan) -> Vec<Value> {
    vec![job(plan), service(plan), key_secret(plan)]
}
