//! Blobs on their way down: bounded, verified by digest before they count, resumed where the connection broke.

use std::path::Path;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::auth::{Access, Scope};
use super::client::Registry;
use super::error::RegistryError;
use super::exchange::Call;
use super::names;
use super::upload::content_length;
use crate::digest::{Digest, Hasher};
use crate::sync::MAX_BLOB;

/// What is wanted of a blob.
struct Wanted<'a> {
    repository: &'a str,
    digest: &'a Digest,
    offset: u64,
    /// Exactly so many bytes from `offset` on; otherwise all.
    len: Option<u64>,
    /// No more than so many.
    limit: u64,
}

impl Wanted<'_> {
    fn what(&self) -> String {
        format!("blob {}", self.digest.short())
    }

    /// The `Range` header for what is still missing; `None` for a whole blob from its start.
    fn range(&self, received: u64) -> Option<String> {
        let from = self.offset + received;
        match self.len {
            Some(len) => Some(format!("bytes={from}-{}", self.offset + len - 1)),
            None => (from > 0).then(|| format!("bytes={from}-")),
        }
    }
}

/// What has come so far.
struct Received<'a, W> {
    writer: &'a mut W,
    hasher: Hasher,
    progress: &'a (dyn Fn(u64) + Send + Sync),
}

impl Registry {
    /// A blob of at most `limit` bytes, verified.
    pub async fn pull_blob(&self, repository: &str, digest: &Digest, limit: u64) -> Result<Bytes, RegistryError> {
        let mut bytes = Vec::new();
        self.pull_blob_into(repository, digest, limit, &mut bytes, |_| ()).await?;
        Ok(bytes.into())
    }

    /// Writes a blob of at most `limit` bytes to `writer`, each byte once and in order, and gives its size. What was written
    /// counts only when this succeeds: the digest is known at the end. `progress` hears how many bytes have come.
    pub async fn pull_blob_into<W: AsyncWrite + Unpin + Send>(
        &self,
        repository: &str,
        digest: &Digest,
        limit: u64,
        writer: &mut W,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<u64, RegistryError> {
        let wanted = Wanted { repository, digest, offset: 0, len: None, limit };
        let mut received = Received { writer, hasher: Hasher::default(), progress: &progress };
        self.fetch(&wanted, &mut received).await?;
        received.writer.flush().await.map_err(|source| RegistryError::Write { host: self.host(), source })?;
        let (size, actual) = (received.hasher.len(), received.hasher.finish());
        if actual != *digest {
            let (what, expected) = (wanted.what(), digest.clone());
            return Err(RegistryError::DigestMismatch { host: self.host(), what, expected, actual });
        }
        Ok(size)
    }

    /// Puts a blob of at most `limit` bytes at `path`, whole and verified or not at all, and gives its size.
    pub async fn pull_blob_to_file(
        &self,
        repository: &str,
        digest: &Digest,
        limit: u64,
        path: &Path,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<u64, RegistryError> {
        let failed = |source| RegistryError::File { doing: "write", path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let partial = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(partial.reopen().map_err(failed)?);
        let size = self.pull_blob_into(repository, digest, limit, &mut file, progress).await?;
        file.sync_all().await.map_err(failed)?;
        partial.persist(path).map_err(|error| failed(error.error))?;
        Ok(size)
    }

    /// `len` bytes of a blob from `offset` on: exactly so many, but not verified, since only the whole has a digest here. What lies
    /// beyond the largest blob of ours is refused unasked, whatever a list announces.
    pub async fn pull_blob_range(
        &self,
        repository: &str,
        digest: &Digest,
        offset: u64,
        len: u64,
    ) -> Result<Bytes, RegistryError> {
        let wanted = Wanted { repository, digest, offset, len: Some(len), limit: len };
        if offset.checked_add(len).is_none_or(|end| end > MAX_BLOB) {
            return Err(self.too_large(&Wanted { limit: MAX_BLOB, ..wanted }));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        if len > 0 {
            let mut received = Received { writer: &mut bytes, hasher: Hasher::default(), progress: &|_| () };
            self.fetch(&wanted, &mut received).await?;
        }
        Ok(bytes.into())
    }

    async fn fetch<W: AsyncWrite + Unpin + Send>(
        &self,
        wanted: &Wanted<'_>,
        received: &mut Received<'_, W>,
    ) -> Result<(), RegistryError> {
        names::check_repository(wanted.repository)?;
        let mut attempts = self.attempts();
        loop {
            let before = received.hasher.len();
            match self.fetch_once(wanted, received).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if received.hasher.len() > before {
                        attempts = self.attempts(); // what moves forward is worth going on with
                    }
                    attempts.wait_after(error).await?;
                }
            }
        }
    }

    /// One request for what is still missing, read as far as it comes.
    async fn fetch_once<W: AsyncWrite + Unpin + Send>(
        &self,
        wanted: &Wanted<'_>,
        received: &mut Received<'_, W>,
    ) -> Result<(), RegistryError> {
        let (mut response, mut skip) = self.open_fetch(wanted, received.hasher.len()).await?;
        let stop = wanted.len.unwrap_or(u64::MAX);
        while received.hasher.len() < stop {
            let Some(mut piece) = self.shared.transport.next_piece(&mut response, self.patience.stall).await? else {
                break;
            };
            let skipped = skip.min(piece.len() as u64);
            skip -= skipped;
            drop(piece.split_to(usize::try_from(skipped).expect("no more than a piece")));
            let room = stop - received.hasher.len();
            piece.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            self.take(wanted, received, &piece).await?;
        }
        if wanted.len.is_some_and(|len| received.hasher.len() < len) {
            return Err(self.lying(format!("{} ends before its time", wanted.what())));
        }
        Ok(())
    }

    /// The answer to a request for what is still missing, and how many of its first bytes are not wanted.
    async fn open_fetch(&self, wanted: &Wanted<'_>, received: u64) -> Result<(Response, u64), RegistryError> {
        let scope = Scope::new(wanted.repository, Access::Pull);
        let url = self.endpoint().url(&format!("{}/blobs/{}", wanted.repository, wanted.digest));
        let doing = format!("give {}", wanted.what());
        let mut call = Call::new(Method::GET, url, &scope, &doing);
        if let Some(range) = wanted.range(received) {
            call = call.header(RANGE, &range);
        }
        let response = self.exchange_once(&call, &|_| ()).await?;
        let from = wanted.offset + received;
        match response.status() {
            StatusCode::OK => {
                let excess = content_length(&response).is_some_and(|size| wanted.len.is_none() && size > wanted.limit);
                if excess { Err(self.too_large(wanted)) } else { Ok((response, from)) }
            }
            StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(from) => Ok((response, 0)),
            StatusCode::PARTIAL_CONTENT => Err(self.lying("it sends another part of a blob than asked for".to_owned())),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(self.lying(format!("{} is shorter than it should be", wanted.what())))
            }
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound {
                host: self.host(),
                repository: wanted.repository.to_owned(),
                what: wanted.what(),
            }),
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    async fn take<W: AsyncWrite + Unpin + Send>(
        &self,
        wanted: &Wanted<'_>,
        received: &mut Received<'_, W>,
        piece: &[u8],
    ) -> Result<(), RegistryError> {
        if received.hasher.len() + piece.len() as u64 > wanted.limit {
            return Err(self.too_large(wanted));
        }
        received.writer.write_all(piece).await.map_err(|source| RegistryError::Write { host: self.host(), source })?;
        received.hasher.update(piece);
        (received.progress)(received.hasher.len());
        Ok(())
    }

    fn too_large(&self, wanted: &Wanted<'_>) -> RegistryError {
        RegistryError::TooLarge { host: self.host(), what: wanted.what(), limit: wanted.limit }
    }

    pub(super) fn lying(&self, what: String) -> RegistryError {
        RegistryError::Lying { host: self.host(), what }
    }
}

/// Where a `Content-Range: bytes 100-199/1000` starts.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}
