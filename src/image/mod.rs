//! Images as values: how an environment is made, what a run image consists of, and what they are called.
//!
//! Owns: [`EnvironmentPlan`], what its build reads ([`inputs`]) and its key, the generated Dockerfile, the composed run image. Does not own: building
//! (`docker`) or sending (`registry`). Start reading at [`EnvironmentPlan`], then [`compose`].

mod build_options;
pub mod build_plan;
pub mod compose;
mod dockerfile;
mod environment;
pub(crate) mod fuzz;
pub mod inputs;
mod instructions;
mod mounts;
mod package_settings;
pub mod passwords;
mod recipe;
mod reference;
mod stages;
mod torch;

pub use build_options::BuildOptions;
pub use dockerfile::{Recipe, Site, render};
pub use environment::{Builder, Environment, EnvironmentPlan};
pub use mounts::{CA_SECRET, CONDARC_SECRET, Mounts, NETRC_SECRET, VARIABLES_SECRET};
pub use package_settings::PackageSettings;
pub use reference::{ImageReference, InvalidReference, is_repository, is_tag, short_name};
pub use torch::Torch;
