//! `runs/<run>/`: the one place that outputs may be written to, whatever names ranks give them and whatever links others
//! put there meanwhile. Everything goes relative to an open folder, and nothing leads out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};

use crate::bounded_file::Unfit;
use crate::digest::{Digest, Hasher};
use crate::sync;

/// nauta's own folder in it.
const OWN: &str = ".nauta";
const LEDGER: &str = ".nauta/ledger.json";
const LOCK: &str = ".nauta/lock";

/// The folder of a run's outputs. One nauta at a time writes to it.
pub(super) struct OutputsFolder {
    path: PathBuf,
    dir: Dir,
    /// What nauta has written, by path.
    ledger: BTreeMap<String, Digest>,
    /// Folders with new names in them, not yet on disk for certain.
    touched: BTreeSet<PathBuf>,
    /// Released by the system when this goes, or the process dies.
    _lock: File,
}

/// A file that is not whole yet.
pub(super) struct Part {
    name: String,
    file: File,
    pub(super) hasher: Hasher,
}

/// What there is at a path.
pub(super) enum Present {
    Nothing,
    File(Digest),
    Other,
}

impl OutputsFolder {
    /// Opens the folder, which is made if need be; `None`: another nauta writes to it.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        if path.is_symlink() {
            // A project may bring one.
            return Err(Unfit::Outside.into());
        }
        std::fs::create_dir_all(path)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        dir.create_dir_all(OWN)?;
        let lock = dir.open_with(LOCK, OpenOptions::new().write(true).create(true))?.into_std();
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // A ledger that cannot be read only means that files are compared again.
        let ledger = dir.read(LEDGER).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Ok(Some(Self { path: path.to_owned(), dir, ledger, touched: BTreeSet::new(), _lock: lock }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What nauta wrote at a path, if it did and the file is still there.
    pub(super) fn written(&self, path: &str) -> Option<&Digest> {
        self.ledger.get(path).filter(|_| self.dir.symlink_metadata(path).is_ok_and(|found| found.is_file()))
    }

    /// Notes that a path has this content.
    pub(super) fn note(&mut self, path: String, digest: Digest) {
        self.ledger.insert(path, digest);
    }

    pub(super) fn present(&self, path: &str) -> io::Result<Present> {
        match self.dir.symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Present::Nothing),
            Err(error) => Err(error),
            Ok(found) if !found.is_file() => Ok(Present::Other),
            Ok(_) => Ok(Present::File(Hasher::read_to_end(self.dir.open(path)?)?.0)),
        }
    }

    /// What has arrived of a file so far, cut to the largest length that `resumable` allows.
    pub(super) fn part(&self, file: &sync::File, resumable: impl Fn(u64) -> u64) -> io::Result<Part> {
        let name = format!("{OWN}/part-{}", file.digest.hex());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let mut part = self.dir.open_with(&name, &options)?.into_std();
        let len = resumable(part.metadata()?.len());
        part.set_len(len)?;
        let mut hasher = Hasher::default();
        io::copy(&mut part, &mut Hashing(&mut hasher))?;
        part.seek(SeekFrom::Start(len))?;
        Ok(Part { name, file: part, hasher })
    }

    /// Forgets what has arrived of a file.
    pub(super) fn discard(&self, part: Part) -> io::Result<()> {
        self.dir.remove_file(part.name)
    }

    /// Puts a whole file in place: the old one or the new one is there at every moment.
    pub(super) fn put(&mut self, part: &Part, target: &str, file: &sync::File) -> io::Result<()> {
        let parent = Path::new(target).parent().unwrap_or(Path::new(""));
        if parent != Path::new("") {
            self.dir.create_dir_all(parent)?;
        }
        part.file.set_permissions(Permissions::from_mode((file.mode & 0o777 | 0o600) & !0o022))?;
        let modified = u64::try_from(file.modified).unwrap_or(0);
        part.file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified))?;
        part.file.sync_all()?;
        self.dir.rename(&part.name, &self.dir, target)?;
        self.touched.insert(parent.to_owned());
        self.ledger.insert(target.to_owned(), file.digest.clone());
        Ok(())
    }

    /// Makes all that was put in place survive a crash of the machine.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        for folder in std::mem::take(&mut self.touched) {
            let folder = if folder == Path::new("") { PathBuf::from(".") } else { folder };
            self.dir.open(folder)?.sync_all()?;
        }
        let new = format!("{LEDGER}.new");
        let mut file = self.dir.create(&new)?;
        file.write_all(&serde_json::to_vec(&self.ledger)?)?;
        file.sync_all()?;
        self.dir.rename(new, &self.dir, LEDGER)
    }

    /// Removes what arrived of files that are no longer wanted.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for entry in self.dir.read_dir(OWN)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("part-") {
                entry.remove_file()?;
            }
        }
        Ok(())
    }
}

impl Part {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }
}

struct Hashing<'a>(&'a mut Hasher);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
