//! What a walk asks of the file system.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use super::error::SnapshotError;
use super::level::{Sources, concerns_rules, is_ignore_file};
use super::record::{Kind, Stamp, mark};
use super::rules::{Judgement, Rules};
use super::tree::join;
use crate::archive::open_source;
use crate::bounded_file::{Enclosure, HAND_WRITTEN};
use crate::digest::Hasher;

/// How the pointers begin that Git LFS leaves in place of files, and more bytes than one has
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const POINTER_SIZE: i64 = 1024;

/// A version of a file.
pub(super) struct Version {
    pub(super) kind: Kind,
    pub(super) marks: u8,
    pub(super) stamp: Stamp,
    pub(super) digest: [u8; 32],
}

/// Reads a file; nothing when it was written to meanwhile, but for more at its end: what was there at the first look is a version
/// of it.
pub(super) fn read(folder: &OwnedFd, name: &[u8]) -> io::Result<Option<Version>> {
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
    let (first, after) = (Stamp::of(&before), || Ok::<_, io::Error>(Stamp::of(&fstat(&file)?)));
    let Some(digest) = beginning(&file, before.st_size)? else { return Ok(None) };
    let mut stamp = after()?;
    let mut marks = if is_pointer(&file, before.st_size) { mark::POINTER } else { 0 };
    if stamp.is_same(&first) {
        stamp = stamp.read_at(read_at);
    } else {
        let has_grown = stamp.size.get() > first.size.get() && stamp.inode == first.inode;
        if !has_grown || beginning(&file, before.st_size)? != Some(digest) {
            return Ok(None);
        }
        marks |= mark::GROWN;
        // Of no version that there is any more: the next look reads it again.
        stamp = first;
    }
    let kind = if before.st_mode & 0o111 == 0 { Kind::File } else { Kind::Executable };
    Ok(Some(Version { kind, marks, stamp, digest }))
}

/// The digest of a file's first bytes; nothing where it has fewer.
fn beginning(mut file: &File, size: i64) -> io::Result<Option<[u8; 32]>> {
    let size = size.cast_unsigned();
    file.rewind()?;
    let hasher = Hasher::reading(file.take(size), size)?;
    Ok((hasher.len() == size).then(|| hasher.finish_bytes()))
}

/// Whether a file stands for one that Git LFS keeps elsewhere.
fn is_pointer(file: &File, size: i64) -> bool {
    let mut start = [0; POINTER.len()];
    size < POINTER_SIZE && file.read_exact_at(&mut start, 0).is_ok() && start == *POINTER
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

/// What rules come from among these names in a folder of the project.
fn sources<'n>(
    project: &Enclosure,
    folder: &[u8],
    names: impl Iterator<Item = &'n [u8]>,
) -> Result<Sources, SnapshotError> {
    let mut sources = Sources { files: Vec::new(), is_repository: false };
    for name in names.filter(|name| concerns_rules(name)) {
        if !is_ignore_file(name) {
            sources.is_repository = true;
            continue;
        }
        let path = join(folder, name);
        match project.read(OsStr::from_bytes(&path), HAND_WRITTEN) {
            Ok(text) => sources.files.push((name.to_vec(), text)),
            // A folder of that name, or a link to nowhere; or one of the folders on the way is none.
            Err(error) if is_nothing(&error) => {}
            Err(error) => return Err(SnapshotError::rules(&path, error)),
        }
    }
    Ok(sources)
}

/// The rules in a folder of the project that has these names: those above, and those of its own files. `left`: what has become of the
/// folder, where it is left out and entered nonetheless.
pub(super) fn rules_in<'n>(
    project: &Enclosure,
    folder: &[u8],
    names: impl Iterator<Item = &'n [u8]>,
    above: &Rules,
    left: Option<Judgement>,
) -> Result<Rules, SnapshotError> {
    Ok(above.in_folder(folder, sources(project, folder, names)?, left)?)
}

/// The files that standard output and standard error of this very process go to (`nauta run >run.log`), by device and inode: they
/// are the same by every name.
pub(super) struct OwnOutput(Vec<(u64, u64)>);

impl OwnOutput {
    /// What there is.
    pub(super) fn new() -> Self {
        let of = |stream: BorrowedFd<'_>| {
            let found = fstat(stream).ok()?;
            (FileType::from_raw_mode(found.st_mode) == FileType::RegularFile).then(|| place(&found))
        };
        Self([of(io::stdout().as_fd()), of(io::stderr().as_fd())].into_iter().flatten().collect())
    }

    /// Whether this is one of them.
    pub(super) fn is(&self, found: &Stat) -> bool {
        self.0.contains(&place(found))
    }
}

fn place(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
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
