//! The Kubernetes API: checks, objects, states, control streams. Never bulk data.
//!
//! Owns: [`Cluster`], [`ClusterRun`] and their errors. Does not own: what the objects are and what states mean (`job`).
//! Start reading at [`Cluster::connect`].

mod error;
mod run;
mod session;

pub use error::ClusterError;
pub use run::{ClusterRun, ClusterSummary};
pub use session::{Cluster, ClusterSettings};
