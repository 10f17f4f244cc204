//! What Docker is to build: decided here, done by `docker`.
//!
//! Also the one way in which a CA bundle gets into a build without staying in the image, since the text of the
//! Dockerfile and the builder have to agree on it: [`with_ca_bundle`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::secret::Secret;

/// Where a generated Dockerfile is put in the build context; no project has this folder.
pub const DOCKERFILE: &str = ".nauta-build/Dockerfile";
/// The id of the build secret that is the CA bundle.
pub const CA_SECRET: &str = "nauta-ca";
/// Where the CA bundle is while a command runs, with BuildKit.
pub const CA_MOUNT: &str = "/run/secrets/nauta-ca";
/// Where the CA bundle is in the build context, for the classic builder.
pub const CA_IN_CONTEXT: &str = ".nauta-build/ca.crt";
/// Where the classic builder copies the CA bundle to, until the command that needed it removes it.
pub const CA_COPY: &str = "/.nauta-ca.crt";
/// The variables by which tools find a CA bundle: OpenSSL, Python's requests and pip, curl, git, Node, cargo, uv, conda.
pub const CA_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "CONDA_SSL_VERIFY",
];
/// The build arguments that every builder knows without `ARG`, and keeps out of the image's history.
pub const PROXY_VARIABLES: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// An image build, ready for an engine.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    /// What to do.
    pub dockerfile: Dockerfile,
    /// The files that the Dockerfile may copy, by their path in the build context (relative, with `/`).
    pub context: Vec<(String, ContextFile)>,
    /// Names for the image, `repository:tag`.
    pub tags: Vec<String>,
    /// Labels for the image.
    pub labels: BTreeMap<String, String>,
    /// Values for [`PROXY_VARIABLES`]; they may hold passwords.
    pub proxies: BTreeMap<String, Secret>,
    /// Build secrets by id; the classic builder knows none (see [`with_ca_bundle`]).
    pub secrets: Vec<(String, SecretSource)>,
    /// Credentials for the registries of private base images.
    pub logins: Vec<RegistryLogin>,
    /// The platform to build for, such as `linux/amd64`; absent: the engine's own.
    pub platform: Option<String>,
    /// Which builder to use.
    pub builder: BuilderChoice,
}

/// Where the Dockerfile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dockerfile {
    /// Its text.
    Text(String),
    /// One of the files of the build context.
    InContext(String),
}

/// A file of the build context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextFile {
    /// Its content.
    Bytes(Vec<u8>),
    /// A file on the workstation.
    Path(PathBuf),
}

/// Where a build secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// The value itself.
    Value(Secret),
    /// A file on the workstation, read when the build asks for it.
    File(PathBuf),
}

/// Credentials for one registry.
#[derive(Clone, Debug)]
pub struct RegistryLogin {
    /// The registry, `host[:port]`; Docker Hub is `registry-1.docker.io`.
    pub registry: String,
    /// The user's name.
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

/// Which builder to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuilderChoice {
    /// BuildKit, or the classic builder where the engine has no BuildKit.
    #[default]
    Automatic,
    /// The classic builder.
    Classic,
}

impl BuildPlan {
    /// A build of one Dockerfile, with nothing else.
    #[must_use]
    pub const fn new(dockerfile: Dockerfile) -> Self {
        Self {
            dockerfile,
            context: Vec::new(),
            tags: Vec::new(),
            labels: BTreeMap::new(),
            proxies: BTreeMap::new(),
            secrets: Vec::new(),
            logins: Vec::new(),
            platform: None,
            builder: BuilderChoice::Automatic,
        }
    }
}

/// The Dockerfile's instructions that run `command` with the CA bundle in reach, and leave neither the bundle nor the
/// variables that name it in the image.
///
/// With BuildKit (`secret_mounts`) the bundle is a secret that is mounted while the command runs. `mounts` are further
/// `--mount` options, such as caches. The classic builder has no mounts: the bundle is copied in, and removed by the
/// very command that used it. It can then still be read from the layer below, which is no harm, since certificates of
/// authorities are public; what matters is that programs in the image do not trust them.
#[must_use]
pub fn with_ca_bundle(command: &str, secret_mounts: bool, mounts: &[&str]) -> String {
    let exports = |file: &str| {
        let assignments: Vec<String> = CA_VARIABLES.iter().map(|name| format!("{name}={file}")).collect();
        format!("export {}", assignments.join(" "))
    };
    if secret_mounts {
        let others: String = mounts.iter().flat_map(|mount| ["--mount=", mount, " "]).collect();
        let secret = format!("--mount=type=secret,id={CA_SECRET},target={CA_MOUNT},mode=0444");
        format!("RUN {others}{secret} {} && {command}\n", exports(CA_MOUNT))
    } else {
        format!("COPY {CA_IN_CONTEXT} {CA_COPY}\nRUN {} && {command} && rm -f {CA_COPY}\n", exports(CA_COPY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_is_mounted_where_it_can_be_and_removed_where_not() {
        let text = with_ca_bundle("pip install x", true, &["type=cache,target=/root/.cache"]);
        assert!(text.starts_with("RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=nauta-ca"), "{text}");
        assert!(text.ends_with(" && pip install x\n"), "{text}");
        let text = with_ca_bundle("pip install x", false, &[]);
        assert!(text.starts_with("COPY .nauta-build/ca.crt /.nauta-ca.crt\nRUN export SSL_CERT_FILE="), "{text}");
        assert!(text.ends_with("&& pip install x && rm -f /.nauta-ca.crt\n"), "{text}");
    }
}
