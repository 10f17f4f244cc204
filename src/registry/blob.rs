//! Bytes to be sent, named by their digest: from memory, or from a part of a file.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use reqwest::Body;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::error::RegistryError;
use super::meter::Meter;
use crate::archive::GrowingFile;
use crate::digest::Digest;

/// How much is handed to a connection at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// Bytes with their digest, ready to be sent as often as needed.
#[derive(Clone, Debug)]
pub struct Blob {
    digest: Digest,
    size: u64,
    /// One behind the other.
    pieces: Vec<Piece>,
}

/// Some of a blob's bytes.
#[derive(Clone, Debug)]
pub enum Piece {
    /// At hand.
    Memory(Bytes),
    /// A part of a file.
    File {
        /// The file.
        path: PathBuf,
        /// Where the part begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        size: u64,
    },
}

impl Piece {
    const fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// At most `len` bytes of it from `from` on.
    fn part(&self, from: u64, len: u64) -> Self {
        let len = len.min(self.size() - from);
        match self {
            Self::Memory(bytes) => {
                let at = |offset: u64| usize::try_from(offset).expect("an offset into memory fits");
                Self::Memory(bytes.slice(at(from)..at(from + len)))
            }
            Self::File { path, offset, .. } => Self::File { path: path.clone(), offset: offset + from, size: len },
        }
    }
}

impl Blob {
    /// Bytes in memory; their digest is computed.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, pieces: vec![Piece::Memory(bytes)] }
    }

    /// `size` bytes of the file at `path`, from `offset` on, which are known to have `digest`. When that is not true any
    /// more the registry refuses them.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>, offset: u64, size: u64, digest: Digest) -> Self {
        Self::from_pieces(vec![Piece::File { path: path.into(), offset, size }], digest)
    }

    /// Pieces that are known to have `digest` together.
    #[must_use]
    pub fn from_pieces(pieces: Vec<Piece>, digest: Digest) -> Self {
        Self { digest, size: pieces.iter().map(Piece::size).sum(), pieces }
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
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Memory(_) => None,
            Piece::File { path, .. } => Some(path.as_path()),
        })
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

    /// What it consists of.
    fn pieces(&self) -> VecDeque<Piece> {
        let (mut skip, mut left) = (self.offset, self.len);
        let mut pieces = VecDeque::new();
        for piece in &self.blob.pieces {
            if skip >= piece.size() {
                skip -= piece.size();
            } else if left > 0 {
                let part = piece.part(skip, left);
                (skip, left) = (0, left - part.size());
                pieces.push_back(part);
            }
        }
        pieces
    }

    /// A request's body that tells `meter` what it has handed over. A source that fails is told to the meter, since the
    /// HTTP library would hide why.
    pub(super) fn body(&self, meter: Arc<Meter>) -> Body {
        let reader = Reader { pieces: self.pieces(), file: None };
        Body::wrap_stream(stream::try_unfold((reader, meter), async |(mut reader, meter)| match reader.next().await {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => {
                meter.add(bytes.len());
                Ok(Some((bytes, (reader, meter))))
            }
            Err(error) => {
                meter.fail(error);
                Err(io::Error::other("the blob's source failed"))
            }
        }))
    }

    /// The error for a source that failed while it was being sent.
    pub(super) fn fault(&self, fault: io::Error, host: &str) -> RegistryError {
        let path = self.blob.path().unwrap_or(Path::new("?"));
        if fault.kind() == io::ErrorKind::UnexpectedEof {
            return RegistryError::FileChanged { host: host.to_owned(), path: path.to_owned() };
        }
        RegistryError::File { doing: "read", path: path.to_owned(), source: fault }
    }
}

/// Reads pieces, one behind the other.
struct Reader {
    pieces: VecDeque<Piece>,
    /// That of the first piece, where it is one.
    file: Option<tokio::fs::File>,
}

impl Reader {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(piece) = self.pieces.front_mut() else { return Ok(None) };
        let bytes = match piece {
            Piece::Memory(bytes) => bytes.split_to(bytes.len().min(PIECE)),
            Piece::File { path, offset, size } => {
                if self.file.is_none() {
                    let mut file = tokio::fs::File::open(&*path).await?;
                    file.seek(io::SeekFrom::Start(*offset)).await?;
                    self.file = Some(file);
                }
                let bytes = match &mut self.file {
                    Some(file) if *size > 0 => read_piece(file, *size).await?,
                    _ => Bytes::new(),
                };
                (*offset, *size) = (*offset + bytes.len() as u64, *size - bytes.len() as u64);
                bytes
            }
        };
        if piece.size() == 0 {
            self.pieces.pop_front();
            self.file = None;
        }
        Ok(Some(bytes))
    }
}

/// A request's body of all that is and will be written to a file.
pub(super) fn growing_body(file: GrowingFile, meter: Arc<Meter>) -> Body {
    let begin = (file, None, 0, meter);
    Body::wrap_stream(stream::try_unfold(begin, async |(mut file, mut open, at, meter)| {
        let Some(size) = file.grown(at).await else { return Ok(None) };
        match read_grown(&file, &mut open, size - at).await {
            Ok(bytes) => {
                meter.add(bytes.len());
                let at = at + bytes.len() as u64;
                Ok(Some((bytes, (file, open, at, meter))))
            }
            Err(error) => {
                meter.fail(error);
                Err(io::Error::other("the blob's source failed"))
            }
        }
    }))
}

async fn read_grown(file: &GrowingFile, open: &mut Option<tokio::fs::File>, left: u64) -> io::Result<Bytes> {
    if open.is_none() {
        *open = Some(tokio::fs::File::open(&file.path).await?);
    }
    match open {
        Some(open) => read_piece(open, left).await,
        None => Ok(Bytes::new()),
    }
}

async fn read_piece(file: &mut tokio::fs::File, left: u64) -> io::Result<Bytes> {
    let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let mut buffer = bytes::BytesMut::with_capacity(want);
    file.take(want as u64).read_buf(&mut buffer).await?;
    if buffer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(buffer.freeze()) }
}
