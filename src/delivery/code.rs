//! The project's files as entries of an archive.

use std::collections::HashSet;
use std::io::Write;

use crate::archive::{ArchiveError, Attributes, Writer, Written};
use crate::diagnosis::Result;
use crate::layout;
use crate::snapshot::{Content, Difference, Entry, Snapshot};

/// Where a project's files are in an archive.
struct Folder(Vec<u8>);

impl Folder {
    fn of(project: &str) -> Self {
        Self(layout::project_folder(project).trim_start_matches('/').as_bytes().to_vec())
    }

    fn inside(&self, path: &[u8]) -> Vec<u8> {
        [&self.0[..], b"/", path].concat()
    }
}

/// Owned by the user that ranks run as.
const fn attributes(mode: u32, mtime: u64) -> Attributes {
    Attributes { mode, uid: layout::USER_ID, gid: layout::USER_ID, mtime }
}

/// Adds a snapshot as the files of `project`. Fails when a file is no longer what it was when the snapshot was taken.
///
/// Real modification times are kept: Python trusts compiled files by the time and size of their source.
pub fn write_code<W: Write>(
    archive: &mut Writer<W>,
    snapshot: &Snapshot,
    project: &str,
) -> std::result::Result<(), ArchiveError> {
    let folder = Folder::of(project);
    archive.directory(&folder.0, attributes(0o755, 0))?;
    snapshot.entries().try_for_each(|entry| put(archive, &folder, snapshot, &entry, |_| Ok(())))
}

/// Adds what makes a snapshot of an earlier one: an archive for a layer above. Folders come before what is in them.
///
/// Every folder on the way to an entry is an entry too: an engine makes a folder that a layer does not name as root's, also
/// above the same folder of a layer below. `look` is shown what may be text, and can refuse it.
pub(super) fn write_differences<W: Write>(
    archive: &mut Writer<W>,
    snapshot: &Snapshot,
    project: &str,
    differences: impl Iterator<Item = Difference>,
    mut look: impl FnMut(&Entry, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut folders = HashSet::from([Vec::new()]);
    let mut last = Vec::new();
    let own = Folder::of(project);
    archive.directory(layout::WORKSPACE.trim_start_matches('/'), attributes(0o755, 0))?;
    archive.directory(&own.0, attributes(0o755, 0))?;
    for difference in differences {
        let path = difference.path();
        let folder = &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
        if last != folder {
            folder.clone_into(&mut last);
            for folder in folders_to(folder) {
                if folders.insert(folder.to_vec()) {
                    archive.directory(own.inside(folder), attributes(0o755, 0))?;
                }
            }
        }
        match &difference {
            Difference::Put { entry, .. } => {
                if entry.content != Content::Directory || folders.insert(entry.path.clone()) {
                    put(archive, &own, snapshot, entry, |text| look(entry, text))?;
                }
            }
            Difference::Gone(path) => archive.whiteout(own.inside(path), attributes(0o644, 0))?,
        }
    }
    Ok(())
}

fn put<W: Write, E: From<ArchiveError>>(
    archive: &mut Writer<W>,
    folder: &Folder,
    snapshot: &Snapshot,
    entry: &Entry,
    look: impl FnOnce(&[u8]) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let name = folder.inside(&entry.path);
    match &entry.content {
        Content::Directory => Ok(archive.directory(&name, attributes(0o755, 0))?),
        Content::Link { target } => Ok(archive.symlink(&name, target, attributes(0o777, 0))?),
        Content::File { executable, digest, size } => {
            let mode = if *executable { 0o755 } else { 0o644 };
            let path = entry.path_below(snapshot.root());
            let version = Written { digest: digest.clone(), size: *size };
            archive.version(&name, &path, attributes(mode, entry.modified), &version, look)
        }
    }
}

/// A folder and those that it is in, the outermost first.
fn folders_to(folder: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.chain([folder.len()]).map(|at| &folder[..at])
}
