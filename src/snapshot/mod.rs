//! The project's files at one moment, named by a tree digest.
//!
//! Owns: which files are taken ([`rules`]), how they are read ([`take`]) and what their tree digest is. Does not own:
//! layers (`image`). Start reading at [`take`].

mod read;
pub mod rules;
mod tree;

pub use read::{SnapshotError, take};
pub use tree::{Content, Entry, Snapshot};
