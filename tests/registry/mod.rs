//! The registry client against real registries, and against real registries behind faults.

mod access;
mod check;
mod faults;
mod full;
mod hostile;
mod proxies;
mod pull;
mod push;
mod storm;
mod tokens;

use std::time::Duration;

use nauta::digest::Digest;
use nauta::registry::{Auth, Blob, Endpoint, Patience, Registry};
use nauta::secret::Secret;
use serde_json::json;

use crate::support::docker_registry::{DockerRegistry, PASSWORD, USER};

/// An image manifest's media type.
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Waits long enough for a busy machine, and not for ever.
const PATIENCE: Patience =
    Patience { stall: Duration::from_secs(5), slowest: 1_000_000, budget: Duration::from_secs(20) };

/// For tests in which nothing moves on purpose.
const HASTE: Patience = Patience { stall: Duration::from_millis(500), slowest: 100_000_000, ..PATIENCE };

fn open(address: impl std::fmt::Display, auth: Auth) -> Registry {
    Registry::new(Endpoint::new(&format!("{address}")).expect("an address"), auth).with_patience(PATIENCE)
}

fn anonymous(address: impl std::fmt::Display) -> Registry {
    open(address, Auth::Anonymous)
}

fn ada() -> Auth {
    Auth::Basic { user: USER.into(), password: Secret::new(PASSWORD) }
}

/// An image manifest of these layers, with the configuration `{}`.
fn manifest(layers: &[&Blob]) -> String {
    let descriptor = |kind: &str, digest: &Digest, size| json!({"mediaType": kind, "digest": digest, "size": size});
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer.digest(), layer.size()))
        .collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", &Digest::of("{}"), 2);
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers}).to_string()
}

/// Pushes configuration, one layer and the manifest, as a run would.
async fn push_image(registry: &Registry, repository: &str, tag: &str, layer: &Blob) -> Digest {
    registry.push_blob(repository, &Blob::from_bytes("{}"), |_| ()).await.expect("takes the configuration");
    registry.push_blob(repository, layer, |_| ()).await.expect("takes the layer");
    registry.push_manifest(repository, tag, IMAGE, manifest(&[layer])).await.expect("takes the manifest")
}

/// The bytes, straight from the registry and past any proxy.
async fn stored(server: &DockerRegistry, repository: &str, digest: &Digest) -> Vec<u8> {
    anonymous(&server.address).pull_blob(repository, digest, 1 << 30).await.expect("is there").to_vec()
}
