//! The project's files as entries of an archive.

use std::collections::HashSet;
use std::io::Write;

use crate::archive::{ArchiveError, Attributes, Writer};
use crate::layout;
use crate::snapshot::{Content, Difference, Entry, Snapshot};

/// The folder of the project's files in an archive.
const FOLDER: &[u8] = b"workspace";

/// Owned by the user that ranks run as.
const fn attributes(mode: u32, mtime: u64) -> Attributes {
    Attributes { mode, uid: layout::USER_ID, gid: layout::USER_ID, mtime }
}

/// Adds a snapshot below `workspace/`. Fails when a file is no longer what it was when the snapshot was taken.
///
/// Real modification times are kept: Python trusts compiled files by the time and size of their source.
pub fn write_code<W: Write>(archive: &mut Writer<W>, snapshot: &Snapshot) -> Result<(), ArchiveError> {
    // An engine makes a folder that a layer does not name as root's, also above the same folder of a layer below.
    archive.directory(FOLDER, attributes(0o755, 0))?;
    snapshot.entries().try_for_each(|entry| put(archive, snapshot, &entry))
}

/// Adds what makes a snapshot of an earlier one: an archive for a layer above.
pub(super) fn write_differences<W: Write>(
    archive: &mut Writer<W>,
    snapshot: &Snapshot,
    differences: &[Difference],
) -> Result<(), ArchiveError> {
    let mut written = HashSet::new();
    for difference in differences {
        for folder in folders_above(difference.path()) {
            if written.insert(folder.to_vec()) {
                archive.directory(inside(folder), attributes(0o755, 0))?;
            }
        }
        match difference {
            Difference::Put { entry, .. } => {
                if written.insert(entry.path.clone()) {
                    put(archive, snapshot, entry)?;
                }
            }
            Difference::Gone(path) => archive.whiteout(inside(path), attributes(0o644, 0))?,
        }
    }
    Ok(())
}

fn put<W: Write>(archive: &mut Writer<W>, snapshot: &Snapshot, entry: &Entry) -> Result<(), ArchiveError> {
    let name = inside(&entry.path);
    match &entry.content {
        Content::Directory => archive.directory(&name, attributes(0o755, 0)),
        Content::Link { target } => archive.symlink(&name, target, attributes(0o777, 0)),
        Content::File { executable, digest, .. } => {
            let mode = if *executable { 0o755 } else { 0o644 };
            let path = entry.path_below(snapshot.root());
            archive.version(&name, &path, attributes(mode, entry.modified), digest).map(drop)
        }
    }
}

fn inside(path: &[u8]) -> Vec<u8> {
    if path.is_empty() { FOLDER.to_vec() } else { [FOLDER, b"/", path].concat() }
}

/// The folders that a path is in, the outermost (the project itself, an empty path) first.
fn folders_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    std::iter::once(0).chain(slashes).map(|at| &path[..at])
}
