//! Sending blobs and manifests.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nauta::digest::Digest;
use nauta::registry::{Blob, Registry, RegistryError, Sent};

use super::{IMAGE, anonymous, manifest, push_image, stored};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fault_proxy::{Action, FaultProxy};
use crate::support::random::Random;

#[tokio::test]
async fn a_blob_is_sent_once_and_mounted_elsewhere() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let blob = Blob::from_bytes(Random::new(1).bytes(3_000_000));
    let seen = AtomicU64::new(0);
    let progress = |bytes| seen.store(bytes, Ordering::Relaxed);

    assert!(!registry.has_blob("a/b", blob.digest()).await.expect("answers"));
    assert_eq!(registry.push_blob("a/b", &blob, progress).await.expect("takes it"), Sent::Sent(3_000_000));
    assert_eq!(seen.load(Ordering::Relaxed), 3_000_000);
    let counters = registry.counters();
    assert_eq!((counters.requests, counters.bytes_sent), (4, 3_000_000), "HEAD, HEAD, POST, PUT");

    assert_eq!(registry.push_blob("a/b", &blob, |_| ()).await.expect("answers"), Sent::Existed);
    assert!(registry.mount_blob("c", "a/b", blob.digest()).await.expect("answers"));
    assert!(registry.has_blob("c", blob.digest()).await.expect("answers"));
    assert!(!registry.mount_blob("c", "a/b", &Digest::of("never sent")).await.expect("answers"));
    assert_eq!(stored(&server, "c", blob.digest()).await, stored(&server, "a/b", blob.digest()).await);
}

#[tokio::test]
async fn a_blob_can_be_a_part_of_a_file_or_nothing() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let bytes = Random::new(2).bytes(2_000_000);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&bytes).expect("writes");
    let part = &bytes[700_001..1_900_000];
    let blob = Blob::from_file(file.path(), 700_001, part.len() as u64, Digest::of(part));
    assert_eq!(registry.push_blob("a", &blob, |_| ()).await.expect("takes it"), Sent::Sent(part.len() as u64));
    assert_eq!(stored(&server, "a", blob.digest()).await, part);

    let nothing = Blob::from_bytes("");
    registry.push_blob("a", &nothing, |_| ()).await.expect("takes an empty blob");
    assert!(registry.pull_blob("a", nothing.digest(), 0).await.expect("gives it").is_empty());
}

#[tokio::test]
async fn a_file_that_changed_is_named() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&[7; 1000]).expect("writes");
    let other = Blob::from_file(file.path(), 0, 1000, Digest::of("what it was before"));
    let shorter = Blob::from_file(file.path(), 0, 2000, Digest::of([7; 2000]));
    for blob in [other, shorter] {
        let error = registry.push_blob("a", &blob, |_| ()).await.expect_err("is not what it should be");
        assert!(matches!(&error, RegistryError::FileChanged { path, .. } if path == file.path()), "{error:?}");
    }
    let gone = Blob::from_file("/nowhere/at all", 0, 1, Digest::of("x"));
    let error = registry.push_blob("a", &gone, |_| ()).await.expect_err("is not there");
    assert_eq!(error.to_string(), "cannot read `/nowhere/at all`");
}

#[tokio::test]
async fn a_manifest_is_read_back_and_found_by_tag_and_digest() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let layer = Blob::from_bytes("layer");
    let digest = push_image(&registry, "team/project", "run-1", &layer).await;
    for reference in ["run-1", digest.as_str()] {
        let found = registry.pull_manifest("team/project", reference).await.expect("answers").expect("is there");
        assert_eq!((found.digest, found.media_type.as_str()), (digest.clone(), IMAGE));
        assert_eq!(found.bytes, manifest(&[&layer]));
    }
    assert_eq!(registry.pull_manifest("team/project", "run-2").await.expect("answers"), None);
    assert_eq!(registry.pull_manifest("nobody", "x").await.expect("answers"), None);

    registry.delete_manifest("team/project", &digest).await.expect("deletes");
    registry.delete_manifest("team/project", &digest).await.expect("is gone already");
    assert_eq!(registry.pull_manifest("team/project", "run-1").await.expect("answers"), None);
}

#[tokio::test]
async fn a_manifest_without_its_blobs_is_refused_by_name() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let missing = Blob::from_bytes("never sent");
    registry.push_blob("a", &Blob::from_bytes("{}"), |_| ()).await.expect("takes it");
    let error = registry.push_manifest("a", "t", IMAGE, manifest(&[&missing])).await.expect_err("misses a blob");
    let RegistryError::BlobUnknown { message, .. } = &error else { panic!("{error:?}") };
    assert!(message.contains(missing.digest().as_str()), "{message}");
}

#[tokio::test]
async fn tags_are_listed_over_all_pages() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    assert!(registry.list_tags("a").await.expect("answers").is_empty());
    let layer = Blob::from_bytes("layer");
    let digest = push_image(&registry, "a", "tag-0", &layer).await;
    // Tags are folders; a thousand and more of them are quicker made than pushed.
    let tags = server.storage().join("docker/registry/v2/repositories/a/_manifests/tags");
    for number in 1..1500 {
        let current = tags.join(format!("tag-{number}/current"));
        std::fs::create_dir_all(&current).expect("writable");
        std::fs::write(current.join("link"), digest.as_str()).expect("writable");
    }
    let listed = registry.list_tags("a").await.expect("answers");
    assert_eq!(listed.len(), 1500);
    assert!(listed.contains(&"tag-1499".to_owned()));
}

/// Writes a file in pieces while it is sent; `name` is what it is said to have become.
async fn push_while_it_grows(
    registry: &Registry,
    bytes: &[u8],
    name: Option<Digest>,
) -> Result<Option<Sent>, RegistryError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (mut writer, growing) = nauta::archive::growing(file.reopen().expect("opens"), file.path().to_owned());
    let (done_tx, done) = tokio::sync::oneshot::channel();
    let written = bytes.to_vec();
    let writing = tokio::task::spawn_blocking(move || {
        for piece in written.chunks(written.len() / 20) {
            std::io::Write::write_all(&mut writer, piece).expect("written");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(writer);
        let _ = done_tx.send(());
    });
    let (path, size) = (file.path().to_owned(), bytes.len() as u64);
    let blob = async move {
        let _ = done.await;
        name.map(|digest| Blob::from_file(path, 0, size, digest))
    };
    let sent = registry.push_growing("team/growing", &growing, blob, |_| ()).await;
    writing.await.expect("written");
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_while_it_is_written() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let bytes = Random::new(5).bytes(3_000_000);
    let digest = Digest::of(&bytes);
    let sent = push_while_it_grows(&registry, &bytes, Some(digest.clone())).await.expect("takes it");
    assert_eq!(sent, Some(Sent::Sent(3_000_000)));
    assert_eq!(stored(&server, "team/growing", &digest).await, bytes);
    // Once: a PATCH while it grew, and its name at the end.
    assert_eq!(registry.counters().bytes_sent, 3_000_000);
    // What turns out to be nothing is taken back.
    assert_eq!(push_while_it_grows(&registry, &bytes[..100_000], None).await.expect("is well"), None);
    // What is not what it is said to be is never stored.
    let refused = push_while_it_grows(&registry, &bytes[..100_000], Some(Digest::of("other"))).await;
    assert!(matches!(refused, Err(RegistryError::FileChanged { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_sent_early_is_sent_when_it_is_whole() {
    let server = DockerRegistry::start();
    let proxy = FaultProxy::before(&server.address, |head| match head.method.as_str() {
        // Some proxies take nothing without a length.
        "PATCH" => Action::status(411),
        _ => Action::Pass,
    })
    .await;
    let registry = anonymous(proxy.address);
    let bytes = Random::new(6).bytes(3_000_000);
    let digest = Digest::of(&bytes);
    let sent = push_while_it_grows(&registry, &bytes, Some(digest.clone())).await.expect("takes it");
    assert_eq!(sent, Some(Sent::Sent(3_000_000)));
    assert_eq!(stored(&server, "team/growing", &digest).await, bytes);
}
