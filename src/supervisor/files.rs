//! The files of a rank's outputs, as they are on its disk.

use std::fs::{self, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::OFlags;

use crate::digest::Hasher;
use crate::sync::{CHUNK, Chunk, File, Skipped};

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
}

/// Regular files below `folder`, sorted by path.
pub(super) fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, Metadata)>, skipped: &mut Vec<Skipped>) {
    let mut entries: Vec<_> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().collect(),
        Err(error) => return skipped.push(Skipped { path: prefix.to_owned(), reason: error.to_string() }),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(text) = name.to_str().filter(|text| !text.contains(['\\', '\n', '\r'])) else {
            let reason = "its name cannot be had on every system".to_owned();
            skipped.push(Skipped { path: format!("{prefix}{}", name.to_string_lossy().escape_debug()), reason });
            continue;
        };
        let path = format!("{prefix}{text}");
        match fs::symlink_metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => list(&entry.path(), &format!("{path}/"), files, skipped),
            Ok(metadata) if metadata.is_file() => files.push((path, metadata)),
            Ok(_) => skipped.push(Skipped { path, reason: "it is no regular file".to_owned() }),
            Err(error) => skipped.push(Skipped { path, reason: error.to_string() }),
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
}

/// Reads a file once: its digest, its chunks, and the version that they belong to.
pub(super) fn read_file(path: &Path, relative: &str) -> io::Result<(Version, File)> {
    let mut file = open(path)?;
    let before = file.metadata()?;
    let mut whole = Hasher::default();
    let mut chunks = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut chunk = Hasher::default();
    loop {
        let room = usize::try_from(CHUNK - chunk.len()).unwrap_or(buffer.len()).min(buffer.len());
        let n = file.read(&mut buffer[..room])?;
        whole.update(&buffer[..n]);
        chunk.update(&buffer[..n]);
        if !chunk.is_empty() && (n == 0 || chunk.len() == CHUNK) {
            let size = chunk.len();
            let digest = std::mem::take(&mut chunk).finish();
            chunks.push(Chunk { blob: digest.clone(), offset: 0, size, digest });
        }
        if n == 0 {
            break;
        }
    }
    let after = file.metadata()?;
    let size = whole.len();
    if Version::of(&before) != Version::of(&after) || size != after.size() {
        return Err(io::Error::other("it was written to while it was read"));
    }
    let mode = after.permissions().mode() & 0o777;
    let file = File { path: relative.to_owned(), size, mode, modified: after.mtime(), digest: whole.finish(), chunks };
    Ok((Version::of(&after), file))
}

/// Opens a regular file, and nothing that took its place since it was listed: a link may lead anywhere, a pipe may wait.
fn open(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file any more")) }
}

pub(super) fn read_piece(path: &Path, offset: u64, len: u32) -> io::Result<Bytes> {
    let mut file = open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut piece = Vec::new();
    file.take(u64::from(len)).read_to_end(&mut piece)?;
    Ok(piece.into())
}
