//! Everything that can keep a run from starting, provoked, and named in the cluster's words.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use nauta::event::{End, RankState, Reason};
use nauta::job::objects::RunObjects;
use nauta::job::state::{RunState, RunView, Trouble, TroubleReason};

use super::support::{
    Guard, admin, at, container, image, kubectl, namespace, script, spec, unique, until, user, variable,
};

fn has(view: &RunView, reason: TroubleReason) -> Option<&Trouble> {
    view.troubles.iter().find(|trouble| trouble.reason == reason)
}

#[tokio::test]
async fn an_image_that_does_not_exist_fails_fast() {
    let missing = format!("{}/nauta-test/busybox@sha256:{}", variable("NAUTA_TEST_REGISTRY"), "0".repeat(64));
    let objects = RunObjects::plan(&spec(&unique("image"), 1), &at(&namespace(), &missing)).expect("a valid run");
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.fatal().is_some()).await;
    let trouble = has(&view, TroubleReason::ImagePull).expect("the image");
    assert_eq!(trouble.rank, Some(0));
    assert!(trouble.message.contains("not found"), "{trouble:?}");
    assert!(matches!(view.ranks[0].state, RankState::Pending { .. }), "{view:?}");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_may_come_back() {
    let unreachable = format!("127.0.0.1:9/nauta-test/busybox@sha256:{}", "0".repeat(64));
    let objects =
        RunObjects::plan(&spec(&unique("registry"), 1), &at(&namespace(), &unreachable)).expect("a valid run");
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| has(view, TroubleReason::ImagePull).is_some()).await;
    let trouble = has(&view, TroubleReason::ImagePull).expect("the image");
    assert!(!trouble.fatal && trouble.message.contains("connection refused"), "{trouble:?}");
}

#[tokio::test]
async fn accelerators_that_no_node_has() {
    let mut spec = spec(&unique("gpus"), 1);
    spec.resources.gpus = 99;
    let objects = script(&spec, &namespace(), "true").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| has(view, TroubleReason::Unschedulable).is_some()).await;
    let trouble = has(&view, TroubleReason::Unschedulable).expect("no node");
    assert!(trouble.message.contains("Insufficient nvidia.com/gpu"), "{trouble:?}");
    assert!(!trouble.message.contains("preemption") && !trouble.fatal, "{trouble:?}");
    let status = cluster.status(&guard.run).await.expect("answers");
    assert_eq!(status.view.state, RunState::Starting);
    assert!(has(&status.view, TroubleReason::Unschedulable).is_some(), "{status:?}");
}

#[tokio::test]
async fn a_quota_that_leaves_no_room_for_any_pod() {
    let namespace = variable("NAUTA_TEST_NAMESPACE_QUOTA");
    let mut spec = spec(&unique("quota"), 1);
    spec.resources.memory = "64Gi".parse().ok();
    let objects = script(&spec, &namespace, "true").await;
    let guard = Guard::new(&objects);
    let cluster = admin(&namespace).await;
    cluster.submit(&objects).await.expect("a Job is not what the quota counts");
    let view = until(&cluster, &guard.run, |view| has(view, TroubleReason::Quota).is_some()).await;
    let trouble = has(&view, TroubleReason::Quota).expect("the quota");
    assert!(trouble.message.contains("exceeded quota: small") && trouble.fatal, "{trouble:?}");
    assert!(view.ranks[0].pod.is_none());
}

#[tokio::test]
async fn a_privileged_pod_in_a_restricted_namespace() {
    let mut objects = script(&spec(&unique("privileged"), 1), &namespace(), "true").await;
    let context = container(&mut objects).security_context.get_or_insert_default();
    context.privileged = Some(true);
    context.allow_privilege_escalation = None;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("a Job is not what Pod Security judges");
    let view = until(&cluster, &guard.run, |view| view.fatal().is_some()).await;
    let trouble = has(&view, TroubleReason::PodSecurity).expect("Pod Security");
    assert!(trouble.message.contains("violates PodSecurity \"restricted"), "{trouble:?}");
}

#[tokio::test]
async fn a_secret_that_does_not_exist() {
    let mut objects = script(&spec(&unique("secret"), 1), &namespace(), "true").await;
    let missing = SecretKeySelector { name: "no-such-secret".into(), key: "token".into(), optional: None };
    let variable = EnvVar {
        name: "TOKEN".into(),
        value: None,
        value_from: Some(EnvVarSource { secret_key_ref: Some(missing), ..EnvVarSource::default() }),
    };
    container(&mut objects).env.get_or_insert_default().push(variable);
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.fatal().is_some()).await;
    let trouble = has(&view, TroubleReason::ConfigError).expect("the Secret");
    assert!(trouble.message.contains("no-such-secret"), "{trouble:?}");
}

#[tokio::test]
async fn a_volume_from_a_secret_that_does_not_exist() {
    let mut run = at(&namespace(), &image("NAUTA_TEST_IMAGE_BUSYBOX").await);
    run.mailbox_secret = Some("no-such-mailbox".into());
    let objects = RunObjects::plan(&spec(&unique("volume"), 1), &run).expect("a valid run");
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.fatal().is_some()).await;
    let trouble = has(&view, TroubleReason::ConfigError).expect("the Secret");
    assert!(trouble.message.contains("\"no-such-mailbox\" not found"), "{trouble:?}");
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image() {
    let image = image("NAUTA_TEST_IMAGE_BUSYBOX").await;
    let objects = RunObjects::plan(&spec(&unique("nothing"), 1), &at(&namespace(), &image)).expect("a valid run");
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    let RankState::Ended(End { code: 125, reason: Reason::NotStarted { message } }) = &view.ranks[0].state else {
        panic!("{view:?}")
    };
    assert!(message.contains("/nauta/bin/nauta"), "{message}");
    assert!(has(&view, TroubleReason::CrashedBeforeStart).is_some_and(|trouble| trouble.fatal), "{view:?}");
}

#[tokio::test]
async fn a_deadline_ends_the_run() {
    let mut spec = spec(&unique("deadline"), 1);
    spec.deadlines.run = std::time::Duration::from_secs(8);
    let objects = script(&spec, &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    assert!(has(&view, TroubleReason::Deadline).is_some(), "{view:?}");
    assert!(matches!(view.ranks[0].state, RankState::Ended(_)), "{view:?}");
}

#[tokio::test]
async fn a_run_that_somebody_deletes() {
    let objects = script(&spec(&unique("deleted"), 1), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    until(&cluster, &guard.run, |view| view.state == RunState::Running).await;
    let deleted =
        kubectl().args(["delete", "job", &guard.run, "-n", &namespace(), "--wait=false"]).output().expect("kubectl");
    assert!(deleted.status.success());
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    assert_eq!(view.state, RunState::Deleted);
    assert!(has(&view, TroubleReason::Deleted).is_some_and(|trouble| trouble.fatal), "{view:?}");
}

#[tokio::test]
async fn a_run_that_is_held_back() {
    let mut objects = script(&spec(&unique("suspended"), 1), &namespace(), "exec sleep 600").await;
    objects.job.spec.as_mut().expect("a specification").suspend = Some(true);
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| has(view, TroubleReason::Suspended).is_some()).await;
    assert!(matches!(view.state, RunState::Suspended { .. }), "{view:?}");
    let patch = ["patch", "job", &guard.run, "-n", &namespace(), "-p", "{\"spec\":{\"suspend\":false}}"];
    assert!(kubectl().args(patch).output().expect("kubectl").status.success());
    let view = until(&cluster, &guard.run, |view| view.state == RunState::Running).await;
    assert!(view.troubles.is_empty(), "{view:?}");
}

#[tokio::test]
async fn an_evicted_rank() {
    let objects = script(&spec(&unique("evicted"), 1), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state == RunState::Running).await;
    let pod = view.ranks[0].pod.clone().expect("a pod");
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", namespace());
    let body = format!("{{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{{\"name\":\"{pod}\"}}}}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), body).expect("written");
    let evicted = kubectl().args(["create", "--raw", &path, "-f"]).arg(file.path()).output().expect("kubectl");
    assert!(evicted.status.success(), "{}", String::from_utf8_lossy(&evicted.stderr));
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    let RankState::Ended(End { reason: Reason::Lost { message }, .. }) = &view.ranks[0].state else {
        panic!("{view:?}")
    };
    assert!(message.starts_with("EvictionByEvictionAPI"), "{message}");
    assert!(has(&view, TroubleReason::Evicted).is_some(), "{view:?}");
}
