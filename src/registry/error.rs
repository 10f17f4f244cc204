//! What can go wrong with a registry, and what to do about it.

use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::Digest;

/// What went wrong with a registry. Every message names the host.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers.
    #[error("cannot reach the registry `{host}`: {reason}")]
    Unreachable {
        /// The registry.
        host: String,
        /// Refused, unknown name, timeout…
        reason: String,
    },
    /// Its certificate is not one we may trust.
    #[error("the registry `{host}` has no certificate that can be trusted: {reason}")]
    Certificate {
        /// The registry.
        host: String,
        /// Unknown issuer, expired, wrong name…
        reason: String,
    },
    /// It answers without TLS where TLS is expected.
    #[error("the registry `{host}` does not speak TLS")]
    PlainHttp {
        /// The registry.
        host: String,
    },
    /// It wants to know who we are, or does not accept who we say we are.
    #[error("the registry `{host}` asks for a login")]
    Unauthorised {
        /// The registry.
        host: String,
        /// Whether credentials were sent.
        tried: bool,
    },
    /// We may not do this.
    #[error("the registry `{host}` does not allow this in `{repository}`")]
    Forbidden {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
    },
    /// It has no room.
    #[error("the registry `{host}` is full")]
    Full {
        /// The registry.
        host: String,
    },
    /// It answers something else than the protocol says.
    #[error("the registry `{host}` answered {status} to {what}{}", detail(.message))]
    Unexpected {
        /// The registry.
        host: String,
        /// The HTTP status.
        status: u16,
        /// Method and path.
        what: String,
        /// Its words, shortened.
        message: String,
    },
    /// It gave other bytes than those asked for.
    #[error("the registry `{host}` gave bytes that are not {expected}")]
    WrongDigest {
        /// The registry.
        host: String,
        /// What was asked for.
        expected: Digest,
    },
    /// A blob that must be there is not.
    #[error("the registry `{host}` has no {digest} in `{repository}`")]
    BlobMissing {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// A file to be sent cannot be read, or is no longer what it was.
    #[error("cannot send `{path}` to the registry `{host}`: {reason}")]
    Source {
        /// The registry.
        host: String,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl Diagnosis for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Source { .. } => Kind::Input,
            _ => Kind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreachable { host, .. } => {
                format!(
                    "check that `{host}` is right (`nauta target list`) and running; `nauta doctor` looks at everything"
                )
            }
            Self::Certificate { .. } => {
                "set `registry_ca` of the target to the file of your company's certificates; check this machine's clock"
                    .to_owned()
            }
            Self::PlainHttp { host } => {
                format!("if that is meant so, add \"{host}\" to `plain_http` of the target in your configuration")
            }
            Self::Unauthorised { host, tried: false } => format!("run `nauta login {host}`"),
            Self::Unauthorised { host, tried: true } => {
                format!("the stored login is not accepted (any more); run `nauta login {host}`")
            }
            Self::Forbidden { repository, .. } => {
                format!("ask for push rights in `{repository}`, or choose another prefix in the target's `registry`")
            }
            Self::Full { .. } => "ask its administrators to collect garbage or to add disk space".to_owned(),
            Self::Unexpected { .. } => "`nauta -v …` traces the requests; is this really a registry?".to_owned(),
            Self::WrongDigest { .. } | Self::BlobMissing { .. } => {
                "run the command again; if it happens again, the registry's storage is damaged or garbage collection \
                 runs while others push"
                    .to_owned()
            }
            Self::Source { .. } => "run the command again when nothing writes to the file".to_owned(),
        };
        vec![hint]
    }
}

/// Text from a registry, made fit for a message: one line, printable, short.
pub(super) fn printable(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
