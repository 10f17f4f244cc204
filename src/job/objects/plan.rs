//! From a run and where it runs to the objects.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret as SecretObject, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::credentials::{mailbox_secret, program_secret, pull_secret};
use super::metadata::{labels, object_meta};
use super::{indexed_job, pod, shared};
use crate::job::{Mailbox, Memory, ProgramSecret, RunSpec};
use crate::layout;
use crate::layout::label;
use crate::secret::Secret;

/// Largest object accepted, in bytes: etcd refuses requests above 1.5 MiB with a message that nobody understands.
pub const MAX_OBJECT: usize = 1024 * 1024;
/// The key of registry credentials in a Secret (the only one a kubelet reads).
pub(super) const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// Where and how a run is to live on a cluster: all that [`RunSpec`] leaves to the engine.
#[derive(Clone, Debug)]
pub struct ClusterRun {
    /// The namespace.
    pub namespace: String,
    /// The run image as nodes pull it, by digest: `host/repository@sha256:…`.
    pub image: String,
    /// 64 hexadecimal digits that the ranks prove to each other.
    pub run_key: Secret,
    /// The mailbox as pods reach it; none: outputs go over the control stream.
    pub mailbox: Option<Mailbox>,
    /// The mailbox's repository as the workstation sees it, for the record; empty when there is none.
    pub mailbox_repository: String,
    /// A Secret of the namespace with the mailbox's credentials (type `kubernetes.io/dockerconfigjson`).
    pub mailbox_secret: Option<String>,
    /// A Docker `config.json` with the mailbox's credentials, to be put into a Secret of the run.
    pub mailbox_credentials: Option<Secret>,
    /// Secrets of the namespace that nodes pull the image with.
    pub pull_secrets: Vec<String>,
    /// A Docker `config.json` that nodes pull the image with, to be put into a Secret of the run.
    pub pull_credentials: Option<Secret>,
    /// The program's secrets.
    pub secrets: Vec<ProgramSecret>,
    /// The name of the accelerators as a resource.
    pub gpu_resource: String,
    /// Size of `/dev/shm`; none: half of the memory, or 1 GiB when no memory was asked for.
    pub shm: Option<Memory>,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// The storage class of what ranks share; none: the cluster's default.
    pub storage_class: Option<String>,
}

impl ClusterRun {
    /// A run with the usual answers: no mailbox, no credentials, any node, `nvidia.com/gpu`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, image: impl Into<String>, run_key: Secret) -> Self {
        Self {
            namespace: namespace.into(),
            image: image.into(),
            run_key,
            mailbox: None,
            mailbox_repository: String::new(),
            mailbox_secret: None,
            mailbox_credentials: None,
            pull_secrets: Vec::new(),
            pull_credentials: None,
            secrets: Vec::new(),
            gpu_resource: "nvidia.com/gpu".to_owned(),
            shm: None,
            node_selector: BTreeMap::new(),
            storage_class: None,
        }
    }

    /// The Secret that pods find the mailbox's credentials in.
    pub(super) fn mailbox_secret_name(&self, run: &str) -> Option<String> {
        match &self.mailbox_credentials {
            Some(_) => Some(mailbox_secret(run)),
            None => self.mailbox_secret.clone(),
        }
    }

    /// The Secrets that nodes pull the image with.
    pub(super) fn pull_secret_names(&self, run: &str) -> Vec<String> {
        let own = self.pull_credentials.iter().map(|_| pull_secret(run));
        own.chain(self.pull_secrets.iter().cloned()).collect()
    }
}

/// Why a run cannot be written as Kubernetes objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The image could change under the run's feet.
    #[error("image `{image}` is not named by digest (`repository@sha256:…`)")]
    ImageByTag {
        /// What was given.
        image: String,
    },
    /// Kubernetes stores no objects of this size.
    #[error(
        "the run's command and variables take {size} bytes, more than the {MAX_OBJECT} that a Kubernetes object may have"
    )]
    TooLarge {
        /// Bytes of the largest object.
        size: usize,
    },
}

impl crate::diagnosis::Diagnosis for ObjectError {
    fn kind(&self) -> crate::diagnosis::Kind {
        match self {
            Self::ImageByTag { .. } => crate::diagnosis::Kind::Bug,
            Self::TooLarge { .. } => crate::diagnosis::Kind::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::ImageByTag { .. } => Vec::new(),
            Self::TooLarge { .. } => vec!["put long values into a file of the project and read it there".into()],
        }
    }
}

/// All objects of a run. The Job owns the Service, the key and what ranks share once it exists, and the Service owns the
/// credentials: they go with the Job too, and before it where the Service is deleted at the run's end.
#[derive(Clone, Debug, PartialEq)]
pub struct RunObjects {
    /// N pods with an index each.
    pub job: Job,
    /// Gives `<run>-<rank>.<run>` a meaning.
    pub service: Service,
    /// The Secret with the run's key, which is worth nothing elsewhere.
    pub key: SecretObject,
    /// Secrets that are worth something to others: logins, and what the program is given.
    pub credentials: Vec<SecretObject>,
    /// What all ranks share.
    pub shared: Option<PersistentVolumeClaim>,
}

impl RunObjects {
    /// The objects of `spec` at the place that `at` describes.
    pub fn plan(spec: &RunSpec, at: &ClusterRun) -> Result<Self, ObjectError> {
        if !at.image.contains("@sha256:") {
            return Err(ObjectError::ImageByTag { image: at.image.clone() });
        }
        let (job, service) = (indexed_job::job(spec, at), service(spec, at));
        let (key, credentials, shared) = (key(spec, at), credentials(spec, at), shared::claim(spec, at));
        let objects = Self { job, service, key, credentials, shared };
        let size = serde_json::to_vec(&objects.job).expect("objects serialise").len();
        if size > MAX_OBJECT {
            return Err(ObjectError::TooLarge { size });
        }
        Ok(objects)
    }

    /// The run's name.
    #[must_use]
    pub fn run(&self) -> &str {
        self.job.metadata.name.as_deref().unwrap_or_default()
    }

    /// The namespace they are for.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.job.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// What tells a repeated submission of this run from another run of the same name.
    #[must_use]
    pub fn submission(&self) -> &str {
        let annotations = self.job.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(label::SUBMISSION)).map_or("", String::as_str)
    }

    /// The same objects, with the Service, the key and what ranks share owned by the Job of this uid.
    #[must_use]
    pub fn owned_by(mut self, job: &str) -> Self {
        let owner = owner("batch/v1", "Job", self.run(), job);
        self.service.metadata.owner_references = Some(vec![owner.clone()]);
        self.key.metadata.owner_references = Some(vec![owner.clone()]);
        if let Some(claim) = &mut self.shared {
            claim.metadata.owner_references = Some(vec![owner]);
        }
        self
    }

    /// The credentials, owned by the Service of this uid.
    #[must_use]
    pub fn credentials_owned_by(&self, service: &str) -> Vec<SecretObject> {
        let owner = owner("v1", "Service", self.run(), service);
        let mut credentials = self.credentials.clone();
        for secret in &mut credentials {
            secret.metadata.owner_references = Some(vec![owner.clone()]);
        }
        credentials
    }

    /// Rank 0's pod, as the Job's controller would make it: for asking the cluster whether it would admit one.
    #[must_use]
    pub fn sample_pod(&self) -> Pod {
        let template = self.job.spec.clone().map(|spec| spec.template).unwrap_or_default();
        let mut metadata = template.metadata.unwrap_or_default();
        metadata.generate_name = Some(format!("{}-0-", self.run()));
        metadata.namespace.clone_from(&self.job.metadata.namespace);
        metadata.annotations.get_or_insert_default().insert(pod::COMPLETION_INDEX.to_owned(), "0".to_owned());
        Pod { metadata, spec: template.spec, status: None }
    }
}

/// A headless Service: only names, no address of its own.
fn service(spec: &RunSpec, at: &ClusterRun) -> Service {
    Service {
        metadata: object_meta(spec, &spec.name, &at.namespace),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            // Ranks look for each other before any of them is ready.
            publish_not_ready_addresses: Some(true),
            selector: Some(BTreeMap::from([(label::RUN.to_owned(), spec.name.clone())])),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(false),
        // Not blocking: setting it needs the right to update the owner's finalizers, which many users lack.
        block_owner_deletion: None,
    }
}

fn key(spec: &RunSpec, at: &ClusterRun) -> SecretObject {
    let key = layout::RUN_KEY.rsplit('/').next().unwrap_or_default();
    secret(spec, at, format!("{}-key", spec.name), "Opaque", [(key, &at.run_key)])
}

fn credentials(spec: &RunSpec, at: &ClusterRun) -> Vec<SecretObject> {
    let registry = |name, config| secret(spec, at, name, "kubernetes.io/dockerconfigjson", [(DOCKER_CONFIG, config)]);
    let pull = at.pull_credentials.iter().map(|config| registry(pull_secret(&spec.name), config));
    let mailbox = at.mailbox_credentials.iter().map(|config| registry(mailbox_secret(&spec.name), config));
    let here: Vec<(&str, &Secret)> = at.secrets.iter().filter_map(ProgramSecret::here).collect();
    let program = (!here.is_empty()).then(|| secret(spec, at, program_secret(&spec.name), "Opaque", here));
    pull.chain(mailbox).chain(program).collect()
}

fn secret<'a>(
    spec: &RunSpec,
    at: &ClusterRun,
    name: String,
    type_: &str,
    data: impl IntoIterator<Item = (&'a str, &'a Secret)>,
) -> SecretObject {
    let bytes = |(key, value): (&str, &Secret)| (key.to_owned(), ByteString(value.expose().as_bytes().to_vec()));
    SecretObject {
        metadata: ObjectMeta { labels: Some(labels(spec)), ..object_meta(spec, name, &at.namespace) },
        type_: Some(type_.to_owned()),
        immutable: Some(true),
        data: Some(data.into_iter().map(bytes).collect()),
        ..SecretObject::default()
    }
}
