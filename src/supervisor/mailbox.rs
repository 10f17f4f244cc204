//! The mailbox as a rank sees it: where outputs are pushed to.

use std::path::Path;

use bytes::Bytes;

use crate::bounded_file::{HAND_WRITTEN, read_text};
use crate::credentials::credential_in_docker_config;
use crate::digest::Digest;
use crate::follow::{self, CollectError};
use crate::image::compose;
use crate::layout;
use crate::registry::{Auth, Blob, Endpoint, Registry, RegistryError};
use crate::sync::{Chunk, INDEX_MEDIA_TYPE, Index, PACK_MEDIA_TYPE, index_tag};

/// Where the mailbox is.
#[derive(Clone, Debug)]
pub(super) struct MailboxConfig {
    host: String,
    repository: String,
    plain_http: bool,
}

impl MailboxConfig {
    /// Reads `host[:port]/repository`.
    pub(super) fn parse(address: &str, plain_http: bool) -> Result<Self, String> {
        let (host, repository) = address.split_once('/').ok_or_else(|| format!("`{address}` is no mailbox"))?;
        Ok(Self { host: host.to_owned(), repository: repository.to_owned(), plain_http })
    }
}

/// A mailbox that can be written to.
#[derive(Clone)]
pub(super) struct Mailbox {
    registry: Registry,
    repository: String,
}

impl Mailbox {
    pub(super) fn open(config: &MailboxConfig) -> Result<Self, RegistryError> {
        let endpoint = Endpoint::new(&config.host)?;
        let endpoint = if config.plain_http { endpoint.plain_http() } else { endpoint };
        let text = read_text(Path::new(layout::MAILBOX_CREDENTIALS), HAND_WRITTEN).unwrap_or_default();
        let auth = credential_in_docker_config(&text, &config.host).map_or(Auth::Anonymous, Auth::from);
        Ok(Self { registry: Registry::new(endpoint, auth), repository: config.repository.clone() })
    }

    /// Sends a blob unless it is there.
    pub(super) async fn push(&self, blob: &Blob) -> Result<(), RegistryError> {
        self.registry.push_blob(&self.repository, blob, |_| ()).await.map(drop)
    }

    /// What a former container of a rank has left; `None` when there was none.
    pub(super) async fn left_by(&self, run: &str, rank: u32) -> Result<Option<Index>, CollectError> {
        let (registry, repository) = (self.registry.clone(), self.repository.clone());
        follow::Mailbox { registry, repository, run: run.to_owned() }.index(rank).await
    }

    /// The bytes of a chunk, not yet verified.
    pub(super) async fn pull(&self, chunk: &Chunk) -> Result<Bytes, RegistryError> {
        self.registry.pull_blob_range(&self.repository, &chunk.blob, chunk.offset, chunk.size).await
    }

    /// Replaces the rank's index; all blobs that it names must have been sent.
    pub(super) async fn publish(&self, index: &Index) -> Result<(), RegistryError> {
        let config = Blob::from_bytes(serde_json::to_vec(index).expect("an index has text keys only"));
        self.push(&config).await?;
        let mut packs: Vec<(&Digest, u64)> = Vec::new();
        let journal = index.former.iter().chain(&index.journal).flat_map(|journal| &journal.chunks);
        for chunk in index.files.iter().flat_map(|file| &file.chunks).chain(journal) {
            let end = chunk.offset + chunk.size;
            match packs.iter_mut().find(|(blob, _)| **blob == chunk.blob) {
                Some((_, size)) => *size = end.max(*size),
                None => packs.push((&chunk.blob, end)),
            }
        }
        let descriptor = |media_type: &str, digest: &Digest, size: u64| serde_json::json!({ "mediaType": media_type, "digest": digest, "size": size });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": compose::MANIFEST,
            "config": descriptor(INDEX_MEDIA_TYPE, config.digest(), config.size()),
            "layers": packs.iter().map(|(digest, size)| descriptor(PACK_MEDIA_TYPE, digest, *size)).collect::<Vec<_>>(),
        });
        let tag = index_tag(&index.run, index.rank);
        self.registry.push_manifest(&self.repository, &tag, compose::MANIFEST, manifest.to_string()).await.map(drop)
    }
}
