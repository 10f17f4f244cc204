//! The Kubernetes API: checks, objects, watches, control streams. Never bulk data.
//!
//! Owns: [`Cluster`] and every request to an API server. Does not own: what the objects are and what their states mean
//! (`job`). Start reading at [`Cluster::connect`].

mod access;
mod cancel;
mod certificate;
mod check;
mod classify;
mod control;
mod error;
pub(crate) mod fuzz;
mod hints;
mod hosting;
mod kubeconfig;
mod list;
mod login;
mod logs;
mod release;
mod session;
mod socket;
mod status;
mod storage;
mod submit;
mod transport;
mod tunnel;
mod watch;

pub use access::Access;
pub use cancel::Cancelled;
pub use check::{ControlRoute, Findings, Survey};
pub use error::{Cause, ClusterError, Place};
pub use hosting::RegistryHosting;
pub use kubeconfig::ClusterAddress;
pub use list::{RunSummary, Scope};
pub use logs::LogRange;
pub use session::Cluster;
pub use socket::ControlStream;
pub use status::RunStatus;
pub use submit::Submitted;
pub use watch::Observation;
