//! Images as values: how an environment is made, what a run image consists of, and what they are called.
//!
//! Owns: [`EnvironmentPlan`] and its key, the generated Dockerfile, the composed run image. Does not own: building
//! (`docker`) or sending (`registry`). Start reading at [`EnvironmentPlan`], then [`compose`].

pub mod build_plan;
pub mod compose;
mod dockerfile;
mod environment;
pub(crate) mod fuzz;
mod instructions;
mod reference;

pub use dockerfile::{CA_SECRET, Recipe, render};
pub use environment::{Builder, EnvironmentPlan, environment_key};
pub use reference::{ImageReference, InvalidReference, is_repository, is_tag};
