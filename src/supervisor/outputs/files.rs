//! The files of a rank's outputs, as they are on its disk.

use std::fs::{self, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::OFlags;

use super::activity::Activity;
use super::looks::Due;
use super::places::Places;
use crate::digest::{Digest, Hasher};
use crate::sync::{CHUNK, Chunk, File, LeftOut, Origin, Skipped};

/// Bytes read at a time.
const BUFFER: usize = 256 * 1024;

/// What changes whenever a file's content may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) origin: Origin,
    pub(super) is_link: bool,
    inode: u64,
    /// Bytes.
    size: u64,
    /// Seconds and nanoseconds, of the content's change and of the file's own.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    pub(super) fn of(origin: Origin, metadata: &Metadata) -> Self {
        Self {
            origin,
            is_link: metadata.is_symlink(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether another file has taken its place, as programs do that replace theirs in one step.
    pub(super) const fn is_replaced_by(&self, other: &Self) -> bool {
        self.inode != other.inode
    }

    /// What tells contents apart, though a file was opened for writing or its permissions were changed: kind, size and time.
    pub(super) const fn content(&self) -> (bool, u64, (i64, i64)) {
        (self.is_link, self.size, self.modified)
    }

    /// The file's size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }
}

/// What the folders hold at a moment.
#[derive(Default)]
pub(super) struct Found {
    /// Regular files, and links that stay inside: paths relative to their folder, with `/`.
    pub(super) files: Vec<(String, Version)>,
    /// What cannot be taken.
    pub(super) skipped: Vec<Skipped>,
    /// What stays there by a rule.
    pub(super) left_out: Vec<LeftOut>,
}

/// A name in a folder, and what it is of.
pub(super) struct Item {
    pub(super) path: String,
    pub(super) metadata: Metadata,
}

impl Found {
    /// Lists all of `$NAUTA_OUTPUTS`.
    pub(super) fn list(&mut self, places: &Places, activity: &Activity) {
        self.list_folder(places, "", activity);
    }

    fn list_folder(&mut self, places: &Places, prefix: &str, activity: &Activity) {
        for Item { path, metadata } in self.read_folder(places, Origin::Outputs, prefix, activity) {
            if metadata.is_dir() {
                self.list_folder(places, &format!("{path}/"), activity);
            } else {
                self.add(places, path, Version::of(Origin::Outputs, &metadata), metadata.is_file());
            }
        }
    }

    /// What is in a folder, whose own path in the list is `prefix`.
    pub(super) fn read_folder(
        &mut self,
        places: &Places,
        origin: Origin,
        prefix: &str,
        activity: &Activity,
    ) -> Vec<Item> {
        let entries = match fs::read_dir(places.path(origin, prefix)) {
            Ok(entries) => entries.flatten(),
            Err(error) => {
                self.skip(prefix.to_owned(), error.to_string(), origin != Origin::Outputs);
                return Vec::new();
            }
        };
        let mut items = Vec::new();
        for entry in entries {
            activity.stirs();
            let name = entry.file_name();
            let Some(text) = name.to_str().filter(|text| !text.contains(['\\', '\n', '\r'])) else {
                let path = format!("{prefix}{}", name.to_string_lossy().escape_debug());
                self.skip(path, "its name cannot be had on every system".to_owned(), origin != Origin::Outputs);
                continue;
            };
            let path = format!("{prefix}{text}");
            match fs::symlink_metadata(entry.path()) {
                Ok(metadata) => items.push(Item { path, metadata }),
                // It is no more: nothing is missing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.skip(path, error.to_string(), false),
            }
        }
        items
    }

    /// Adds what is no folder.
    pub(super) fn add(&mut self, places: &Places, path: String, version: Version, is_file: bool) {
        if is_file || version.is_link && places.link(version.origin, &path).is_some() {
            self.files.push((path, version));
        } else if version.is_link {
            self.skip(path, "it is a link that leads elsewhere".to_owned(), true);
        } else {
            self.skip(path, "it is no regular file".to_owned(), true);
        }
    }

    fn skip(&mut self, path: String, reason: String, special: bool) {
        self.skipped.push(Skipped { path, reason, special });
    }
}

/// A file that is read once, chunk by chunk.
pub(super) struct Reading {
    origin: Origin,
    path: String,
    file: fs::File,
    before: Metadata,
    /// Of a file of one chunk this is that chunk's digest, too.
    whole: Option<Hasher>,
    chunks: Vec<Chunk>,
    size: u64,
}

impl Reading {
    /// Begins to read a regular file.
    pub(super) fn open(places: &Places, due: &Due) -> io::Result<Self> {
        let file = open(&places.path(due.origin, &due.path))?;
        let before = file.metadata()?;
        let whole = (before.size() > CHUNK).then(Hasher::default);
        Ok(Self { origin: due.origin, path: due.path.to_string(), file, before, whole, chunks: Vec::new(), size: 0 })
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
        let version = Version::of(self.origin, &after);
        if Version::of(self.origin, &self.before) != version || self.size != after.size() {
            return Err(io::Error::other("it was written to while it was read"));
        }
        let digest = match (self.whole, self.chunks.first()) {
            (Some(whole), _) => whole.finish(),
            (None, Some(only)) => only.digest.clone(),
            (None, None) => Digest::of(b""),
        };
        let mode = after.permissions().mode() & 0o777;
        let (size, modified) = (self.size, after.mtime());
        let (path, chunks, origin) = (self.path, self.chunks, self.origin);
        let file = File { path, size, mode, modified, digest, chunks, link: None, origin };
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
    pub(super) fn read(places: &Places, due: &[Due], activity: &Activity) -> Self {
        let mut pack = Self::default();
        for due in due {
            activity.stirs();
            if let Err(error) = pack.add(places, due) {
                pack.failed.push((due.path.to_string(), error.to_string()));
            }
        }
        let blob = Digest::of(&pack.bytes);
        for chunk in pack.files.iter_mut().flat_map(|(_, file)| &mut file.chunks) {
            chunk.blob = blob.clone();
        }
        pack
    }

    fn add(&mut self, places: &Places, due: &Due) -> io::Result<()> {
        if due.is_link {
            return self.add_link(places, due);
        }
        let mut file = open(&places.path(due.origin, &due.path))?;
        let before = Version::of(due.origin, &file.metadata()?);
        let start = self.bytes.len();
        // What grows meanwhile is taken when it stands still.
        let read = (&mut file).take(before.size() + 1).read_to_end(&mut self.bytes);
        let after = file.metadata()?;
        let size = (self.bytes.len() - start) as u64;
        let version = Version::of(due.origin, &after);
        if read.is_err() || version != before || size != before.size() {
            self.bytes.truncate(start);
            read?;
            return Err(io::Error::other("it was written to while it was read"));
        }
        let digest = Digest::of(&self.bytes[start..]);
        let chunk = Chunk { blob: digest.clone(), offset: start as u64, size, digest: digest.clone() };
        let chunks = if size == 0 { Vec::new() } else { vec![chunk] };
        let mode = after.permissions().mode() & 0o777;
        let (path, modified, origin) = (due.path.to_string(), after.mtime(), due.origin);
        let file = File { path, size, mode, modified, digest, chunks, link: None, origin };
        self.files.push((version, file));
        Ok(())
    }

    fn add_link(&mut self, places: &Places, due: &Due) -> io::Result<()> {
        let metadata = || fs::symlink_metadata(places.path(due.origin, &due.path));
        let before = metadata()?;
        let target = places.link(due.origin, &due.path);
        let target = target.ok_or_else(|| io::Error::other("it is no link that stays inside any more"))?;
        let version = Version::of(due.origin, &metadata()?);
        if version != Version::of(due.origin, &before) {
            return Err(io::Error::other("it was replaced while it was read"));
        }
        let link = File::of_link(due.path.to_string(), target, before.mtime());
        self.files.push((version, File { origin: due.origin, ..link }));
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
    if Version::of(listed.origin, &file.metadata()?) != *listed {
        return Err(io::Error::other("it has changed since it was listed"));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut piece =
        Vec::with_capacity(len.min(listed.size().saturating_sub(offset).try_into().unwrap_or(len)) as usize);
    file.take(u64::from(len)).read_to_end(&mut piece)?;
    Ok(piece.into())
}
