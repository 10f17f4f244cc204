//! What can go wrong with Docker, and what to do about it.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use super::endpoint::{Endpoint, HOST_VARIABLE, Origin};
use crate::archive::ArchiveError;
use crate::diagnosis::{Diagnosis, Kind, nearest};
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
        match self {
            Self::NoSuchContext { context, known, .. } => context_hints(context, known),
            Self::ContextWithoutHost { .. } | Self::UnverifiedTls { .. } => {
                vec!["choose another context: run `docker context ls`, then `docker context use NAME`".to_owned()]
            }
            Self::Address { .. } => {
                vec![format!("set `{HOST_VARIABLE}` to `unix:///path/to/docker.sock` or `tcp://host:port`")]
            }
            Self::Ssh { address, .. } => ssh_hints(address),
            Self::NoSocket { endpoint } => no_socket_hints(endpoint),
            Self::Refused { endpoint } => refused_hints(endpoint),
            Self::PermissionDenied { .. } => vec![
                "join the group that owns the socket: run `sudo usermod -aG docker $USER`, then log in again"
                    .to_owned(),
                "or use rootless Docker: run `dockerd-rootless-setuptool.sh install`".to_owned(),
            ],
            Self::Unreachable { .. } => vec![format!("check the address and the network, or `{HOST_VARIABLE}`")],
            Self::Tls { .. } => vec![
                "check `ca.pem`, `cert.pem` and `key.pem` in `DOCKER_CERT_PATH` or in the context".to_owned(),
                "a port without TLS is used when `DOCKER_TLS_VERIFY` is not set".to_owned(),
            ],
            Self::TooOld { .. } => vec!["update Docker to 20.10 or later".to_owned()],
            Self::TooNew { .. } => vec!["update nauta".to_owned()],
            Self::DiskFull { .. } => vec![
                "see what takes the room: run `docker system df`".to_owned(),
                "free what no image needs: run `docker builder prune` and `docker image prune`".to_owned(),
            ],
            Self::NoAddressRange => vec!["remove networks that nothing uses: run `docker network prune`".to_owned()],
            Self::SecretsNeedBuildKit { .. } | Self::NoBuildKit { .. } => {
                vec!["update Docker to 20.10 or later".to_owned()]
            }
            Self::BuildFailed { lines, .. } => failed_build_hints(lines),
            Self::BuildRefused { message, .. } => refused_build_hints(message),
            Self::Archive(error) => error.hints(),
            Self::RunExists { run } => vec![format!("choose another name, or end it: run `nauta cancel {run}`")],
            Self::Local { .. } => vec!["check that the file is there, and its permissions".to_owned()],
            _ => Vec::new(),
        }
    }
}

fn failed_build_hints(lines: &[String]) -> Vec<String> {
    let mut hints: Vec<String> = lines.last().map(|line| format!("its last words: {line}")).into_iter().collect();
    hints.push("mend what the step needs, and run again: the steps before it are kept".to_owned());
    hints
}

fn context_hints(context: &str, known: &[String]) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(name) = nearest(context, known.iter().map(String::as_str)) {
        hints.push(format!("did you mean `{name}`? run `docker context use {name}`"));
    }
    hints.push("run `docker context ls` to see what there is, or `docker context use default`".to_owned());
    hints
}

fn ssh_hints(address: &str) -> Vec<String> {
    let host = address.trim_start_matches("ssh://").trim_end_matches('/');
    vec![
        format!("forward its socket: run `ssh -fNL /tmp/docker-remote.sock:/var/run/docker.sock {host}`"),
        format!("then set `{HOST_VARIABLE}=unix:///tmp/docker-remote.sock`"),
    ]
}

fn no_socket_hints(endpoint: &Endpoint) -> Vec<String> {
    match endpoint.origin() {
        Origin::Default | Origin::Rootless => vec![
            "install Docker (Debian and Ubuntu: `sudo apt-get install docker.io`)".to_owned(),
            "or start it: run `sudo systemctl start docker`".to_owned(),
            format!("if it listens elsewhere, set `{HOST_VARIABLE}` or run `docker context use NAME`"),
        ],
        _ => vec!["start the engine that listens there, or choose another address".to_owned()],
    }
}

fn refused_hints(endpoint: &Endpoint) -> Vec<String> {
    match endpoint.origin() {
        Origin::Default => vec!["start it: run `sudo systemctl start docker`".to_owned()],
        Origin::Rootless => vec!["start it: run `systemctl --user start docker`".to_owned()],
        _ => vec![
            "start the engine that should listen there".to_owned(),
            format!("or choose another address: `{HOST_VARIABLE}`, or `docker context use NAME`"),
        ],
    }
}

/// Whether a builder's message says that a registry could not be reached.
fn is_about_the_network(message: &str) -> bool {
    ["dial tcp", "i/o timeout", "no such host", "connection refused", "TLS handshake", "certificate signed by"]
        .iter()
        .any(|words| message.contains(words))
}

fn refused_build_hints(message: &str) -> Vec<String> {
    if is_about_the_network(message) {
        vec![
            "check the base image's name: without a registry before it, Docker asks Docker Hub".to_owned(),
            "if it is right, Docker cannot reach its registry: try `docker pull` with it".to_owned(),
        ]
    } else if message.contains("--mount option requires BuildKit") {
        vec!["this Docker engine has no BuildKit: update it to 20.10 or later".to_owned()]
    } else if ["pull access denied", "not found", "authorization failed", "insufficient_scope"]
        .iter()
        .any(|words| message.contains(words))
    {
        vec!["check the base image's name; if it is private, run `docker login` for its registry".to_owned()]
    } else {
        vec!["check the Dockerfile and the base image it names".to_owned()]
    }
}
