//! Submitting: once, owned, and nothing left when it fails.

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use nauta::cluster::Cause;
use nauta::job::state::RunState;

use super::support::{Guard, admin_client, gone, leftovers, namespace, script, spec, unique, until, user};

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
