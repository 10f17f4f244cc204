//! What a walk asks of the file system.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::record::{Kind, Stamp};
use super::rules::is_ignore_file;
use crate::archive::open_source;
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

/// The files of rules among these names, and their texts; or the one that cannot be read.
pub(super) fn rule_files<'n>(
    folder: &OwnedFd,
    names: impl Iterator<Item = &'n [u8]>,
) -> Result<Vec<Named>, (&'n [u8], io::Error)> {
    let mut files = Vec::new();
    for name in names.filter(|name| is_ignore_file(name)) {
        let text = open_source(folder, name, OFlags::NONBLOCK).and_then(|mut file| {
            let mut text = Vec::new();
            file.read_to_end(&mut text).map(|_| text)
        });
        match text {
            Ok(text) => files.push((name.to_vec(), text)),
            // A folder of that name, or a link to nowhere.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
            Err(error) => return Err((name, error)),
        }
    }
    Ok(files)
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
