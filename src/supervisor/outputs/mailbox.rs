//! The mailbox as a rank sees it: where outputs are pushed to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::activity::Activity;
use crate::bounded_file::{HAND_WRITTEN, read_text};
use crate::credentials::credential_in_docker_config;
use crate::digest::Digest;
use crate::follow::{self, CollectError, Listing};
use crate::image::compose;
use crate::layout;
use crate::registry::{Auth, Blob, Endpoint, Registry, RegistryError};
use crate::sync::{Chunk, File, INDEX_MEDIA_TYPE, Index, PACK_MEDIA_TYPE, PAGE_MEDIA_TYPE, PageRef, index_tag};

/// Where the mailbox is.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct MailboxConfig {
    host: String,
    repository: String,
    plain_http: bool,
}

impl MailboxConfig {
    /// Reads `host[:port]/repository`.
    pub(in crate::supervisor) fn parse(address: &str, plain_http: bool) -> Result<Self, String> {
        let (host, repository) = address.split_once('/').ok_or_else(|| format!("`{address}` is no mailbox"))?;
        Ok(Self { host: host.to_owned(), repository: repository.to_owned(), plain_http })
    }
}

/// A mailbox that can be written to.
#[derive(Clone)]
pub(super) struct Mailbox {
    registry: Registry,
    repository: String,
    /// So many blobs are on their way at once.
    sending: Arc<Semaphore>,
    activity: Activity,
}

/// Blobs that are sent at once: a registry that writes to a disk takes no more of them faster.
const AT_ONCE: usize = 4;
/// A registry takes manifests of at most 4 MiB: so many blobs of files fit into one, beside the pages and the log.
pub(super) const MAX_BLOBS: usize = 24_000;

impl Mailbox {
    pub(super) fn open(config: &MailboxConfig, activity: Activity) -> Result<Self, RegistryError> {
        let endpoint = Endpoint::new(&config.host)?;
        let endpoint = if config.plain_http { endpoint.plain_http() } else { endpoint };
        let text = read_text(Path::new(layout::MAILBOX_CREDENTIALS), HAND_WRITTEN).unwrap_or_default();
        let auth = credential_in_docker_config(&text, &config.host).map_or(Auth::Anonymous, Auth::from);
        let registry = Registry::new(endpoint, auth);
        let (repository, sending) = (config.repository.clone(), Arc::new(Semaphore::new(AT_ONCE)));
        Ok(Self { registry, repository, sending, activity })
    }

    /// Sends a blob unless it is there.
    pub(super) async fn push(&self, blob: &Blob) -> Result<(), RegistryError> {
        let _turn = self.sending.acquire().await;
        // Of a try that begins again nothing moves until it has come further than the last one.
        let furthest = AtomicU64::new(0);
        let progress = |sent| {
            if furthest.fetch_max(sent, Ordering::Relaxed) < sent {
                self.activity.stirs();
            }
        };
        self.registry.push_blob(&self.repository, blob, progress).await.map(drop)
    }

    /// What a former container of a rank has left.
    pub(super) async fn left_by(&self, run: &str, rank: u32) -> Result<Option<Left>, CollectError> {
        let (registry, repository) = (self.registry.clone(), self.repository.clone());
        let mailbox = follow::Mailbox { registry, repository, run: run.to_owned() };
        let Some((index, blobs)) = mailbox.index_and_blobs(rank).await? else { return Ok(None) };
        let mut files = Vec::new();
        let mut listing = Listing::new(&mailbox, &index);
        while let Some(page) = listing.next().await? {
            files.extend(page);
        }
        Ok(Some(Left { index, files, blobs }))
    }

    /// The bytes of a chunk, not yet verified.
    pub(super) async fn pull(&self, chunk: &Chunk) -> Result<Bytes, RegistryError> {
        self.registry.pull_blob_range(&self.repository, &chunk.blob, chunk.offset, chunk.size).await
    }

    /// Sends a page of a list.
    pub(super) async fn push_page(&self, json: Vec<u8>) -> Result<PageRef, RegistryError> {
        let page = Blob::from_bytes(json);
        self.push(&page).await?;
        Ok(PageRef { blob: page.digest().clone(), size: page.size() })
    }

    /// Replaces the rank's index; all that it names must have been sent. `blobs` are those of its files.
    pub(super) async fn publish(&self, index: &Index, blobs: Vec<(Digest, u64)>) -> Result<(), RegistryError> {
        let config = Blob::from_bytes(serde_json::to_vec(index).expect("an index has text keys only"));
        self.push(&config).await?;
        let descriptor = |media_type: &str, digest: &Digest, size: u64| serde_json::json!({ "mediaType": media_type, "digest": digest, "size": size });
        let journal = index.former.iter().chain(&index.journal).flat_map(|journal| &journal.chunks);
        let packs: BTreeMap<Digest, u64> =
            journal.map(|chunk| (chunk.blob.clone(), chunk.offset + chunk.size)).chain(blobs).collect();
        let packs = packs.iter().map(|(digest, size)| descriptor(PACK_MEDIA_TYPE, digest, *size));
        let pages = index.pages.iter().map(|page| descriptor(PAGE_MEDIA_TYPE, &page.blob, page.size));
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": compose::MANIFEST,
            "config": descriptor(INDEX_MEDIA_TYPE, config.digest(), config.size()),
            "layers": packs.chain(pages).collect::<Vec<_>>(),
        });
        let tag = index_tag(&index.run, index.rank);
        self.registry.push_manifest(&self.repository, &tag, compose::MANIFEST, manifest.to_string()).await?;
        self.activity.stirs();
        Ok(())
    }
}

/// What a former container of a rank has left in the mailbox.
pub(super) struct Left {
    pub(super) index: Index,
    /// All files that are listed.
    pub(super) files: Vec<File>,
    /// The blobs that they are in, with their sizes in bytes.
    pub(super) blobs: Vec<(Digest, u64)>,
}
