//! Blobs: sent whole, since whole blobs are what every registry can take again; verified when they come back.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Body, Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt};

use super::client::Request;
use super::{Access, Registry, RegistryError};
use crate::digest::{Digest, Hasher};

/// Size of the pieces that files are read in.
const PIECE: usize = 256 * 1024;

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// At hand.
    Bytes(Bytes),
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// Bytes.
        size: u64,
    },
    /// In several pieces of files, one after the other.
    Pieces(Vec<(PathBuf, std::ops::Range<u64>)>),
}

/// Something to send.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its name.
    pub digest: Digest,
    /// Its bytes.
    pub content: Content,
}

/// What sending a blob took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing: it was there.
    Existed,
    /// This many bytes.
    Bytes(u64),
}

impl Content {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
            Self::Pieces(pieces) => pieces.iter().map(|(_, range)| range.end - range.start).sum(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A body that reads the bytes anew.
    pub(super) async fn open(&self, host: &str) -> Result<Body, RegistryError> {
        let pieces = match self {
            Self::Bytes(bytes) => return Ok(Body::from(bytes.clone())),
            Self::File { path, size } => vec![(path.clone(), 0..*size)],
            Self::Pieces(pieces) => pieces.clone(),
        };
        let mut opened = Vec::with_capacity(pieces.len());
        for (path, range) in pieces {
            let open = async {
                let mut file = tokio::fs::File::open(&path).await?;
                file.seek(std::io::SeekFrom::Start(range.start)).await?;
                Ok::<_, std::io::Error>(file.take(range.end - range.start))
            };
            opened.push(open.await.map_err(|error| RegistryError::Source {
                host: host.to_owned(),
                path: path.display().to_string(),
                reason: error.to_string(),
            })?);
        }
        let readers =
            futures::stream::iter(opened.into_iter().map(|f| tokio_util::io::ReaderStream::with_capacity(f, PIECE)));
        Ok(Body::wrap_stream(readers.flatten()))
    }
}

impl Registry {
    /// Whether the repository has a blob.
    pub async fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        let url = format!("{repository}/blobs/{digest}");
        let response = self.send(Request::new(Method::HEAD, url, repository, Access::Pull)).await?;
        match response.status() {
            StatusCode::OK | StatusCode::TEMPORARY_REDIRECT => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.unexpected("asking for a blob", response).await),
        }
    }

    /// Makes a blob of the repository `from` one of `repository` too, without sending it; `false` where the registry
    /// would rather have it sent.
    pub async fn mount_blob(&self, repository: &str, from: &str, digest: &Digest) -> Result<bool, RegistryError> {
        let url = format!("{repository}/blobs/uploads/?mount={digest}&from={from}");
        let mut request = Request::new(Method::POST, url, repository, Access::Push);
        request.from = Some(from);
        let response = self.send(request).await?;
        if response.status() == StatusCode::ACCEPTED {
            let location = self.location(&response)?;
            let _ = self.send(Request::new(Method::DELETE, location, repository, Access::Push)).await;
        }
        Ok(response.status() == StatusCode::CREATED)
    }

    /// Sends a blob unless it is there.
    pub async fn push_blob(&self, repository: &str, blob: &Blob) -> Result<Sent, RegistryError> {
        if self.has_blob(repository, &blob.digest).await? {
            return Ok(Sent::Existed);
        }
        let url = format!("{repository}/blobs/uploads/");
        let response = self.send(Request::new(Method::POST, url, repository, Access::Push)).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.unexpected("starting an upload", response).await);
        }
        let location = self.location(&response)?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={}", blob.digest);
        let mut request = Request::new(Method::PUT, url, repository, Access::Push);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        request.body = Some(&blob.content);
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::CREATED => Ok(Sent::Bytes(blob.content.len())),
            _ => Err(self.unexpected("an upload", response).await),
        }
    }

    /// A small blob, verified. At most 4 MiB.
    pub async fn pull_blob(&self, repository: &str, digest: &Digest) -> Result<Bytes, RegistryError> {
        let response = self.get_blob(repository, digest, None).await?;
        let bytes = self.document(response).await?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(self.wrong(digest)) }
    }

    /// A blob of any size into `out`, verified at the end: an error means that what was written is worthless.
    pub async fn pull_blob_into(
        &self,
        repository: &str,
        digest: &Digest,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, RegistryError> {
        let mut response = self.get_blob(repository, digest, None).await?;
        let mut hasher = Hasher::default();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
            hasher.update(&piece);
            out.write_all(&piece).await.map_err(|error| RegistryError::Source {
                host: self.host().to_owned(),
                path: digest.to_string(),
                reason: error.to_string(),
            })?;
        }
        let size = hasher.len();
        if hasher.finish() == *digest { Ok(size) } else { Err(self.wrong(digest)) }
    }

    /// A piece of a blob. The caller knows its digest; a blob of which pieces are wanted is never verified as a whole.
    pub async fn pull_range(
        &self,
        repository: &str,
        digest: &Digest,
        offset: u64,
        len: u64,
    ) -> Result<Bytes, RegistryError> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let mut response = self.get_blob(repository, digest, Some((offset, len))).await?;
        // A registry that does not know ranges sends everything from the start.
        let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { offset };
        let mut piece = BytesMut::new();
        while let Some(mut bytes) = response.chunk().await.map_err(|error| self.broken(&error))? {
            let before = skip.min(bytes.len() as u64);
            skip -= before;
            let _ = bytes.split_to(usize::try_from(before).unwrap_or(usize::MAX));
            let wanted = usize::try_from(len).unwrap_or(usize::MAX) - piece.len();
            piece.extend_from_slice(&bytes[..bytes.len().min(wanted)]);
            if piece.len() as u64 == len {
                return Ok(piece.freeze());
            }
        }
        Err(self.wrong(digest))
    }

    async fn get_blob(
        &self,
        repository: &str,
        digest: &Digest,
        range: Option<(u64, u64)>,
    ) -> Result<reqwest::Response, RegistryError> {
        let mut request = Request::new(Method::GET, format!("{repository}/blobs/{digest}"), repository, Access::Pull);
        if let Some((offset, len)) = range {
            let value = HeaderValue::from_str(&format!("bytes={offset}-{}", offset + len - 1)).ok();
            request.headers.extend(value.map(|value| (RANGE, value)));
        }
        let headers = request.headers.clone();
        let response = self.send(request).await?;
        let response = self.follow(response, &headers).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::BlobMissing {
                host: self.host().to_owned(),
                repository: repository.to_owned(),
                digest: digest.clone(),
            }),
            _ => Err(self.unexpected("asking for a blob", response).await),
        }
    }

    fn wrong(&self, expected: &Digest) -> RegistryError {
        RegistryError::WrongDigest { host: self.host().to_owned(), expected: expected.clone() }
    }
}
