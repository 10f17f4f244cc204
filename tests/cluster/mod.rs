//! Kubernetes: everything here runs against a real cluster.

mod check;
mod control;
mod errors;
mod list;
mod objects;
mod submit;
mod support;
mod troubles;
mod watch;
