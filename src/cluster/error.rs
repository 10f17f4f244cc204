//! What can go wrong with a cluster, and what to do about it.

use crate::diagnosis::{Diagnosis, Kind};

/// What went wrong. Every message names the context.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable kubeconfig.
    #[error("cannot use the kubeconfig{}: {reason}", path.as_ref().map_or(String::new(), |path| format!(" `{path}`")))]
    Kubeconfig {
        /// The file, where one was named.
        path: Option<String>,
        /// Why.
        reason: String,
    },
    /// Nobody answers.
    #[error("cannot reach the cluster of context `{context}` ({place}): {reason}")]
    Unreachable {
        /// The context.
        context: String,
        /// The server's address.
        place: String,
        /// Why.
        reason: String,
    },
    /// It does not know who we are (any more).
    #[error("the cluster of context `{context}` does not accept the login in the kubeconfig")]
    Unauthorised {
        /// The context.
        context: String,
    },
    /// We may not do this.
    #[error("you may not {what} in namespace `{namespace}` (context `{context}`)")]
    Forbidden {
        /// The context.
        context: String,
        /// The namespace.
        namespace: String,
        /// Verbs and resources.
        what: String,
    },
    /// The namespace does not exist.
    #[error("there is no namespace `{namespace}` (context `{context}`)")]
    NoNamespace {
        /// The context.
        context: String,
        /// The namespace.
        namespace: String,
    },
    /// It refuses an object.
    #[error("the cluster of context `{context}` refuses to {what}: {message}")]
    Refused {
        /// The context.
        context: String,
        /// What was asked for.
        what: String,
        /// Its words.
        message: String,
    },
    /// No run of this name.
    #[error("there is no run `{run}` in namespace `{namespace}` (context `{context}`)")]
    NoRun {
        /// The context.
        context: String,
        /// The namespace.
        namespace: String,
        /// The run.
        run: String,
    },
    /// A rank's supervisor cannot be reached.
    #[error("cannot reach rank {rank} of `{run}`: {reason}")]
    NoStream {
        /// The run.
        run: String,
        /// The rank.
        rank: u32,
        /// Why.
        reason: String,
    },
}

impl Diagnosis for ClusterError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoRun { .. } | Self::Kubeconfig { .. } => Kind::Input,
            _ => Kind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Kubeconfig { .. } => {
                "set `kubeconfig` and `context` of the target, or $KUBECONFIG; `kubectl config get-contexts` lists them"
            }
            Self::Unreachable { .. } => "check the network or VPN; does `kubectl version` answer?",
            Self::Unauthorised { .. } => {
                "log in to the cluster again as you do for kubectl; certificates and tokens expire"
            }
            Self::Forbidden { .. } => {
                "ask its administrators for these rights; `nauta doctor` lists all that are needed"
            }
            Self::NoNamespace { .. } => "set `namespace` of the target, or have it made",
            Self::Refused { .. } => "the cluster's own words say which rule it is",
            Self::NoRun { .. } => "`nauta list` shows the runs there are",
            Self::NoStream { .. } => "`nauta status RUN` shows where it stands",
        };
        vec![hint.to_owned()]
    }
}
