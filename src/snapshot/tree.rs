//! A snapshot as a value, and its digest.

use std::path::PathBuf;

use crate::digest::{Digest, Hasher};

/// The project's files at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Absolute path of the directory the entries are relative to.
    pub root: PathBuf,
    /// Files, links and directories, sorted by path (bytes); the root itself is not among them.
    pub entries: Vec<Entry>,
    /// What was left out because it may hold a secret: path, and the pattern that says so.
    pub withheld: Vec<(String, String)>,
    /// What was left out because it can't be sent (sockets, FIFOs, devices).
    pub unsendable: Vec<String>,
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

impl Snapshot {
    /// The tree digest: depends on names, contents, executable bits and links, and on nothing else (no times, no order
    /// of reading, no user, no machine).
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(b"nauta tree 1\n");
        for entry in &self.entries {
            hash_field(&mut hasher, &entry.path);
            match &entry.content {
                Content::File { digest, executable, .. } => {
                    hasher.update(if *executable { b"x" } else { b"f" });
                    hash_field(&mut hasher, digest.hex().as_bytes());
                }
                Content::Link { target } => {
                    hasher.update(b"l");
                    hash_field(&mut hasher, target);
                }
                Content::Directory => hasher.update(b"d"),
            }
        }
        hasher.finish()
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(Entry::size).sum()
    }

    /// How many regular files.
    pub fn files(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.content, Content::File { .. })).count()
    }

    /// The entry at a path, if there is one.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path.as_bytes())).ok().map(|i| &self.entries[i])
    }

    /// The largest files, largest first.
    pub fn largest(&self, count: usize) -> Vec<&Entry> {
        let mut files: Vec<&Entry> = self.entries.iter().collect();
        files.sort_by_key(|entry| std::cmp::Reverse(entry.size()));
        files.truncate(count);
        files
    }
}

impl Entry {
    /// Bytes; 0 for links and directories.
    pub const fn size(&self) -> u64 {
        match &self.content {
            Content::File { size, .. } => *size,
            _ => 0,
        }
    }

    /// The path as people read it.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// A field with its length before it, so that no two lists of fields give the same bytes.
fn hash_field(hasher: &mut Hasher, field: &[u8]) {
    hasher.update(&(field.len() as u64).to_le_bytes());
    hasher.update(field);
}
