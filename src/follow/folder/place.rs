//! Where a file goes: its own path, unless something is there that is not nauta's; then beside it.

use std::fs::File;
use std::io::{self, ErrorKind};

use cap_std::fs::{Dir, Metadata, MetadataExt as _};

use super::OutputsFolder;
use super::ledger::Entry;
use crate::digest::{Digest, Hasher};
use crate::sync;

/// The longest name of a file or folder, in bytes.
const LONGEST: usize = 255;
/// No more names than this are tried beside one.
const ATTEMPTS: u32 = 1000;

/// What is to be done for a file to be here.
pub(in crate::follow) enum Look {
    /// Nothing: its content is there already.
    Here(String),
    /// It is put at a place.
    Missing(Place),
}

/// A place for a file.
pub(in crate::follow) struct Place {
    pub(super) path: String,
    /// The folder; `None` where there is none yet.
    pub(super) folder: Option<Dir>,
    /// What is there, and is nauta's own: it is replaced.
    pub(super) former: Option<Entry>,
}

/// A path's folder, empty for none, and the name in it.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The `attempt`-th name beside a file or folder; its own for 0. Long names are cut, and told apart by a digest.
pub(super) fn beside(name: &str, attempt: u32) -> String {
    if attempt == 0 {
        return name.to_owned();
    }
    let suffix = format!(".nauta-conflict-{attempt}");
    if name.len() + suffix.len() <= LONGEST {
        return format!("{name}{suffix}");
    }
    let digest = Digest::of(name);
    let mut end = LONGEST - suffix.len() - digest.short().len() - 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{}{suffix}", &name[..end], digest.short())
}

/// Opens a regular file, and nothing that took its place meanwhile: a link may lead anywhere, a pipe may wait.
pub(super) fn open_regular(folder: &Dir, name: &str) -> io::Result<File> {
    use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let file = folder.open_with(name, OpenOptions::new().read(true).custom_flags(flags))?.into_std();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// The digest of a file's content, or of a link as outputs list it.
pub(super) fn digest_of(folder: &Dir, name: &str) -> io::Result<Digest> {
    if let Some(digest) = digest_of_link(folder, name)? {
        return Ok(digest);
    }
    Ok(Hasher::read_to_end(open_regular(folder, name)?)?.0)
}

/// The digest of a link; `None` for what is none.
pub(super) fn digest_of_link(folder: &Dir, name: &str) -> io::Result<Option<Digest>> {
    if !folder.symlink_metadata(name)?.is_symlink() {
        return Ok(None);
    }
    let target = folder.read_link_contents(name)?;
    Ok(Some(sync::File::of_link(name.to_owned(), target.to_string_lossy().into_owned(), 0).digest))
}

impl OutputsFolder {
    /// Whether a file is here, or where it goes.
    pub(in crate::follow) fn look(&self, wanted: &str, file: &sync::File) -> io::Result<Look> {
        self.look_past(wanted, file, &[])
    }

    /// The same, where what is at some paths is known to be somebody's.
    pub(super) fn look_past(&self, wanted: &str, file: &sync::File, theirs: &[String]) -> io::Result<Look> {
        let (folder, name) = split(wanted);
        let (folder, open) = self.way_to(folder)?;
        for attempt in 0..ATTEMPTS {
            let name = beside(name, attempt);
            let path = join(&folder, &name);
            let found = match &open {
                Some(open) => open.symlink_metadata(&name),
                None => return Ok(Look::Missing(Place { path, folder: None, former: None })),
            };
            let found = match found {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Look::Missing(Place { path, folder: open, former: None }));
                }
                found => found?,
            };
            if !(found.is_file() || found.is_symlink()) || theirs.contains(&path) {
                continue;
            }
            let entry = self.ledger.get(&path).filter(|entry| entry.of.as_deref().unwrap_or(&path) == wanted);
            match compare(open.as_ref().unwrap_or(&self.dir), &name, &found, entry, file)? {
                Found::Same => return Ok(Look::Here(path)),
                Found::Ours => {
                    return Ok(Look::Missing(Place { path, folder: open, former: entry.cloned() }));
                }
                Found::Foreign => {}
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "too many other files have its name"))
    }

    /// The folder for a file, open if it is there. Where something else has the name of one, it is another beside that.
    fn way_to(&self, wanted: &str) -> io::Result<(String, Option<Dir>)> {
        if wanted.is_empty() {
            return Ok((String::new(), Some(self.dir.try_clone()?)));
        }
        if let Ok(open) = self.dir.open_dir(wanted) {
            return Ok((wanted.to_owned(), Some(open)));
        }
        let mut open = Some(self.dir.try_clone()?);
        let mut way = String::new();
        for name in wanted.split('/') {
            let step = match &open {
                Some(above) => step_into(above, name)?,
                None => (name.to_owned(), None),
            };
            (way, open) = (join(&way, &step.0), step.1);
        }
        Ok((way, open))
    }
}

/// What was found at a path.
enum Found {
    /// The very content, or what became of it here.
    Same,
    /// What nauta has written before.
    Ours,
    Foreign,
}

/// Whose the file is that has the name.
fn compare(folder: &Dir, name: &str, found: &Metadata, entry: Option<&Entry>, file: &sync::File) -> io::Result<Found> {
    let is_untouched = |entry: &Entry| found.is_file() && found.len() == entry.size && found.mtime() == entry.modified;
    match entry {
        // Whoever has changed it since keeps that.
        Some(entry) if entry.digest == file.digest => return Ok(Found::Same),
        Some(entry) if is_untouched(entry) => return Ok(Found::Ours),
        None if found.is_file() && found.len() != file.size => return Ok(Found::Foreign),
        _ => {}
    }
    match digest_of(folder, name) {
        Ok(digest) if digest == file.digest => Ok(Found::Same),
        Ok(digest) if entry.is_some_and(|entry| entry.digest == digest) => Ok(Found::Ours),
        // What cannot be read cannot be nauta's, as it left it.
        Ok(_) => Ok(Found::Foreign),
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => Ok(Found::Foreign),
        Err(error) => Err(error),
    }
}

/// The folder of this name, or one beside what has its name and is none.
fn step_into(above: &Dir, name: &str) -> io::Result<(String, Option<Dir>)> {
    for attempt in 0..ATTEMPTS {
        let name = beside(name, attempt);
        match (above.open_dir(&name), above.symlink_metadata(&name)) {
            (Ok(folder), _) => return Ok((name, Some(folder))),
            (Err(_), Err(error)) if error.kind() == ErrorKind::NotFound => return Ok((name, None)),
            (Err(_), Err(error)) => return Err(error),
            (Err(error), Ok(found)) if found.is_dir() => return Err(error),
            (Err(_), Ok(_)) => {}
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "too many other files have its folder's name"))
}
