//! Bytes to be sent, named by their digest: from memory, or from a part of a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use reqwest::Body;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::error::RegistryError;
use super::meter::Meter;
use crate::digest::Digest;

/// How much is handed to a connection at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// Bytes with their digest, ready to be sent as often as needed.
#[derive(Clone, Debug)]
pub struct Blob {
    digest: Digest,
    size: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    File { path: PathBuf, offset: u64 },
}

impl Blob {
    /// Bytes in memory; their digest is computed.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, source: Source::Memory(bytes) }
    }

    /// `size` bytes of the file at `path`, from `offset` on, which are known to have `digest`. When that is not true any
    /// more the registry refuses them.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>, offset: u64, size: u64, digest: Digest) -> Self {
        Self { digest, size, source: Source::File { path: path.into(), offset } }
    }

    /// The name of the bytes.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// All of it, as a request's body.
    pub(super) const fn whole(&self) -> Slice<'_> {
        Slice { blob: self, offset: 0, len: self.size }
    }

    /// At most `len` bytes of it from `offset` on.
    pub(super) fn slice(&self, offset: u64, len: u64) -> Slice<'_> {
        Slice { blob: self, offset, len: len.min(self.size - offset) }
    }

    /// The file the bytes come from.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::Memory(_) => None,
            Source::File { path, .. } => Some(path),
        }
    }
}

/// A part of a blob.
#[derive(Clone, Copy)]
pub(super) struct Slice<'a> {
    blob: &'a Blob,
    offset: u64,
    len: u64,
}

impl Slice<'_> {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// A request's body that tells `meter` what it has handed over.
    pub(super) async fn body(&self, meter: Arc<Meter>) -> Result<Body, RegistryError> {
        match &self.blob.source {
            Source::Memory(bytes) => {
                let from = usize::try_from(self.offset).expect("an offset into memory fits");
                let len = usize::try_from(self.len).expect("a length in memory fits");
                Ok(memory_body(bytes.slice(from..from + len), meter))
            }
            Source::File { path, offset } => {
                let file = open_at(path, offset + self.offset).await.map_err(|source| read_error(path, source))?;
                Ok(file_body(file, self.len, meter))
            }
        }
    }

    /// The error for a source that failed while it was being sent.
    pub(super) fn fault(&self, fault: io::Error, host: &str) -> RegistryError {
        let path = self.blob.path().unwrap_or(Path::new("?"));
        if fault.kind() == io::ErrorKind::UnexpectedEof {
            return RegistryError::FileChanged { host: host.to_owned(), path: path.to_owned() };
        }
        read_error(path, fault)
    }
}

fn read_error(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::File { doing: "read", path: path.to_owned(), source }
}

async fn open_at(path: &Path, offset: u64) -> io::Result<tokio::fs::File> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(io::SeekFrom::Start(offset)).await?;
    Ok(file)
}

fn memory_body(bytes: Bytes, meter: Arc<Meter>) -> Body {
    Body::wrap_stream(stream::unfold((bytes, meter), async |(mut rest, meter)| {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        meter.add(piece.len());
        Some((Ok::<_, io::Error>(piece), (rest, meter)))
    }))
}

fn file_body(file: tokio::fs::File, len: u64, meter: Arc<Meter>) -> Body {
    Body::wrap_stream(stream::try_unfold((file, len, meter), async |(mut file, left, meter)| {
        if left == 0 {
            return Ok(None);
        }
        match read_piece(&mut file, left).await {
            Ok(piece) => {
                meter.add(piece.len());
                Ok(Some((piece.clone(), (file, left - piece.len() as u64, meter))))
            }
            Err(error) => {
                meter.fail(error);
                Err(io::Error::other("the blob's file failed"))
            }
        }
    }))
}

async fn read_piece(file: &mut tokio::fs::File, left: u64) -> io::Result<Bytes> {
    let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let mut buffer = bytes::BytesMut::with_capacity(want);
    file.take(want as u64).read_buf(&mut buffer).await?;
    if buffer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(buffer.freeze()) }
}
