//! What a former container of this rank has left in the mailbox: its outputs, so that the program finds its checkpoint, and
//! the copy of its journal.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::files::Version;
use super::mailbox::Mailbox;
use crate::digest::{Digest, Hasher};
use crate::sync::{File, acceptable};

/// Brings back files that `folder` has not, each whole or not at all; gives those that are there then, as they were listed, and
/// why one could not be had.
pub(super) async fn restore<'a>(
    mailbox: &Mailbox,
    rank: u32,
    files: &'a [File],
    folder: &Path,
) -> (Vec<(&'a File, Version)>, Option<String>) {
    let (mut restored, mut problem) = (Vec::new(), None);
    for file in files {
        match restore_listed(mailbox, rank, file, folder).await {
            Ok(version) => restored.extend(version.map(|version| (file, version))),
            Err(reason) => problem = problem.or(Some(format!("`{}`: {reason}", file.path.escape_debug()))),
        }
    }
    (restored, problem)
}

/// `None`: something of that name is there already.
async fn restore_listed(mailbox: &Mailbox, rank: u32, file: &File, folder: &Path) -> Result<Option<Version>, String> {
    acceptable(&file.path, rank)?;
    let target = folder.join(&file.path);
    if fs::symlink_metadata(&target).is_ok() {
        return Ok(None);
    }
    restore_file(mailbox, file, &target).await?;
    let metadata = fs::symlink_metadata(&target).map_err(|error| error.to_string())?;
    Ok(Some(Version::of(&metadata)))
}

async fn restore_file(mailbox: &Mailbox, file: &File, target: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let folder = target.parent().unwrap_or(target);
    fs::create_dir_all(folder).map_err(text)?;
    let mut part = tempfile::NamedTempFile::new_in(folder).map_err(text)?;
    let mut whole = Hasher::default();
    for chunk in &file.chunks {
        let bytes = mailbox.pull(chunk).await.map_err(|error| error.to_string())?;
        if Digest::of(&bytes) != chunk.digest {
            return Err("the mailbox gave other bytes".to_owned());
        }
        whole.update(&bytes);
        part.write_all(&bytes).map_err(text)?;
    }
    if whole.len() != file.size || whole.finish() != file.digest {
        return Err("its bytes in the mailbox are not those that were announced".to_owned());
    }
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(file.modified).unwrap_or(0));
    part.as_file().set_modified(modified).map_err(text)?;
    part.as_file().set_permissions(fs::Permissions::from_mode(file.mode)).map_err(text)?;
    part.persist_noclobber(target).map(drop).map_err(|error| error.to_string())
}
