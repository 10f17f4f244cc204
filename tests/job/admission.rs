//! The question whether a run's pods would be admitted, asked before it is known what they will be.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Cleanup, shell};
use crate::cluster::support::PATIENCE;
use crate::support::{apply, environment, kubectl, kubectl_command, kubectl_on};

/// An admission policy that refuses a project's pods whose mailbox is on a host.
struct Policy(&'static str);

impl Policy {
    fn refuses(project: &str, name: &'static str, host: &str) -> Self {
        let of_project = format!("object.metadata.?labels[?'nauta.dev/project'].orValue('') == '{project}'");
        let mailbox = format!("e.name == 'NAUTA_MAILBOX' && e.?value.orValue('').startsWith('{host}/')");
        let refuses = format!("!object.spec.containers.exists(c, c.?env.orValue([]).exists(e, {mailbox}))");
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
                ]},
                "matchConditions": [{"name": "project", "expression": of_project}],
                "validations": [{"expression": refuses, "message": format!("no mailbox on {host}")}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        apply(&[policy, binding]);
        let made = Self(name);
        // The API server learns of it a little later.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"nauta.dev/project": project}},
            "spec": {
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "a", "image": "a", "env": [{"name": "NAUTA_MAILBOX", "value": format!("{host}/a")}],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        });
        let begin = Instant::now();
        loop {
            let answer = kubectl_on(&pod.to_string(), &["create", "--dry-run=server"]);
            if String::from_utf8_lossy(&answer.stderr).contains("no mailbox") {
                break;
            }
            assert!(answer.status.success() && begin.elapsed() < PATIENCE, "{answer:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        made
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let kinds = "validatingadmissionpolicy,validatingadmissionpolicybinding";
        _ = kubectl_command(&["delete", kinds, self.0]).output();
    }
}

#[test]
fn the_clusters_word_about_the_pods_that_will_be_counts() {
    let workstation = shell("true");
    let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    workstation.write("nauta.toml", &text.replace("'shell'", "'judged'"));
    let (registry, pods) = (environment("NAUTA_TEST_REGISTRY"), environment("NAUTA_TEST_REGISTRY_FROM_PODS"));
    // That pods have another name for the registry is announced by the cluster only. Who may make pods is told about them.
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{}'\nnamespace = '{}'\nregistry = '{registry}/tests'\nplain_http = ['{pods}']\n",
        environment("NAUTA_TEST_KUBECONFIG"),
        environment("NAUTA_TEST_NAMESPACE"),
    ));
    let _cleanup = Cleanup(&workstation);
    {
        let _policy = Policy::refuses("judged", "nauta-test-not-as-likely", &registry);
        let _ = workstation.succeeds(&["run"]);
    }
    let _policy = Policy::refuses("judged", "nauta-test-not-as-it-is", &pods);
    let refused = workstation.nauta(&["run"]);
    let words = "the cluster refuses the pods of this run";
    assert!(refused.code == 125 && refused.stderr.contains(words), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("no mailbox on {pods}")), "{}", refused.stderr);
    // It was never made: there is the first run and no other.
    let _ = workstation.only_run();
    let jobs = kubectl(&["get", "jobs", "-l", "nauta.dev/project=judged", "-o", "name"]);
    assert_eq!(jobs.lines().count(), 1, "{jobs}");
}
