//! What can go wrong with a registry, said so that the reader knows what to do next.

use std::path::PathBuf;
use std::time::Duration;

use super::auth::Access;
use super::retry::Retry;
use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::Digest;

/// Why a registry, its answer, or what we asked of it is no good.
///
/// Texts that came from a registry are escaped and cut before they get in here; no variant holds a secret or a URL's query.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The host's name makes no sense.
    #[error("`{host}` is no registry host: {reason}")]
    InvalidHost {
        /// As it was given.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A repository, tag or digest that the protocol does not allow.
    #[error("`{name}` is no name for a {what} in a registry")]
    InvalidName {
        /// As it was given.
        name: String,
        /// Repository, or tag.
        what: &'static str,
    },
    /// The CA bundle cannot be read as PEM certificates.
    #[error("the CA certificates for registry `{host}` cannot be used: {reason}")]
    InvalidAuthorities {
        /// The registry.
        host: String,
        /// What is wrong with them.
        reason: String,
    },
    /// No connection, or it broke and did not come back within the time allowed.
    #[error("registry `{host}` cannot be reached: {reach}")]
    Unreachable {
        /// The registry, or the host it sent us to.
        host: String,
        /// How it failed.
        reach: Reach,
    },
    /// The certificate does not prove that this is the registry.
    #[error("the certificate of registry `{host}` is not trusted: {problem}")]
    Certificate {
        /// The registry.
        host: String,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// The server answered without TLS where we spoke TLS.
    #[error("registry `{host}` does not speak TLS, it answers plain HTTP")]
    PlainHttp {
        /// The registry.
        host: String,
    },
    /// The server wants TLS where we spoke plain HTTP.
    #[error("registry `{host}` wants TLS, but was spoken to in plain HTTP")]
    WantsTls {
        /// The registry.
        host: String,
    },
    /// Not logged in, or with credentials that the registry does not take.
    #[error("registry `{host}` {} for `{repository}`", if *.with_credentials { "refuses the credentials" } else { "asks for credentials" })]
    Unauthorised {
        /// The registry.
        host: String,
        /// What was to be reached.
        repository: String,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// Logged in, but not allowed.
    #[error("registry `{host}` does not let you {access} `{repository}`{}", remark(message))]
    Forbidden {
        /// The registry.
        host: String,
        /// Where.
        repository: String,
        /// What was asked for.
        access: Access,
        /// The registry's words; may be empty.
        message: String,
    },
    /// The registry does not have this repository and does not make it by itself.
    #[error("registry `{host}` has no repository `{repository}`{}", remark(message))]
    NoRepository {
        /// The registry.
        host: String,
        /// Which.
        repository: String,
        /// The registry's words; may be empty.
        message: String,
    },
    /// Something else answers there: a web page, a proxy's login.
    #[error("`{host}` does not answer as a registry: {found}")]
    NotARegistry {
        /// The host.
        host: String,
        /// What came instead.
        found: String,
    },
    /// The registry's disk or quota is used up.
    #[error("registry `{host}` is full{}", remark(message))]
    Full {
        /// The registry.
        host: String,
        /// The registry's words; may be empty.
        message: String,
    },
    /// Too many requests, for longer than we may wait.
    #[error("registry `{host}` limits how often it may be asked{}", match after { Some(after) => format!(", and wants {} s of pause", after.as_secs()), None => String::new() })]
    RateLimited {
        /// The registry.
        host: String,
        /// What its `Retry-After` said.
        after: Option<Duration>,
    },
    /// The registry said that the fault is its own.
    #[error("registry `{host}` failed with status {status}{}", remark(message))]
    ServerFailed {
        /// The registry.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What its `Retry-After` said.
        after: Option<Duration>,
        /// The registry's words; may be empty.
        message: String,
    },
    /// Any other refusal.
    #[error("registry `{host}` refused to {doing} with status {status}{}", remark(message))]
    Refused {
        /// The registry.
        host: String,
        /// What was being done.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// The registry's words; may be empty.
        message: String,
    },
    /// An upload session is gone; the blob starts again.
    #[error("registry `{host}` lost the upload of blob {digest} to `{repository}`")]
    UploadLost {
        /// The registry.
        host: String,
        /// Where to.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// The body of a request is larger than the registry, or a proxy before it, accepts.
    #[error("registry `{host}` (or a proxy before it) refuses uploads of {size} bytes as too large")]
    BodyTooLarge {
        /// The registry.
        host: String,
        /// What was refused, in bytes.
        size: u64,
    },
    /// A manifest names a blob that the registry does not have.
    #[error("registry `{host}` misses a blob that the manifest for `{repository}` names{}", remark(message))]
    BlobUnknown {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// The registry's words, usually with the digest.
        message: String,
    },
    /// Something that should be there is not.
    #[error("registry `{host}` has no {what} in `{repository}`")]
    NotFound {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// Blob or manifest, with its name.
        what: String,
    },
    /// Bytes are not the ones their digest names.
    #[error("{what} from registry `{host}` is not what its digest says: expected {expected}, got {actual}")]
    DigestMismatch {
        /// The registry.
        host: String,
        /// What was read or sent.
        what: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The registry's answers contradict each other or the protocol.
    #[error("registry `{host}` contradicts itself: {what}")]
    Lying {
        /// The registry.
        host: String,
        /// How.
        what: String,
    },
    /// More bytes than can be right.
    #[error("{what} from registry `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// The registry.
        host: String,
        /// What was read.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A redirect or upload address that would take the data off TLS, or to no sensible place.
    #[error("registry `{host}` sends requests on to `{to}`, which nauta does not follow: {reason}")]
    Redirect {
        /// The registry.
        host: String,
        /// Scheme and host of the new address.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// A file of a blob cannot be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// Read or write.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file changed between being hashed and being sent.
    #[error("`{}` changed while it was being sent to registry `{host}`", path.display())]
    FileChanged {
        /// The registry.
        host: String,
        /// Which.
        path: PathBuf,
    },
    /// Where the bytes were to go did not take them.
    #[error("cannot write what registry `{host}` sent")]
    Write {
        /// The registry.
        host: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// How a connection failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reach {
    /// Nothing listens there.
    #[error("the connection was refused")]
    Refused,
    /// The name has no address.
    #[error("its name cannot be resolved")]
    NoAddress,
    /// Nobody answered in time.
    #[error("no answer within {} s", .0.as_secs().max(1))]
    TimedOut(Duration),
    /// The connection stood, then no byte moved any more.
    #[error("the transfer stood still for {} s", .0.as_secs().max(1))]
    Stalled(Duration),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// The network has no way there.
    #[error("there is no route to it")]
    NoRoute,
    /// The HTTP proxy did not let us through.
    #[error("the HTTP proxy does not connect us ({0})")]
    Proxy(String),
    /// TLS could not be agreed on.
    #[error("TLS failed ({0})")]
    Tls(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// Signed by nobody this machine knows.
    #[error("it is signed by an unknown authority")]
    UnknownIssuer,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come, or this machine's clock is behind.
    #[error("it is not valid yet{}", match .0 { Some(seconds) => format!("; it will be in {}", human(*seconds)), None => String::new() })]
    NotYetValid(
        /// Seconds until it is, by this machine's clock, where known.
        Option<u64>,
    ),
    /// It is for another host.
    #[error("it is for {}", if .0.is_empty() { "another name".to_owned() } else { .0.join(", ") })]
    WrongName(
        /// The names it is for, where known.
        Vec<String>,
    ),
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl RegistryError {
    /// Whether the same request may succeed later.
    pub(super) const fn retry(&self) -> Retry {
        match self {
            Self::RateLimited { after, .. } | Self::ServerFailed { after, .. } => match after {
                Some(after) => Retry::After(*after),
                None => Retry::Soon,
            },
            Self::Unreachable { reach, .. } => match reach {
                Reach::Proxy(_) | Reach::Tls(_) => Retry::Never,
                Reach::Refused | Reach::NoAddress | Reach::NoRoute => Retry::Patiently,
                _ => Retry::Soon,
            },
            Self::UploadLost { .. } => Retry::Soon,
            _ => Retry::Never,
        }
    }
}

impl Diagnosis for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidHost { .. }
            | Self::InvalidName { .. }
            | Self::InvalidAuthorities { .. }
            | Self::File { .. }
            | Self::FileChanged { .. }
            | Self::Write { .. } => Kind::Input,
            _ => Kind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        super::hints::of(self)
    }
}

/// The registry's words after a colon, when it said any.
fn remark(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn human(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
