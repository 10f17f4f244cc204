//! One vocabulary for both engines.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::cluster::Cluster;
use crate::diagnosis::Result;
use crate::docker::LocalRun;

/// A byte stream to a rank's supervisor.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A run on an engine.
pub enum Engine {
    /// Docker on this workstation.
    Local(Box<LocalRun>),
    /// Kubernetes.
    Cluster {
        /// The namespace it is in.
        cluster: Arc<Cluster>,
        /// Its name.
        run: String,
    },
}

impl Engine {
    /// Opens a byte stream to a rank's supervisor.
    pub(super) async fn open_control(&self, rank: u32) -> Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Local(run) => Box::new(run.open_control(rank).await?),
            Self::Cluster { cluster, run } => Box::new(cluster.open_control(run, rank).await?),
        })
    }
}
