//! Blobs on their way up: looked for first, sent in one piece, and sent again from the start when that fails.
//!
//! Distribution 2.x cannot resume inside a blob, so the blob is the unit of retry. Only where a proxy refuses the whole
//! as too large is it cut.

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use super::auth::{Access, Scope};
use super::blob::{Blob, Slice};
use super::classify;
use super::client::Registry;
use super::error::RegistryError;
use super::exchange::{Call, location};
use super::names;
use crate::archive::GrowingFile;
use crate::digest::Digest;

/// The first size of pieces when the whole is refused as too large, in bytes; quartered as long as they are refused too.
const FIRST_PIECE: u64 = 32 * 1024 * 1024;
const SMALLEST_PIECE: u64 = 512 * 1024;

/// What sending a blob came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The registry had it already.
    Existed,
    /// It was sent: its size in bytes.
    Sent(u64),
}

impl Registry {
    /// Whether the repository has this blob.
    pub async fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(self.blob_size(repository, digest).await?.is_some())
    }

    /// Makes sure of a blob in a repository. `progress` hears how many of its bytes the present try has sent: it starts
    /// again from 0 when a try fails.
    pub async fn push_blob(
        &self,
        repository: &str,
        blob: &Blob,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Sent, RegistryError> {
        if self.has_whole(repository, blob).await? {
            progress(blob.size());
            return Ok(Sent::Existed);
        }
        self.send_blob(repository, blob, progress).await.map(|()| Sent::Sent(blob.size()))
    }

    /// Sends a blob without looking whether it is there: for one that was made just now.
    pub async fn send_blob(
        &self,
        repository: &str,
        blob: &Blob,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), RegistryError> {
        names::check_repository(repository)?;
        let mut attempts = self.attempts();
        let mut piece = None;
        loop {
            let error = match self.upload(repository, blob, piece, &progress).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let RegistryError::BodyTooLarge { size, .. } = error {
                piece = Some(smaller(size).ok_or(error)?);
                continue;
            }
            attempts.wait_after(error).await?;
            // The answer may have been all that was lost.
            if self.has_whole(repository, blob).await? {
                progress(blob.size());
                return Ok(());
            }
        }
    }

    /// Sends a file while it is being written. `blob` tells what it has become; nothing, and what was sent is taken back.
    /// This is one try: whatever fails, the blob is sent in the usual way once it is whole.
    pub async fn push_growing(
        &self,
        repository: &str,
        file: &GrowingFile,
        blob: impl Future<Output = Option<Blob>>,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Option<Sent>, RegistryError> {
        names::check_repository(repository)?;
        let scope = Scope::new(repository, Access::Push);
        let doing = format!("take a blob in `{repository}`");
        let early = self.send_growing(repository, file, &scope, &doing, &progress).await;
        let Some(blob) = blob.await else {
            if let Ok(session) = early {
                self.abandon(session, &scope).await;
            }
            return Ok(None);
        };
        let rest = blob.slice(blob.size(), 0);
        let finished = match early {
            Ok(session) => self.complete(session, &blob, rest, &scope, &doing, &progress).await,
            Err(error) => Err(error),
        };
        match finished {
            Ok(()) => Ok(Some(Sent::Sent(blob.size()))),
            Err(error) => {
                tracing::debug!(%error, "registry: sending again, now that it is whole");
                self.push_blob(repository, &blob, progress).await.map(Some)
            }
        }
    }

    async fn send_growing(
        &self,
        repository: &str,
        file: &GrowingFile,
        scope: &Scope,
        doing: &str,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Url, RegistryError> {
        let session = self.open_upload(repository, scope, doing).await?;
        let call = Call::new(Method::PATCH, session.clone(), scope, doing)
            .header(CONTENT_TYPE, "application/octet-stream")
            .growing_body(file);
        let response = self.exchange_once(&call, progress).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => self.session(&session, &response),
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    /// Makes sure that a blob that the registry has taken is there, with its size.
    pub async fn confirm_blob(&self, repository: &str, digest: &Digest, size: u64) -> Result<(), RegistryError> {
        match self.blob_size(repository, digest).await? {
            Some(found) if found.is_none_or(|found| found == size) => Ok(()),
            Some(found) => Err(self.lying(format!(
                "it took blob {digest} of `{repository}` with {size} bytes, and has {} of them",
                found.unwrap_or_default()
            ))),
            None => Err(self.lying(format!("it took blob {digest} of `{repository}`, and does not have it"))),
        }
    }

    /// Takes a blob over from another repository of the same registry, without moving its bytes. `false` when the registry
    /// does not do that (here, or for us): the blob has to be pushed.
    pub async fn mount_blob(&self, repository: &str, from: &str, digest: &Digest) -> Result<bool, RegistryError> {
        names::check_repository(repository)?;
        names::check_repository(from)?;
        let scope = Scope::new(repository, Access::Push).and_pull(from);
        let mut url = self.endpoint().url(&format!("{repository}/blobs/uploads/"));
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
        let call = opening(url, &scope, "mount a blob");
        match self.exchange(&call).await {
            Ok(response) if response.status() == StatusCode::CREATED => Ok(true),
            Ok(response) => {
                if response.status() == StatusCode::ACCEPTED
                    && let Ok(session) = self.session(&call.url, &response)
                {
                    self.abandon(session, &scope).await;
                }
                Ok(false)
            }
            Err(RegistryError::Unauthorised { .. } | RegistryError::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the registry has the blob with its size; one of another size (a known bug leaves empty files) is sent again.
    async fn has_whole(&self, repository: &str, blob: &Blob) -> Result<bool, RegistryError> {
        Ok(self
            .blob_size(repository, blob.digest())
            .await?
            .is_some_and(|size| size.is_none_or(|size| size == blob.size())))
    }

    /// `None` when it is not there; `Some(None)` when the registry does not say how large it is.
    async fn blob_size(&self, repository: &str, digest: &Digest) -> Result<Option<Option<u64>>, RegistryError> {
        names::check_repository(repository)?;
        let scope = Scope::new(repository, Access::Pull);
        let url = self.endpoint().url(&format!("{repository}/blobs/{digest}"));
        let call = Call::new(Method::HEAD, url, &scope, "look for a blob");
        let response = self.exchange(&call).await?;
        match response.status() {
            StatusCode::OK if classify::is_page(response.headers()) => Err(self.unexpected(&call, response).await),
            StatusCode::OK => Ok(Some(content_length(&response))),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    /// One try at sending, in one piece or in pieces of at most `piece` bytes.
    async fn upload(
        &self,
        repository: &str,
        blob: &Blob,
        piece: Option<u64>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let scope = Scope::new(repository, Access::Push);
        let doing = format!("take blob {} in `{repository}`", blob.digest().short());
        let session = self.open_upload(repository, &scope, &doing).await?;
        let (session, last) = match piece {
            None => (session, blob.whole()),
            Some(piece) => self.send_pieces(session, blob, piece, &scope, &doing, progress).await?,
        };
        self.complete(session, blob, last, &scope, &doing, progress).await
    }

    /// Sends the last or only piece, which makes the blob.
    pub(super) async fn complete(
        &self,
        mut session: Url,
        blob: &Blob,
        last: Slice<'_>,
        scope: &Scope,
        doing: &str,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        session.query_pairs_mut().append_pair("digest", blob.digest().as_str());
        let call =
            Call::new(Method::PUT, session, scope, doing).header(CONTENT_TYPE, "application/octet-stream").body(last);
        let already = blob.size() - last.len();
        let response = self.exchange_once(&call, &|sent| progress(already + sent)).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => self.agrees(&response, blob),
            _ => Err(self.upload_refused(&call, response, blob, last.len()).await),
        }
    }

    /// Whether the registry, if it says what it has stored, says the blob's name.
    fn agrees(&self, response: &Response, blob: &Blob) -> Result<(), RegistryError> {
        let said = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match said.and_then(|text| text.parse::<Digest>().ok()) {
            Some(other) if other != *blob.digest() => {
                Err(self.lying(format!("it was sent blob {}, and says that it has stored {other}", blob.digest())))
            }
            _ => Ok(()),
        }
    }

    /// Asks for a place to send a blob to.
    async fn open_upload(&self, repository: &str, scope: &Scope, doing: &str) -> Result<Url, RegistryError> {
        let call = opening(self.endpoint().url(&format!("{repository}/blobs/uploads/")), scope, doing);
        // Tried again by itself: it costs nothing, and what comes after it should not have to fail for it.
        let response = self.exchange(&call).await?;
        match response.status() {
            StatusCode::ACCEPTED => self.session(&call.url, &response),
            _ => Err(self.unexpected(&call, response).await),
        }
    }

    /// Sends all but the last piece; gives back where the last one goes, and which it is.
    async fn send_pieces<'b>(
        &self,
        mut session: Url,
        blob: &'b Blob,
        piece: u64,
        scope: &Scope,
        doing: &str,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(Url, Slice<'b>), RegistryError> {
        let mut offset = 0;
        while blob.size() - offset > piece {
            let range = format!("{offset}-{}", offset + piece - 1);
            let call = Call::new(Method::PATCH, session.clone(), scope, doing)
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_RANGE, &range)
                .body(blob.slice(offset, piece));
            let response = self.exchange_once(&call, &|sent| progress(offset + sent)).await?;
            if !matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
                return Err(self.upload_refused(&call, response, blob, piece).await);
            }
            session = self.session(&session, &response)?;
            offset += piece;
        }
        Ok((session, blob.slice(offset, piece)))
    }

    /// Where to send the blob, or its next piece.
    pub(super) fn session(&self, from: &Url, response: &Response) -> Result<Url, RegistryError> {
        let lying =
            || RegistryError::Lying { host: self.host(), what: "it opens an upload and does not say where".to_owned() };
        self.endpoint().follow(from, &location(response.headers()).ok_or_else(lying)?)
    }

    async fn upload_refused(&self, call: &Call<'_>, response: Response, blob: &Blob, size: u64) -> RegistryError {
        let (host, digest) = (self.host(), blob.digest().clone());
        match response.status() {
            StatusCode::PAYLOAD_TOO_LARGE => return RegistryError::BodyTooLarge { host, size },
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => {
                return RegistryError::UploadLost { host, repository: call.scope.repository().to_owned(), digest };
            }
            _ => {}
        }
        let error = self.unexpected(call, response).await;
        match (error, blob.path()) {
            (RegistryError::Refused { message, .. }, Some(path)) if message.contains("digest") => {
                RegistryError::FileChanged { host, path: path.to_owned() }
            }
            (error, _) => error,
        }
    }

    /// Takes an opened upload back, so that the registry need not keep it; it forgets such uploads by itself after a week.
    async fn abandon(&self, session: Url, scope: &Scope) {
        let call = Call::new(Method::DELETE, session, scope, "take an upload back");
        if let Err(error) = self.exchange_once(&call, &|_| ()).await {
            tracing::debug!(%error, "an opened upload stays behind");
        }
    }
}

/// A POST without a body has to say so, or some proxies refuse it.
pub(super) fn opening<'a>(url: Url, scope: &'a Scope, doing: &'a str) -> Call<'a> {
    let mut call = Call::new(Method::POST, url, scope, doing);
    call.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    call
}

/// The length that the header says; the library's own accessor knows no body of a HEAD.
pub(super) fn content_length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The size of pieces to try after `size` was refused.
fn smaller(size: u64) -> Option<u64> {
    let next = if size > FIRST_PIECE { FIRST_PIECE } else { size / 4 };
    (next >= SMALLEST_PIECE).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_shrink_to_half_a_megabyte() {
        let sizes: Vec<u64> = std::iter::successors(Some(1 << 30), |size| smaller(*size)).collect();
        assert_eq!(sizes, [1 << 30, 32 << 20, 8 << 20, 2 << 20, 512 << 10]);
        assert_eq!(smaller(1000), None);
    }
}
