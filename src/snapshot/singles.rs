//! Files outside a snapshot, one by one: what a build reads that does not travel with the code.
//!
//! Their digests are kept as those of a snapshot are, so that a large file which has not changed is not read again.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, readlinkat, statat};

use super::disk::{Version, read, there};
use super::error::SnapshotError;
use super::index;
use super::record::{Kind, Row, Stamp};
use super::tree::{Head, Tree};
use super::value::Content;
use crate::digest::Digest;

/// How often a file is read before it counts as never standing still.
const ATTEMPTS: usize = 4;

/// What is known of single files.
pub struct Singles {
    kept: Option<PathBuf>,
    known: Tree,
    /// By folder and name.
    seen: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Row>>,
    is_changed: bool,
}

impl Singles {
    /// Those of the project at `root`; with `state`, nauta's folder for what may be lost, what was known the last time.
    pub fn open(root: &Path, state: Option<&Path>) -> Self {
        let kept = state.map(|state| index::path(state, root).with_extension("singles"));
        let known = kept.as_deref().and_then(index::load).map(|(tree, _)| tree).unwrap_or_default();
        Self { kept, known, seen: BTreeMap::new(), is_changed: false }
    }

    /// What is at a path (absolute), links not followed; nothing where there is neither a file nor a folder nor a link.
    pub fn content(&mut self, path: &Path) -> Result<Option<Content>, SnapshotError> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Some(Content::Directory)) };
        let unreadable = |error: io::Error| SnapshotError::unreadable(path.as_os_str().as_bytes(), error);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = there(openat(CWD, folder, flags, Mode::empty())).map_err(|error| unreadable(error.into()))?;
        let Some(handle) = opened else { return Ok(None) };
        let stat = there(statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW)).map_err(|error| unreadable(error.into()))?;
        let Some(stat) = stat else { return Ok(None) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Some(Content::Directory)),
            FileType::Symlink => {
                let target = readlinkat(&handle, name, Vec::new()).map_err(|error| unreadable(error.into()))?;
                Ok(Some(Content::Link { target: target.into_bytes() }))
            }
            FileType::RegularFile => {
                let (folder, name) = (folder.as_os_str().as_bytes(), name.as_bytes());
                if let Some(row) = self.known(folder, name, &Stamp::of(&stat)) {
                    return Ok(Some(self.keep(folder, row)));
                }
                for _ in 0..ATTEMPTS {
                    if let Some(Version { kind, marks, stamp, digest }) = read(&handle, name).map_err(unreadable)? {
                        self.is_changed = true;
                        let row = Row { name: name.to_vec(), kind, marks, stamp, digest, target: Vec::new() };
                        return Ok(Some(self.keep(folder, row)));
                    }
                }
                Err(SnapshotError::changing(path.as_os_str().as_bytes()))
            }
            _ => Ok(None),
        }
    }

    fn known(&self, folder: &[u8], name: &[u8], stamp: &Stamp) -> Option<Row> {
        let record = self.known.record(self.known.folder(folder)?, name)?;
        let is_it = record.kind().is_file() && stamp.is_still(&record.stamp);
        let (kind, stamp, digest) = (record.kind(), record.stamp, record.digest);
        is_it.then(|| Row { name: name.to_vec(), kind, marks: record.marks(), stamp, digest, target: Vec::new() })
    }

    fn keep(&mut self, folder: &[u8], row: Row) -> Content {
        let (executable, size) = (row.kind == Kind::Executable, row.stamp.size.get());
        let content = Content::File { digest: Digest::from_bytes(row.digest), size, executable };
        self.seen.entry(folder.to_vec()).or_default().insert(row.name.clone(), row);
        content
    }

    /// Keeps what was seen for the next time.
    pub fn save(&self) {
        let Some(path) = self.kept.as_deref().filter(|_| self.is_changed) else { return };
        let mut tree = Tree::default();
        for (folder, rows) in &self.seen {
            tree.push(folder, Head::default(), rows.values());
        }
        if let Err(error) = index::save(path, &tree) {
            tracing::debug!(%error, "the digests of single files are not kept; the next build reads them again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_read_again_and_links_are_links() {
        let (temp, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let path = temp.path().join("a");
        std::os::unix::fs::symlink("a", temp.path().join("l")).expect("linked");
        for text in ["one", "two", "three"] {
            std::fs::write(&path, text).expect("written");
            for _ in 0..2 {
                let mut singles = Singles::open(temp.path(), Some(state.path()));
                let digest = match singles.content(&path).expect("readable") {
                    Some(Content::File { digest, .. }) => digest,
                    other => panic!("{other:?}"),
                };
                assert_eq!(digest, Digest::of(text));
                let link = singles.content(&temp.path().join("l")).expect("readable");
                assert_eq!(link, Some(Content::Link { target: b"a".to_vec() }));
                assert_eq!(singles.content(&temp.path().join("no/such")).expect("readable"), None);
                singles.save();
            }
        }
    }
}
