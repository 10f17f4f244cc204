//! A run as Kubernetes objects: one Indexed Job that owns a headless Service, which owns the run's credentials.
//!
//! Owns: [`RunObjects`], their text form and their admissibility under Pod Security `restricted`. Does not own: sending
//! them (`cluster`). Start reading at [`RunObjects::plan`].
//!
//! Everything carries the labels of [`crate::layout::label`]: `app.kubernetes.io/managed-by=nauta`, `nauta.dev/run`,
//! `nauta.dev/project`, `nauta.dev/user`. The Job also carries the annotations `nauta.dev/nodes`, `nauta.dev/command`,
//! `nauta.dev/snapshot`, `nauta.dev/mailbox`, `nauta.dev/version` and `nauta.dev/submission`, so that a list of Jobs is a
//! list of runs.

mod credentials;
mod expansion;
mod indexed_job;
mod metadata;
mod plan;
mod pod;
mod render;
mod shared;

pub use credentials::holds_credentials;
pub use expansion::escape_expansion;
pub use metadata::{MAX_COMMAND_ANNOTATION, command_annotation, label_value};
pub use plan::{ClusterRun, MAX_OBJECT, ObjectError, RunObjects};
pub use pod::{COMPLETION_INDEX, CONTAINER, NODE_ARCHITECTURE};
