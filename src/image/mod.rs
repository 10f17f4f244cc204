//! Images as values: how an environment is made, what a run image consists of, and what they are called.
//!
//! Owns: [`EnvironmentPlan`], what its build reads ([`inputs`]) and its key, the generated Dockerfile, the composed run image. Does not own: building
//! (`docker`) or sending (`registry`). Start reading at [`EnvironmentPlan`], then [`compose`].

pub mod build_plan;
pub mod compose;
mod dockerfile;
mod environment;
pub(crate) mod fuzz;
pub mod inputs;
mod instructions;
mod recipe;
mod reference;

pub use dockerfile::{CA_SECRET, Recipe, Site, render};
pub use environment::{Builder, Environment, EnvironmentPlan};
pub use reference::{ImageReference, InvalidReference, is_repository, is_tag};
