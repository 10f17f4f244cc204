//! Whole images through everything at once, and registries that say yes and keep nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use nauta::digest::Digest;
use nauta::registry::{Blob, Registry, RegistryError, Sent};
use serde_json::json;

use super::tokens::{asked, now, setup};
use super::{IMAGE, ada, anonymous, manifest, open, stored};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fault_proxy::{Action, FaultProxy};
use crate::support::random::Random;
use crate::support::{figure, number};

/// Bytes of an image, and of its one large layer.
const IMAGE_SIZE: usize = 64 << 20;
const LARGE: usize = 24 << 20;
const LAYERS: usize = 20;
const CUTS: usize = 20;

fn layers(seed: u64) -> Vec<Blob> {
    let mut random = Random::new(seed);
    let sizes = (0..LAYERS).map(|at| if at == 7 { LARGE } else { (IMAGE_SIZE - LARGE) / (LAYERS - 1) });
    sizes.map(|size| Blob::from_bytes(random.bytes(size))).collect()
}

/// Pushes as a delivery does: some blobs at a time, then the manifest, then a look at all of it; at the manifest alone where
/// the registry `checks` manifests.
async fn push(registry: &Registry, repository: &str, layers: &[Blob], checks: bool) -> Result<(), RegistryError> {
    let config = Blob::from_bytes("{}");
    let blobs = stream::iter(layers.iter().chain([&config])).map(|blob| async move {
        let sent = registry.push_blob(repository, blob, |_| ()).await?;
        Ok::<_, RegistryError>((blob, sent))
    });
    let sent: Vec<(&Blob, Sent)> = blobs.buffered(3).try_collect().await?;
    let manifest = manifest(&layers.iter().collect::<Vec<_>>()).into_bytes();
    let looked_at = if checks { Vec::new() } else { Registry::taken(sent) };
    registry.push_image(repository, "t", IMAGE, manifest, &looked_at).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_through_cuts_short_tokens_and_refusals() {
    let setup = setup(|signer, head, _| {
        Action::json(200, &json!({"token": signer.token(&asked(head), now() + 30), "expires_in": 30}))
    })
    .await;
    let server = Arc::new(setup.server);
    let (again, cut) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let one = |seed: u64| {
        let (server, again, cut) = (Arc::clone(&server), Arc::clone(&again), Arc::clone(&cut));
        async move {
            let random = Mutex::new((Random::new(seed), CUTS));
            let proxy = FaultProxy::before(&server.address, move |head| {
                let mut state = random.lock().expect("unpoisoned");
                let (random, cuts) = &mut *state;
                let body = usize::try_from(head.body_len()).expect("small");
                if head.method == "PUT" && body > 1_000_000 && *cuts > 0 && random.below(2) == 0 {
                    *cuts -= 1;
                    cut.fetch_add(1, Ordering::Relaxed);
                    return Action::CutBody(random.below(body) as u64);
                }
                match random.below(100) {
                    0..30 => Action::status([500, 502, 503, 504][random.below(4)]),
                    30..40 => {
                        Action::Answer { status: 429, headers: vec![("Retry-After", "0".into())], body: Vec::new() }
                    }
                    _ => Action::Pass,
                }
            })
            .await;
            let registry = open(proxy.address, ada()).with_patience(nauta::registry::Patience::default());
            let (repository, layers) = (format!("storm-{seed}"), layers(seed));
            push(&registry, &repository, &layers, false)
                .await
                .unwrap_or_else(|error| panic!("storm {seed}: {error:?}"));
            again.fetch_add(registry.counters().bytes_sent - IMAGE_SIZE as u64, Ordering::Relaxed);
            let direct = open(&server.address, ada());
            for layer in [&layers[0], &layers[7]] {
                let found = direct.pull_blob(&repository, layer.digest(), layer.size()).await.expect("is there");
                assert_eq!(nauta::digest::Digest::of(&found), *layer.digest());
            }
        }
    };
    // `NAUTA_TEST_STORMS=200` for the figure in docs/benchmarks.md.
    let count = number("NAUTA_TEST_STORMS", 4);
    stream::iter(0..count).map(one).buffer_unordered(12).collect::<Vec<()>>().await;
    let (again, cuts) = (again.load(Ordering::Relaxed), cut.load(Ordering::Relaxed) as u64);
    figure(&format!("{count} of {count} images of 64 MiB came through {cuts} cuts; {again} bytes were sent again"));
    assert!(cuts > 0 && again <= cuts * (64 << 20), "{again} bytes for {cuts} cuts");
}

#[tokio::test]
async fn a_registry_that_lies_is_found_out_before_anybody_relies_on_it() {
    let server = DockerRegistry::start();
    assert!(anonymous(&server.address).checks_manifests("a").await.expect("answers"));
    // What it says yes to, and does not keep: a layer, the configuration, the manifest; or another manifest is kept.
    for round in 0..1000_u64 {
        let layer = Blob::from_bytes(Random::new(round).bytes(2_000));
        let other = manifest(&[&Blob::from_bytes("other")]).into_bytes();
        let nth = AtomicUsize::new(0);
        let lie = usize::try_from(round % 4).expect("small");
        let kept = layer.digest().clone();
        let proxy = FaultProxy::before(&server.address, move |head| {
            let is_lie = match lie {
                0 => head.is("PUT", "/blobs/") && head.path.contains(kept.hex()),
                1 => head.is("PUT", "/blobs/") && !head.path.contains(kept.hex()),
                2 => head.is("PUT", "/manifests/"),
                _ => {
                    if head.is("GET", "/manifests/") && nth.fetch_add(1, Ordering::SeqCst) < 100 {
                        return Action::Answer { status: 200, headers: Vec::new(), body: other.clone() };
                    }
                    false
                }
            };
            if is_lie { Action::status(201) } else { Action::Pass }
        })
        .await;
        let registry = anonymous(proxy.address);
        // Its own repository, so that nothing is there of the round before.
        let checks = round % 8 < 4;
        let pushed = push(&registry, &format!("lie-{round}"), std::slice::from_ref(&layer), checks).await;
        let error = pushed.expect_err("the registry lies");
        let is_named = matches!(
            error,
            RegistryError::Lying { .. } | RegistryError::BlobUnknown { .. } | RegistryError::DigestMismatch { .. }
        );
        assert!(is_named, "round {round}: {error:?}");
    }
}

#[tokio::test]
async fn a_registry_that_checks_nothing_is_found_out_too() {
    let server = DockerRegistry::start();
    let proxy = FaultProxy::before(&server.address, move |head| match head.method.as_str() {
        "PUT" => Action::status(201),
        "GET" if head.path.contains("/manifests/") => {
            let manifest = manifest(&[&Blob::from_bytes("layer")]).into_bytes();
            Action::Answer { status: 200, headers: Vec::new(), body: manifest }
        }
        _ => Action::Pass,
    })
    .await;
    let error =
        push(&anonymous(proxy.address), "a", &[Blob::from_bytes("layer")], false).await.expect_err("nothing is kept");
    assert!(matches!(error, RegistryError::Lying { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("does not have it"), "{message}");
    // It is told apart, so that each blob is looked at there.
    assert!(!anonymous(proxy.address).checks_manifests("a").await.expect("answers"));
    // The same without the lies.
    push(&anonymous(&server.address), "a", &[Blob::from_bytes("layer")], true).await.expect("is honest");
    assert_eq!(stored(&server, "a", Blob::from_bytes("layer").digest()).await, b"layer");
}

#[tokio::test]
async fn a_registry_that_checks_half_of_a_manifest_does_not_count() {
    let server = DockerRegistry::start();
    // One of the two questions is answered with yes.
    let proxy = FaultProxy::before(&server.address, {
        let first = AtomicUsize::new(0);
        move |head| {
            let is_manifest = head.is("PUT", "/manifests/") && first.fetch_add(1, Ordering::SeqCst) == 0;
            if is_manifest { Action::status(201) } else { Action::Pass }
        }
    })
    .await;
    let registry = anonymous(proxy.address);
    assert!(!registry.checks_manifests("a").await.expect("answers"));
    assert_eq!(proxy.count("PUT", "/manifests/"), 2);
    assert_eq!(proxy.count("DELETE", "/manifests/"), 1, "what was accepted is taken back");
    assert!(
        registry.has_blob("a", &Digest::of("{}")).await.expect("answers"),
        "the two bytes that were named are real"
    );
}

#[tokio::test]
async fn a_registry_that_stores_something_else_is_named() {
    let server = DockerRegistry::start();
    let other = Digest::of("other").to_string();
    let proxy = FaultProxy::before(&server.address, move |head| {
        if head.is("PUT", "/blobs/") {
            let headers = vec![("Docker-Content-Digest", other.clone())];
            return Action::Answer { status: 201, headers, body: Vec::new() };
        }
        Action::Pass
    })
    .await;
    let error = anonymous(proxy.address).push_blob("a", &Blob::from_bytes("layer"), |_| ()).await.expect_err("lies");
    assert!(error.to_string().contains("says that it has stored"), "{error}");
}
