//! Outputs arrive: verified piece by piece, put in place at once, and never over what is not ours.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::folder::{OutputsFolder, Part, Present};
use super::rank::Frames;
use super::received::{Cause, Missing, Received};
use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::Digest;
use crate::event::{Event, Events};
use crate::registry::{Registry, RegistryError};
use crate::sync;

/// Bytes asked for at once over the control stream.
const PIECE: u64 = 4 * 1024 * 1024;

/// What can go wrong while outputs arrive.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A local file or folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another nauta brings them.
    #[error("another nauta brings the outputs to `{}`", folder.display())]
    Busy {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Not everything arrived.
    #[error("{first}{}", and_others(*others))]
    Incomplete {
        /// The first that did not.
        first: Missing,
        /// How many more did not.
        others: usize,
        /// What to do.
        hints: Vec<String>,
    },
    /// The rank cannot give the file (any more).
    #[error("`{path}` of rank {rank} cannot be had: {reason}")]
    Source {
        /// The file.
        path: String,
        /// The rank.
        rank: u32,
        /// Why.
        reason: String,
    },
    /// The mailbox cannot give it.
    #[error(transparent)]
    Mailbox(#[from] RegistryError),
}

fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => ", nor is another file".to_owned(),
        _ => format!(", nor are {others} others"),
    }
}

impl Diagnosis for CollectError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. } => Kind::Input,
            Self::Busy { .. } | Self::Incomplete { .. } | Self::Source { .. } => Kind::Unavailable,
            Self::Mailbox(error) => error.kind(),
        }
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Write { .. } => vec!["make room or check the permissions, then `nauta pull RUN`".to_owned()],
            Self::Busy { .. } => vec![
                "wait until it is done, or end it (a `nauta run` or `nauta logs -f` in another terminal)".to_owned(),
            ],
            Self::Incomplete { hints, .. } => hints.clone(),
            Self::Source { .. } => vec!["`nauta pull RUN` tries again".to_owned()],
            Self::Mailbox(error) => error.hints(),
        }
    }
}

/// Where the pieces of files come from.
pub enum Pieces<'a> {
    /// The rank itself.
    Control(&'a mut Frames),
    /// The registry.
    Mailbox(&'a Registry, &'a str),
}

/// Receives the outputs of one run into `runs/<run>/`.
pub struct Collector {
    folder: OutputsFolder,
    /// What was said of files that do not come, once each.
    said: BTreeSet<String>,
}

impl Collector {
    /// Receives into `folder`, which is made if need be. Fails with [`CollectError::Busy`] when another nauta does.
    pub fn open(folder: &Path) -> Result<Self, CollectError> {
        let opened = OutputsFolder::open(folder);
        let opened = opened.map_err(|source| CollectError::Write { path: folder.to_owned(), source })?;
        let folder = opened.ok_or_else(|| CollectError::Busy { folder: folder.to_owned() })?;
        Ok(Self { folder, said: BTreeSet::new() })
    }

    /// Where outputs go.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Brings all files of an index that are not here yet. Nothing is ever deleted, and nothing that nauta has not
    /// written is replaced: the new file then goes beside it. A file that cannot come, or has no place here, does not keep
    /// the others away: it is told of in what is given back.
    pub async fn receive(
        &mut self,
        index: &sync::Index,
        pieces: &mut Pieces<'_>,
        events: &Events,
    ) -> Result<Received, CollectError> {
        let (mut received, mut problem) = (Received::default(), None);
        for file in &index.files {
            let outcome = match sync::acceptable(&file.path, index.rank).and_then(|()| file.check()) {
                Ok(()) => self.receive_file(index.rank, file, pieces).await,
                Err(reason) => Err(Failed::Here(Cause::Refused(reason))),
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(path)) => {
                    received.files += 1;
                    received.bytes = received.bytes.saturating_add(file.size);
                    events.send(Event::Output { rank: index.rank, path, size: file.size });
                }
                Err(Failed::Here(cause)) => {
                    let missing = Missing { rank: index.rank, path: file.path.clone(), cause };
                    self.say(&missing, events);
                    received.missing.push(missing);
                }
                Err(Failed::Everywhere(error)) => {
                    problem = Some(error);
                    break;
                }
            }
        }
        self.folder.settle().map_err(|source| self.write_error("", source))?;
        problem.map_or(Ok(received), Err)
    }

    /// Says that a file does not come, once, and no more often than anybody reads. What may come another way is told by
    /// who knows whether it did.
    fn say(&mut self, missing: &Missing, events: &Events) {
        const MOST: usize = 20;
        if matches!(missing.cause, Cause::Lost(_)) || self.said.len() > MOST {
            return;
        }
        let text = match (self.said.len(), &missing.cause) {
            (MOST, _) => "more files are not taken".to_owned(),
            (_, Cause::OverBudget(limit)) => format!("not all files are taken: {limit}; {}", limit.hint()),
            _ => missing.to_string(),
        };
        if self.said.insert(text.clone()) {
            events.warn(text);
        }
    }

    /// Removes what arrived of files that are no longer wanted; for when everything is here.
    pub fn tidy(&self) -> Result<(), CollectError> {
        self.folder.tidy().map_err(|source| self.write_error(".nauta", source))
    }

    /// Where the file went; `None` when it was here.
    async fn receive_file(
        &mut self,
        rank: u32,
        file: &sync::File,
        pieces: &mut Pieces<'_>,
    ) -> Result<Option<String>, Failed> {
        let path = if rank == 0 { file.path.clone() } else { format!("rank-{rank}/{}", file.path) };
        if self.folder.written(&path) == Some(&file.digest) {
            return Ok(None);
        }
        let Some(target) = self.destination(&path, file)? else { return Ok(None) };
        let part = self.fetch(rank, file, pieces).await?;
        self.folder.put(&part, &target, file).map_err(|source| self.write_error(&target, source))?;
        Ok(Some(target))
    }

    /// Where a file goes; `None` when its content is there already.
    fn destination(&mut self, path: &str, file: &sync::File) -> Result<Option<String>, CollectError> {
        for attempt in 0.. {
            let candidate = if attempt == 0 { path.to_owned() } else { format!("{path}.nauta-conflict-{attempt}") };
            match self.folder.present(&candidate).map_err(|source| self.write_error(&candidate, source))? {
                Present::Nothing => return Ok(Some(candidate)),
                Present::File(found) if found == file.digest => {
                    self.folder.note(candidate, found);
                    return Ok(None);
                }
                Present::File(found) if self.folder.written(&candidate) == Some(&found) => return Ok(Some(candidate)),
                Present::Other | Present::File(_) => {}
            }
        }
        Ok(None)
    }

    /// The file's content, verified. What arrived of it earlier is kept; when the whole then is not what was announced,
    /// it is fetched anew, once.
    async fn fetch(&self, rank: u32, file: &sync::File, pieces: &mut Pieces<'_>) -> Result<Part, Failed> {
        for resumes in [true, false] {
            let boundary = |len| if resumes { pieces.boundary(file, len) } else { 0 };
            let part = self.folder.part(file, boundary).map_err(|source| self.write_error(&file.path, source))?;
            let part = self.complete(part, rank, file, pieces).await?;
            if part.hasher.clone().finish() == file.digest {
                return Ok(part);
            }
            self.folder.discard(part).map_err(|source| self.write_error(&file.path, source))?;
        }
        Err(Failed::Here(Cause::Lost("its bytes are not those that were announced".to_owned())))
    }

    async fn complete(
        &self,
        mut part: Part,
        rank: u32,
        file: &sync::File,
        pieces: &mut Pieces<'_>,
    ) -> Result<Part, Failed> {
        while part.hasher.len() < file.size {
            let bytes = pieces.next(rank, file, part.hasher.len()).await?;
            part.write(&bytes).map_err(|source| self.write_error(&file.path, source))?;
        }
        Ok(part)
    }

    fn write_error(&self, path: &str, source: io::Error) -> CollectError {
        CollectError::Write { path: self.folder.path().join(path), source }
    }
}

/// Why a file did not come: something of its own, or what keeps all others away too.
enum Failed {
    Here(Cause),
    Everywhere(CollectError),
}

impl From<CollectError> for Failed {
    fn from(error: CollectError) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error {
            CollectError::Write { source, .. }
                if !matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge) =>
            {
                Self::Here(Cause::Unwritten(source.to_string()))
            }
            error => Self::Everywhere(error),
        }
    }
}

impl Pieces<'_> {
    /// The largest length, up to `len` bytes, from which a file can be gone on with.
    fn boundary(&self, file: &sync::File, len: u64) -> u64 {
        match self {
            Self::Control(_) if len <= file.size => len,
            Self::Control(_) => 0,
            Self::Mailbox(..) => {
                let ends = file.chunks.iter().scan(0, |end, chunk| {
                    *end += chunk.size;
                    Some(*end)
                });
                ends.take_while(|end| *end <= len).last().unwrap_or(0)
            }
        }
    }

    /// The bytes of a file from `at` on, as many as come at once; at least one.
    async fn next(&mut self, rank: u32, file: &sync::File, at: u64) -> Result<Bytes, Failed> {
        let failed = |reason: String| CollectError::Source { path: file.path.clone(), rank, reason };
        let lost = |reason: &str| Failed::Here(Cause::Lost(reason.to_owned()));
        let bytes = match self {
            Self::Control(frames) => {
                let len = PIECE.min(file.size - at);
                frames.fetch(&file.path, at, u32::try_from(len).unwrap_or(u32::MAX)).await.map_err(failed)?
            }
            Self::Mailbox(registry, repository) => {
                let mut start = 0;
                let chunk = file.chunks.iter().find(|chunk| {
                    let is_here = start == at;
                    start += chunk.size;
                    is_here
                });
                let chunk = chunk.ok_or_else(|| lost("the mailbox does not have it"))?;
                let pulled = registry.pull_blob_range(repository, &chunk.blob, chunk.offset, chunk.size).await;
                let bytes = pulled.map_err(|error| match error {
                    RegistryError::NotFound { .. } => lost("the mailbox does not have it"),
                    error => CollectError::from(error).into(),
                })?;
                if Digest::of(&bytes) != chunk.digest {
                    return Err(lost("the mailbox gave other bytes"));
                }
                bytes
            }
        };
        if bytes.is_empty() { Err(lost("it has become shorter")) } else { Ok(bytes) }
    }
}
