//! From a project to an image that an engine can start: the environment, and for clusters the run image.
//!
//! Owns: the order of the steps. Does not own: building (`docker`), sending (`registry`), what images are (`image`).
//! Start reading at [`run_image`].

mod code;
mod environment;
mod error;
mod registry_image;
mod stack;
mod supervisor_layer;

pub use code::write_code;
pub use environment::{Surroundings, local_environment, plan_environment};
pub use error::DeliveryError;
pub use registry_image::{Delivery, RunImage, run_image};
