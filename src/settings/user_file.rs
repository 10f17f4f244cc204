//! The user's own file: targets, and defaults for all projects.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::architecture::Architecture;

/// The user's configuration, `$XDG_CONFIG_HOME/nauta/config.toml`. Every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserFile {
    /// The target of runs that name none; `local` for Docker on this workstation.
    pub target: Option<String>,
    /// For projects that say nothing themselves.
    pub defaults: Defaults,
    /// How much of what runs write is brought back.
    pub outputs: OutputsDefaults,
    /// Clusters to run on, by name.
    pub targets: BTreeMap<String, Target>,
}

/// Defaults for projects that say nothing themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// The image to build environments on.
    pub base: Option<String>,
    /// A file of certificates that builds must trust.
    pub ca_bundle: Option<String>,
    /// Whether a project's `runs` may be a link, as to a larger disk. Only where no project brings such a link.
    pub follow_runs_link: bool,
}

/// How much of what runs write is brought back, where a project says nothing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsDefaults {
    /// How large all files of a run may be together, as `500Gi`; 1 TiB where absent.
    pub max_size: Option<String>,
    /// How many files and folders a run may have; a million where absent.
    pub max_files: Option<u64>,
    /// How large a file of a working directory may be to come back, as `20Gi`; any size where absent.
    pub max_file_size: Option<String>,
    /// How many files of each rank's working directory come back; all where absent.
    pub max_rank_files: Option<u64>,
    /// How much of the disk stays free, as `20Gi` or `0`; a twentieth of it and at most 1 GiB where absent.
    pub keep_free: Option<String>,
}

/// A cluster to run on: a context, a namespace and a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// The kubeconfig file; `kubectl`'s where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<String>,
    /// The context; the file's current one where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace; the context's where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The registry as this workstation sees it, with an optional prefix: `registry.example.com/team`.
    #[serde(deserialize_with = "address")]
    pub registry: String,
    /// The registry's host as the nodes pull from it, where it differs.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_host")]
    pub registry_from_nodes: Option<String>,
    /// The registry's host as pods reach it, where it differs.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_host")]
    pub registry_from_pods: Option<String>,
    /// Hosts (of the three names above) that are reached without TLS although they are not this machine.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "hosts")]
    pub plain_http: Vec<String>,
    /// The Service that leads to a registry which only the cluster reaches: `NAME:PORT`, or `NAMESPACE/NAME:PORT`. This
    /// workstation then goes through the API server, and `registry` is only the name that images have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_service: Option<String>,
    /// A file of certificates that the registry's certificate is checked with, besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_ca: Option<String>,
    /// A pull secret that the namespace has already; otherwise nauta makes one for each run when the nodes need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<String>,
    /// How ranks deliver their outputs.
    #[serde(skip_serializing_if = "MailboxPolicy::is_automatic")]
    pub mailbox: MailboxPolicy,
    /// With `mailbox = "secret"`: a Secret of the namespace with a robot account's `.dockerconfigjson`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox_secret: Option<String>,
    /// The nodes' processors, `amd64` or `arm64`, where a cluster has both, or does not let its nodes be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// The resource that `gpus` counts; `nvidia.com/gpu` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_resource: Option<String>,
    /// The storage class that `shared` takes, one that allows `ReadWriteMany`; the cluster's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

impl Target {
    /// The registry's host, and what comes before the names of its repositories.
    #[must_use]
    pub fn registry_parts(&self) -> (&str, &str) {
        self.registry.split_once('/').unwrap_or((&self.registry, ""))
    }
}

/// How ranks deliver their outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MailboxPolicy {
    /// Through the registry when it lets pods push without credentials; over the control stream otherwise.
    #[default]
    Automatic,
    /// Through the registry, with the Secret that `mailbox_secret` names.
    Secret,
    /// Through the registry, with the user's own login in a Secret of the run. Anyone who may read Secrets in the
    /// namespace can read it: say so only where that is acceptable.
    Login,
    /// Over the control stream.
    Stream,
}

impl MailboxPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
    fn is_automatic(&self) -> bool {
        *self == Self::Automatic
    }
}

/// A registry's host as it is named in a target: without a scheme, without a path. The error says what is wrong.
pub fn registry_host(text: &str) -> Result<String, String> {
    if !is_host(text) {
        return Err(format!("`{text}` is no host: `HOST` or `HOST:PORT`; only `registry` may have a path"));
    }
    Ok(text.to_owned())
}

/// A registry as it is named in a target, with what its repositories' names begin with. The error says what is wrong.
pub fn registry_address(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err(
            "a registry is named without a scheme: `HOST` or `HOST/PREFIX`; `plain_http` allows one without TLS"
                .to_owned(),
        );
    }
    if text.contains('@') {
        // Nothing of it is shown: there may be a password in it.
        return Err("a registry is named without a login, which `nauta login HOST` keeps".to_owned());
    }
    let (host, prefix) = text.split_once('/').map_or((text, None), |(host, prefix)| (host, Some(prefix)));
    let is_word = |word: &str| {
        let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        word.starts_with(is_inner) && word.ends_with(is_inner) && word.chars().all(|c| is_inner(c) || "._-".contains(c))
    };
    let is_prefix = |prefix: &str| prefix.trim_end_matches('/').split('/').all(is_word);
    if !is_host(host) || !prefix.is_none_or(is_prefix) {
        return Err(format!("`{text}` is no registry: `HOST` or `HOST/PREFIX`, such as `registry.example.com/team`"));
    }
    Ok(text.to_owned())
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(c))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    registry_address(&text).map_err(D::Error::custom)
}

fn some_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    registry_host(&text).map(Some).map_err(D::Error::custom)
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| registry_host(name).map_err(D::Error::custom)).collect()
}
