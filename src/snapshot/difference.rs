//! What is different between two snapshots.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::Path;

use super::index;
use super::value::{Content, Entry, Snapshot};

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

/// What makes `now` of `before`, folders before what is in them.
pub fn differences(before: &Snapshot, now: &Snapshot) -> Vec<Difference> {
    let (mut before, mut now) = (before.entries().peekable(), now.entries().peekable());
    let (mut found, mut gone, mut replaced) = (Vec::new(), Vec::new(), HashSet::new());
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(now)) => before.place().cmp(&now.place()),
        };
        match order {
            Ordering::Less => gone.extend(before.next()),
            Ordering::Greater => found.extend(now.next().map(|entry| Difference::Put { entry, is_new: true })),
            Ordering::Equal => {
                if let (Some(before), Some(entry)) = (before.next(), now.next())
                    && before.content != entry.content
                {
                    // Where something else has taken a folder's place, what was in the folder went with it.
                    let is_new = before.content == Content::Directory;
                    if is_new {
                        replaced.insert(before.path);
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

/// A snapshot that was kept with [`Snapshot::save`].
pub fn load(path: &Path, root: &Path) -> Option<Snapshot> {
    index::load(path).map(|tree| Snapshot::new(root, tree))
}

/// Remembers a snapshot as that of the last run, for [`last_run`].
pub fn remember(root: &Path, state: &Path) {
    let (index, run) = (index::path(state, root), index::path(state, root).with_extension("run"));
    // An index is replaced and never changed: another name for it costs nothing.
    let _ = std::fs::remove_file(&run);
    if let Err(error) = std::fs::hard_link(index, run) {
        tracing::debug!(%error, "the snapshot of this run is not remembered");
    }
}

/// The snapshot of the last run; none where there was no run.
pub fn last_run(root: &Path, state: &Path) -> Option<Snapshot> {
    load(&index::path(state, root).with_extension("run"), root)
}
