//! Runs on the workstation: a container per rank on a private network, and nothing left of them afterwards.
//!
//! Owns: containers and networks of runs, the lease that ends a run whose nauta has died, and finding leftovers. Does
//! not own: what happens inside a rank (`supervisor`) or the process that outlives us to clean up (`janitor`). Start
//! reading at [`LocalPlan`], then `Docker::start_local`.

mod cleanup;
mod contents;
mod control;
mod find;
mod owner;
mod plan;
mod run;
mod start;
mod watch;

pub use contents::Code;
pub use control::ControlStream;
pub use find::RunSummary;
pub use plan::{JanitorProgram, LocalPlan};
pub use run::LocalRun;

pub(super) use cleanup::{end_and_remove, remove_what_remains};
pub(super) use owner::Owner;
