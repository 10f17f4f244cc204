//! The Docker engine: image builds, image export, and runs on the workstation.
//!
//! Owns: the connection to the engine and everything said over it. Does not own: what is built (`image`), what a run
//! is (`job`), what a rank says (`control`). Start reading at [`Docker`].
//!
//! No bind mount is ever asked for: the engine may be on another machine, so all data moves through its API.

mod build;
mod endpoint;
mod engine;
mod error;
mod export;
pub(crate) mod fuzz;
mod hints;
mod image;
pub mod janitor;
mod local;
mod saved;
mod transport;
mod upload;

pub use build::{BuiltImage, FindLogin};
pub use endpoint::{DockerSettings, Endpoint, Origin};
pub use engine::Docker;
pub use error::DockerError;
pub use export::{ExportedImage, ExportedLayer};
pub use image::LocalImage;
pub use local::{Code, ControlStream, JanitorProgram, LocalPlan, LocalRun, RunSummary};
