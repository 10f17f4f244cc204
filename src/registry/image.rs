//! Whole images on their way up: blobs first, then the manifest, and nothing counts before it has been seen there.

use futures::future::try_join_all;

use super::blob::Blob;
use super::client::Registry;
use super::error::RegistryError;
use super::upload::Sent;
use crate::digest::Digest;
use crate::image::compose;

/// The configuration of an artifact that has none (OCI image specification, "Guidance for an empty descriptor").
pub(super) const SMALLEST_BLOB: &str = "{}";

/// A blob that a registry has taken: its digest, and its size in bytes.
pub type Taken = (Digest, u64);

impl Registry {
    /// Stores a manifest under a tag, and makes sure that it is there with those blobs that were sent for it. Some registries
    /// check that themselves ([`Self::checks_manifests`]) and others do not; whoever is told a digest afterwards relies on it.
    pub async fn push_image(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        manifest: Vec<u8>,
        sent: &[Taken],
    ) -> Result<Digest, RegistryError> {
        let confirmed = sent.iter().map(|(digest, size)| self.confirm_blob(repository, digest, *size));
        let pushed = self.push_manifest(repository, tag, media_type, manifest);
        tokio::try_join!(pushed, try_join_all(confirmed)).map(|(digest, _)| digest)
    }

    /// Whether this registry refuses a manifest that names a configuration or a layer which it does not have. Asked with two
    /// manifests that have no tag; what it accepts of them is taken back.
    pub async fn checks_manifests(&self, repository: &str) -> Result<bool, RegistryError> {
        self.send_blob(repository, &Blob::from_bytes(SMALLEST_BLOB), |_| ()).await?;
        let there = Digest::of(SMALLEST_BLOB);
        let nowhere = Digest::of(getrandom::u64().unwrap_or_default().to_le_bytes());
        let (config, layer) = tokio::try_join!(
            self.refuses(repository, compose::smallest_manifest(&nowhere, &there)),
            self.refuses(repository, compose::smallest_manifest(&there, &nowhere))
        )?;
        Ok(config && layer)
    }

    async fn refuses(&self, repository: &str, manifest: Vec<u8>) -> Result<bool, RegistryError> {
        let manifest = Blob::from_bytes(manifest);
        let digest = manifest.digest();
        match self.put_manifest(repository, digest.as_str(), compose::MANIFEST, &manifest).await {
            Err(RegistryError::BlobUnknown { .. }) => Ok(true),
            // For another reason, which proves nothing.
            Err(RegistryError::Refused { .. } | RegistryError::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                if let Err(error) = self.delete_manifest(repository, digest).await {
                    tracing::debug!(%error, "registry: a manifest without a tag stays behind");
                }
                Ok(false)
            }
        }
    }

    /// Those of some blobs that were really sent.
    #[must_use]
    pub fn taken<'b>(blobs: impl IntoIterator<Item = (&'b Blob, Sent)>) -> Vec<Taken> {
        let sent = blobs.into_iter().filter(|(_, sent)| *sent != Sent::Existed);
        sent.map(|(blob, _)| (blob.digest().clone(), blob.size())).collect()
    }
}
