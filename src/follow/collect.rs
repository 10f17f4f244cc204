//! Outputs arrive: verified piece by piece, put in place at once, and never over what is not ours.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::rank::Frames;
use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::{Digest, Hasher};
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

impl Diagnosis for CollectError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. } => Kind::Input,
            Self::Source { .. } => Kind::Unavailable,
            Self::Mailbox(error) => error.kind(),
        }
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Write { .. } => vec!["make room or check the permissions, then `nauta pull RUN`".to_owned()],
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
    folder: PathBuf,
    /// What nauta has written, by path relative to the folder.
    ledger: BTreeMap<String, Digest>,
}

impl Collector {
    /// Receives into `folder`, which is made if need be.
    pub fn open(folder: &Path) -> Result<Self, CollectError> {
        let own = folder.join(".nauta");
        fs::create_dir_all(&own).map_err(|source| CollectError::Write { path: own.clone(), source })?;
        let ledger = fs::read(own.join("ledger.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self { folder: folder.to_owned(), ledger: ledger.unwrap_or_default() })
    }

    /// Where outputs go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Brings all files of an index that are not here yet. Nothing is ever deleted, and nothing that nauta has not
    /// written is replaced: the new file then goes beside it.
    pub async fn receive(
        &mut self,
        index: &sync::Index,
        pieces: &mut Pieces<'_>,
        events: &Events,
    ) -> Result<usize, CollectError> {
        let mut received = 0;
        for file in &index.files {
            let path = if index.rank == 0 { file.path.clone() } else { format!("rank-{}/{}", index.rank, file.path) };
            if let Err(reason) = acceptable(&file.path, index.rank) {
                events.warn(format!("`{}` of rank {} is not taken: {reason}", file.path.escape_debug(), index.rank));
                continue;
            }
            if self.ledger.get(&path) == Some(&file.digest) && self.folder.join(&path).exists() {
                continue;
            }
            let target = self.destination(&path, file)?;
            let Some(target) = target else { continue };
            let part = self.fetch(index.rank, file, pieces).await?;
            self.put(&part, &target, file)?;
            self.ledger.insert(target.clone(), file.digest.clone());
            self.save()?;
            received += 1;
            events.send(Event::Output { rank: index.rank, path: target, size: file.size });
        }
        Ok(received)
    }

    /// Where a file goes; `None` when its content is there already.
    fn destination(&mut self, path: &str, file: &sync::File) -> Result<Option<String>, CollectError> {
        for attempt in 0.. {
            let candidate = if attempt == 0 { path.to_owned() } else { format!("{path}.nauta-conflict-{attempt}") };
            let full = self.folder.join(&candidate);
            let found = match fs::symlink_metadata(&full) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(candidate)),
                Err(source) => return Err(CollectError::Write { path: full, source }),
                Ok(metadata) if !metadata.is_file() => continue,
                Ok(_) => File::open(&full).and_then(Hasher::read_to_end).map(|(digest, _)| digest),
            };
            let found = found.map_err(|source| CollectError::Write { path: full, source })?;
            if found == file.digest {
                self.ledger.insert(candidate, found);
                return Ok(None);
            }
            if self.ledger.get(&candidate) == Some(&found) {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// The file's content in a part file; kept when it does not arrive whole, so that the next try goes on.
    async fn fetch(&self, rank: u32, file: &sync::File, pieces: &mut Pieces<'_>) -> Result<PathBuf, CollectError> {
        let part = self.folder.join(".nauta").join(format!("part-{}", file.digest.hex()));
        let write_error = |source| CollectError::Write { path: part.clone(), source };
        let mut out =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(write_error)?;
        let mut hasher = Hasher::default();
        while hasher.len() < file.size {
            let bytes = self.piece(rank, file, hasher.len(), pieces).await?;
            out.write_all(&bytes).map_err(write_error)?;
            hasher.update(&bytes);
        }
        out.sync_all().map_err(write_error)?;
        if hasher.finish() == file.digest {
            return Ok(part);
        }
        let reason = "its bytes are not those that were announced".to_owned();
        Err(CollectError::Source { path: file.path.clone(), rank, reason })
    }

    async fn piece(
        &self,
        rank: u32,
        file: &sync::File,
        at: u64,
        pieces: &mut Pieces<'_>,
    ) -> Result<Bytes, CollectError> {
        let failed = |reason: String| CollectError::Source { path: file.path.clone(), rank, reason };
        let bytes = match pieces {
            Pieces::Control(frames) => {
                let len = PIECE.min(file.size - at);
                frames.fetch(&file.path, at, u32::try_from(len).unwrap_or(u32::MAX)).await.map_err(failed)?
            }
            Pieces::Mailbox(registry, repository) => {
                let mut start = 0;
                let chunk = file.chunks.iter().find(|chunk| {
                    let is_here = start == at;
                    start += chunk.size;
                    is_here
                });
                let chunk = chunk.ok_or_else(|| failed("the mailbox does not have it".to_owned()))?;
                let bytes = registry.pull_blob_range(repository, &chunk.blob, chunk.offset, chunk.size).await?;
                if Digest::of(&bytes) != chunk.digest {
                    return Err(failed("the mailbox gave other bytes".to_owned()));
                }
                bytes
            }
        };
        if bytes.is_empty() { Err(failed("it has become shorter".to_owned())) } else { Ok(bytes) }
    }

    /// Puts a verified part in place: the old file or the new one is there at every moment.
    fn put(&self, part: &Path, target: &str, file: &sync::File) -> Result<(), CollectError> {
        let path = self.folder.join(target);
        let put = || -> io::Result<()> {
            let parent = self.make_folders(Path::new(target))?;
            let handle = OpenOptions::new().write(true).open(part)?;
            handle.set_permissions(fs::Permissions::from_mode((file.mode & 0o777 | 0o600) & !0o022))?;
            let modified = u64::try_from(file.modified).unwrap_or(0);
            handle.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified))?;
            fs::rename(part, &path)?;
            File::open(parent)?.sync_all()
        };
        put().map_err(|source| CollectError::Write { path: path.clone(), source })
    }

    /// Makes the folders that a file is in; a link among them is refused, it may lead anywhere.
    fn make_folders(&self, target: &Path) -> io::Result<PathBuf> {
        let mut folder = self.folder.clone();
        for component in target.parent().into_iter().flat_map(Path::components) {
            folder.push(component);
            match fs::symlink_metadata(&folder) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(io::Error::other(format!("`{}` is no folder", folder.display()))),
                Err(_) => fs::create_dir(&folder)?,
            }
        }
        Ok(folder)
    }

    fn save(&self) -> Result<(), CollectError> {
        let path = self.folder.join(".nauta/ledger.json");
        let save = || -> io::Result<()> {
            let mut new = tempfile::NamedTempFile::new_in(self.folder.join(".nauta"))?;
            serde_json::to_writer(&mut new, &self.ledger)?;
            new.as_file().sync_all()?;
            new.persist(&path)?;
            Ok(())
        };
        save().map_err(|source| CollectError::Write { path: path.clone(), source })
    }
}

/// Whether a path may come to the workstation: inside the run's folder, and no place that other tools trust.
fn acceptable(path: &str, rank: u32) -> Result<(), &'static str> {
    let mut components = Path::new(path).components();
    let first = path.split('/').next().unwrap_or_default();
    if path.is_empty()
        || path.contains(['\0', '\\', '\n', '\r'])
        || path.split('/').any(|part| part.is_empty() || part == "." || part.len() > 255)
    {
        return Err("its name is not a plain path");
    }
    if !components.all(|component| matches!(component, Component::Normal(_))) {
        return Err("it leads out of the folder");
    }
    if path.split('/').any(|part| [".git", ".ssh", ".nauta"].contains(&part.to_lowercase().as_str())) {
        return Err("other tools trust what is in a folder of that name");
    }
    if rank == 0 && first.strip_prefix("rank-").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())) {
        return Err("folders of that name belong to the other ranks");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_come_in() {
        for path in ["a", "a/b.pt", "ä ö", ".hidden"] {
            assert!(acceptable(path, 0).is_ok(), "{path}");
        }
        for path in
            ["", "/a", "../a", "a/../b", "a//b", "./a", "a\\b", "a\0", ".git/config", "x/.SSH/k", "rank-1/a", "a\nb"]
        {
            assert!(acceptable(path, 0).is_err(), "{path}");
        }
    }
}
