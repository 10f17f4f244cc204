//! Whether anything moves: what is waited for at a rank's end may take long, and may not stand still for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When something moved last, for all that know of it.
#[derive(Clone)]
pub(in crate::supervisor) struct Activity {
    begin: Instant,
    /// Milliseconds after `begin`.
    last: Arc<AtomicU64>,
}

impl Activity {
    pub(in crate::supervisor) fn new() -> Self {
        Self { begin: Instant::now(), last: Arc::default() }
    }

    /// Something moved.
    pub(in crate::supervisor) fn stirs(&self) {
        self.last.store(u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Until nothing has moved for so long.
    pub(in crate::supervisor) async fn is_still_for(&self, limit: Duration) {
        while self.last() + limit > Instant::now() {
            sleep_until(self.last() + limit).await;
        }
    }

    fn last(&self) -> Instant {
        self.begin + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// The outcome of `work`; `None` when nothing has moved for so long.
    pub(in crate::supervisor) async fn unless_still<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.is_still_for(limit) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bound_counts_stillness_and_not_the_whole_time() {
        let activity = Activity::new();
        let first = activity.last();
        std::thread::sleep(Duration::from_millis(5));
        activity.stirs();
        assert!(activity.last() > first, "what moves puts the bound off");
        assert!(activity.unless_still(Duration::ZERO, std::future::pending::<()>()).await.is_none());
        assert!(activity.unless_still(Duration::ZERO, std::future::ready(())).await.is_some());
        let limit = Duration::from_millis(20);
        assert!(activity.unless_still(limit, std::future::pending::<()>()).await.is_none());
        assert!(activity.last().elapsed() >= limit);
    }
}
