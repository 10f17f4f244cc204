//! What the network and registries do in the middle of things.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nauta::digest::Digest;
use nauta::event::{Event, Events};
use nauta::registry::{Blob, Patience, Reach, RegistryError, Sent};

use super::{HASTE, anonymous, push_image, stored};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fault_proxy::{Action, FaultProxy, Head};
use crate::support::random::Random;

const SIZE: usize = 3_000_000;

fn blob(seed: u64) -> (Blob, Vec<u8>) {
    let bytes = Random::new(seed).bytes(SIZE);
    (Blob::from_bytes(bytes.clone()), bytes)
}

/// Does `fault` to the first request that `matches`, and lets all others pass.
fn once(
    matches: impl Fn(&Head) -> bool + Send + Sync + 'static,
    fault: Action,
) -> impl Fn(&Head) -> Action + Send + Sync {
    let left = AtomicUsize::new(1);
    move |head| {
        let hit = matches(head) && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if hit { fault.clone() } else { Action::Pass }
    }
}

#[tokio::test]
async fn a_blob_whose_upload_breaks_starts_again() {
    let server = DockerRegistry::start();
    let faults = [
        Action::CutBody(0),
        Action::CutBody(1),
        Action::CutBody(500_000),
        Action::CutBody(SIZE as u64 - 1),
        Action::CutReply(0),
        Action::CutReply(30),
        Action::status(500),
        Action::status(502),
        Action::status(404),
        Action::status(416),
    ];
    for (seed, fault) in (100..).zip(faults) {
        let (blob, bytes) = blob(seed);
        let proxy = FaultProxy::before(&server.address, once(|head| head.method == "PUT", fault.clone())).await;
        let registry = anonymous(proxy.address);
        let sent = registry.push_blob("a", &blob, |_| ()).await.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert_eq!(sent, Sent::Sent(SIZE as u64), "{fault:?}");
        assert_eq!(stored(&server, "a", blob.digest()).await, bytes, "{fault:?}");
        let lost_reply = matches!(fault, Action::CutReply(_));
        assert_eq!(proxy.count("PUT", ""), if lost_reply { 1 } else { 2 }, "{fault:?}");
    }
}

#[tokio::test]
async fn a_reply_that_was_lost_is_not_paid_for_twice() {
    let server = DockerRegistry::start();
    let (blob, _) = blob(1);
    let proxy = FaultProxy::before(&server.address, once(|head| head.method == "PUT", Action::CutReply(0))).await;
    anonymous(proxy.address).push_blob("a", &blob, |_| ()).await.expect("is there");
    assert_eq!(proxy.count("PUT", ""), 1);
}

#[tokio::test]
async fn a_transfer_that_stands_still_is_begun_again() {
    let server = DockerRegistry::start();
    let (blob, bytes) = blob(2);
    let proxy =
        FaultProxy::before(&server.address, once(|head| head.method == "PUT", Action::StallBody(100_000))).await;
    let notes = Mutex::new(Vec::new());
    let registry = anonymous(proxy.address).with_patience(HASTE);
    let progress = |bytes| notes.lock().expect("unpoisoned").push(bytes);
    registry.push_blob("a", &blob, progress).await.expect("goes on");
    assert_eq!(stored(&server, "a", blob.digest()).await, bytes);
    assert_eq!(notes.lock().expect("unpoisoned").last(), Some(&(SIZE as u64)));

    let proxy =
        FaultProxy::before(&server.address, once(|head| head.method == "GET", Action::StallReply(900_000))).await;
    let registry = anonymous(proxy.address).with_patience(HASTE);
    assert_eq!(registry.pull_blob("a", blob.digest(), SIZE as u64).await.expect("goes on"), bytes);
}

#[tokio::test]
async fn slow_is_not_broken() {
    let server = DockerRegistry::start();
    let (blob, _) = blob(3);
    let proxy = FaultProxy::before(&server.address, |head| match head.method.as_str() {
        "PUT" => Action::Slow(SIZE / 20),
        _ => Action::Pass,
    })
    .await;
    // The operating system buffers so much that nothing is seen to move for longer than the stall timer alone would allow.
    let patience = Patience { slowest: 500_000, ..HASTE };
    anonymous(proxy.address).with_patience(patience).push_blob("a", &blob, |_| ()).await.expect("takes its time");
    assert_eq!(proxy.count("PUT", ""), 1);
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_was() {
    let server = DockerRegistry::start();
    let (blob, bytes) = blob(4);
    push_image(&anonymous(&server.address), "a", "t", &blob).await;
    let cuts = AtomicUsize::new(0);
    let proxy = FaultProxy::before(&server.address, move |_| match cuts.fetch_add(1, Ordering::SeqCst) {
        n @ 0..=3 => Action::CutReply(600_000 + n as u64 * 17),
        _ => Action::Pass,
    })
    .await;
    let registry = anonymous(proxy.address);
    assert_eq!(registry.pull_blob("a", blob.digest(), SIZE as u64).await.expect("goes on"), bytes);
    let ranges: Vec<_> = proxy.seen().iter().map(|head| head.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.len(), 5, "{ranges:?}");
    assert!(ranges[0].is_none() && ranges[1..].iter().all(Option::is_some), "{ranges:?}");
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_is_read_past_them() {
    let server = DockerRegistry::start();
    let (blob, bytes) = blob(5);
    push_image(&anonymous(&server.address), "a", "t", &blob).await;
    let whole = bytes.clone();
    let first = AtomicUsize::new(0);
    let proxy = FaultProxy::before(&server.address, move |_| match first.fetch_add(1, Ordering::SeqCst) {
        0 => Action::CutReply(1_000_000),
        _ => Action::Answer { status: 200, headers: Vec::new(), body: whole.clone() },
    })
    .await;
    let registry = anonymous(proxy.address);
    assert_eq!(registry.pull_blob("a", blob.digest(), SIZE as u64).await.expect("goes on"), bytes);
    let part = registry.pull_blob_range("a", blob.digest(), 1_000, 2_000).await.expect("finds the part");
    assert_eq!(part, bytes[1_000..3_000]);
}

#[tokio::test]
async fn thirty_per_cent_of_trouble_is_survived() {
    let server = DockerRegistry::start();
    let random = Mutex::new(Random::new(20_261_123));
    let proxy = FaultProxy::before(&server.address, move |_| {
        let mut random = random.lock().expect("unpoisoned");
        match random.next() % 100 {
            0..20 => Action::status(503),
            20..25 => Action::Answer { status: 429, headers: vec![("Retry-After", "1".into())], body: Vec::new() },
            25..30 => Action::CutReply(0),
            _ => Action::Pass,
        }
    })
    .await;
    let registry = anonymous(proxy.address);
    for seed in 0..5 {
        let layer = Blob::from_bytes(Random::new(seed).bytes(10_000));
        let digest = push_image(&registry, "a", &format!("t{seed}"), &layer).await;
        let found = registry.pull_manifest("a", &format!("t{seed}")).await.expect("answers").expect("is there");
        assert_eq!(found.digest, digest);
    }
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_not_begun() {
    let pausing = FaultProxy::alone(|_| Action::Answer {
        status: 429,
        headers: vec![("Retry-After", "3600".into())],
        body: Vec::new(),
    })
    .await;
    let error = anonymous(pausing.address).has_blob("a", &Digest::of("x")).await.expect_err("wants an hour");
    assert!(
        matches!(error, RegistryError::RateLimited { after: Some(after), .. } if after.as_secs() == 3600),
        "{error:?}"
    );
    assert_eq!(pausing.seen().len(), 1);
}

#[tokio::test]
async fn the_budget_ends_with_the_reason_and_pauses_are_said() {
    let broken =
        FaultProxy::alone(|_| Action::json(503, &serde_json::json!({"errors": [{"message": "disk\u{7} asleep"}]})))
            .await;
    let said = std::sync::Arc::new(Mutex::new(Vec::new()));
    let events = {
        let said = std::sync::Arc::clone(&said);
        Events::new(move |event| {
            if let Event::Note { text } = event {
                said.lock().expect("unpoisoned").push(text);
            }
        })
    };
    let patience = Patience { budget: std::time::Duration::from_secs(6), ..HASTE };
    let registry = anonymous(broken.address).with_patience(patience).with_events(events);
    let error = registry.list_tags("a").await.expect_err("never gets better");
    let expected = format!("registry `{}` failed with status 503: disk asleep", broken.address);
    assert_eq!(error.to_string(), expected);
    let said = said.lock().expect("unpoisoned");
    assert!(!said.is_empty() && said.iter().all(|note| note.starts_with(&expected)), "{said:?}");
}

#[tokio::test]
async fn a_registry_that_dies_in_the_middle_and_comes_back() {
    let mut server = DockerRegistry::start();
    let (blob, bytes) = blob(6);
    let (started_tx, mut started_rx) = tokio::sync::mpsc::unbounded_channel();
    let proxy = FaultProxy::before(&server.address, move |head| {
        if head.method == "PUT" {
            started_tx.send(()).ok();
            return Action::Slow(SIZE / 10);
        }
        Action::Pass
    })
    .await;
    let registry = anonymous(proxy.address);
    let push = tokio::spawn({
        let (registry, blob) = (registry.clone(), blob.clone());
        async move { registry.push_blob("a", &blob, |_| ()).await }
    });
    started_rx.recv().await.expect("a PUT begins");
    // Its upload sessions die with it: the secret that signs them is made at start.
    server.kill();
    server.start_again();
    assert_eq!(push.await.expect("no panic").expect("comes through"), Sent::Sent(SIZE as u64));
    assert_eq!(stored(&server, "a", blob.digest()).await, bytes);
}

#[tokio::test]
async fn a_registry_that_stays_away_is_given_up() {
    let mut server = DockerRegistry::start();
    server.kill();
    let patience = Patience { budget: std::time::Duration::from_secs(1), ..HASTE };
    let registry = anonymous(&server.address).with_patience(patience);
    let error = registry.push_blob("a", &blob(7).0, |_| ()).await.expect_err("is gone");
    assert!(matches!(error, RegistryError::Unreachable { reach: Reach::Refused, .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_limit_leads_to_pieces() {
    let server = DockerRegistry::start();
    let (blob, bytes) = blob(8);
    let limit = 900_000;
    let proxy =
        FaultProxy::before(
            &server.address,
            move |head| {
                if head.body_len() > limit { Action::status(413) } else { Action::Pass }
            },
        )
        .await;
    let registry = anonymous(proxy.address);
    registry.push_blob("a", &blob, |_| ()).await.expect("goes in pieces");
    assert_eq!(stored(&server, "a", blob.digest()).await, bytes);
    assert!(proxy.count("PATCH", "") >= 3);

    let proxy =
        FaultProxy::before(
            &server.address,
            |head| {
                if head.body_len() > 1000 { Action::status(413) } else { Action::Pass }
            },
        )
        .await;
    let other = Blob::from_bytes(Random::new(9).bytes(SIZE));
    let error = anonymous(proxy.address).push_blob("a", &other, |_| ()).await.expect_err("cannot go through");
    assert!(matches!(error, RegistryError::BodyTooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn garbage_collection_in_the_middle_is_healed_by_sending_again() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let (layer, _) = blob(10);
    registry.push_blob("a", &Blob::from_bytes("{}"), |_| ()).await.expect("takes it");
    registry.push_blob("a", &layer, |_| ()).await.expect("takes it");
    server.collect_garbage(); // nothing names the blobs yet
    let pushed = registry.push_manifest("a", "t", super::IMAGE, super::manifest(&[&layer])).await;
    assert!(matches!(pushed, Err(RegistryError::BlobUnknown { .. })), "{pushed:?}");
    push_image(&registry, "a", "t", &layer).await;
}
