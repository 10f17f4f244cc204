//! Submitting: once, owned, and nothing left when it fails.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret as SecretObject, Service};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use nauta::cluster::Cause;
use nauta::job::objects::{ClusterRun, RunObjects};
use nauta::job::state::RunState;
use nauta::secret::Secret;

use super::support::{
    Guard, PATIENCE, admin_client, at, container, gone, image, kubectl, leftovers, namespace, script, spec, unique,
    until, user, variable,
};
use crate::support::Workstation;

#[tokio::test]
async fn a_run_is_submitted_once_and_goes_as_a_whole() {
    let cluster = user().await;
    let objects = script(&spec(&unique("submit"), 2), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    let first = cluster.submit(&objects).await.expect("submitted");
    let second = cluster.submit(&objects).await.expect("the same again");
    assert!(!first.was_there && second.was_there);
    assert_eq!(first.uid, second.uid);
    let view = until(&cluster, &guard.run, |view| view.state == RunState::Running).await;
    assert_eq!(view.ranks.len(), 2);
    assert!(view.troubles.is_empty(), "{view:?}");
    let left = leftovers(&namespace(), &guard.run).await;
    for kind in ["Job", "Service", "SecretObject", "Pod"] {
        assert!(left.iter().any(|object| object.starts_with(kind)), "{left:?}");
    }
    let cancelled = cluster.cancel(&guard.run).await.expect("cancelled");
    assert_eq!(cancelled.was, RunState::Running);
    // Services and Secrets go too (see `gone` below), but ada may not list them.
    assert_eq!(cancelled.deleted.len(), 3, "{cancelled:?}");
    gone(&namespace(), &guard.run).await;
    let error = cluster.cancel(&guard.run).await.expect_err("gone already");
    assert!(matches!(error.cause(), Cause::NoSuchRun { .. }), "{error:?}");
}

#[tokio::test]
async fn another_run_of_the_same_name_is_not_touched() {
    let cluster = user().await;
    let mine = script(&spec(&unique("taken"), 1), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&mine);
    cluster.submit(&mine).await.expect("submitted");
    let mut theirs = spec(&guard.run, 1);
    theirs.command = vec!["something".into(), "else".into()];
    let theirs = script(&theirs, &namespace(), "exec sleep 601").await;
    let error = cluster.submit(&theirs).await.expect_err("taken");
    assert!(matches!(error.cause(), Cause::NameTaken { kind: "run", .. }), "{error:?}");
    assert!(cluster.find(&guard.run).await.is_ok());
}

#[tokio::test]
async fn people_cannot_read_each_others_secrets_not_even_by_deleting_them() {
    let objects = script(&spec(&unique("private"), 1), &namespace(), "exec sleep 600").await;
    let _guard = Guard::new(&objects);
    user().await.submit(&objects).await.expect("submitted");
    let secret = format!("{}-key", objects.run());
    let path = format!("/api/v1/namespaces/{}/secrets/{secret}", namespace());
    let ada = |arguments: &[&str]| {
        let user = variable("NAUTA_TEST_KUBECONFIG_USER");
        kubectl().args(arguments).args(["--namespace", &namespace()]).env("KUBECONFIG", user).output().expect("kubectl")
    };
    let deletion = format!("{path}?dryRun=All&propagationPolicy=Foreground");
    for look in [&["get", "secret", &secret][..], &["get", "--raw", &path], &["delete", "--raw", &deletion]] {
        let answer = ada(look);
        assert!(!answer.status.success(), "{look:?}: {}", String::from_utf8_lossy(&answer.stdout));
        assert!(String::from_utf8_lossy(&answer.stderr).to_lowercase().contains("forbidden"), "{look:?}");
    }
    // Why she has no right to delete them: it is the right to read them.
    let told = kubectl().args(["delete", "--raw", &deletion]).output().expect("kubectl");
    assert!(String::from_utf8_lossy(&told.stdout).contains("run-key"), "{}", String::from_utf8_lossy(&told.stdout));
    assert!(kubectl().args(["get", "--raw", &path]).status().expect("kubectl").success(), "and it is still there");
}

#[tokio::test]
async fn credentials_go_when_somebody_sees_the_runs_end_and_its_job_stays() {
    let image = image("NAUTA_TEST_IMAGE_BUSYBOX").await;
    let at = ClusterRun { pull_credentials: Some(Secret::new("{\"auths\":{}}")), ..at(&namespace(), &image) };
    let mut objects = RunObjects::plan(&spec(&unique("spent"), 1), &at).expect("a valid run");
    container(&mut objects).command = Some(vec!["true".to_owned()]);
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    until(&cluster, &guard.run, |view| view.state == RunState::Succeeded).await;
    let secrets: Api<SecretObject> = Api::namespaced(admin_client().await, &namespace());
    let pull = format!("{}-pull", guard.run);
    assert!(secrets.get_opt(&pull).await.expect("an answer").is_some());
    let workstation = Workstation::new();
    workstation.configure_cluster("");
    let status = workstation.succeeds(&["status", "--target", "lab", &guard.run]);
    assert!(status.stdout.contains("succeeded"), "{status:?}");
    let gone = async {
        while secrets.get_opt(&pull).await.expect("an answer").is_some() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the garbage collector takes it");
    assert!(cluster.find(&guard.run).await.is_ok());
}

#[tokio::test]
async fn when_the_service_cannot_be_made_the_job_goes_too() {
    let objects = script(&spec(&unique("half"), 1), &namespace(), "exec sleep 600").await;
    let _guard = Guard::new(&objects);
    let services: Api<Service> = Api::namespaced(admin_client().await, &namespace());
    let mut foreign = objects.service.clone();
    foreign.metadata = ObjectMeta { name: Some(objects.run().to_owned()), ..ObjectMeta::default() };
    services.create(&PostParams::default(), &foreign).await.expect("made");
    let error = user().await.submit(&objects).await.expect_err("the name is taken");
    services.delete(objects.run(), &DeleteParams::default()).await.expect("deleted");
    assert!(matches!(error.cause(), Cause::NameTaken { kind: "Service", .. }), "{error:?}");
    gone(&namespace(), objects.run()).await;
}
