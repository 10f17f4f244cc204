//! The bytes of outputs on their way: neighbours in a blob at once, and asked for before the last ones are here.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::collect::CollectError;
use super::rank::Frames;
use super::received::Cause;
use crate::digest::Digest;
use crate::registry::{Registry, RegistryError};
use crate::sync;

/// Files of up to so many bytes come with others.
pub(super) const SMALL: u64 = 1024 * 1024;
/// Bytes asked for at once over the control stream.
const PIECE: u64 = 4 * 1024 * 1024;
/// So many bytes, and so many pieces, may be on their way there.
const AHEAD: (u64, usize) = (2 * PIECE, 64);
/// Bytes of a blob that are fetched at once for several files, and bytes between two of them that are not worth a request.
const RANGE: u64 = 4 * 1024 * 1024;
const GAP: u64 = 64 * 1024;
/// Ranges that are on their way from the registry at once.
const AT_ONCE: usize = 6;
/// Chunks of one file that are.
const CHUNKS_AT_ONCE: usize = 2;

/// Where the pieces of files come from.
pub enum Pieces<'a> {
    /// The rank itself.
    Control(&'a mut Frames),
    /// The registry.
    Mailbox(&'a Registry, &'a str),
}

/// A file that is to come, and the path that it is to have.
pub(super) struct Wanted<'a> {
    pub(super) path: String,
    pub(super) file: &'a sync::File,
}

/// A small file's bytes, or why they cannot be had.
pub(super) type Content<'a> = (Wanted<'a>, Result<Bytes, Cause>);

impl Pieces<'_> {
    /// Whether a file comes with others.
    pub(super) fn is_small(file: &sync::File) -> bool {
        file.size <= SMALL && file.chunks.len() <= 1
    }

    /// The largest length, up to `len` bytes, from which a file can be gone on with.
    pub(super) fn boundary(&self, file: &sync::File, len: u64) -> u64 {
        match self {
            Self::Control(_) if len <= file.size => len,
            Self::Control(_) => 0,
            Self::Mailbox(..) => ends(file).take_while(|end| *end <= len).last().unwrap_or(0),
        }
    }

    /// The bytes of small files, in whatever order is best. An error keeps all others away too.
    pub(super) fn contents<'a>(
        &'a mut self,
        rank: u32,
        wanted: Vec<Wanted<'a>>,
    ) -> BoxStream<'a, Result<Content<'a>, CollectError>> {
        match self {
            Self::Control(frames) => {
                let asks = wanted.iter().map(|wanted| Ask::whole(wanted.file)).collect();
                let pieces = Asking::new(frames, rank, asks).into_stream();
                let pair = |(wanted, piece): (_, Result<_, _>)| piece.map(|piece| (wanted, piece));
                stream::iter(wanted).zip(pieces).map(pair).boxed()
            }
            Self::Mailbox(registry, repository) => {
                let (registry, repository) = (*registry, *repository);
                let fetch = move |group: Group<'a>| group.fetch(registry, repository);
                stream::iter(groups(wanted)).map(fetch).buffered(AT_ONCE).flat_map(stream::iter).boxed()
            }
        }
    }

    /// The bytes of a large file from `at` on, piece by piece and verified as far as pieces can be.
    pub(super) fn pieces<'a>(
        &'a mut self,
        rank: u32,
        file: &'a sync::File,
        at: u64,
    ) -> BoxStream<'a, Result<Result<Bytes, Cause>, CollectError>> {
        match self {
            Self::Control(frames) => Asking::new(frames, rank, Ask::rest(file, at)).into_stream(),
            Self::Mailbox(registry, repository) => {
                let (registry, repository) = (*registry, *repository);
                let rest = file.chunks.iter().zip(ends(file)).skip_while(move |(_, end)| *end <= at);
                stream::iter(rest)
                    .map(move |(chunk, _)| fetch_chunk(registry, repository, chunk))
                    .buffered(CHUNKS_AT_ONCE)
                    .boxed()
            }
        }
    }
}

/// Where each chunk of a file ends in it.
fn ends(file: &sync::File) -> impl Iterator<Item = u64> {
    file.chunks.iter().scan(0_u64, |end, chunk| {
        *end = end.saturating_add(chunk.size);
        Some(*end)
    })
}

fn lost(reason: &str) -> Cause {
    Cause::Lost(reason.to_owned())
}

/// Exactly these bytes of a blob; the inner error is about this blob alone.
async fn fetch_range(
    registry: &Registry,
    repository: &str,
    blob: &Digest,
    range: Range<u64>,
) -> Result<Result<Bytes, Cause>, CollectError> {
    match registry.pull_blob_range(repository, blob, range.start, range.end - range.start).await {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(RegistryError::NotFound { .. }) => Ok(Err(lost("the mailbox does not have it"))),
        Err(error) => Err(error.into()),
    }
}

async fn fetch_chunk(
    registry: &Registry,
    repository: &str,
    chunk: &sync::Chunk,
) -> Result<Result<Bytes, Cause>, CollectError> {
    let bytes = fetch_range(registry, repository, &chunk.blob, chunk.offset..chunk.offset + chunk.size).await?;
    let Ok(bytes) = bytes else { return Ok(bytes) };
    let expected = chunk.digest.clone();
    let checked = tokio::task::spawn_blocking(move || (Digest::of(&bytes) == expected).then_some(bytes)).await;
    Ok(checked.ok().flatten().ok_or_else(|| lost("the mailbox gave other bytes")))
}

/// Files whose bytes are near each other in one blob.
struct Group<'a> {
    /// `None` for files without bytes, and those of which the mailbox has none.
    blob: Option<&'a Digest>,
    range: Range<u64>,
    files: Vec<Wanted<'a>>,
}

fn place<'a>(wanted: &Wanted<'a>) -> (Option<&'a Digest>, Range<u64>) {
    match wanted.file.chunks.first() {
        Some(chunk) => (Some(&chunk.blob), chunk.offset..chunk.offset + chunk.size),
        None => (None, 0..0),
    }
}

/// Neighbours together, as far as one request is worth it.
fn groups(mut wanted: Vec<Wanted<'_>>) -> Vec<Group<'_>> {
    wanted.sort_by_cached_key(|wanted| {
        let (blob, range) = place(wanted);
        (blob, range.start, range.end)
    });
    let mut groups: Vec<Group<'_>> = Vec::new();
    for wanted in wanted {
        let (blob, range) = place(&wanted);
        match groups.last_mut() {
            Some(last)
                if last.blob == blob
                    && range.start <= last.range.end + GAP
                    && range.end <= last.range.start + RANGE =>
            {
                last.range.end = last.range.end.max(range.end);
                last.files.push(wanted);
            }
            _ => groups.push(Group { blob, range, files: vec![wanted] }),
        }
    }
    groups
}

impl<'a> Group<'a> {
    async fn fetch(self, registry: &Registry, repository: &str) -> Vec<Result<Content<'a>, CollectError>> {
        let Self { blob, range, files } = self;
        let start = range.start;
        let bytes = match blob {
            Some(blob) => fetch_range(registry, repository, blob, range).await,
            None => Ok(Ok(Bytes::new())),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return vec![Err(error)],
        };
        let cut = |wanted: Wanted<'a>| {
            let (_, place) = place(&wanted);
            let inside = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
            let bytes = match &bytes {
                Ok(_) if wanted.file.size > 0 && wanted.file.chunks.is_empty() => {
                    Err(lost("the mailbox does not have it"))
                }
                Ok(bytes) if place.is_empty() => Ok(bytes.slice(..0)),
                Ok(bytes) => Ok(bytes.slice(inside(place.start)..inside(place.end))),
                Err(cause) => Err(cause.clone()),
            };
            Ok((wanted, bytes))
        };
        files.into_iter().map(cut).collect()
    }
}

/// A piece that a rank is asked for.
struct Ask<'a> {
    path: &'a str,
    offset: u64,
    len: u64,
}

impl<'a> Ask<'a> {
    fn whole(file: &'a sync::File) -> Self {
        Self { path: &file.path, offset: 0, len: file.size }
    }

    fn rest(file: &'a sync::File, at: u64) -> VecDeque<Self> {
        let step = usize::try_from(PIECE).unwrap_or(usize::MAX);
        let piece = |offset| Self { path: &file.path, offset, len: PIECE.min(file.size - offset) };
        (at..file.size).step_by(step).map(piece).collect()
    }
}

/// Pieces that a rank is asked for, some before the last ones have come: it answers in order.
struct Asking<'a> {
    frames: &'a mut Frames,
    rank: u32,
    asks: VecDeque<Ask<'a>>,
    on_their_way: VecDeque<Ask<'a>>,
    bytes: u64,
    has_begun: bool,
}

impl<'a> Asking<'a> {
    const fn new(frames: &'a mut Frames, rank: u32, asks: VecDeque<Ask<'a>>) -> Self {
        Self { frames, rank, asks, on_their_way: VecDeque::new(), bytes: 0, has_begun: false }
    }

    fn into_stream(self) -> BoxStream<'a, Result<Result<Bytes, Cause>, CollectError>> {
        stream::unfold(self, |mut asking| async move { Some((asking.next().await?, asking)) }).boxed()
    }

    async fn next(&mut self) -> Option<Result<Result<Bytes, Cause>, CollectError>> {
        let path = self.on_their_way.front().or(self.asks.front())?.path.to_owned();
        let rank = self.rank;
        let answer = self.try_next().await;
        Some(answer.map_err(|reason| CollectError::Source { path, rank, reason }))
    }

    async fn try_next(&mut self) -> Result<Result<Bytes, Cause>, String> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.frames.forget_pieces().await?;
        }
        while let Some(ask) = self.asks.front() {
            let is_first = self.on_their_way.is_empty();
            if !is_first && (self.bytes + ask.len > AHEAD.0 || self.on_their_way.len() >= AHEAD.1) {
                break;
            }
            // No bytes need no words.
            if ask.len > 0 {
                let len = u32::try_from(ask.len).unwrap_or(u32::MAX);
                self.frames.ask_for_piece(ask.path, ask.offset, len).await?;
            }
            self.bytes += ask.len;
            self.on_their_way.extend(self.asks.pop_front());
        }
        let Some(ask) = self.on_their_way.pop_front() else { return Ok(Ok(Bytes::new())) };
        self.bytes -= ask.len;
        if ask.len == 0 {
            return Ok(Ok(Bytes::new()));
        }
        Ok(match self.frames.next_piece().await? {
            Ok(bytes) if bytes.len() as u64 == ask.len => Ok(bytes),
            Ok(_) => Err(lost("it has become shorter")),
            Err(reason) => Err(Cause::Lost(reason)),
        })
    }
}
