//! Manifests and tags.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LINK};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::client::Request;
use super::{Access, Content, Registry, RegistryError};
use crate::digest::Digest;

/// All forms of manifests that we can read.
const KNOWN: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json, \
                     application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest as a registry gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Of its bytes.
    pub digest: Digest,
    /// What the registry says it is.
    pub media_type: String,
    /// The document.
    pub bytes: Bytes,
}

/// A manifest to send.
#[derive(Clone, Debug)]
pub struct ManifestContent<'a> {
    /// What it is.
    pub media_type: &'a str,
    /// The document.
    pub bytes: Vec<u8>,
}

impl Registry {
    /// The manifest of a tag or digest, verified; `None` when there is none.
    pub async fn pull_manifest(&self, repository: &str, reference: &str) -> Result<Option<Manifest>, RegistryError> {
        let mut request =
            Request::new(Method::GET, format!("{repository}/manifests/{reference}"), repository, Access::Pull);
        request.headers.insert(ACCEPT, HeaderValue::from_static(KNOWN));
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.unexpected("asking for a manifest", response).await),
        }
        let media_type =
            response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let bytes = self.document(response).await?;
        let digest = Digest::of(&bytes);
        match reference.parse::<Digest>() {
            Ok(expected) if expected != digest => {
                Err(RegistryError::WrongDigest { host: self.host().to_owned(), expected })
            }
            _ => Ok(Some(Manifest { digest, media_type, bytes })),
        }
    }

    /// Sends a manifest and reads it back: only what can be read is there.
    pub async fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: ManifestContent<'_>,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&manifest.bytes);
        let content = Content::Bytes(manifest.bytes.into());
        let mut request =
            Request::new(Method::PUT, format!("{repository}/manifests/{reference}"), repository, Access::Push);
        request.headers.extend(HeaderValue::from_str(manifest.media_type).ok().map(|value| (CONTENT_TYPE, value)));
        request.body = Some(&content);
        let response = self.send(request).await?;
        if response.status() != StatusCode::CREATED {
            return Err(self.unexpected("sending a manifest", response).await);
        }
        match self.pull_manifest(repository, reference).await? {
            Some(read) if read.digest == digest => Ok(digest),
            _ => Err(RegistryError::WrongDigest { host: self.host().to_owned(), expected: digest }),
        }
    }

    /// All tags of a repository; none where there is no such repository.
    pub async fn list_tags(&self, repository: &str) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let mut next = Some(format!("{repository}/tags/list?n=1000"));
        while let Some(url) = next.take() {
            let response = self.send(Request::new(Method::GET, url, repository, Access::Pull)).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => break,
                _ => return Err(self.unexpected("asking for tags", response).await),
            }
            next = next_page(&response);
            let page: Tags =
                serde_json::from_slice(&self.document(response).await?).map_err(|error| RegistryError::Unexpected {
                    host: self.host().to_owned(),
                    status: 200,
                    what: "asking for tags".to_owned(),
                    message: error.to_string(),
                })?;
            tags.extend(page.tags.unwrap_or_default());
        }
        Ok(tags)
    }
}

/// The next page of a list, when the answer names one (RFC 5988).
fn next_page(response: &reqwest::Response) -> Option<String> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let target = link.split_once('<')?.1.split_once('>')?.0;
    response.url().join(target).ok().map(String::from)
}
