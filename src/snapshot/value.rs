//! A snapshot as a value.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index;
use super::kept::Kept;
use super::own_rules::secret_pattern;
use super::record::{Kind, Record, mark};
use super::rules::Origin;
use super::tree::{Folder, Tree, join};
use crate::digest::Digest;

/// The project's files at one moment. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    origin: Arc<Origin>,
    tree: Arc<Tree>,
    digest: Digest,
    kept: Arc<Kept>,
}

/// A file, link or directory of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, with `/`; bytes, since Linux names are no text.
    pub path: Vec<u8>,
    /// What it is.
    pub content: Content,
    /// Seconds since 1970; no part of the tree digest.
    pub modified: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A regular file.
    File {
        /// SHA-256 of the bytes read.
        digest: Digest,
        /// Bytes.
        size: u64,
        /// Whether anyone may execute it.
        executable: bool,
    },
    /// A symbolic link, never followed.
    Link {
        /// Where it points, as it says.
        target: Vec<u8>,
    },
    /// A directory.
    Directory,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({}, {})", self.root().display(), self.digest)
    }
}

impl Snapshot {
    pub(super) fn new(origin: Origin, tree: Arc<Tree>, kept: Kept) -> Self {
        let digest = tree.digest();
        Self { origin: Arc::new(origin), tree, digest, kept: Arc::new(kept) }
    }

    /// Keeps it in a file, whole or not at all.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        self.kept.link(path).or_else(|_| index::save(path, &self.tree).map(drop))
    }

    /// Keeps it as that of the last run, for [`since_last_run`](super::since_last_run).
    pub fn remember(&self, state: &Path) {
        if let Err(error) = self.save(&index::last_run(state, self.root())) {
            tracing::debug!(%error, "the snapshot of this run is not remembered");
        }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Absolute path of the directory the entries are relative to.
    pub fn root(&self) -> &Path {
        &self.origin.root
    }

    /// Where its files and rules are.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The tree digest: depends on names, contents, executable bits and links, and on nothing else (no times, no order
    /// of reading, no user, no machine).
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Files, links and directories, a directory before what is in it; the root itself is not among them.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.tree.all().filter_map(|(folder, record)| entry(&self.tree, folder, record))
    }

    /// The entries at these positions; [`Self::sizes`] tells how many positions there are.
    pub fn entries_in(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Entry> {
        let all = self.tree.all().take(range.end).skip(range.start);
        all.filter_map(|(folder, record)| entry(&self.tree, folder, record))
    }

    /// Bytes of content at each position (0 for links and directories); none where something stays here.
    pub fn sizes(&self) -> impl Iterator<Item = Option<u64>> {
        self.tree.records.iter().map(|record| match record.kind() {
            kind if kind.is_file() => Some(record.stamp.size.get()),
            kind => kind.is_taken().then_some(0),
        })
    }

    /// The entries at these paths and below them, in order; the empty path is all of it.
    pub fn entries_at(&self, paths: &[&str]) -> impl Iterator<Item = Entry> {
        let tree = &self.tree;
        let is_in = |folder: &[u8], path: &[u8]| {
            path.is_empty() || folder.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        let split: Vec<(&str, &str)> = paths.iter().map(|path| split(path)).collect();
        tree.folders.iter().flat_map(move |folder| {
            let place = tree.path(folder);
            let whole = paths.iter().any(|path| is_in(place, path.as_bytes()));
            let here = split.iter().filter(|(above, _)| above.as_bytes() == place);
            let names: Vec<&[u8]> = here.map(|(_, name)| name.as_bytes()).collect();
            let records = if whole || !names.is_empty() { tree.records(folder) } else { &[] };
            let taken = records.iter().filter(move |record| whole || names.contains(&tree.name(folder, record)));
            taken.filter_map(move |record| entry(tree, folder, record))
        })
    }

    /// Whether something below a path stays here by a rule.
    pub fn leaves_below(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let is_below = |folder: &&Folder| {
            let place = self.tree.path(folder);
            place == path.as_bytes() || place.starts_with(below.as_bytes())
        };
        let mut all = self.tree.within(self.tree.folders.iter().filter(is_below));
        all.any(|(_, record)| record.kind().is_left() || record.kind() == Kind::Hollow)
    }

    /// The entry at a path, if there is one.
    pub fn entry(&self, path: &str) -> Option<Entry> {
        let (folder, name) = split(path);
        let folder = self.tree.folder(folder.as_bytes())?;
        entry(&self.tree, folder, self.tree.record(folder, name.as_bytes())?)
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.tree.folders.iter().map(|folder| folder.totals.size.get()).sum()
    }

    /// How many regular files.
    pub fn files(&self) -> u64 {
        self.tree.folders.iter().map(|folder| folder.totals.files.get()).sum()
    }

    /// How many files, links and directories.
    pub fn count(&self) -> u64 {
        self.tree.folders.iter().map(|folder| folder.totals.taken.get()).sum()
    }

    /// What was left out because it may hold a secret: path, and the pattern that says so.
    pub fn withheld(&self) -> Vec<(String, String)> {
        let is_withheld = |kind| matches!(kind, Kind::WithheldFile | Kind::WithheldFolder);
        let named = |path: Vec<u8>, kind: Kind| {
            let pattern = secret_pattern(&path, kind.is_folder()).unwrap_or_default().to_owned();
            (String::from_utf8_lossy(&path).into_owned(), pattern)
        };
        self.paths(|record| is_withheld(record.kind())).map(|(path, kind)| named(path, kind)).collect()
    }

    /// What was left out because it can't be sent: sockets, FIFOs, devices, and names that images cannot hold.
    pub fn unsendable(&self) -> Vec<String> {
        self.named(|record| record.kind() == Kind::Unsendable)
    }

    /// What was left out because this very process writes what it says there.
    pub fn own_outputs(&self) -> Vec<String> {
        self.named(|record| record.kind() == Kind::OwnOutput)
    }

    /// Files that stand for others, which Git LFS keeps elsewhere.
    pub fn pointers(&self) -> Vec<String> {
        self.named(|record| record.kind().is_file() && record.marks() & mark::POINTER != 0)
    }

    /// Files that have grown while they were read, and are taken as they were when that began.
    pub fn grown(&self) -> Vec<String> {
        self.named(|record| record.kind().is_file() && record.marks() & mark::GROWN != 0)
    }

    fn named(&self, wanted: impl Fn(&Record) -> bool) -> Vec<String> {
        self.paths(wanted).map(|(path, _)| String::from_utf8_lossy(&path).into_owned()).collect()
    }

    fn paths(&self, wanted: impl Fn(&Record) -> bool) -> impl Iterator<Item = (Vec<u8>, Kind)> {
        let folders = self.tree.folders.iter().filter(|folder| folder.totals.names_something());
        let all = self.tree.within(folders).filter(move |(_, record)| wanted(record));
        all.map(|(folder, record)| (join(self.tree.path(folder), self.tree.name(folder, record)), record.kind()))
    }

    /// The largest files, largest first.
    pub fn largest(&self, count: usize) -> Vec<Entry> {
        let size = |(_, record): &(&Folder, &Record)| record.stamp.size.get();
        let mut found: Vec<(&Folder, &Record)> = Vec::new();
        for folder in &self.tree.folders {
            let is_wanted = |found: &[_], size_here| {
                found.len() < count || found.last().is_some_and(|least| size(least) < size_here)
            };
            if !is_wanted(&found, folder.totals.largest.get()) {
                continue;
            }
            for record in self.tree.records(folder).iter().filter(|record| record.kind().is_file()) {
                let file = (folder, record);
                if is_wanted(&found, size(&file)) {
                    found.insert(found.partition_point(|other| size(other) >= size(&file)), file);
                    found.truncate(count);
                }
            }
        }
        found.into_iter().filter_map(|(folder, record)| entry(&self.tree, folder, record)).collect()
    }
}

/// A record as an entry; none where it stays here.
pub(super) fn entry(tree: &Tree, folder: &Folder, record: &Record) -> Option<Entry> {
    let file = |executable| Content::File {
        digest: Digest::from_bytes(record.digest),
        size: record.stamp.size.get(),
        executable,
    };
    let content = match record.kind() {
        Kind::File => file(false),
        Kind::Executable => file(true),
        Kind::Link => Content::Link { target: tree.target(folder, record).to_vec() },
        Kind::Folder => Content::Directory,
        _ => return None,
    };
    let modified = u64::try_from(record.stamp.modified.get()).unwrap_or(0);
    Some(Entry { path: join(tree.path(folder), tree.name(folder, record)), content, modified })
}

/// The folder that a path is in, and its name there.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Entry {
    /// Bytes; 0 for links and directories.
    pub const fn size(&self) -> u64 {
        match &self.content {
            Content::File { size, .. } => *size,
            _ => 0,
        }
    }

    /// Its place in the order of snapshots: the folder's path, then the name.
    pub(super) fn place(&self) -> (&[u8], &[u8]) {
        match self.path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&self.path[..at], &self.path[at + 1..]),
            None => (b"", &self.path),
        }
    }

    /// The path as people read it.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    /// Where it is on this machine.
    pub fn path_below(&self, root: &Path) -> PathBuf {
        root.join(OsStr::from_bytes(&self.path))
    }
}
