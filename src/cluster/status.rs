//! One run in detail, at one moment.

use jiff::Timestamp;
use serde::Serialize;

use super::error::ClusterError;
use super::{Cluster, RunSummary};
use crate::job::state::{Fold, RunView};

/// A run in detail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunStatus {
    /// What its Job tells.
    pub summary: RunSummary,
    /// Its ranks, their pods and nodes, and what stands in the way.
    pub view: RunView,
}

impl Cluster {
    /// A run as it is now.
    pub async fn status(&self, run: &str) -> Result<RunStatus, ClusterError> {
        let mut fold = Fold::new(run);
        let (fresh, warnings) = tokio::join!(self.look(run), self.warnings(run));
        fresh?.into_iter().chain(warnings).for_each(|change| fold.apply(change));
        match fold.job() {
            Some(job) => Ok(RunStatus { summary: RunSummary::of(job), view: fold.view(Timestamp::now()) }),
            None => Err(self.no_such_run(run).await),
        }
    }
}
