//! What an error of the Kubernetes client means.

use std::error::Error as StdError;

use jiff::Timestamp;

use super::access::Access;
use super::error::Cause;
use crate::job::state::TroubleReason;

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
        500.. if message.contains("request timed out") || matches!(status.code, 502..=504) => Cause::Busy { message },
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
    const TELLING: [&str; 6] = ["connect", "dns", "timed out", "closed", "deadline", "tunnel"];
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
