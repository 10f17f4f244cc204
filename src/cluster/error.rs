//! What can go wrong with a cluster, classified once; every message says where.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::access::{Access, listing};
use super::hints;
use crate::diagnosis::{Diagnosis, Kind};
use crate::job::state::TroubleReason;

/// Which cluster, as whom, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The kubeconfig's path, or all of them.
    pub kubeconfig: String,
    /// The context; empty when none was found.
    pub context: String,
    /// The namespace; empty when none was found.
    pub namespace: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kubeconfig `{}`", self.kubeconfig)?;
        if !self.context.is_empty() {
            write!(f, ", context `{}`", self.context)?;
        }
        if !self.namespace.is_empty() {
            write!(f, ", namespace `{}`", self.namespace)?;
        }
        Ok(())
    }
}

/// A cluster said no, or nothing at all.
#[derive(Debug)]
pub struct ClusterError(Box<(Place, Cause)>);

impl ClusterError {
    pub(super) fn new(place: &Place, cause: Cause) -> Self {
        Self(Box::new((place.clone(), cause)))
    }

    /// Where.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.0
    }

    /// What.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0.1
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self.cause(), Cause::Unreachable { .. } | Cause::Busy { .. })
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cause(), self.place())
    }
}

impl StdError for ClusterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause().source()
    }
}

/// What went wrong, without the where.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// None of the files exists.
    #[error("there is no kubeconfig")]
    NoKubeconfig,
    /// A file exists but cannot be read.
    #[error("cannot read the kubeconfig `{path}`")]
    UnreadableKubeconfig {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no kubeconfig, or something that it needs is missing or broken.
    #[error("the kubeconfig is not usable: {message}")]
    BrokenKubeconfig {
        /// What is wrong.
        message: String,
    },
    /// Neither the caller nor the kubeconfig says which context.
    #[error("the kubeconfig has no current context")]
    NoContext {
        /// The contexts it has.
        known: Vec<String>,
    },
    /// The kubeconfig has no such context.
    #[error("the kubeconfig has no context `{context}`")]
    UnknownContext {
        /// What was asked for.
        context: String,
        /// The contexts it has.
        known: Vec<String>,
    },
    /// The program that logs in is not installed.
    #[error("the login program `{program}` that the kubeconfig names cannot be run: {message}")]
    LoginMissing {
        /// The program.
        program: String,
        /// Why.
        message: String,
        /// What the kubeconfig says about installing it.
        install_hint: Option<String>,
    },
    /// The program that logs in failed.
    #[error("the login program `{program}` {message}")]
    LoginFailed {
        /// The program.
        program: String,
        /// What happened, and its own words.
        message: String,
    },
    /// A Service that leads to the registry cannot be reached.
    #[error("there is no way to the registry through the Service `{service}`: {message}")]
    NoTunnel {
        /// Its name.
        service: String,
        /// Why.
        message: String,
    },
    /// Nobody answers at the API server's address.
    #[error("cannot reach the API server `{server}`: {message}")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        message: String,
    },
    /// The API server's certificate, or ours, is not accepted.
    #[error("the connection to the API server `{server}` is not trusted: {message}")]
    Certificate {
        /// Its address.
        server: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something answers, but no Kubernetes.
    #[error("`{server}` does not answer like a Kubernetes API server: {answer}")]
    NotKubernetes {
        /// The address.
        server: String,
        /// The beginning of what it said.
        answer: String,
    },
    /// The API server does not know who we are.
    #[error("the API server does not accept the credentials{}", expiry(*.expired))]
    Unauthorised {
        /// When the client's certificate expired, if that is why.
        expired: Option<Timestamp>,
    },
    /// We may not do this.
    #[error("not allowed to {}", listing(.missing))]
    Forbidden {
        /// All the rights that are missing, as far as known.
        missing: Vec<Access>,
    },
    /// The namespace does not exist.
    #[error("the namespace `{namespace}` does not exist")]
    NamespaceNotFound {
        /// Its name.
        namespace: String,
    },
    /// There is no such run.
    #[error("there is no run `{run}`")]
    NoSuchRun {
        /// What was asked for.
        run: String,
        /// The most similar run there is.
        nearest: Option<String>,
    },
    /// The name belongs to another run or to something that is not ours.
    #[error("the name `{run}` is taken by another {kind}")]
    NameTaken {
        /// The name.
        run: String,
        /// What has it: `run`, `Job`, `Service`, `Secret`.
        kind: &'static str,
    },
    /// Requests to make a run were sent, and nobody says what came of them.
    #[error("whether `{run}` is on the cluster is not known: {message}")]
    Uncertain {
        /// The run.
        run: String,
        /// What went wrong.
        message: String,
    },
    /// A rule of the cluster refuses the objects.
    #[error("the cluster refuses the {what}: {message}")]
    Refused {
        /// Which object.
        what: String,
        /// What kind of rule.
        reason: TroubleReason,
        /// The server's words.
        message: String,
    },
    /// The rank has no container that could be spoken to.
    #[error("rank {rank} of run `{run}` cannot be reached: {message}")]
    NoContainer {
        /// The run.
        run: String,
        /// The rank.
        rank: u32,
        /// What it does instead of running.
        message: String,
    },
    /// The API server has too much to do.
    #[error("the API server is too busy: {message}")]
    Busy {
        /// Its words.
        message: String,
    },
    /// Any other answer.
    #[error("the API server answered with {code} when asked to {action}: {message}")]
    Answer {
        /// What was tried.
        action: String,
        /// HTTP status code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// Anything that should not happen.
    #[error("could not {action}")]
    Other {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
}

fn expiry(expired: Option<Timestamp>) -> String {
    expired.map_or_else(String::new, |at| format!(": the client certificate expired on {}", at.strftime("%Y-%m-%d")))
}

impl Diagnosis for ClusterError {
    fn kind(&self) -> Kind {
        match self.cause() {
            Cause::NoKubeconfig
            | Cause::UnreadableKubeconfig { .. }
            | Cause::BrokenKubeconfig { .. }
            | Cause::NoContext { .. }
            | Cause::UnknownContext { .. }
            | Cause::NamespaceNotFound { .. }
            | Cause::NameTaken { .. }
            | Cause::NoSuchRun { .. } => Kind::Input,
            _ => Kind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        hints::of(self)
    }
}
