//! The project's files as entries of an archive.

use std::io::Write;

use crate::archive::{ArchiveError, Attributes, Writer};
use crate::layout;
use crate::snapshot::{Content, Snapshot};

/// Adds a snapshot below `workspace/`, owned by the user that ranks run as.
///
/// Real modification times are kept: Python trusts compiled files by the time and size of their source.
pub fn write_code<W: Write>(archive: &mut Writer<W>, snapshot: &Snapshot) -> Result<(), ArchiveError> {
    let attributes = |mode: u32, mtime: u64| Attributes { mode, uid: layout::USER_ID, gid: layout::USER_ID, mtime };
    for entry in snapshot.entries() {
        let name = [b"workspace/".as_slice(), &entry.path].concat();
        match &entry.content {
            Content::Directory => archive.directory(&name, attributes(0o755, 0))?,
            Content::Link { target } => archive.symlink(&name, target, attributes(0o777, 0))?,
            Content::File { executable, .. } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                let path = entry.path_below(snapshot.root());
                archive.file(&name, &path, attributes(mode, entry.modified)).map(drop)?;
            }
        }
    }
    Ok(())
}
