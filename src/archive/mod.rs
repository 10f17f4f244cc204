//! Deterministic tar archives: the same entries give the same bytes.
//!
//! Owns: [`Writer`] (USTAR, with GNU long names only where a name needs them), [`Packer`], [`gzip`] and [`gzip_bytes`],
//! [`GrowingFile`], and how a source is opened. Does not own: which entries there are and in which order (`image`,
//! `snapshot`, `docker`). Start reading at [`Writer`].
//!
//! Nothing here reads archives that others made, and nothing is taken from a file but its bytes: modes, owners and
//! times are the caller's to choose.

mod growing;
mod hashing;
mod pack;
mod source;
mod writer;

pub use growing::{GrowingFile, GrowingWriter, growing};
pub use hashing::{Hashing, Written};
pub use pack::{Packer, gzip, gzip_bytes};
pub use source::open_source;
pub use writer::{ArchiveError, Attributes, BLOCK, Writer};
