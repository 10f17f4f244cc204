//! The project's files at one moment, named by a tree digest.
//!
//! Owns: which files are taken ([`rules`]), how they are found and read ([`take`]), what is remembered of them (the index)
//! and what their tree digest is. Does not own: layers (`image`). Start reading at [`take`], then `walk`.

mod difference;
mod disk;
mod error;
mod index;
mod kept;
mod read;
pub mod rules;
mod tree;
mod value;
mod walk;

pub use difference::{Difference, differences, last_run, load};
pub use error::SnapshotError;
pub use read::{explain, is_allowed, take};
pub use value::{Content, Entry, Snapshot};
