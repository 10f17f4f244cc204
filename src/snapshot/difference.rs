//! What is different between two snapshots.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::Path;

use super::index;
use super::record::{Kind, Record};
use super::tree::{Folder, Tree};
use super::value::{Content, Entry, Snapshot, entry};

/// A path that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is new, or has another content, target or mode.
    Put {
        /// What it is now.
        entry: Entry,
        /// Whether it is new.
        is_new: bool,
    },
    /// It is gone. What was in a folder that is gone is not named.
    Gone(Vec<u8>),
}

impl Difference {
    /// Bytes of content that are needed to make it.
    pub const fn size(&self) -> u64 {
        match self {
            Self::Put { entry, .. } => entry.size(),
            Self::Gone(_) => 0,
        }
    }

    /// The path, relative to the project.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Put { entry, .. } => &entry.path,
            Self::Gone(path) => path,
        }
    }
}

/// What makes `now` of the snapshot that was kept in a file with [`Snapshot::save`]; none where it cannot be read. Folders come before
/// what is in them.
pub fn differences(kept: &Path, now: &Snapshot) -> Option<Vec<Difference>> {
    let old = index::load_unlike(kept, now.tree())?;
    Some(between(&old, now.tree()))
}

/// What is different from the last run; none where there was no run.
pub fn since_last_run(now: &Snapshot, state: &Path) -> Option<Vec<Difference>> {
    differences(&index::last_run(state, now.root()), now)
}

/// What makes one tree of another, folders before what is in them.
pub(super) fn between(old: &Tree, new: &Tree) -> Vec<Difference> {
    let (mut olds, mut news) = (old.unlike(new).peekable(), new.unlike(old).peekable());
    let (mut found, mut gone, mut replaced) = (Vec::new(), Vec::new(), HashSet::new());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => place(old, one).cmp(&place(new, other)),
        };
        match order {
            Ordering::Less => gone.extend(olds.next().and_then(|(folder, record)| entry(old, folder, record))),
            Ordering::Greater => {
                let entry = news.next().and_then(|(folder, record)| entry(new, folder, record));
                found.extend(entry.map(|entry| Difference::Put { entry, is_new: true }));
            }
            Ordering::Equal => {
                if let (Some((above, one)), Some((folder, other))) = (olds.next(), news.next())
                    && !is_same((old, above, one), (new, folder, other))
                    && let Some(mut entry) = entry(new, folder, other)
                {
                    entry.modified += shift(one, other);
                    // Where something else has taken a folder's place, what was in the folder went with it.
                    let is_new = one.kind() == Kind::Folder;
                    if is_new {
                        replaced.insert(entry.path.clone());
                    }
                    found.push(Difference::Put { entry, is_new });
                }
            }
        }
    }
    let folders: HashSet<&[u8]> =
        gone.iter().filter(|entry| entry.content == Content::Directory).map(|entry| entry.path.as_slice()).collect();
    let is_top = |entry: &&Entry| {
        let folder = entry.place().0;
        !folders.contains(folder) && !replaced.contains(folder)
    };
    found.extend(gone.iter().filter(is_top).map(|entry| Difference::Gone(entry.path.clone())));
    found
}

/// Where a record is in the order of trees.
fn place<'t>(tree: &'t Tree, (folder, record): &(&Folder, &Record)) -> (&'t [u8], &'t [u8]) {
    (tree.path(folder), tree.name(folder, record))
}

/// Whether two records of one path have the same content; quicker than comparing entries, which have to be made first.
fn is_same((old, above, one): (&Tree, &Folder, &Record), (new, folder, other): (&Tree, &Folder, &Record)) -> bool {
    one.kind() == other.kind()
        && match one.kind() {
            Kind::Link => old.target(above, one) == new.target(folder, other),
            Kind::Folder => true,
            _ => one.digest == other.digest,
        }
}

/// By how many seconds a file's time has to be moved for Python to see that it is another one.
///
/// Python trusts a compiled file while its source has the same size and the same time in whole seconds, and both may stay
/// when a file is edited twice in a second, or put there by a tool that keeps times. How far it is moved comes from the
/// content, so that one edit after the other gives other times, and the same content always the same.
fn shift(before: &Record, now: &Record) -> u64 {
    let looks_same = before.kind().is_file()
        && now.kind().is_file()
        && (before.stamp.size, before.stamp.modified) == (now.stamp.size, now.stamp.modified);
    if looks_same { 1 + u64::from(u16::from_le_bytes([now.digest[0], now.digest[1]])) % 3600 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::snapshot::take;

    #[test]
    fn a_file_that_python_would_take_for_the_former_one_gets_another_time() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("a.py");
        let version = |text: &str, seconds: u64| {
            fs::write(&path, text).expect("written");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(time)).expect("set");
            take(temp.path(), None).expect("readable")
        };
        let time = |before: &Snapshot, now: &Snapshot| {
            let found = between(before.tree(), now.tree());
            let [Difference::Put { entry, is_new: false }] = &found[..] else { panic!("{found:?}") };
            entry.modified
        };
        let (one, two, three) = (version("x = 1", 1000), version("x = 2", 1000), version("x = 3", 1000));
        assert!((1001..=4600).contains(&time(&one, &two)));
        assert_eq!(time(&one, &two), time(&three, &two), "the same content has the same time");
        assert_ne!(time(&one, &two), time(&two, &three), "of two edits in a second, both are seen");
        assert_eq!(time(&one, &version("x = 10", 1000)), 1000, "another size is enough");
        assert_eq!(time(&one, &version("x = 4", 1001)), 1001, "another time is enough");
        assert!(between(one.tree(), version("x = 1", 2000).tree()).is_empty(), "a touch is no difference");
    }
}
