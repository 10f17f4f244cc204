//! When to try again, after how long, and when to give up.

use std::time::Duration;

use tokio::time::Instant;

use super::error::RegistryError;
use crate::event::Events;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection or the next byte, in either direction; then the request (for blobs: the blob) is tried again.
    pub stall: Duration,
    /// The slowest network that is still used, in bytes per second: what the operating system has buffered may take so long
    /// to leave, while nothing can be seen to move. (A dead network or a stuck server is found by the kernel meanwhile.)
    pub slowest: u64,
    /// From the first failure of a request until it is given up; 0 for no second try.
    pub budget: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), slowest: 50_000, budget: Duration::from_mins(2) }
    }
}

impl Patience {
    /// For the check before any slow work: an answer within about two seconds, or none.
    pub(super) fn for_check(self) -> Self {
        Self { stall: self.stall.min(Duration::from_secs(2)), budget: Duration::ZERO, ..self }
    }
}

/// What an error says about a second try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail in the same way.
    Never,
    /// A moment later.
    Soon,
    /// Nobody is there now: with longer pauses, since starting a server takes seconds.
    Patiently,
    /// When the server says.
    After(Duration),
}

/// Counts the failures of one request. A failed attempt at a large blob may use up the whole budget, so a few tries are
/// made in any case.
pub(super) struct Attempts<'a> {
    budget: Duration,
    events: &'a Events,
    failures: u32,
    first_failure: Option<Instant>,
}

const TRIES_IN_ANY_CASE: u32 = 3;
/// Pauses from here on are worth a word to the user.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

impl<'a> Attempts<'a> {
    pub(super) const fn new(budget: Duration, events: &'a Events) -> Self {
        Self { budget, events, failures: 0, first_failure: None }
    }

    /// Waits as long as `error` asks for; gives `error` back when there is no sense in another try.
    pub(super) async fn wait_after(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let now = Instant::now();
        let since = now - *self.first_failure.get_or_insert(now);
        self.failures += 1;
        let Some(wait) = plan_wait(error.retry(), self.failures, since, self.budget, random_fraction()) else {
            return Err(error);
        };
        tracing::debug!(%error, failures = self.failures, wait = ?wait, "registry: trying again");
        if wait >= WORTH_A_WORD {
            self.events.note(format!("{error}; trying again in {} s", wait.as_secs_f32().ceil()));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// How long to wait before the next try; `None` to give up. `fraction` in 0..1 spreads many clients over time.
fn plan_wait(retry: Retry, failures: u32, since: Duration, budget: Duration, fraction: f64) -> Option<Duration> {
    let left = budget.checked_sub(since);
    let (first, longest) = match retry {
        Retry::Never => return None,
        Retry::After(wait) => return left.filter(|left| wait <= *left && !budget.is_zero()).map(|_| wait),
        Retry::Soon => (Duration::from_millis(200), Duration::from_secs(10)),
        Retry::Patiently => (Duration::from_millis(500), Duration::from_secs(5)),
    };
    if budget.is_zero() || (left.is_none() && failures >= TRIES_IN_ANY_CASE) {
        return None;
    }
    let full = first.saturating_mul(1 << failures.min(16).saturating_sub(1)).min(longest);
    let wait = full.mul_f64(0.5 + fraction / 2.0);
    Some(if failures < TRIES_IN_ANY_CASE { wait } else { wait.min(left.unwrap_or_default()) }).filter(|w| !w.is_zero())
}

/// Where no randomness can be had, clients are merely not spread.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_and_stay_within_the_budget() {
        let wait = |failures, since| plan_wait(Retry::Soon, failures, since, SECOND * 60, 1.0);
        assert_eq!(wait(1, Duration::ZERO), Some(Duration::from_millis(200)));
        assert_eq!(wait(4, SECOND), Some(Duration::from_millis(1600)));
        assert_eq!(wait(30, SECOND), Some(SECOND * 10));
        assert_eq!(wait(30, SECOND * 59), Some(SECOND));
        assert_eq!(wait(30, SECOND * 61), None);
        assert_eq!(wait(2, SECOND * 500), Some(Duration::from_millis(400)), "a slow blob gets another try");
    }

    #[test]
    fn the_server_s_own_pause_is_kept_or_not_begun() {
        let wait = |after, since| plan_wait(Retry::After(after), 1, since, SECOND * 60, 0.0);
        assert_eq!(wait(SECOND * 30, SECOND), Some(SECOND * 30));
        assert_eq!(wait(SECOND * 3600, SECOND), None);
        assert_eq!(plan_wait(Retry::Never, 1, Duration::ZERO, SECOND, 0.0), None);
        assert_eq!(plan_wait(Retry::Soon, 1, Duration::ZERO, Duration::ZERO, 0.0), None);
        assert_eq!(plan_wait(Retry::After(Duration::ZERO), 1, Duration::ZERO, Duration::ZERO, 0.0), None);
    }
}
