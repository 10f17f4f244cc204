//! What can go wrong with Docker, and what to do about it.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use super::endpoint::{Endpoint, Origin};
use super::hints;
use crate::archive::ArchiveError;
use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::Digest;

/// Anything that Docker, or the way to it, does not let us do.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// A file of Docker's own configuration cannot be used.
    #[error("cannot use Docker's configuration `{}`", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A context is named that does not exist.
    #[error("there is no Docker context `{context}` ({})", whence(origin))]
    NoSuchContext {
        /// Its name.
        context: String,
        /// Who named it.
        origin: Origin,
        /// The contexts there are.
        known: Vec<String>,
    },
    /// A context's metadata gives no address.
    #[error("the Docker context `{context}` gives no address (`{}`)", path.display())]
    ContextWithoutHost {
        /// Its name.
        context: String,
        /// Its metadata.
        path: PathBuf,
    },
    /// A context turns the verification of certificates off.
    #[error("the Docker context `{context}` turns TLS verification off, and nauta always verifies (`{}`)", path.display())]
    UnverifiedTls {
        /// Its name.
        context: String,
        /// Its metadata.
        path: PathBuf,
    },
    /// An address is no address of a Docker engine.
    #[error("`{address}` is no address of a Docker engine that nauta can reach ({origin})")]
    Address {
        /// The address.
        address: String,
        /// Who gave it.
        origin: Origin,
    },
    /// The engine is to be reached over SSH.
    #[error("nauta does not speak to Docker over SSH: `{address}` ({origin})")]
    Ssh {
        /// The address.
        address: String,
        /// Who gave it.
        origin: Origin,
    },
    /// The socket is not there.
    #[error("Docker is not there: no socket at {endpoint}")]
    NoSocket {
        /// Where it should be.
        endpoint: Endpoint,
    },
    /// The socket is there and nobody answers.
    #[error("Docker does not answer at {endpoint}: connection refused")]
    Refused {
        /// Where.
        endpoint: Endpoint,
    },
    /// The socket may not be used by this user.
    #[error("no permission for Docker's socket {endpoint}")]
    PermissionDenied {
        /// Which.
        endpoint: Endpoint,
    },
    /// The engine cannot be reached for another reason.
    #[error("cannot reach Docker at {endpoint}")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// What the network said.
        source: io::Error,
    },
    /// TLS with the engine failed.
    #[error("no secure connection to Docker at {endpoint}")]
    Tls {
        /// Where.
        endpoint: Endpoint,
        /// What is wrong.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The engine is older than what nauta needs.
    #[error("Docker {version} at {endpoint} is too old: it speaks API {api}, nauta needs {needed} (Docker 19.03)")]
    TooOld {
        /// Where.
        endpoint: Endpoint,
        /// The engine's version.
        version: String,
        /// Its newest API.
        api: String,
        /// The oldest API that will do.
        needed: String,
    },
    /// The engine no longer speaks an API that nauta knows.
    #[error("Docker {version} at {endpoint} is too new: it speaks API {oldest} and later, nauta speaks {ours}")]
    TooNew {
        /// Where.
        endpoint: Endpoint,
        /// The engine's version.
        version: String,
        /// Its oldest API.
        oldest: String,
        /// The newest API that nauta knows.
        ours: String,
    },
    /// The connection broke, or an answer makes no sense.
    #[error("Docker at {endpoint} did not {what}")]
    Engine {
        /// Which engine.
        endpoint: Endpoint,
        /// What was asked for, as in "did not …".
        what: String,
        /// What happened.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The engine answered with a refusal.
    #[error("Docker did not {what}: {message}")]
    Rejected {
        /// What was asked for, as in "did not …".
        what: String,
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The engine's disk is full.
    #[error("Docker's disk is full: it could not {what}")]
    DiskFull {
        /// What was asked for.
        what: String,
    },
    /// No network can be made: all of the engine's address ranges are in use.
    #[error("Docker has no free address range for the run's network")]
    NoAddressRange,
    /// A step of an image build failed.
    #[error("the image build failed in `{step}`{}", code.map(|code| format!(": exit code {code}")).unwrap_or_default())]
    BuildFailed {
        /// The step, as the Dockerfile says it.
        step: String,
        /// The command's exit code, where known.
        code: Option<i64>,
        /// The last lines that the step wrote.
        lines: Vec<String>,
    },
    /// The image cannot be built as described.
    #[error("the image cannot be built{}: {message}", step.as_ref().map(|step| format!(", in `{step}`")).unwrap_or_default())]
    BuildRefused {
        /// The step, where known.
        step: Option<String>,
        /// The builder's words.
        message: String,
    },
    /// A secret is larger than what BuildKit takes.
    #[error("the build secret `{id}` has {size} bytes; BuildKit takes 512000 at most")]
    SecretTooLarge {
        /// The secret's id.
        id: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The engine has no BuildKit, and the Dockerfile was written for it.
    #[error("Docker at {endpoint} has no BuildKit")]
    NoBuildKit {
        /// Which engine.
        endpoint: Endpoint,
    },
    /// Secrets were given, and the engine has only the classic builder.
    #[error("the classic builder takes no secrets, so the build secret `{id}` cannot be passed in")]
    SecretsNeedBuildKit {
        /// The first secret's id.
        id: String,
    },
    /// A file for a build or a run cannot be taken.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A local file, folder or process failed us.
    #[error("cannot {what}")]
    Local {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such image.
    #[error("Docker has no image `{image}`")]
    NoSuchImage {
        /// Its name or id.
        image: String,
    },
    /// An exported image is not what its configuration says.
    #[error("Docker exported the image `{image}` with wrong content: {detail}")]
    BadExport {
        /// The image.
        image: String,
        /// What is wrong.
        detail: String,
    },
    /// A layer is missing from an exported image.
    #[error("Docker exported the image `{image}` without its layer {layer}")]
    MissingLayer {
        /// The image.
        image: String,
        /// The layer's `diff_id`.
        layer: Digest,
    },
    /// A run of that name is there already.
    #[error("a run `{run}` is already on this Docker engine")]
    RunExists {
        /// Its name.
        run: String,
    },
    /// The process that cleans up after a killed nauta could not be started.
    #[error("cannot start the clean-up process `{program}`: {detail}")]
    Janitor {
        /// The program.
        program: String,
        /// What happened.
        detail: String,
    },
    /// A container is not there any more, or not yet running.
    #[error("rank {rank} of `{run}` does not run: {message}")]
    NotRunning {
        /// The run.
        run: String,
        /// The rank.
        rank: u32,
        /// The engine's words.
        message: String,
    },
}

fn whence(origin: &Origin) -> String {
    match origin {
        Origin::CurrentContext { config, .. } => format!("the current one in `{}`", config.display()),
        Origin::ContextVariable { .. } => "named by `DOCKER_CONTEXT`".to_owned(),
        other => other.to_string(),
    }
}

impl DockerError {
    /// What bollard says about a request, in our words. `what` continues "did not …".
    pub(super) fn of(endpoint: &Endpoint, what: impl Into<String>, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        let what = what.into();
        match error {
            Error::IOError { err } => Self::connection(endpoint, err),
            Error::DockerResponseServerError { status_code, message } => Self::rejected(what, status_code, &message),
            Error::DockerStreamError { error } => Self::rejected(what, 0, &error),
            source => Self::Engine { endpoint: endpoint.clone(), what, source: source.into() },
        }
    }

    /// The engine's refusal, with those told apart that have a remedy.
    pub(super) fn rejected(what: String, status: u16, message: &str) -> Self {
        let message = message.trim().to_owned();
        if message.contains("no space left on device") {
            Self::DiskFull { what }
        } else if message.contains("non-overlapping IPv4 address pool")
            || message.contains("address pools have been fully subnetted")
        {
            Self::NoAddressRange
        } else {
            Self::Rejected { what, status, message }
        }
    }

    /// Why a connection could not be made or did not last.
    pub(super) fn connection(endpoint: &Endpoint, error: io::Error) -> Self {
        let endpoint = endpoint.clone();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoSocket { endpoint },
            io::ErrorKind::ConnectionRefused => Self::Refused { endpoint },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { endpoint },
            _ if is_tls(&error) => Self::Tls { endpoint, source: error.into() },
            _ => Self::Unreachable { endpoint, source: error },
        }
    }

    /// Whether a build failed since a registry wanted a login, or another one.
    pub fn wants_login(&self) -> bool {
        let (Self::BuildRefused { message, .. } | Self::Rejected { message, .. }) = self else { return false };
        LOGIN_WORDS.iter().any(|words| message.contains(words))
    }

    /// Whether the engine said that it has no such thing.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Rejected { status: 404, .. })
    }
}

fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>)
}

impl Diagnosis for DockerError {
    fn kind(&self) -> Kind {
        match self {
            Self::BuildFailed { .. } => Kind::JobFailed,
            Self::Archive(error) => error.kind(),
            Self::BuildRefused { message, .. } if !is_about_the_network(message) => Kind::Input,
            Self::Configuration { .. }
            | Self::NoSuchContext { .. }
            | Self::ContextWithoutHost { .. }
            | Self::UnverifiedTls { .. }
            | Self::Address { .. }
            | Self::Ssh { .. }
            | Self::SecretTooLarge { .. }
            | Self::NoSuchImage { .. }
            | Self::RunExists { .. }
            | Self::Local { .. } => Kind::Input,
            _ => Kind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        hints::of(self)
    }
}

/// What builders say when a registry wants a login.
pub(super) const LOGIN_WORDS: [&str; 6] = [
    "401 Unauthorized",
    "403 Forbidden",
    "pull access denied",
    "authorization failed",
    "insufficient_scope",
    "no basic auth credentials",
];

/// Whether a builder's message says that a registry could not be reached.
pub(super) fn is_about_the_network(message: &str) -> bool {
    ["dial tcp", "i/o timeout", "no such host", "connection refused", "TLS handshake", "certificate signed by"]
        .iter()
        .any(|words| message.contains(words))
}
