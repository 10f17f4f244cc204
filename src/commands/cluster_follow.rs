//! Following a run on a cluster until it ends, cannot start, or the user goes away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cluster::ClusterRun;
use crate::diagnosis::Result;
use crate::event::Events;
use crate::follow::{Collector, Engine, Mailbox, Outcome, follow};

/// What came of following.
pub(super) enum Followed {
    /// The run ended.
    Ended(Outcome),
    /// It cannot start, in the cluster's words.
    CannotStart(String),
    /// The user went away, and the run goes on.
    Left,
}

/// Follows a run of `nodes` ranks that has `start` to begin.
pub(super) async fn follow_on_cluster(
    run: &ClusterRun,
    nodes: u32,
    start: Duration,
    collector: Option<Collector>,
    mailbox: Option<Mailbox>,
    events: &Events,
) -> Result<Followed> {
    let (states_tx, states) = mpsc::unbounded_channel();
    let engine = Arc::new(Engine::Cluster(Box::new(run.clone())));
    tokio::select! {
        outcome = follow(engine, nodes, collector, mailbox, states, events) => Ok(Followed::Ended(outcome?)),
        message = run.watch(nodes, start, states_tx) => Ok(Followed::CannotStart(message)),
        Ok(()) = tokio::signal::ctrl_c() => Ok(Followed::Left),
    }
}
