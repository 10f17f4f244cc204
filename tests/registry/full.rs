//! A registry whose disk is full.

use nauta::diagnosis::Diagnosis as _;
use nauta::registry::{Access, Blob, RegistryError};

use super::anonymous;
use crate::support::docker_registry::DockerRegistry;
use crate::support::random::Random;
use crate::support::small_disk::SmallDisk;

#[tokio::test]
async fn a_full_registry_says_so_at_once() {
    let disk = SmallDisk::mount("8m");
    let server = DockerRegistry::builder().storage(disk.path()).start();
    let registry = anonymous(&server.address);
    registry.push_blob("a", &Blob::from_bytes(Random::new(1).bytes(1_000_000)), |_| ()).await.expect("has room");
    let large = Blob::from_bytes(Random::new(2).bytes(9_000_000));
    let error = registry.push_blob("a", &large, |_| ()).await.expect_err("is full");
    assert!(matches!(error, RegistryError::Full { .. }), "{error:?}");
    assert!(error.hints()[0].contains("free space"), "{:?}", error.hints());

    // The check finds it too, before anything is built.
    std::fs::write(disk.path().join("filler"), vec![0; 16 << 20]).expect_err("fills the disk");
    let error = registry.check("b", Access::Push).await.expect_err("is full");
    assert!(matches!(error, RegistryError::Full { .. }), "{error:?}");
}
