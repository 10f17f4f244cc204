//! The ways to a run's supervisors: through rank 0, one connection for all, or straight to a rank where that cannot be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

use super::engine::Engine;
use super::trunk::{RankStream, Trunk};

/// How long rank 0 may take to lead to a rank, before whoever follows goes straight to it: containers start one after the other.
const FOLLOWING: Duration = Duration::from_secs(10);

/// The ways to the supervisors of one run.
pub struct Ways {
    engine: Arc<Engine>,
    patience: Duration,
    trunk: Mutex<Option<Trunk>>,
    /// Whether rank 0 was ever reached, or is not waited for. Whoever follows it sees to that; the others need not all try.
    reached: watch::Sender<bool>,
    /// Until when rank 0 may still come to lead to a rank; ranks that it has led to need no such time.
    deadlines: Mutex<HashMap<u32, Instant>>,
}

impl Ways {
    /// For a look at what is there now.
    pub fn at_once(engine: impl Into<Arc<Engine>>) -> Self {
        Self::new(engine.into(), Duration::ZERO)
    }

    /// For following a run from its begin: rank 0 may lead to the others a little later.
    pub(super) fn with_patience(engine: Arc<Engine>) -> Self {
        Self::new(engine, FOLLOWING)
    }

    fn new(engine: Arc<Engine>, patience: Duration) -> Self {
        Self {
            engine,
            patience,
            trunk: Mutex::default(),
            reached: watch::Sender::new(false),
            deadlines: Mutex::default(),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Some rank has ended: from now on everybody finds out for himself whether there is a way.
    pub(super) fn wait_no_more(&self) {
        self.reached.send_replace(true);
    }

    /// Opens a stream to a rank's supervisor. The error is one sentence.
    pub(super) async fn to(&self, rank: u32) -> Result<RankStream, String> {
        if rank > 0 {
            let deadline = self.deadline(rank).await;
            let _ = timeout_at(deadline, self.reached.subscribe().wait_for(|reached| *reached)).await;
        }
        let reason = match self.through_rank_0(rank).await {
            Ok(stream) => {
                self.deadlines.lock().await.insert(rank, Instant::now());
                return Ok(stream);
            }
            Err(reason) => reason,
        };
        if rank == 0 || self.is_to_wait(rank).await {
            return Err(reason);
        }
        tracing::debug!(rank, reason, "going straight to the rank");
        self.straight(rank).await?.to(rank).await
    }

    async fn is_to_wait(&self, rank: u32) -> bool {
        Instant::now() < self.deadline(rank).await
    }

    async fn deadline(&self, rank: u32) -> Instant {
        *self.deadlines.lock().await.entry(rank).or_insert_with(|| Instant::now() + self.patience)
    }

    async fn through_rank_0(&self, rank: u32) -> Result<RankStream, String> {
        let mut trunk = {
            let mut trunk = self.trunk.lock().await;
            match &*trunk {
                Some(open) if !open.is_gone() => open.clone(),
                _ => trunk.insert(self.straight(0).await?).clone(),
            }
        };
        self.reached.send_replace(true);
        trunk.to(rank).await
    }

    async fn straight(&self, rank: u32) -> Result<Trunk, String> {
        let stream = self.engine.open_control(rank).await.map_err(|error| error.to_string())?;
        Trunk::open(stream).await
    }
}
