//! Files on their way, in nauta's own folder: what has arrived of large ones, and whole ones that wait for their place.

use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use cap_std::fs::{OpenOptions, OpenOptionsExt as _};

use super::OutputsFolder;
use super::place::{digest_of, split};
use crate::digest::Hasher;
use crate::sync;

/// What the names of files begin with of which a part has arrived.
pub(super) const PART: &str = "part-";
/// What the names of whole files begin with.
pub(super) const NEW: &str = "new-";
/// What the names of files begin with that had to make way for a moment.
pub(super) const OLD: &str = "old-";

/// A file that is not whole yet.
pub(in crate::follow) struct Part {
    name: String,
    file: File,
    pub(in crate::follow) hasher: Hasher,
}

/// A whole file that waits for its place.
pub(in crate::follow) struct Staged {
    pub(super) serial: u64,
    /// The path that it is to have.
    pub(super) wanted: String,
    pub(super) file: sync::File,
}

impl Staged {
    pub(super) fn name(&self) -> String {
        format!("{NEW}{}", self.serial)
    }

    pub(super) fn aside(&self) -> String {
        format!("{OLD}{}", self.serial)
    }
}

impl OutputsFolder {
    /// What has arrived of a file so far, cut to the largest length that `resumable` allows.
    pub(in crate::follow) fn part(&self, file: &sync::File, resumable: impl Fn(u64) -> u64) -> io::Result<Part> {
        let name = format!("{PART}{}", file.digest.hex());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let mut part = self.own.open_with(&name, &options)?.into_std();
        let len = resumable(part.metadata()?.len());
        part.set_len(len)?;
        let hasher = Hasher::reading(&mut part, len)?;
        part.seek(SeekFrom::Start(len))?;
        Ok(Part { name, file: part, hasher })
    }

    /// Forgets what has arrived of a file.
    pub(in crate::follow) fn discard(&self, part: Part) -> io::Result<()> {
        self.own.remove_file(part.name)
    }

    /// A file that has arrived in parts, and is whole.
    pub(in crate::follow) fn stage_part(&mut self, part: Part, wanted: &str, file: &sync::File) -> io::Result<Staged> {
        self.steps.before("stage")?;
        part.file.set_permissions(Permissions::from_mode((file.mode & 0o777 | 0o600) & !self.umask))?;
        part.file.set_modified(modified(file))?;
        let staged = self.staged(wanted, file);
        self.own.rename(part.name, &self.own, staged.name())?;
        Ok(staged)
    }

    /// A file that has arrived at once.
    pub(in crate::follow) fn stage(&mut self, bytes: &[u8], wanted: &str, file: &sync::File) -> io::Result<Staged> {
        self.steps.before("stage")?;
        let staged = self.staged(wanted, file);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(file.mode & 0o777 | 0o600);
        let mut new = self.own.open_with(staged.name(), &options)?.into_std();
        if let Err(error) = new.write_all(bytes).and_then(|()| new.set_modified(modified(file))) {
            self.own.remove_file(staged.name())?;
            return Err(error);
        }
        Ok(staged)
    }

    /// A symbolic link; where the file system has none, a copy of what it leads to.
    pub(in crate::follow) fn stage_link(&mut self, wanted: &str, file: &sync::File) -> io::Result<Staged> {
        self.steps.before("stage")?;
        let target = file.link.as_deref().unwrap_or_default();
        let staged = self.staged(wanted, file);
        match self.own.symlink_contents(target, staged.name()) {
            Ok(()) => Ok(staged),
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                self.stage_copy(staged, target)
            }
            Err(error) => Err(error),
        }
    }

    /// What is at `target`, seen from the folder of what is staged.
    pub(super) fn stage_copy(&mut self, staged: Staged, target: &str) -> io::Result<Staged> {
        let folder = split(&staged.wanted).0;
        let source = if folder.is_empty() { target.to_owned() } else { format!("{folder}/{target}") };
        let mut source = self.dir.open(source)?.into_std();
        let metadata = source.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("this file system has no symbolic links, and it leads to a folder"));
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut copy = self.own.open_with(staged.name(), &options)?.into_std();
        io::copy(&mut source, &mut copy)?;
        copy.set_modified(modified(&staged.file))?;
        let (size, digest) = (metadata.len(), digest_of(&self.own, &staged.name())?);
        let file = sync::File { size, digest, link: None, ..staged.file };
        Ok(Staged { file, ..staged })
    }

    fn staged(&mut self, wanted: &str, file: &sync::File) -> Staged {
        let file = sync::File { chunks: Vec::new(), ..file.clone() };
        Staged { serial: self.ledger.next_serial(), wanted: wanted.to_owned(), file }
    }
}

fn modified(file: &sync::File) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(file.modified).unwrap_or(0))
}

impl Part {
    pub(in crate::follow) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }
}
