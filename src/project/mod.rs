//! The working directory: which directory is the project, what is in it that says how to run it, and what it is called.
//!
//! Owns: [`Project`], [`Found`], project names. Does not own: the files' content as a whole (`snapshot`), configuration
//! (`settings`). Reads files only. Start reading at [`Project::open`].

mod declared;
mod found;
mod name;
mod python_version;
mod root;
pub mod template;
mod uv_lock;

pub use declared::Declared;
pub use found::programs;
pub use found::{Dependencies, Found};
pub use name::{is_run_name, label_value, project_name, run_name};
pub use python_version::wanted_python;
pub use root::{Project, ProjectError};
pub use uv_lock::Heavy;
