//! What a build reads: computed from what the project says, and the same set for the build's context and the environment's key.
//!
//! Owns: [`Inputs`], and how each kind of file leads to others (`-r`, `COPY`, workspaces). Does not own: what is done with them
//! (`dockerfile`, `delivery`). Start reading at [`gather()`].

mod conda;
mod copies;
mod gather;
mod glob;
mod local;
mod package;
mod project;
mod python;
mod requirements;
#[cfg(test)]
mod tests;
mod uv;
mod value;

pub use gather::gather;
pub(crate) use requirements::fuzz_requirements;
pub use value::{Input, Inputs, Problem, Reason, Trouble};
