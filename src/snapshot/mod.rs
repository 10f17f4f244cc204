//! The project's files at one moment, named by a tree digest.
//!
//! Owns: which files are taken ([`rules`]), how they are found and read ([`take`]), what is remembered of them (the index)
//! and what their tree digest is. Does not own: layers (`image`). Start reading at [`take`], then `walk` and `visit`.

mod difference;
mod disk;
mod docker_ignore;
mod error;
pub(crate) mod fuzz;
mod git_index;
mod git_patterns;
mod glob;
mod idle;
mod index;
mod kept;
mod left;
mod level;
mod own_rules;
mod read;
mod record;
mod repository;
pub mod rules;
mod settle;
mod singles;
mod tree;
mod value;
mod visit;
mod walk;

pub use difference::{Difference, differences, since_last_run};
pub use error::SnapshotError;
pub(crate) use glob::{Dialect, Glob};
pub use idle::Idle;
pub use left::{Left, LeftPath};
pub use own_rules::{CACHE_FOLDERS, ENVIRONMENT_MARKS};
pub use read::{explain, is_allowed, take, take_for_build};
pub use repository::GitUser;
pub use rules::Origin;
pub use singles::Singles;
pub use value::{Content, Entry, Snapshot};
