//! The mailbox as a rank sees it: where outputs are pushed to.

use std::path::Path;

use serde::Deserialize;

use crate::digest::Digest;
use crate::image::compose;
use crate::layout;
use crate::registry::{Auth, Blob, Endpoint, ManifestContent, Registry, RegistryError};
use crate::secret::Secret;
use crate::sync::{INDEX_MEDIA_TYPE, Index, PACK_MEDIA_TYPE, index_tag};

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
        let endpoint = Endpoint::new(&config.host).allow_plain_http(config.plain_http);
        let auth = credentials(Path::new(layout::MAILBOX_CREDENTIALS), &config.host).unwrap_or(Auth::Anonymous);
        Ok(Self { registry: Registry::new(endpoint, auth)?, repository: config.repository.clone() })
    }

    /// Sends a blob unless it is there.
    pub(super) async fn push(&self, blob: &Blob) -> Result<(), RegistryError> {
        self.registry.push_blob(&self.repository, blob).await.map(drop)
    }

    /// Replaces the rank's index; all blobs that it names must have been sent.
    pub(super) async fn publish(&self, index: &Index) -> Result<(), RegistryError> {
        let config = serde_json::to_vec(index).map_err(|error| RegistryError::Source {
            host: self.registry.host().to_owned(),
            path: "the index of outputs".to_owned(),
            reason: error.to_string(),
        })?;
        let digest = Digest::of(&config);
        let size = config.len();
        self.push(&Blob { digest: digest.clone(), content: crate::registry::Content::Bytes(config.into()) }).await?;
        let mut packs: Vec<(&Digest, u64)> = Vec::new();
        let journal = index.journal.iter().flat_map(|journal| &journal.chunks);
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
            "config": descriptor(INDEX_MEDIA_TYPE, &digest, size as u64),
            "layers": packs.iter().map(|(digest, size)| descriptor(PACK_MEDIA_TYPE, digest, *size)).collect::<Vec<_>>(),
        });
        let manifest = ManifestContent { media_type: compose::MANIFEST, bytes: manifest.to_string().into_bytes() };
        self.registry.push_manifest(&self.repository, &index_tag(&index.run, index.rank), manifest).await.map(drop)
    }
}

/// The credentials for `host` in a Docker `config.json`.
fn credentials(path: &Path, host: &str) -> Option<Auth> {
    #[derive(Deserialize)]
    struct Config {
        auths: std::collections::BTreeMap<String, Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        username: Option<String>,
        password: Option<String>,
        registrytoken: Option<String>,
    }
    let config: Config = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let entry = config.auths.into_iter().find(|(name, _)| name == host)?.1;
    match entry {
        Entry { registrytoken: Some(token), .. } => Some(Auth::Bearer(Secret::new(token))),
        Entry { username: Some(user), password: Some(password), .. } => {
            Some(Auth::Basic { user, password: Secret::new(password) })
        }
        _ => None,
    }
}
