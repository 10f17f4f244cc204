//! The process that outlives nauta to clean up after it: `nauta janitor`, started before a run's first object is made.
//!
//! Owns: what the two say to each other, and what the janitor does when its nauta is no more. Does not own: removing
//! (`local`). Start reading at [`main`].
//!
//! The janitor's standard input is a pipe from nauta. It first gets its order as one line of JSON, and answers
//! `ready`. Then either a word comes (`goodbye`: all was removed; `detach`: the run goes on without nauta), or the pipe
//! ends, because the kernel closes it however nauta dies.

mod handle;
mod process;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::DockerSettings;
use crate::job::RunSpec;

pub(super) use handle::Janitor;
pub use process::main;

/// What nauta says when there is nothing to clean up any more.
const GOODBYE: &str = "goodbye";
/// What nauta says when the run goes on without it.
const DETACH: &str = "detach";
/// What the janitor says when it could begin at once.
const READY: &str = "ready";

/// What a janitor has to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    settings: DockerSettings,
    run: String,
    /// Between SIGTERM and SIGKILL.
    grace: Duration,
    /// How long a detached run may take.
    deadline: Duration,
    /// How long a detached run is kept after its end.
    keep: Duration,
}

impl Order {
    pub(super) fn new(settings: &DockerSettings, spec: &RunSpec) -> Self {
        Self {
            settings: settings.clone(),
            run: spec.name.clone(),
            grace: spec.deadlines.grace,
            // At its end, a rank waits for who fetches what it leaves.
            deadline: spec.deadlines.run.saturating_add(spec.deadlines.drain),
            keep: spec.deadlines.keep,
        }
    }
}
