//! The Secrets of a run that are worth something to others.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, PodSpec, SecretKeySelector};

use crate::job::{ProgramSecret, SecretValue};

/// The Secret of a run that its nodes pull the image with.
pub(super) fn pull_secret(run: &str) -> String {
    format!("{run}-pull")
}

/// The Secret of a run with the mailbox's credentials.
pub(super) fn mailbox_secret(run: &str) -> String {
    format!("{run}-mailbox")
}

/// The Secret of a run with its program's secrets.
pub(super) fn program_secret(run: &str) -> String {
    format!("{run}-secrets")
}

/// The program's secrets as variables, whose values only the kubelet reads.
pub(super) fn variables<'a>(run: &'a str, secrets: &'a [ProgramSecret]) -> impl Iterator<Item = EnvVar> + 'a {
    secrets.iter().map(move |secret| {
        let (name, key) = match &secret.value {
            SecretValue::Here(_) => (program_secret(run), secret.variable.clone()),
            SecretValue::InNamespace { secret, key } => (secret.clone(), key.clone()),
        };
        let secret_key_ref = Some(SecretKeySelector { name, key, optional: None });
        let value_from = Some(EnvVarSource { secret_key_ref, ..EnvVarSource::default() });
        EnvVar { name: secret.variable.clone(), value: None, value_from }
    })
}

/// Whether a run has Secrets of its own with credentials, as its Job tells: the Secrets themselves nobody needs to read.
#[must_use]
pub fn holds_credentials(job: &Job) -> bool {
    let run = job.metadata.name.as_deref().unwrap_or_default();
    let own = [pull_secret(run), mailbox_secret(run), program_secret(run)];
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| secrets_of(pod).any(|name| own.iter().any(|own| own == name)))
}

/// All Secrets that a pod names.
fn secrets_of(pod: &PodSpec) -> impl Iterator<Item = &str> {
    let pull = pod.image_pull_secrets.iter().flatten().map(|reference| reference.name.as_str());
    let volumes = pod.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref());
    let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
    let variables =
        variables.filter_map(|variable| Some(variable.value_from.as_ref()?.secret_key_ref.as_ref()?.name.as_str()));
    pull.chain(volumes).chain(variables)
}
