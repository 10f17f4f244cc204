//! What can go wrong with a cluster, classified once; every message says where.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::access::{Access, listing};
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
        let Place { context, namespace, .. } = self.place();
        match self.cause() {
            Cause::NoKubeconfig => {
                vec![
                    "set `KUBECONFIG` to the file your cluster's administrators gave you".into(),
                    "or run with `--local`".into(),
                ]
            }
            Cause::UnreadableKubeconfig { .. } => vec!["check the file's permissions".into()],
            Cause::NoContext { known } => vec![format!("run `kubectl config use-context NAME` ({})", choice(known))],
            Cause::UnknownContext { context, known } => unknown_context(context, known),
            Cause::BrokenKubeconfig { .. } => vec!["run `kubectl config view` and mend what it complains about".into()],
            Cause::LoginMissing { program, install_hint, .. } => match install_hint {
                Some(hint) => vec![hint.trim().to_owned()],
                None => vec![format!("install `{program}`, or mend its path in the kubeconfig")],
            },
            Cause::LoginFailed { .. } => vec![format!("run `kubectl --context {context} get pods` to log in anew")],
            Cause::Unreachable { .. } => vec![
                "check the network, the VPN and the proxy settings".into(),
                "check the address with `kubectl config view --minify`".into(),
            ],
            Cause::Certificate { .. } => vec![
                "check `certificate-authority` in the kubeconfig, and this machine's clock".into(),
                "ask your cluster's administrators for a new kubeconfig".into(),
            ],
            Cause::NotKubernetes { .. } => {
                vec!["check `server` in the kubeconfig: a proxy or a login page answers there".into()]
            }
            Cause::Unauthorised { expired: Some(_) } => {
                vec!["ask your cluster's administrators for a new kubeconfig".into()]
            }
            Cause::Unauthorised { expired: None } => vec!["log in to the cluster again".into()],
            Cause::Forbidden { missing } => forbidden(missing, namespace),
            Cause::NamespaceNotFound { namespace } => vec![
                "check the target's namespace".into(),
                format!("or ask your cluster's administrators to run `kubectl create namespace {namespace}`"),
            ],
            Cause::NoSuchRun { nearest, .. } => {
                let mut hints: Vec<String> = nearest.iter().map(|run| format!("did you mean `{run}`?")).collect();
                hints.push("run `nauta list` to see the runs there are".into());
                hints
            }
            Cause::NameTaken { .. } => vec!["choose another name with `--name`".into()],
            Cause::Refused { reason, .. } => vec![refused(*reason).to_owned()],
            Cause::Busy { .. } => vec!["try again in a minute".into()],
            Cause::NoContainer { run, .. } => vec![format!("run `nauta status {run}`")],
            Cause::Answer { .. } | Cause::Other { .. } => Vec::new(),
        }
    }
}

fn choice(known: &[String]) -> String {
    match known {
        [] => "it has no contexts at all".to_owned(),
        _ => format!("there are: {}", known.join(", ")),
    }
}

fn unknown_context(context: &str, known: &[String]) -> Vec<String> {
    let nearest = crate::diagnosis::nearest(context, known.iter().map(String::as_str));
    let mut hints: Vec<String> = nearest.iter().map(|name| format!("did you mean `{name}`?")).collect();
    hints.push(format!("run `kubectl config get-contexts` ({})", choice(known)));
    hints
}

fn forbidden(missing: &[Access], namespace: &str) -> Vec<String> {
    let check =
        missing.first().map(|access| format!("check with `kubectl auth can-i {access} --namespace {namespace}`"));
    let ask = format!("ask your cluster's administrators for a role in `{namespace}` with: {}", listing(missing));
    check.into_iter().chain([ask]).collect()
}

fn refused(reason: TroubleReason) -> &'static str {
    match reason {
        TroubleReason::Quota => "ask for less, end other runs (`nauta list`), or ask your administrators for more",
        TroubleReason::PodSecurity => {
            "nauta's pods keep to Pod Security `restricted`: ask your administrators which rule of theirs goes further"
        }
        _ => "ask for other resources, or ask your cluster's administrators about this rule",
    }
}

/// What an error of the client means. `expired`: when our own certificate ran out, if it did.
pub(super) fn classify(action: &str, server: &str, expired: Option<Timestamp>, error: kube::Error) -> Cause {
    match error {
        kube::Error::Api(status) => answer(action, server, expired, &status),
        kube::Error::SerdeError(source) => {
            Cause::NotKubernetes { server: server.to_owned(), answer: format!("its answer is no JSON ({source})") }
        }
        kube::Error::Auth(source) => {
            Cause::LoginFailed { program: "auth-provider".to_owned(), message: format!("failed: {source}") }
        }
        kube::Error::UpgradeConnection(kube::client::UpgradeConnectionError::ProtocolSwitch(code)) => Cause::Answer {
            action: action.to_owned(),
            code: code.as_u16(),
            message: "no stream could be opened".to_owned(),
        },
        error => match transport(&error) {
            Some(Transport::Certificate(message)) => Cause::Certificate { server: server.to_owned(), message },
            Some(Transport::Unreachable(message)) => Cause::Unreachable { server: server.to_owned(), message },
            None => Cause::Other { action: action.to_owned(), source: Box::new(error) },
        },
    }
}

fn answer(action: &str, server: &str, expired: Option<Timestamp>, status: &kube::error::Status) -> Cause {
    let message = status.message.trim().to_owned();
    let foreign = status.reason == "Failed to parse error data";
    match status.code {
        401 => Cause::Unauthorised { expired },
        429 => Cause::Busy { message },
        500.. if message.contains("request timed out") || matches!(status.code, 503 | 504) => Cause::Busy { message },
        _ if foreign && (message.starts_with('<') || status.code == 404) => {
            Cause::NotKubernetes { server: server.to_owned(), answer: beginning(&message, status.code) }
        }
        403 => match Access::in_refusal(&message) {
            Some(access) => Cause::Forbidden { missing: vec![access] },
            None => Cause::Refused { what: action.to_owned(), reason: TroubleReason::of_refusal(&message), message },
        },
        404 => match missing_namespace(&message) {
            Some(namespace) => Cause::NamespaceNotFound { namespace: namespace.to_owned() },
            None => Cause::Answer { action: action.to_owned(), code: 404, message },
        },
        422 | 400 if message.contains("denied the request") || status.code == 422 => {
            Cause::Refused { what: action.to_owned(), reason: TroubleReason::Rejected, message }
        }
        code => Cause::Answer { action: action.to_owned(), code, message },
    }
}

fn missing_namespace(message: &str) -> Option<&str> {
    message.split_once("namespaces \"")?.1.split_once("\" not found").map(|(name, _)| name)
}

fn beginning(text: &str, code: u16) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("HTTP {code}, `{}`", line.chars().take(80).collect::<String>())
}

enum Transport {
    Certificate(String),
    Unreachable(String),
}

/// What broke below HTTP: found by walking down the causes to the last that says something to a person.
fn transport(error: &(dyn StdError + 'static)) -> Option<Transport> {
    const TELLING: [&str; 5] = ["connect", "dns", "timed out", "closed", "deadline"];
    let mut next = Some(error);
    let mut words: Option<String> = None;
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(Transport::Certificate(tls_words(tls)));
        }
        let io = error.downcast_ref::<std::io::Error>();
        let text = io.map_or_else(|| error.to_string(), io_words);
        if io.is_some() || (words.is_none() && TELLING.iter().any(|telling| text.contains(telling))) {
            words = Some(text);
        }
        // An I/O error's `source` is that of the error inside it, which would be passed over.
        next = match io.and_then(std::io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    words.map(Transport::Unreachable)
}

fn io_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ if text.contains("failed to lookup address") => format!("its name is unknown ({text})"),
        _ => text,
    }
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate is signed by an authority that the kubeconfig does not name".to_owned()
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired".to_owned()
        }
        rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet".to_owned()
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another name".to_owned()
        }
        rustls::Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}
