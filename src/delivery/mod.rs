//! From a project to an image that an engine can start: the environment, and for clusters the run image.
//!
//! Owns: the order of the steps. Does not own: building (`docker`), sending (`registry`), what images are (`image`).
//! Start reading at [`run_image()`].

mod access;
mod code;
mod environment;
mod environment_image;
mod error;
mod known;
mod layer;
mod lock;
mod logins;
mod packages;
mod parts;
mod provenance;
mod run_image;
mod secrets;
mod stack;
mod supervisor;
mod supervisor_layer;

pub use access::{HostAccess, open_registry};
pub use code::write_code;
pub use environment::{LocalEnvironment, Surroundings, environment, local_environment, plan_environment};
pub use error::DeliveryError;
pub use lock::{pin, update};
pub use packages::package_settings;
pub use run_image::{Delivery, RunImage, Work, rebase, run_image};
pub use secrets::password_in_build;
pub use supervisor::supervisor;
