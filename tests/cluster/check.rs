//! What is found out before slow work begins.

use nauta::cluster::{Cause, Cluster, ControlRoute};
use nauta::diagnosis::Diagnosis as _;
use nauta::job::state::TroubleReason;

use super::support::{address, admin, container, namespace, script, spec, unique, user, variable};

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
    let objects = script(&spec(&unique("check"), 1), &namespace(), "true").await;
    let survey = cluster.survey().await.expect("all is well");
    let ours = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(survey.architectures, [ours]);
    assert!(cluster.check(&objects).await.expect("all is well").pod_admitted);
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
    let cluster = admin("nowhere").await;
    let objects = script(&spec(&unique("check"), 1), "nowhere", "true").await;
    let error = cluster.check(&objects).await.expect_err("no such namespace");
    assert!(matches!(error.cause(), Cause::NamespaceNotFound { namespace } if namespace == "nowhere"), "{error:?}");
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
