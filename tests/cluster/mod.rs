//! Kubernetes: everything here runs against a real cluster.

mod check;
mod control;
mod errors;
mod list;
mod objects;
mod proxy;
mod simulation;
mod submit;
pub(crate) mod support;
mod troubles;
mod watch;
