//! What Docker is to build: decided here, done by `docker`.
//!
//! A CA bundle comes in by the secret [`super::CA_SECRET`] with BuildKit, and as a file of the build context with the
//! classic builder, which knows no secrets: certificates of authorities are public, so nothing leaks from the layer that
//! holds them, and a later instruction removes them, so that programs in the image do not trust them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Builder;
use crate::digest::Digest;
use crate::secret::{Credential, Secret};

/// Where a generated Dockerfile is put in the build context; no project has this folder.
pub const DOCKERFILE: &str = ".nauta-build/Dockerfile";
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
    /// The files that the Dockerfile may copy, by their path in the build context (relative, with `/`; bytes, since Linux names are
    /// no text).
    pub context: Vec<(Vec<u8>, ContextFile)>,
    /// Names for the image, `repository:tag`.
    pub tags: Vec<String>,
    /// Labels for the image.
    pub labels: BTreeMap<String, String>,
    /// Values for [`PROXY_VARIABLES`]; they may hold passwords.
    pub proxies: BTreeMap<String, Secret>,
    /// Values for the Dockerfile's `ARG` instructions; the image's history shows them.
    pub args: BTreeMap<String, String>,
    /// The stage to build; the last one where absent.
    pub target: Option<String>,
    /// Build secrets by id; the classic builder knows none.
    pub secrets: Vec<(String, Secret)>,
    /// Sockets of SSH agents by id; the classic builder knows none.
    pub agents: Vec<(String, PathBuf)>,
    /// Credentials for the registries of private base images, for the classic builder: BuildKit asks for them.
    pub logins: Vec<RegistryLogin>,
    /// The platform to build for, such as `linux/amd64`; absent: the engine's own.
    pub platform: Option<String>,
    /// Which builder the Dockerfile is written for (`Docker::builder` says which one the engine has).
    pub builder: Builder,
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
    /// The same, as it was when it had this digest.
    Version {
        /// Where it is.
        path: PathBuf,
        /// What it holds.
        digest: Digest,
        /// Bytes.
        size: u64,
        /// Whether anyone may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Link(Vec<u8>),
    /// A folder, which may be empty.
    Folder,
}

/// Credentials for one registry.
#[derive(Clone, Debug)]
pub struct RegistryLogin {
    /// The registry, `host[:port]`; Docker Hub is `registry-1.docker.io`.
    pub registry: String,
    /// What convinces it.
    pub credential: Credential,
}

impl BuildPlan {
    /// A build of one Dockerfile, with nothing else.
    #[must_use]
    pub const fn new(dockerfile: Dockerfile, builder: Builder) -> Self {
        Self {
            dockerfile,
            context: Vec::new(),
            tags: Vec::new(),
            labels: BTreeMap::new(),
            proxies: BTreeMap::new(),
            args: BTreeMap::new(),
            target: None,
            secrets: Vec::new(),
            agents: Vec::new(),
            logins: Vec::new(),
            platform: None,
            builder,
        }
    }
}
