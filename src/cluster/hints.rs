//! What to do about each [`ClusterError`].

use super::access::{Access, listing};
use super::error::{Cause, ClusterError, Place};

/// Actions, most likely first.
pub(super) fn of(error: &ClusterError) -> Vec<String> {
    let Place { context, namespace, .. } = error.place();
    match error.cause() {
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
        Cause::NoTunnel { service, .. } => vec![
            format!("look at it with `kubectl -n {namespace} describe service {service}`"),
            "mend `registry_service` of the target, as `NAME:PORT` or `NAMESPACE/NAME:PORT`".into(),
        ],
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
        Cause::Uncertain { run, .. } => vec![
            format!("`nauta status {run}` asks again; `nauta cancel {run}` ends it, should it be there"),
            "then check the network, the VPN and the proxy settings".into(),
        ],
        Cause::Refused { reason, .. } => vec![reason.remedy().to_owned()],
        Cause::Busy { .. } => vec!["try again in a minute".into()],
        Cause::NoContainer { run, .. } => vec![format!("run `nauta status {run}`")],
        Cause::Answer { .. } | Cause::Other { .. } => Vec::new(),
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
