//! What a former container of this rank has left in the mailbox: its outputs, so that the program finds its checkpoint, and
//! the copy of its journal.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::mailbox::Mailbox;
use crate::digest::{Digest, Hasher};
use crate::sync::{File, Index, acceptable};

/// Brings back what `index` lists and `folder` has not; gives how many files. Each appears whole or not at all.
pub(super) async fn restore(mailbox: &Mailbox, index: &Index, folder: &Path) -> Result<usize, String> {
    let mut restored = 0;
    for file in &index.files {
        acceptable(&file.path, index.rank).map_err(|reason| format!("`{}`: {reason}", file.path.escape_debug()))?;
        let target = folder.join(&file.path);
        if fs::symlink_metadata(&target).is_ok() {
            continue;
        }
        restore_file(mailbox, file, &target).await.map_err(|reason| format!("`{}`: {reason}", file.path))?;
        restored += 1;
    }
    Ok(restored)
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
