//! Manifests: small documents that say what belongs together. Verified on the way down, read back on the way up.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::auth::{Access, Scope};
use super::blob::Blob;
use super::classify;
use super::client::Registry;
use super::error::RegistryError;
use super::exchange::Call;
use super::names;
use crate::digest::Digest;

/// The largest manifest that registries take, in bytes.
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// All forms that an image or artifact may have today.
const FORMS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest as the registry keeps it, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Of `bytes`, computed here.
    pub digest: Digest,
    /// What kind of manifest it is.
    pub media_type: String,
    /// The document.
    pub bytes: Bytes,
}

impl Registry {
    /// The manifest that a tag or digest names; `None` when there is none.
    pub async fn pull_manifest(&self, repository: &str, reference: &str) -> Result<Option<Manifest>, RegistryError> {
        names::check_repository(repository)?;
        names::check_reference(reference)?;
        let mut attempts = self.attempts();
        loop {
            match self.fetch_manifest(repository, reference).await {
                Ok(manifest) => return Ok(manifest),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    /// Stores a manifest under a tag or its digest, and reads it back: what this returns is there.
    pub async fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<Digest, RegistryError> {
        let blob = Blob::from_bytes(bytes);
        self.put_manifest(repository, reference, media_type, &blob).await?;
        self.read_back(repository, reference, blob.digest()).await
    }

    /// Stores a manifest, as far as the registry says.
    pub(super) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        blob: &Blob,
    ) -> Result<(), RegistryError> {
        names::check_repository(repository)?;
        names::check_reference(reference)?;
        if blob.size() > MAX_MANIFEST {
            let what = format!("the manifest for `{repository}`");
            return Err(RegistryError::TooLarge { host: self.host(), what, limit: MAX_MANIFEST });
        }
        let scope = Scope::new(repository, Access::Push);
        let doing = format!("take manifest `{reference}` in `{repository}`");
        let call = Call::new(Method::PUT, self.manifest_url(repository, reference), &scope, &doing)
            .header(CONTENT_TYPE, media_type)
            .body(blob.whole());
        let response = self.exchange(&call).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => Ok(()),
            _ => Err(self.manifest_refused(&call, response).await),
        }
    }

    /// Removes a manifest and with it all tags that name it. It may be gone already.
    pub async fn delete_manifest(&self, repository: &str, digest: &Digest) -> Result<(), RegistryError> {
        names::check_repository(repository)?;
        let scope = Scope::new(repository, Access::Delete);
        let doing = format!("delete manifest {} in `{repository}`", digest.short());
        let call = Call::new(Method::DELETE, self.manifest_url(repository, digest.as_str()), &scope, &doing);
        let response = self.exchange(&call).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            StatusCode::METHOD_NOT_ALLOWED => Err(RegistryError::Forbidden {
                host: self.host(),
                repository: repository.to_owned(),
                access: Access::Delete,
                message: "deleting is switched off there".to_owned(),
            }),
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    async fn fetch_manifest(&self, repository: &str, reference: &str) -> Result<Option<Manifest>, RegistryError> {
        let scope = Scope::new(repository, Access::Pull);
        let doing = format!("give manifest `{reference}` of `{repository}`");
        let call =
            Call::new(Method::GET, self.manifest_url(repository, reference), &scope, &doing).header(ACCEPT, FORMS);
        let response = self.exchange_once(&call, &|_| ()).await?;
        match response.status() {
            StatusCode::OK if classify::is_page(response.headers()) => Err(self.unexpected(&call, response).await),
            StatusCode::OK => self.read_manifest(&doing, reference, response).await.map(Some),
            StatusCode::NOT_FOUND if !classify::is_page(response.headers()) => Ok(None),
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    async fn read_manifest(&self, doing: &str, reference: &str, response: Response) -> Result<Manifest, RegistryError> {
        let what = doing.trim_start_matches("give ");
        let headers = response.headers().clone();
        let bytes = self.read_document(response, what, MAX_MANIFEST).await?;
        let digest = Digest::of(&bytes);
        let mismatch = |expected: Digest| RegistryError::DigestMismatch {
            host: self.host(),
            what: what.to_owned(),
            expected,
            actual: digest.clone(),
        };
        let promised = headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
        for expected in [Some(reference), promised].into_iter().flatten().filter_map(|text| text.parse().ok()) {
            if expected != digest {
                return Err(mismatch(expected));
            }
        }
        let media_type = media_type(&headers, &bytes).ok_or_else(|| RegistryError::NotARegistry {
            host: self.host(),
            found: format!("{what} is no JSON document"),
        })?;
        Ok(Manifest { digest, media_type, bytes })
    }

    /// A whole answer of at most `limit` bytes.
    pub(super) async fn read_document(
        &self,
        mut response: Response,
        what: &str,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.shared.transport.next_piece(&mut response, self.patience.stall).await? {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(RegistryError::TooLarge { host: self.host(), what: what.to_owned(), limit });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    async fn read_back(&self, repository: &str, reference: &str, digest: &Digest) -> Result<Digest, RegistryError> {
        let found = self.pull_manifest(repository, reference).await?.map(|manifest| manifest.digest);
        // A tag may have gone to somebody else's manifest since: two people begin the same code at the same time.
        let is_there = found.as_ref() == Some(digest)
            || found.is_some() && self.pull_manifest(repository, digest.as_str()).await?.is_some();
        if is_there {
            return Ok(digest.clone());
        }
        let now = found.map_or("nothing".to_owned(), |found| found.to_string());
        Err(self.lying(format!("it took manifest {digest} as `{reference}` of `{repository}`, but has {now} there")))
    }

    async fn manifest_refused(&self, call: &Call<'_>, response: Response) -> RegistryError {
        let (host, status) = (self.host(), response.status());
        let repository = call.scope.repository().to_owned();
        let said = classify::explanation(response, self.patience.stall).await;
        match (said.code.as_str(), said.is_full) {
            (_, true) => RegistryError::Full { host, message: said.message },
            ("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN", _) => {
                RegistryError::BlobUnknown { host, repository, message: said.message }
            }
            ("DENIED" | "UNSUPPORTED", _) => {
                RegistryError::Forbidden { host, repository, access: call.scope.access(), message: said.message }
            }
            ("NAME_UNKNOWN", _) => RegistryError::NoRepository { host, repository, message: said.message },
            _ => RegistryError::Refused {
                host,
                doing: call.doing.to_owned(),
                status: status.as_u16(),
                message: said.message,
            },
        }
    }

    fn manifest_url(&self, repository: &str, reference: &str) -> reqwest::Url {
        self.endpoint().url(&format!("{repository}/manifests/{reference}"))
    }
}

/// What the document says of itself, or else the header.
pub(super) fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let typed: Typed = serde_json::from_slice(bytes).ok()?;
    let header = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let header = header.map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
    typed.media_type.or(header).filter(|text| text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic()))
}
