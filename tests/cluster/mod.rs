//! Kubernetes: everything here runs against a real cluster.

mod check;
mod control;
mod errors;
mod list;
mod objects;
mod proxy;
mod submit;
mod support;
mod troubles;
mod watch;
