//! What to do about each [`RegistryError`].

use super::error::{CertificateProblem, Reach, RegistryError};

/// Actions, most likely first.
pub(super) fn of(error: &RegistryError) -> Vec<String> {
    use RegistryError as E;
    let one = |text: &str| vec![text.to_owned()];
    match error {
        E::InvalidHost { .. } => {
            one("write the registry as `host` or `host:port`, without `https://` and without a path")
        }
        E::InvalidName { what: "repository", .. } => {
            one("use lower-case words with `/`, `.`, `_` and `-` between them, such as `team/project`")
        }
        E::InvalidName { .. } => {
            one("use a tag of at most 128 letters, digits, `_`, `.` and `-`, or a `sha256:` digest")
        }
        E::InvalidAuthorities { .. } => {
            one("give the PEM file of the authority that signed the registry's certificate")
        }
        E::Unreachable { host, reach } => unreachable(host, reach),
        E::Certificate { host, problem } => certificate(host, problem),
        E::PlainHttp { host } => vec![
            format!("put TLS before `{host}`, or"),
            "allow plain HTTP for this host by name in the target (`nauta target add --help`)".to_owned(),
        ],
        E::WantsTls { host } => {
            vec![format!("take back the permission for plain HTTP that the target gives to `{host}`")]
        }
        E::Unauthorised { host, .. } => vec![format!("run `nauta login {host}`")],
        E::Forbidden { host, repository, .. } => vec![
            format!("ask the owner of `{repository}` for the right, or choose another repository in the target"),
            format!("to use another account, run `nauta login {host}`"),
        ],
        E::NoRepository { repository, .. } => vec![format!("make the repository `{repository}` in the registry first")],
        E::NotARegistry { .. } => one("check the registry's name and port in the target"),
        E::Full { host, .. } => vec![format!(
            "free space in `{host}` (delete tags of old runs, `run-…` and `code-…`, then collect garbage there), or ask its operator"
        )],
        E::RateLimited { .. } => one("wait and try again; logging in often raises the limit"),
        E::ServerFailed { .. } => one("try again later; if it stays so, show the registry's own log to its operator"),
        E::BodyTooLarge { .. } => {
            one("raise the limit of the proxy before the registry (nginx: `client_max_body_size 0`)")
        }
        E::BlobUnknown { .. } => {
            one("run the same command again: what was removed meanwhile (garbage collection?) is sent again")
        }
        E::FileChanged { .. } => one("run the same command again once nothing writes to the file"),
        E::UploadLost { .. } => one("if the registry runs as several replicas, give them all the same `http.secret`"),
        E::DigestMismatch { .. } | E::Lying { .. } => {
            one("run the same command again; if it stays so, the registry's storage or a proxy before it is broken")
        }
        E::Refused { .. }
        | E::NotFound { .. }
        | E::TooLarge { .. }
        | E::Redirect { .. }
        | E::File { .. }
        | E::Write { .. } => Vec::new(),
    }
}

fn unreachable(host: &str, reach: &Reach) -> Vec<String> {
    match reach {
        Reach::Refused => vec![format!("start the registry, or check the port of `{host}` in the target")],
        Reach::NoAddress => vec![format!("check the spelling of `{host}`, and whether a VPN is needed")],
        Reach::Proxy(_) => vec!["check HTTPS_PROXY and NO_PROXY".to_owned()],
        Reach::Tls(_) => vec![format!("check that `{host}` speaks TLS 1.2 or newer")],
        _ => vec!["check the network, and whether a VPN or proxy is needed".to_owned()],
    }
}

fn certificate(host: &str, problem: &CertificateProblem) -> Vec<String> {
    match problem {
        CertificateProblem::UnknownIssuer => {
            vec!["name the CA's PEM file (`registry_ca` of the target, `nauta login --ca`), or add it to this machine's trusted authorities".to_owned()]
        }
        CertificateProblem::Expired => {
            vec![format!("have the certificate of `{host}` renewed"), "check this machine's clock".to_owned()]
        }
        CertificateProblem::NotYetValid(_) => {
            vec![
                "set this machine's clock: it seems to be behind (virtual machines' clocks stop while they sleep)"
                    .to_owned(),
            ]
        }
        CertificateProblem::WrongName(_) => {
            vec![format!("use the name that the certificate is for, or have it issued for `{host}`")]
        }
        CertificateProblem::Revoked | CertificateProblem::Other(_) => {
            vec![format!("have the certificate of `{host}` renewed")]
        }
    }
}
