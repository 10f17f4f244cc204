//! Fetching blobs.

use nauta::digest::Digest;
use nauta::registry::{Blob, RegistryError};
use nauta::sync::MAX_BLOB;

use super::{anonymous, push_image};
use crate::support::docker_registry::DockerRegistry;
use crate::support::random::Random;

#[tokio::test]
async fn whole_parts_and_files() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let bytes = Random::new(3).bytes(5_000_000);
    let blob = Blob::from_bytes(bytes.clone());
    push_image(&registry, "a", "t", &blob).await;

    assert_eq!(registry.pull_blob("a", blob.digest(), 5_000_000).await.expect("gives it"), bytes);
    let part = registry.pull_blob_range("a", blob.digest(), 1_234_567, 1_000_000).await.expect("gives a part");
    assert_eq!(part, bytes[1_234_567..2_234_567]);
    assert!(registry.pull_blob_range("a", blob.digest(), 5, 0).await.expect("gives nothing").is_empty());

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("blob");
    let size = registry.pull_blob_to_file("a", blob.digest(), 1 << 30, &path, |_| ()).await.expect("gives it");
    assert_eq!((size, std::fs::read(&path).expect("is there")), (5_000_000, bytes));
}

#[tokio::test]
async fn limits_and_absence_are_errors() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let blob = Blob::from_bytes(vec![1; 1000]);
    push_image(&registry, "a", "t", &blob).await;
    let error = registry.pull_blob("a", blob.digest(), 999).await.expect_err("is larger");
    assert!(matches!(error, RegistryError::TooLarge { limit: 999, .. }), "{error:?}");
    let error = registry.pull_blob("a", &Digest::of("never sent"), 999).await.expect_err("is not there");
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
    for (offset, len) in [(900, 101), (1000, 1), (5000, 10)] {
        let error = registry.pull_blob_range("a", blob.digest(), offset, len).await.expect_err("ends before");
        assert!(matches!(error, RegistryError::Lying { .. }), "{error:?}");
    }
    // What a list may announce: more than any blob of ours has is neither asked for nor made room for.
    for (offset, len) in [(0, MAX_BLOB + 1), (MAX_BLOB, 1), (0, 6 << 30), (u64::MAX, 2), (1, u64::MAX)] {
        let error = registry.pull_blob_range("a", blob.digest(), offset, len).await.expect_err("is absurd");
        assert!(matches!(error, RegistryError::TooLarge { limit: MAX_BLOB, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn damaged_bytes_never_count() {
    let server = DockerRegistry::start();
    let registry = anonymous(&server.address);
    let blob = Blob::from_bytes(vec![1; 1000]);
    push_image(&registry, "a", "t", &blob).await;
    let hex = blob.digest().hex();
    let file = server.storage().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    std::fs::write(file, [2; 1000]).expect("writable");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("blob");
    let error = registry.pull_blob_to_file("a", blob.digest(), 1000, &path, |_| ()).await.expect_err("is damaged");
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "nothing is left, nothing half-made");
}
