//! nauta takes a working directory to N machines and brings the results back.
//!
//! The registry carries data, the Kubernetes API carries control, Docker builds. Modules are layered, and a module
//! imports only from lower layers (`tests/meta` keeps it so):
//!
//! | layer | modules |
//! |---|---|
//! | L6 | [`cli`] |
//! | L5 | [`commands`], [`supervisor`] |
//! | L4 | [`context`], [`delivery`], [`follow`] |
//! | L3 | [`docker`], [`registry`], [`cluster`], [`credentials`], [`output`] |
//! | L2 | [`event`] |
//! | L1 | [`project`], [`snapshot`], [`image`], [`job`], [`sync`], [`control`], [`settings`] |
//! | L0 | [`diagnosis`], [`digest`], [`secret`], [`layout`], [`env_vars`], [`archive`] |

pub mod archive;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod context;
pub mod control;
pub mod credentials;
pub mod delivery;
pub mod diagnosis;
pub mod digest;
pub mod docker;
pub mod env_vars;
pub mod event;
pub mod follow;
pub mod image;
pub mod job;
pub mod layout;
pub mod output;
pub mod project;
pub mod registry;
pub mod secret;
pub mod settings;
pub mod snapshot;
pub mod supervisor;
pub mod sync;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs nauta with `arguments` (the program's name first).
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match arguments.get(1).and_then(|verb| verb.to_str()) {
        // Before anything else: as PID 1 there is no time to lose.
        Some("supervise") => ExitCode::from(supervisor::main(arguments[2..].to_vec())),
        Some("janitor") => ExitCode::from(docker::janitor::main(&arguments[2..])),
        _ => ExitCode::from(70),
    }
}
