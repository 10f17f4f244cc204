//! Outputs on their way back: what a rank has written, cut into chunks, and what of it is where.
//!
//! Owns: the [`Index`] (its JSON form is stored in the mailbox) and its [`Page`]s (which also go over the control stream), and what of them is
//! believed ([`File::check`], [`acceptable`], [`Budget`]). Does not own: the registry or the control stream that carry them. Start reading at [`Index`].

mod bounds;
mod budget;
pub(crate) mod fuzz;
pub mod journal;
mod link;
mod name;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub use budget::{Budget, Limit, Taken};
pub use link::link_inside;
pub use name::acceptable;

/// Chunks of large files: fixed, so that what is frozen between two checkpoints keeps its digests. Bytes.
pub const CHUNK: u64 = 16 * 1024 * 1024;
/// No blob of ours is larger, since the registry cannot resume inside one. Bytes.
pub const MAX_BLOB: u64 = 64 * 1024 * 1024;
/// The longest page of a list that is read, in bytes: one file of half a terabyte fits.
pub const MAX_PAGE: u64 = 16 * 1024 * 1024;
/// A page of a list has at most so many files.
pub const PAGE_FILES: usize = 10_000;
/// Media type of an index in the mailbox (the manifest's configuration blob).
pub const INDEX_MEDIA_TYPE: &str = "application/vnd.nauta.outputs.v1+json";
/// Media type of a page of an index.
pub const PAGE_MEDIA_TYPE: &str = "application/vnd.nauta.outputs.page.v1+json";
/// Media type of a blob of chunks in the mailbox.
pub const PACK_MEDIA_TYPE: &str = "application/vnd.nauta.pack.v1";

/// What a rank has written, at one moment. Of very many files most are in pages of their own; what is said of a path later
/// replaces what is said earlier: the pages in their order, and `files` and `removed` behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Version of this form: 1 where all files are in `files`, 2 where there may be pages.
    pub schema: u32,
    /// The run's name.
    pub run: String,
    /// Who wrote it.
    pub rank: u32,
    /// Rises with every index of a rank.
    pub sequence: u64,
    /// Whether the program has ended, everything that it left is listed, and nothing will follow.
    pub complete: bool,
    /// How the rank ended, once it has. Without `complete`, what it left is not (yet) all here.
    pub end: Option<crate::event::End>,
    /// What is listed before `files`, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<PageRef>,
    /// The files, each path once.
    pub files: Vec<File>,
    /// Paths of the pages whose files are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Files that could not be taken, with the reason (still changing, unreadable, no regular file, a path we refuse).
    pub skipped: Vec<Skipped>,
    /// What of the working directory stays there by a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What was there at the end, and did not come into the mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsent: Option<Unsent>,
    /// What of the rank's journal is in the mailbox.
    pub journal: Option<JournalCopy>,
    /// What is before it, oldest first: the journals of containers whose place this one has taken, and what of its own
    /// comes before bytes that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<JournalCopy>,
}

/// Where a [`Page`] is in the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// Its JSON.
    pub blob: Digest,
    /// How long that is, in bytes.
    pub size: u64,
}

/// A part of a list of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Files that are new or have changed, each path once.
    pub files: Vec<File>,
    /// Paths whose files are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// With the last page of a list: what could not be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// With the last page of a list: what of the working directory stays there by a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// What did not come into the mailbox before a rank's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsent {
    /// How many files.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// Some of their paths.
    pub names: Vec<String>,
    /// Why, in one sentence.
    pub reason: String,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.files == 0 {
            return write!(f, "the list of them was not sent: {}", self.reason);
        }
        let names = self.names.iter().map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ");
        let more = if self.files > self.names.len() as u64 { ", …" } else { "" };
        write!(f, "{} files ({} bytes) were not sent: {names}{more}: {}", self.files, self.bytes, self.reason)
    }
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
    /// What it leads to, where it is a symbolic link: relative to its own folder, and inside the rank's outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The folder that the program made it in.
    #[serde(default, skip_serializing_if = "Origin::is_outputs")]
    pub origin: Origin,
}

/// A folder whose files are outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `$NAUTA_OUTPUTS`.
    #[default]
    Outputs,
    /// The program's working directory.
    Workspace,
    /// `$NAUTA_SHARED`, which all ranks have; rank 0 lists it.
    Shared,
}

impl Origin {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
    fn is_outputs(&self) -> bool {
        *self == Self::Outputs
    }
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
    /// Whether it is no regular file: there is no content that could be missing.
    #[serde(default)]
    pub special: bool,
}

/// What a program made in its working directory and nauta does not bring back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// A file, a folder with a `/` behind its name, or `*` for files beside each other.
    pub path: String,
    /// How many files.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// By what.
    #[serde(default)]
    pub by: LeftBy,
}

/// What keeps something from coming back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftBy {
    /// It looks like data that was downloaded.
    #[default]
    Looks,
    /// `outputs.max_file_size`.
    MaxFileSize,
    /// `outputs.max_rank_files`.
    MaxRankFiles,
}

impl fmt::Display for LeftBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Looks => "it looks like data that was downloaded",
            Self::MaxFileSize => "`outputs.max_file_size` allows no larger files",
            Self::MaxRankFiles => "`outputs.max_rank_files` allows no more files",
        })
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not taken: {}", self.path.escape_debug(), self.reason)
    }
}

/// The mailbox's tag for a rank's index.
#[must_use]
pub fn index_tag(run: &str, rank: u32) -> String {
    format!("run-{run}-rank-{rank}")
}
