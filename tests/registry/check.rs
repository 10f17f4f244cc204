//! What the check before any slow work finds.

use nauta::diagnosis::{Diagnosis as _, Kind};
use nauta::registry::{Access, Auth, Endpoint, Reach, Registry, RegistryError};

use super::{PATIENCE, anonymous};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fault_proxy::{Action, FaultProxy};

fn page(status: u16) -> Action {
    let headers = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
    Action::Answer { status, headers, body: b"<html>Log in to the hotel's network</html>".to_vec() }
}

async fn check(address: impl std::fmt::Display) -> RegistryError {
    anonymous(address).check("a", Access::Push).await.expect_err("is no good")
}

#[tokio::test]
async fn a_good_registry_passes_and_keeps_no_trace() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    registry.check("a", Access::Pull).await.expect("lets us read");
    registry.check("a", Access::Push).await.expect("lets us write");
    let uploads = server.storage().join("docker/registry/v2/repositories/a/_uploads");
    assert_eq!(std::fs::read_dir(&uploads).expect("made by the check").count(), 0);
    let before = registry.counters().requests;
    registry.check("a", Access::Push).await.expect("lets us write");
    assert_eq!(registry.counters().requests - before, 1, "once the smallest blob is there, the check is cheap");
    assert_eq!(std::fs::read_dir(&uploads).expect("made by the check").count(), 0);
}

#[tokio::test]
async fn nobody_there() {
    let mut server = DockerRegistry::start();
    server.kill();
    let error = check(&server.address).await;
    assert!(matches!(error, RegistryError::Unreachable { reach: Reach::Refused, .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Unavailable);

    let endpoint = Endpoint::new("no-such-host.invalid:5000").expect("a name");
    let error = Registry::new(endpoint, Auth::Anonymous).check("a", Access::Pull).await.expect_err("has no address");
    assert!(matches!(error, RegistryError::Unreachable { reach: Reach::NoAddress, .. }), "{error:?}");
}

#[tokio::test]
async fn somebody_silent() {
    let silent = FaultProxy::alone(|_| Action::StallBody(0)).await;
    let error = check(silent.address).await;
    assert!(matches!(error, RegistryError::Unreachable { reach: Reach::TimedOut(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_of_another_kind() {
    for status in [200, 401, 403, 404] {
        let portal = FaultProxy::alone(move |_| page(status)).await;
        let error = check(portal.address).await;
        assert!(matches!(error, RegistryError::NotARegistry { .. }), "{status}: {error:?}");
    }
    let away = FaultProxy::alone(|_| Action::redirect(302, "https://login.example.com/?next=secret-canary")).await;
    let error = check(away.address).await;
    assert!(error.to_string().ends_with("it sends us on to `login.example.com`"), "{error}");
    let strict = FaultProxy::alone(|head| {
        let host = head.header("host").unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
        Action::redirect(301, format!("https://{host}/v2/"))
    })
    .await;
    assert!(matches!(check(strict.address).await, RegistryError::WantsTls { .. }));
}

#[tokio::test]
async fn a_registry_that_is_busy_for_a_moment() {
    let server = DockerRegistry::start();
    let busy = std::sync::atomic::AtomicBool::new(true);
    let proxy = FaultProxy::before(&server.address, move |_| {
        if busy.swap(false, std::sync::atomic::Ordering::Relaxed) { Action::status(503) } else { Action::Pass }
    })
    .await;
    anonymous(proxy.address).check("a", Access::Push).await.expect("answers the second time");
}

#[tokio::test]
async fn a_registry_that_refuses_in_its_own_words() {
    let words = |status: u16, code: &'static str| {
        move |head: &crate::support::fault_proxy::Head| match head.method.as_str() {
            "GET" => Action::json(200, &serde_json::json!({})),
            _ => Action::json(status, &serde_json::json!({"errors": [{"code": code, "message": "not\u{1b}[2J here"}]})),
        }
    };
    let denied = FaultProxy::alone(words(403, "DENIED")).await;
    let registry = Registry::new(Endpoint::new(&denied.address.to_string()).expect("valid"), super::ada());
    let error = registry.with_patience(PATIENCE).check("a/b", Access::Push).await.expect_err("denies");
    assert_eq!(
        error.to_string(),
        format!("registry `{}` does not let you push to `a/b`: not [2J here", denied.address)
    );
    let absent = FaultProxy::alone(words(404, "NAME_UNKNOWN")).await;
    assert!(matches!(check(absent.address).await, RegistryError::NoRepository { .. }));
    let frozen = FaultProxy::alone(words(405, "UNSUPPORTED")).await;
    assert!(matches!(check(frozen.address).await, RegistryError::Forbidden { .. }));
}

#[test]
fn everything_can_run_on_any_thread() {
    fn sendable<T: Send>(_: T) {}
    let registry = anonymous("localhost:1");
    let digest = nauta::digest::Digest::of("x");
    let blob = nauta::registry::Blob::from_bytes("x");
    let mut sink = tokio::io::sink();
    sendable(registry.check("a", Access::Push));
    sendable(registry.push_blob("a", &blob, |_| ()));
    sendable(registry.mount_blob("a", "b", &digest));
    sendable(registry.pull_blob_into("a", &digest, 1, &mut sink, |_| ()));
    sendable(registry.push_manifest("a", "b", "c", "d"));
    sendable(registry.list_tags("a"));
    sendable(registry.issue_token("a", Access::Pull));
}
