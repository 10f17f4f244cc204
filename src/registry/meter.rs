//! Watches bytes move: progress for the user, and a stall timer instead of a limit on the whole transfer.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::error::Reach;
use super::retry::Patience;

/// How often progress is looked at.
const GLANCE: Duration = Duration::from_millis(100);
/// How much of what was handed over may still be in the operating system's buffers, in bytes (Linux: `tcp_wmem`).
const BUFFERED: u64 = 4 * 1024 * 1024;
/// The slowest that a registry may store what it has received before it answers, in bytes per second. Copying a large
/// blob within its storage happens after the last byte has come, in silence.
const SLOWEST_STORE: u64 = 8 * 1024 * 1024;

/// Bytes handed to the connection by one attempt at a request's body.
#[derive(Default)]
pub(super) struct Meter {
    total: u64,
    moved: AtomicU64,
    fault: Mutex<Option<io::Error>>,
}

impl Meter {
    /// For a body of `total` bytes.
    pub(super) fn new(total: u64) -> Self {
        Self { total, ..Self::default() }
    }

    /// Notes that `bytes` more have been handed over.
    pub(super) fn add(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes handed over so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How long bytes may still move, or be stored, without anything to be seen of it here.
    fn unseen(&self, moved: u64, slowest: u64) -> Duration {
        let leaving = moved.min(BUFFERED) / slowest.max(1);
        let storing = if moved >= self.total { self.total / SLOWEST_STORE } else { 0 };
        Duration::from_secs(leaving + storing)
    }

    /// Notes why the body's source failed; the HTTP library would hide it.
    pub(super) fn fail(&self, error: io::Error) {
        *self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
    }

    /// Why the body's source failed, if it did.
    pub(super) fn take_fault(&self) -> Option<io::Error> {
        self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

/// Waits for `work` as long as bytes move, or may move unseen; once all are handed over, as long as storing them may take.
pub(super) async fn guard<T>(
    work: impl Future<Output = T>,
    patience: Patience,
    meter: &Meter,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<T, Reach> {
    tokio::pin!(work);
    let mut glance = tokio::time::interval(GLANCE.min(patience.stall / 4).max(Duration::from_millis(1)));
    glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = (meter.moved(), Instant::now());
    loop {
        tokio::select! {
            done = &mut work => {
                if meter.moved() != last.0 {
                    progress(meter.moved());
                }
                return Ok(done);
            }
            _ = glance.tick() => {}
        }
        let moved = meter.moved();
        if moved != last.0 {
            last = (moved, Instant::now());
            progress(moved);
        }
        let limit = patience.stall + meter.unseen(moved, patience.slowest);
        if last.1.elapsed() >= limit {
            return Err(if moved > 0 && moved < meter.total { Reach::Stalled(limit) } else { Reach::TimedOut(limit) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn patience(stall: Duration) -> Patience {
        Patience { stall, ..Patience::default() }
    }

    #[test]
    fn a_full_buffer_on_a_slow_line_is_given_time() {
        let meter = Meter::new(64 << 20);
        assert_eq!(meter.unseen(0, 50_000), Duration::ZERO);
        assert_eq!(meter.unseen(1_000_000, 50_000), Duration::from_secs(20));
        assert_eq!(meter.unseen(32 << 20, 50_000), Duration::from_secs(83));
        assert_eq!(meter.unseen(64 << 20, 50_000), Duration::from_secs(83 + 8));
    }

    #[tokio::test]
    async fn slow_is_not_stalled() {
        let meter = Arc::new(Meter::new(30));
        let work = {
            let meter = Arc::clone(&meter);
            async move {
                for _ in 0..30 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    meter.add(1);
                }
            }
        };
        assert_eq!(guard(work, patience(Duration::from_secs(1)), &meter, &|_| ()).await, Ok(()));
    }

    #[tokio::test]
    async fn silence_ends_the_wait() {
        let stall = Duration::from_millis(50);
        let meter = Meter::new(100);
        assert_eq!(
            guard(std::future::pending::<()>(), patience(stall), &meter, &|_| ()).await,
            Err(Reach::TimedOut(stall))
        );
        meter.add(50);
        assert_eq!(
            guard(std::future::pending::<()>(), patience(stall), &meter, &|_| ()).await,
            Err(Reach::Stalled(stall))
        );
    }
}
