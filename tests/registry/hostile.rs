//! Registries that lie, send us elsewhere, or never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nauta::digest::Digest;
use nauta::registry::{Access, Blob, Endpoint, Registry, RegistryError};

use super::{HASTE, IMAGE, ada, anonymous, manifest, open, push_image};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fault_proxy::{Action, FaultProxy};
use crate::support::random::Random;

#[tokio::test]
async fn credentials_do_not_follow_redirects() {
    let server = DockerRegistry::builder().password().start();
    let bytes = Random::new(1).bytes(100_000);
    let blob = Blob::from_bytes(bytes.clone());
    push_image(&open(&server.address, ada()), "a", "t", &blob).await;
    let store =
        FaultProxy::alone(move |_| Action::Answer { status: 200, headers: Vec::new(), body: bytes.clone() }).await;
    let to = format!("http://{}/bucket/blob?signature=canary", store.address);
    let proxy = FaultProxy::before(&server.address, move |head| {
        let authorised = head.header("authorization").is_some();
        if authorised && head.is("GET", "/blobs/sha256") { Action::redirect(307, to.clone()) } else { Action::Pass }
    })
    .await;
    let registry = open(proxy.address, ada());
    assert_eq!(registry.pull_blob("a", blob.digest(), 100_000).await.expect("is sent on").len(), 100_000);
    let seen = store.seen();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, None));
}

#[tokio::test]
async fn credentials_do_not_follow_upload_addresses() {
    let server = DockerRegistry::builder().password().start();
    let store = FaultProxy::alone(|_| Action::status(201)).await;
    let to = format!("http://{}/upload?x=1", store.address);
    let proxy = FaultProxy::before(&server.address, move |head| {
        let authorised = head.header("authorization").is_some();
        if authorised && head.method == "POST" { Action::redirect(202, to.clone()) } else { Action::Pass }
    })
    .await;
    let blob = Blob::from_bytes("layer");
    open(proxy.address, ada()).push_blob("a", &blob, |_| ()).await.expect("goes elsewhere");
    let seen = store.seen();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, None));
    assert_eq!(seen[0].path, format!("/upload?x=1&digest=sha256%3A{}", blob.digest().hex()));
}

#[tokio::test]
async fn redirects_without_tls_or_end_are_refused() {
    for to in ["http://store.example.com/x?signature=canary", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x"] {
        let away = FaultProxy::alone(move |_| Action::redirect(307, to)).await;
        let error = anonymous(away.address).pull_blob("a", &Digest::of("x"), 10).await.expect_err("is not followed");
        assert!(matches!(error, RegistryError::Redirect { .. }), "{error:?}");
        assert!(!error.to_string().contains("canary") && !error.to_string().contains("u:p"), "{error}");
    }
    let circle = FaultProxy::alone(|head| Action::redirect(302, head.path.clone())).await;
    let error = anonymous(circle.address).pull_blob("a", &Digest::of("x"), 10).await.expect_err("never ends");
    assert!(matches!(error, RegistryError::Lying { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_that_is_not_the_one_asked_for_is_refused() {
    let other = manifest(&[]);
    let body = other.clone();
    let liar =
        FaultProxy::alone(move |_| Action::Answer { status: 200, headers: Vec::new(), body: body.clone().into() })
            .await;
    let asked = Digest::of("another");
    let error = anonymous(liar.address).pull_manifest("a", asked.as_str()).await.expect_err("is another");
    let RegistryError::DigestMismatch { expected, actual, .. } = error else { panic!("{error:?}") };
    assert_eq!((expected, actual), (asked, Digest::of(&other)));
    let found =
        anonymous(liar.address).pull_manifest("a", "tag").await.expect("a tag may be anything").expect("is there");
    assert_eq!(found.media_type, IMAGE);

    let promised = FaultProxy::alone(move |_| {
        let headers = vec![("Docker-Content-Digest", Digest::of("promised").to_string())];
        Action::Answer { status: 200, headers, body: other.clone().into() }
    })
    .await;
    let error = anonymous(promised.address).pull_manifest("a", "tag").await.expect_err("contradicts itself");
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn what_was_said_to_be_stored_is_looked_at() {
    let server = DockerRegistry::start();
    push_image(&anonymous(&server.address), "a", "t", &Blob::from_bytes("old")).await;
    // Says "created" and keeps the former manifest.
    let proxy = FaultProxy::before(&server.address, |head| {
        if head.is("PUT", "/manifests/") { Action::status(201) } else { Action::Pass }
    })
    .await;
    let registry = anonymous(proxy.address);
    for tag in ["t", "new"] {
        let error = registry.push_manifest("a", tag, IMAGE, manifest(&[])).await.expect_err("is not there");
        assert!(matches!(error, RegistryError::Lying { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_empty_file_under_a_blobs_name_is_sent_again() {
    let server = DockerRegistry::start();
    let blob = Blob::from_bytes("layer");
    let lies = Arc::new(AtomicBool::new(true));
    let proxy = FaultProxy::before(&server.address, move |head| {
        if head.method == "HEAD" && lies.swap(false, Ordering::SeqCst) {
            return Action::Answer { status: 200, headers: vec![("Content-Length", "0".into())], body: Vec::new() };
        }
        Action::Pass
    })
    .await;
    anonymous(proxy.address).push_blob("a", &blob, |_| ()).await.expect("is sent");
    assert_eq!(super::stored(&server, "a", blob.digest()).await, b"layer");
}

#[tokio::test]
async fn endless_answers_are_cut() {
    let flood = vec![b' '; 5 << 20];
    let endless = FaultProxy::alone(move |head| {
        let headers = vec![("Link", "</v2/a/tags/list?n=1>; rel=\"next\"".to_owned())];
        let body = if head.path.contains("/tags/") { b"{\"tags\":[\"x\"]}".to_vec() } else { flood.clone() };
        Action::Answer { status: 200, headers, body }
    })
    .await;
    let registry = anonymous(endless.address).with_patience(HASTE);
    let error = registry.pull_manifest("a", "t").await.expect_err("is too large");
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error:?}");
    let error = registry.pull_blob("a", &Digest::of("x"), 1 << 20).await.expect_err("is too large");
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error:?}");
    let error = registry.list_tags("a").await.expect_err("does not end");
    assert!(matches!(error, RegistryError::Lying { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_server_elsewhere_gets_no_password_without_tls() {
    let server = FaultProxy::alone(|_| {
        let challenge = "Bearer realm=\"http://tokens.example.com/token\",service=\"x\"".to_owned();
        Action::Answer { status: 401, headers: vec![("WWW-Authenticate", challenge)], body: Vec::new() }
    })
    .await;
    let endpoint = Endpoint::new(&server.address.to_string()).expect("valid").plain_http();
    let error = Registry::new(endpoint, ada()).check("a", Access::Pull).await.expect_err("would show the password");
    assert!(matches!(error, RegistryError::Redirect { .. }), "{error:?}");
}
