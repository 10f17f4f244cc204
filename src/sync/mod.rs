//! Outputs on their way back: what a rank has written, cut into chunks, and what of it is where.
//!
//! Owns: the [`Index`] (its JSON form is stored in the mailbox and sent over the control stream), and what of it is believed
//! ([`File::check`], [`acceptable`], [`Budget`]). Does not own: the registry or the control stream that carry it. Start reading at [`Index`].

mod bounds;
mod budget;
pub(crate) mod fuzz;
pub mod journal;
mod name;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub use budget::{Budget, Limit, Taken};
pub use name::acceptable;

/// Chunks of large files: fixed, so that what is frozen between two checkpoints keeps its digests. Bytes.
pub const CHUNK: u64 = 16 * 1024 * 1024;
/// No blob of ours is larger, since the registry cannot resume inside one. Bytes.
pub const MAX_BLOB: u64 = 64 * 1024 * 1024;
/// Media type of an index in the mailbox (the manifest's configuration blob).
pub const INDEX_MEDIA_TYPE: &str = "application/vnd.nauta.outputs.v1+json";
/// Media type of a blob of chunks in the mailbox.
pub const PACK_MEDIA_TYPE: &str = "application/vnd.nauta.pack.v1";

/// All that a rank has written, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Version of this form; 1.
    pub schema: u32,
    /// The run's name.
    pub run: String,
    /// Who wrote it.
    pub rank: u32,
    /// Rises with every index of a rank.
    pub sequence: u64,
    /// Whether the program has ended and nothing will follow.
    pub complete: bool,
    /// How the rank ended, once it has.
    pub end: Option<crate::event::End>,
    /// The files, sorted by path.
    pub files: Vec<File>,
    /// Files that could not be taken, with the reason (still changing, unreadable, no regular file, a path we refuse).
    pub skipped: Vec<Skipped>,
    /// What of the rank's journal is in the mailbox.
    pub journal: Option<JournalCopy>,
    /// What is before it, oldest first: the journals of containers whose place this one has taken, and what of its own
    /// comes before bytes that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<JournalCopy>,
}

/// A rank's journal in the mailbox: records as [`journal`] describes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalCopy {
    /// Which start of the supervisor wrote it.
    pub instance: String,
    /// Journal offset of its first byte; more than 0 when the oldest records were dropped.
    pub start: u64,
    /// Whether its last record is the supervisor's last word; else the rank went on, or was lost.
    #[serde(default)]
    pub whole: bool,
    /// Where its bytes are, in order; each has whole records.
    pub chunks: Vec<Chunk>,
}

/// A file of the outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Relative to the outputs folder, with `/`; never absolute, never with `..`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits (0o777).
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: i64,
    /// SHA-256 of the whole content.
    pub digest: Digest,
    /// Where the content is in the mailbox, in order; empty when it is not there (control stream) or has no bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Chunk>,
}

/// A piece of a file, in a blob of the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The blob.
    pub blob: Digest,
    /// Where in the blob it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of the piece.
    pub digest: Digest,
}

/// A file of the outputs that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path, made printable.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// The mailbox's tag for a rank's index.
#[must_use]
pub fn index_tag(run: &str, rank: u32) -> String {
    format!("run-{run}-rank-{rank}")
}
