//! What a walk asks of the file system.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::error::SnapshotError;
use super::record::{Kind, Stamp};
use super::rules::{Level, is_ignore_file};
use super::tree::join;
use crate::archive::open_source;
use crate::bounded_file::{Enclosure, HAND_WRITTEN};
use crate::digest::Hasher;

/// Kind, stamp and digest of a file; nothing when it was written to meanwhile.
pub(super) fn read(folder: &OwnedFd, name: &[u8]) -> io::Result<Option<(Kind, Stamp, [u8; 32])>> {
    let read_at = now();
    // Neither a link nor a FIFO that has taken the file's place is followed or waited for.
    let file = match open_source(folder, name, OFlags::NOFOLLOW | OFlags::NONBLOCK) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
        opened => opened?,
    };
    let before = fstat(&file)?;
    if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let hasher = Hasher::reading(&file, before.st_size.cast_unsigned())?;
    let after = Stamp::of(&fstat(&file)?);
    if hasher.len() != after.size.get() || !after.is_same(&Stamp::of(&before)) {
        return Ok(None);
    }
    let kind = if before.st_mode & 0o111 == 0 { Kind::File } else { Kind::Executable };
    Ok(Some((kind, after.read_at(read_at), hasher.finish_bytes())))
}

/// The names in a folder, sorted, and their types where the file system tells.
pub(super) fn list(folder: &OwnedFd) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut names = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(folder, c".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

/// A file's name, and its text.
type Named = (Vec<u8>, Vec<u8>);

/// The files of rules among these names in a folder of the project, and their texts.
fn rule_files<'n>(
    project: &Enclosure,
    folder: &[u8],
    names: impl Iterator<Item = &'n [u8]>,
) -> Result<Vec<Named>, SnapshotError> {
    let mut files = Vec::new();
    for name in names.filter(|name| is_ignore_file(name)) {
        let path = join(folder, name);
        match project.read(OsStr::from_bytes(&path), HAND_WRITTEN) {
            Ok(text) => files.push((name.to_vec(), text)),
            // A folder of that name, or a link to nowhere; or one of the folders on the way is none.
            Err(error) if is_nothing(&error) => {}
            Err(error) => return Err(SnapshotError::rules(&path, error)),
        }
    }
    Ok(files)
}

/// The rules in a folder of the project that has these names: those above, and those of its own files.
pub(super) fn rules_in<'n>(
    project: &Enclosure,
    folder: &[u8],
    names: impl Iterator<Item = &'n [u8]>,
    above: &Arc<Level>,
) -> Result<Arc<Level>, SnapshotError> {
    Ok(above.in_folder(folder, rule_files(project, folder, names)?)?)
}

/// The files that standard output and standard error of this very process go to (`nauta run >run.log`): their folders and names.
pub(super) struct OwnOutput(Vec<(Vec<u8>, Vec<u8>)>);

impl OwnOutput {
    /// Those below `root`.
    pub(super) fn below(root: &Path) -> Self {
        let of = |stream: BorrowedFd<'_>| {
            let written = fstat(stream).ok()?;
            let path = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).ok()?;
            let inside = path.strip_prefix(root).ok()?;
            let found = rustix::fs::stat(&path).ok()?;
            let is_it = (found.st_dev, found.st_ino) == (written.st_dev, written.st_ino);
            let (folder, name) = (inside.parent()?.as_os_str(), inside.file_name()?);
            is_it.then(|| (folder.as_bytes().to_vec(), name.as_bytes().to_vec()))
        };
        Self([of(std::io::stdout().as_fd()), of(std::io::stderr().as_fd())].into_iter().flatten().collect())
    }

    /// Whether one of them is in this folder.
    pub(super) fn is_in(&self, folder: &[u8]) -> bool {
        self.0.iter().any(|(own, _)| own == folder)
    }

    /// Whether this is one of them.
    pub(super) fn is(&self, folder: &[u8], name: &[u8]) -> bool {
        self.0.iter().any(|(own, own_name)| own == folder && own_name == name)
    }
}

/// Whether an error of reading means that there is no such file.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory)
}

/// What vanished between two looks was never part of this moment.
pub(super) fn there<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds and nanoseconds since 1970.
pub(super) fn now() -> (i64, u32) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}
