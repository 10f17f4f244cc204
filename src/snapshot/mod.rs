//! The project's files at one moment, named by a tree digest.
//!
//! Owns: which files are taken ([`rules`]), how they are found and read ([`take`]), what is remembered of them (the index)
//! and what their tree digest is. Does not own: layers (`image`). Start reading at [`take`], then `walk`.

mod difference;
mod disk;
mod error;
pub(crate) mod fuzz;
mod index;
mod kept;
mod left;
mod read;
mod record;
pub mod rules;
mod singles;
mod tree;
mod value;
mod walk;

pub use difference::{Difference, differences, since_last_run};
pub use error::SnapshotError;
pub use left::{Left, LeftPath};
pub use read::{explain, is_allowed, take, take_for_build};
pub use singles::Singles;
pub use value::{Content, Entry, Snapshot};
