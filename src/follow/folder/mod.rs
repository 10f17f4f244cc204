//! `runs/<run>/`: the one place that outputs may be written to, whatever names ranks give them and whatever links others
//! put there meanwhile. Everything goes relative to an open folder, and nothing leads out of it.
//!
//! What nauta has not written is never replaced or deleted, at whatever moment it comes. A file is staged in `.nauta` ([`stage`]),
//! a place is looked for ([`place`]), the ledger says what is meant to be done ([`ledger`]), and it is put there by an operation
//! that replaces nothing, or gives back what it replaced ([`put`], [`renames`]). What a crash leaves between these is understood
//! when the folder is opened next ([`recovery`]). Start reading at [`OutputsFolder::put`].

mod lease;
mod ledger;
#[cfg(test)]
mod model_tests;
mod place;
mod put;
mod recovery;
mod renames;
mod stage;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use self::ledger::Ledger;
use self::renames::Renames;
use self::steps::Steps;
use crate::bounded_file::Unfit;
use crate::sync::Taken;

pub(super) use self::place::Look;
pub(super) use self::stage::{Part, Staged};

/// nauta's own folder in it.
const OWN: &str = ".nauta";
const LOCK: &str = "lock";
/// Above this, the whole file system is told to write to its disk, and not one file after the other.
const FEW: usize = 4;

/// The folder of a run's outputs. One nauta at a time writes to it.
pub(super) struct OutputsFolder {
    path: PathBuf,
    dir: Dir,
    own: Dir,
    ledger: Ledger,
    renames: Renames,
    /// Folders in it that nauta has written to.
    folders: HashSet<String>,
    /// Folders with new names in them, not yet on disk for certain.
    touched: BTreeSet<String>,
    taken: Taken,
    umask: u32,
    steps: Steps,
    /// Released by the system when this goes, or the process dies.
    lock: File,
}

impl OutputsFolder {
    /// Opens the folder, which is made if need be; `None`: another nauta writes to it. What a former one left undone is done, or
    /// undone.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        Self::open_with(path, Steps::default())
    }

    fn open_with(path: &Path, steps: Steps) -> io::Result<Option<Self>> {
        if path.is_symlink() {
            // A project may bring one.
            return Err(Unfit::Outside.into());
        }
        std::fs::create_dir_all(path)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        dir.create_dir_all(OWN)?;
        let own = dir.open_dir(OWN)?;
        let lock = own.open_with(LOCK, OpenOptions::new().write(true).create(true))?.into_std();
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let left = recovery::left_in(&own)?;
        let ledger = Ledger::open(&own, &left.serials())?;
        let mut folder = Self {
            path: path.to_owned(),
            dir,
            own,
            ledger,
            renames: Renames::default(),
            folders: HashSet::new(),
            touched: BTreeSet::new(),
            taken: Taken::default(),
            umask: umask(),
            steps,
            lock,
        };
        folder.recover(left)?;
        let dir = &folder.dir;
        folder.ledger.migrate(|path| {
            dir.symlink_metadata(path).ok().filter(cap_std::fs::Metadata::is_file).map(|found| found.len())
        })?;
        folder.ledger.compact()?;
        folder.count();
        Ok(Some(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What nauta has written here takes so much.
    pub(super) const fn taken(&self) -> Taken {
        self.taken
    }

    /// How much of it a file at this path takes.
    pub(super) fn taken_at(&self, path: &str) -> u64 {
        self.ledger.get(path).map_or(0, |entry| entry.size)
    }

    /// Counts anew, without what somebody has removed since.
    pub(super) fn recount(&mut self) {
        let dir = &self.dir;
        self.ledger.retain(|path| dir.symlink_metadata(path).is_ok());
        self.count();
    }

    fn count(&mut self) {
        let (mut size, mut files, mut folders) = (0_u64, 0, HashSet::new());
        for (path, entry) in self.ledger.entries() {
            (size, files) = (size.saturating_add(entry.size), files + 1);
            let mut folder = place::split(path).0;
            while !folder.is_empty() && !folders.contains(folder) {
                folders.insert(folder.to_owned());
                folder = place::split(folder).0;
            }
        }
        self.folders = folders;
        self.taken = Taken { size, files: files + self.folders.len() as u64 };
    }

    /// The disk's size and what is free of it, in bytes. No names left counts as nothing free.
    pub(super) fn disk(&self) -> io::Result<(u64, u64)> {
        let disk = rustix::fs::fstatvfs(&self.own)?;
        let has_names = disk.f_files == 0 || disk.f_favail > disk.f_files / 100;
        let free = if has_names { disk.f_bavail.saturating_mul(disk.f_frsize) } else { 0 };
        Ok((disk.f_blocks.saturating_mul(disk.f_frsize), free))
    }

    /// Makes all that was put in place survive a crash of the machine.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.touched.len() > FEW {
            rustix::fs::syncfs(&self.lock)?;
            self.touched.clear();
        }
        for folder in std::mem::take(&mut self.touched) {
            let folder = if folder.is_empty() { "." } else { &folder };
            match self.dir.open(folder) {
                Ok(folder) => folder.sync_all()?,
                // Who removed it wants nothing of it kept.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.ledger.flush()?;
        self.ledger.compact()
    }

    /// Removes what arrived of files that are no longer wanted.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for entry in self.own.entries()? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(stage::PART) {
                entry.remove_file()?;
            }
        }
        Ok(())
    }
}

/// What this process's files are not to be allowed, as the system tells it (asking `umask(2)` would change it for a moment).
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}
