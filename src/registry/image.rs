//! Whole images on their way up: blobs first, then the manifest, and nothing counts before it has been seen there.

use futures::future::try_join_all;

use super::blob::Blob;
use super::client::Registry;
use super::error::RegistryError;
use super::upload::Sent;
use crate::digest::Digest;

/// A blob that a registry has taken: its digest, and its size in bytes.
pub type Taken = (Digest, u64);

impl Registry {
    /// Stores a manifest under a tag, and makes sure that it is there with all blobs that were sent for it. Some registries
    /// check that themselves and others do not; whoever is told a digest afterwards relies on it.
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

    /// Those of some blobs that were really sent.
    #[must_use]
    pub fn taken<'b>(blobs: impl IntoIterator<Item = (&'b Blob, Sent)>) -> Vec<Taken> {
        let sent = blobs.into_iter().filter(|(_, sent)| *sent != Sent::Existed);
        sent.map(|(blob, _)| (blob.digest().clone(), blob.size())).collect()
    }
}
