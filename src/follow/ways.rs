//! The ways to a run's supervisors: through rank 0, one connection for all, or straight to a rank where that cannot be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::engine::Engine;
use super::trunk::{RankStream, Trunk};

/// How long rank 0 may take to lead to a rank, before whoever follows goes straight to it: containers start one after the other.
const FOLLOWING: Duration = Duration::from_secs(10);

/// The ways to the supervisors of one run.
pub struct Ways {
    engine: Arc<Engine>,
    patience: Duration,
    trunk: Mutex<Option<Trunk>>,
    /// Until when rank 0 may still come to lead to a rank; ranks that it has led to need no such time.
    deadlines: Mutex<HashMap<u32, Instant>>,
}

impl Ways {
    /// For a look at what is there now.
    pub fn at_once(engine: Engine) -> Self {
        Self::new(Arc::new(engine), Duration::ZERO)
    }

    /// For following a run from its begin: rank 0 may lead to the others a little later.
    pub(super) fn with_patience(engine: Arc<Engine>) -> Self {
        Self::new(engine, FOLLOWING)
    }

    fn new(engine: Arc<Engine>, patience: Duration) -> Self {
        Self { engine, patience, trunk: Mutex::default(), deadlines: Mutex::default() }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Opens a stream to a rank's supervisor. The error is one sentence.
    pub(super) async fn to(&self, rank: u32) -> Result<RankStream, String> {
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
        let mut deadlines = self.deadlines.lock().await;
        let now = Instant::now();
        now < *deadlines.entry(rank).or_insert(now + self.patience)
    }

    async fn through_rank_0(&self, rank: u32) -> Result<RankStream, String> {
        let mut trunk = {
            let mut trunk = self.trunk.lock().await;
            match &*trunk {
                Some(open) if !open.is_gone() => open.clone(),
                _ => trunk.insert(self.straight(0).await?).clone(),
            }
        };
        trunk.to(rank).await
    }

    async fn straight(&self, rank: u32) -> Result<Trunk, String> {
        let stream = self.engine.open_control(rank).await.map_err(|error| error.to_string())?;
        Trunk::open(stream).await
    }
}
