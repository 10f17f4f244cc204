//! The files of a rank's outputs, as they are on its disk.

use std::fs::{self, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::OFlags;

use super::activity::Activity;
use crate::digest::{Digest, Hasher};
use crate::sync::{CHUNK, Chunk, File, Skipped};

/// Bytes read at a time.
const BUFFER: usize = 256 * 1024;

/// What changes whenever a file's content may have.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Version(u64, u64, i64, i64, i64, i64);

impl Version {
    pub(super) fn of(m: &Metadata) -> Self {
        Self(m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
    }

    /// Whether another file has taken its place, as programs do that replace theirs in one step.
    pub(super) const fn is_replaced_by(&self, other: &Self) -> bool {
        self.0 != other.0
    }

    /// The file's size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.1
    }
}

/// What a folder holds at a moment.
#[derive(Default)]
pub(super) struct Found {
    /// Its regular files: paths relative to it, with `/`.
    pub(super) files: Vec<(String, Version)>,
    /// What cannot be taken.
    pub(super) skipped: Vec<Skipped>,
}

impl Found {
    /// Lists `folder`, whose own path in the list is `prefix`.
    pub(super) fn list(&mut self, folder: &Path, prefix: &str, activity: &Activity) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten(),
            Err(error) => return self.skip(prefix.to_owned(), error.to_string(), false),
        };
        for entry in entries {
            activity.stirs();
            let name = entry.file_name();
            let Some(text) = name.to_str().filter(|text| !text.contains(['\\', '\n', '\r'])) else {
                let path = format!("{prefix}{}", name.to_string_lossy().escape_debug());
                self.skip(path, "its name cannot be had on every system".to_owned(), false);
                continue;
            };
            let path = format!("{prefix}{text}");
            match fs::symlink_metadata(entry.path()) {
                Ok(metadata) if metadata.is_dir() => self.list(&entry.path(), &format!("{path}/"), activity),
                Ok(metadata) if metadata.is_file() => self.files.push((path, Version::of(&metadata))),
                Ok(_) => self.skip(path, "it is no regular file".to_owned(), true),
                // It is no more: nothing is missing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.skip(path, error.to_string(), false),
            }
        }
    }

    fn skip(&mut self, path: String, reason: String, special: bool) {
        self.skipped.push(Skipped { path, reason, special });
    }
}

/// A file that is read once, chunk by chunk.
pub(super) struct Reading {
    path: String,
    file: fs::File,
    before: Metadata,
    /// Of a file of one chunk this is that chunk's digest, too.
    whole: Option<Hasher>,
    chunks: Vec<Chunk>,
    size: u64,
}

impl Reading {
    /// Begins to read a regular file of `folder`.
    pub(super) fn open(folder: &Path, path: &str) -> io::Result<Self> {
        let file = open(&folder.join(path))?;
        let before = file.metadata()?;
        let whole = (before.size() > CHUNK).then(Hasher::default);
        Ok(Self { path: path.to_owned(), file, before, whole, chunks: Vec::new(), size: 0 })
    }

    /// The next chunk, and where it begins; `None` at the end.
    pub(super) fn next(&mut self, activity: &Activity) -> io::Result<Option<(u64, Chunk)>> {
        let start = self.size;
        let mut hasher = Hasher::default();
        let about = usize::try_from(self.before.size().saturating_sub(start)).unwrap_or(BUFFER);
        let mut buffer = vec![0; about.clamp(1, BUFFER)];
        while hasher.len() < CHUNK {
            let room = usize::try_from(CHUNK - hasher.len()).unwrap_or(buffer.len()).min(buffer.len());
            let n = self.file.read(&mut buffer[..room])?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            if let Some(whole) = &mut self.whole {
                whole.update(&buffer[..n]);
            }
            activity.stirs();
        }
        let size = hasher.len();
        if size == 0 {
            return Ok(None);
        }
        self.size += size;
        let digest = hasher.finish();
        let chunk = Chunk { blob: digest.clone(), offset: 0, size, digest };
        self.chunks.push(chunk.clone());
        Ok(Some((start, chunk)))
    }

    /// What the file is, unless it was written to while it was read.
    pub(super) fn finish(self) -> io::Result<(Version, File)> {
        let after = self.file.metadata()?;
        let version = Version::of(&after);
        if Version::of(&self.before) != version || self.size != after.size() {
            return Err(io::Error::other("it was written to while it was read"));
        }
        let digest = match (self.whole, self.chunks.first()) {
            (Some(whole), _) => whole.finish(),
            (None, Some(only)) => only.digest.clone(),
            (None, None) => Digest::of(b""),
        };
        let mode = after.permissions().mode() & 0o777;
        let (size, modified) = (self.size, after.mtime());
        let file = File { path: self.path, size, mode, modified, digest, chunks: self.chunks };
        Ok((version, file))
    }
}

/// Small files, one behind the other in one blob.
#[derive(Default)]
pub(super) struct Pack {
    pub(super) files: Vec<(Version, File)>,
    pub(super) bytes: Vec<u8>,
    /// Files that could not be read.
    pub(super) failed: Vec<(String, String)>,
}

impl Pack {
    /// Reads files, each once.
    pub(super) fn read(folder: &Path, paths: impl IntoIterator<Item = String>, activity: &Activity) -> Self {
        let mut pack = Self::default();
        for path in paths {
            activity.stirs();
            if let Err(error) = pack.add(folder, &path) {
                pack.failed.push((path, error.to_string()));
            }
        }
        let blob = Digest::of(&pack.bytes);
        for chunk in pack.files.iter_mut().flat_map(|(_, file)| &mut file.chunks) {
            chunk.blob = blob.clone();
        }
        pack
    }

    fn add(&mut self, folder: &Path, path: &str) -> io::Result<()> {
        let mut file = open(&folder.join(path))?;
        let before = Version::of(&file.metadata()?);
        let start = self.bytes.len();
        // What grows meanwhile is taken when it stands still.
        let read = (&mut file).take(before.size() + 1).read_to_end(&mut self.bytes);
        let after = file.metadata()?;
        let size = (self.bytes.len() - start) as u64;
        let version = Version::of(&after);
        if read.is_err() || version != before || size != before.size() {
            self.bytes.truncate(start);
            read?;
            return Err(io::Error::other("it was written to while it was read"));
        }
        let digest = Digest::of(&self.bytes[start..]);
        let chunk = Chunk { blob: digest.clone(), offset: start as u64, size, digest: digest.clone() };
        let chunks = if size == 0 { Vec::new() } else { vec![chunk] };
        let mode = after.permissions().mode() & 0o777;
        let file = File { path: path.to_owned(), size, mode, modified: after.mtime(), digest, chunks };
        self.files.push((version, file));
        Ok(())
    }
}

/// Opens a regular file, and nothing that took its place since it was listed: a link may lead anywhere, a pipe may wait.
fn open(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file any more")) }
}

/// A piece of a file that is still what it was when it was listed.
pub(super) fn read_piece(path: &Path, listed: &Version, offset: u64, len: u32) -> io::Result<Bytes> {
    let mut file = open(path)?;
    if Version::of(&file.metadata()?) != *listed {
        return Err(io::Error::other("it has changed since it was listed"));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut piece =
        Vec::with_capacity(len.min(listed.size().saturating_sub(offset).try_into().unwrap_or(len)) as usize);
    file.take(u64::from(len)).read_to_end(&mut piece)?;
    Ok(piece.into())
}
