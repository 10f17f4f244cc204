//! What is found out before slow work begins.

use std::time::{Duration, Instant};

use nauta::cluster::{Cause, Cluster, ControlRoute};
use nauta::diagnosis::Diagnosis as _;
use nauta::job::state::TroubleReason;

use crate::support::{apply, kubectl_command};

use super::support::{PATIENCE, address, admin, container, namespace, script, spec, unique, user, variable};

/// Somebody who has some rights in all namespaces, until this is dropped.
struct Somebody(String);

impl Somebody {
    fn who_may(rules: &[(&str, &[&str], &[&str])]) -> Self {
        let name = unique("somebody");
        let rule = |(group, resources, verbs)| serde_json::json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        let items: Vec<_> = rules.iter().copied().map(rule).collect();
        let group = "rbac.authorization.k8s.io";
        let metadata = serde_json::json!({ "name": name });
        let objects = [
            serde_json::json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": items}),
            serde_json::json!({
                "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
            }),
        ];
        apply(&objects);
        // The API server learns of new roles a little later.
        let question = ["auth", "can-i", rules[0].2[0], rules[0].1[0], "--as", &name];
        let begin = Instant::now();
        while !kubectl_command(&question).output().expect("kubectl starts").status.success() {
            assert!(begin.elapsed() < PATIENCE, "{name} has no rights");
            std::thread::sleep(Duration::from_millis(100));
        }
        Self(name)
    }

    /// As the administrator who acts for somebody.
    async fn connect(&self, namespace: &str) -> Cluster {
        let admin = std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG")).expect("readable");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, admin.replacen("  user:\n", &format!("  user:\n    as: {}\n", self.0), 1))
            .expect("written");
        Cluster::connect(&address(path.to_str().expect("text"), namespace)).await.expect("connects")
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        _ = kubectl_command(&["delete", "clusterrole,clusterrolebinding", &self.0]).output();
    }
}

#[tokio::test]
async fn a_data_scientist_has_all_she_needs() {
    let cluster = user().await;
    let objects = script(&spec(&unique("check"), 2), &namespace(), "true").await;
    let findings = cluster.check(&objects).await.expect("all is well");
    assert_eq!(findings.control, ControlRoute::PortForward);
    assert!(findings.kubelet_logs && findings.events, "{findings:?}");
    assert!(findings.warnings.is_empty(), "{findings:?}");
    assert!(cluster.find(objects.run()).await.is_err(), "a check makes nothing");
}

#[tokio::test]
async fn the_nodes_architectures_are_read_where_allowed() {
    let cluster = admin(&namespace()).await;
    let survey = cluster.survey().await.expect("all is well");
    let ours = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(survey.architectures, [ours]);
}

#[tokio::test]
async fn a_pod_that_fits_is_admitted_for_whoever_may_make_pods() {
    let cluster = admin(&namespace()).await;
    let objects = script(&spec(&unique("check"), 1), &namespace(), "true").await;
    let _ = cluster.check(&objects).await.expect("all is well");
}

#[tokio::test]
async fn all_missing_rights_are_told_at_once() {
    let cluster =
        Cluster::connect(&address(&variable("NAUTA_TEST_KUBECONFIG_USER"), "default")).await.expect("connects");
    let objects = script(&spec(&unique("check"), 1), "default", "true").await;
    let error = cluster.check(&objects).await.expect_err("not her namespace");
    let Cause::Forbidden { missing } = error.cause() else { panic!("{error:?}") };
    assert_eq!(missing.len(), 10, "{error}");
    let text = error.to_string();
    let all = "not allowed to create, get, list, watch, delete jobs.batch; get, list, watch pods; create services; create secrets";
    assert!(text.contains(all), "{text}");
    assert!(text.contains("namespace `default`"), "{text}");
    assert!(error.hints()[1].contains("a role in `default` with: create, get"), "{:?}", error.hints());
}

#[tokio::test]
async fn a_namespace_that_does_not_exist() {
    let looks: (&str, &[&str], &[&str]) = ("", &["namespaces"], &["get"]);
    let almost = [
        ("batch", &["jobs"][..], &["create", "get", "list", "watch", "delete"][..]),
        ("", &["services", "secrets"], &["create"]),
        ("", &["pods"], &["get", "list", "watch"]),
        looks,
    ];
    let (visitor, colleague) = (Somebody::who_may(&[looks]), Somebody::who_may(&almost));
    let objects = script(&spec(&unique("check"), 1), "nowhere", "true").await;
    // With all rights; with the right to look, and no other; with all that a run needs, but not the right to make pods.
    for cluster in [admin("nowhere").await, visitor.connect("nowhere").await, colleague.connect("nowhere").await] {
        let error = cluster.check(&objects).await.expect_err("no such namespace");
        assert!(matches!(error.cause(), Cause::NamespaceNotFound { namespace } if namespace == "nowhere"), "{error:?}");
    }
}

#[tokio::test]
async fn a_pod_that_pod_security_refuses_is_told_before_anything_is_made() {
    let cluster = admin(&namespace()).await;
    let mut objects = script(&spec(&unique("check"), 1), &namespace(), "true").await;
    container(&mut objects).security_context.get_or_insert_default().privileged = Some(true);
    container(&mut objects).security_context.get_or_insert_default().allow_privilege_escalation = None;
    let error = cluster.check(&objects).await.expect_err("refused");
    let Cause::Refused { reason, message, .. } = error.cause() else { panic!("{error:?}") };
    assert_eq!(*reason, TroubleReason::PodSecurity);
    assert!(message.contains("violates PodSecurity \"restricted:"), "{message}");
    assert!(message.contains("privileged"), "{message}");
}

#[tokio::test]
async fn a_quota_that_is_too_small_is_told_before_anything_is_made() {
    let namespace = variable("NAUTA_TEST_NAMESPACE_QUOTA");
    let cluster = admin(&namespace).await;
    let mut spec = spec(&unique("check"), 1);
    spec.resources.memory = "64Gi".parse().ok();
    let error = cluster.check(&script(&spec, &namespace, "true").await).await.expect_err("refused");
    let Cause::Refused { reason, message, .. } = error.cause() else { panic!("{error:?}") };
    assert_eq!(*reason, TroubleReason::Quota);
    assert!(message.contains("exceeded quota: small"), "{message}");
    assert!(!error.hints().is_empty());
}

#[tokio::test]
async fn the_clusters_registry_is_found_under_its_three_names() {
    let hosting = user().await.registry_hosting().await.expect("readable").expect("announced");
    assert_eq!(hosting.host.as_deref(), Some(variable("NAUTA_TEST_REGISTRY").as_str()));
    assert_eq!(hosting.host_from_container_runtime, hosting.host);
    assert_eq!(hosting.host_from_cluster_network.as_deref(), Some(variable("NAUTA_TEST_REGISTRY_FROM_PODS").as_str()));
}
