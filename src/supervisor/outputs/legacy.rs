//! What a former container of this rank has left in the mailbox: its outputs, so that the program finds its checkpoint, and
//! the copy of its journal.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::files::Version;
use super::mailbox::Mailbox;
use super::places::Places;
use crate::digest::{Digest, Hasher};
use crate::sync::{File, Origin, acceptable};

/// Brings back files that `$NAUTA_OUTPUTS` has not, and those of the working directory as they were, each whole or not at all; gives
/// those that are there then, as they were listed, and why one could not be had.
pub(super) async fn restore<'a>(
    mailbox: &Mailbox,
    rank: u32,
    files: &'a [File],
    places: &Places,
) -> (Vec<(&'a File, Version)>, Option<String>) {
    let (mut restored, mut problem) = (Vec::new(), None);
    for file in files {
        match restore_listed(mailbox, rank, file, places).await {
            Ok(version) => restored.extend(version.map(|version| (file, version))),
            Err(reason) => problem = problem.or(Some(format!("`{}`: {reason}", file.path.escape_debug()))),
        }
    }
    (restored, problem)
}

/// `None`: something of that name is there already, or has no place here.
async fn restore_listed(mailbox: &Mailbox, rank: u32, file: &File, places: &Places) -> Result<Option<Version>, String> {
    acceptable(&file.path, rank)?;
    file.check()?;
    // What all ranks share outlives each of them.
    let folder = places.folder(file.origin).filter(|_| file.origin != Origin::Shared);
    let Some(folder) = folder else { return Ok(None) };
    let target = folder.join(&file.path);
    // What the working directory has of that name is what the image brought: nothing has run here yet.
    if file.origin == Origin::Outputs && fs::symlink_metadata(&target).is_ok() {
        return Ok(None);
    }
    match &file.link {
        Some(link) => restore_link(link, &target).map_err(|error| error.to_string())?,
        None => restore_file(mailbox, file, &target).await?,
    }
    let metadata = fs::symlink_metadata(&target).map_err(|error| error.to_string())?;
    Ok(Some(Version::of(file.origin, &metadata)))
}

fn restore_link(link: &str, target: &Path) -> io::Result<()> {
    let folder = target.parent().unwrap_or(target);
    fs::create_dir_all(folder)?;
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(link, target)
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
    part.persist(target).map(drop).map_err(|error| error.to_string())
}
