//! What the engine sees of a run's ranks: when it is worth a try to reach them, and how those ended whose supervisors can no
//! longer say.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::event::{End, RankState};

/// Between two tries to reach a rank: the first, doubled up to the last; the first again where the rank has ended.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// What the engine says may come late, or never: a rank that has not begun, as it says, is tried as often as this.
const UNSEEN: Duration = Duration::from_secs(5);

/// All ranks, for those who tell of them.
#[derive(Default)]
pub(super) struct Sight(watch::Sender<BTreeMap<u32, RankState>>);

impl Sight {
    /// The engine sees a rank like this.
    pub(super) fn see(&self, rank: u32, state: RankState) {
        self.0.send_modify(|seen| drop(seen.insert(rank, state)));
    }

    /// One rank, for whoever follows it.
    pub(super) fn of(&self, rank: u32) -> RankSight {
        RankSight { rank, seen: self.0.subscribe(), pause: FIRST_PAUSE }
    }
}

/// What the engine sees of one rank.
pub(super) struct RankSight {
    rank: u32,
    seen: watch::Receiver<BTreeMap<u32, RankState>>,
    pause: Duration,
}

impl RankSight {
    /// Until the engine has begun the rank, or may have without a word.
    pub(super) async fn until_begun(&mut self) {
        let rank = self.rank;
        let has_begun = |seen: &BTreeMap<u32, RankState>| {
            seen.get(&rank).is_some_and(|state| !matches!(state, RankState::Pending { .. }))
        };
        let _ = timeout(UNSEEN, self.seen.wait_for(has_begun)).await;
    }

    /// How the rank ended, where the engine knows.
    pub(super) fn end(&mut self) -> Option<End> {
        match self.seen.borrow_and_update().get(&self.rank) {
            Some(RankState::Ended(end)) => Some(end.clone()),
            _ => None,
        }
    }

    /// The rank was reached: the next pause is a short one.
    pub(super) const fn is_reached(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// A pause before the next try, shorter where the engine sees something new.
    pub(super) async fn pause(&mut self) {
        let pause = if self.end().is_some() { FIRST_PAUSE } else { self.pause };
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        if timeout(pause, self.seen.changed()).await.is_ok_and(|seen| seen.is_err()) {
            // The engine says nothing any more.
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::event::Reason;

    #[tokio::test]
    async fn a_rank_is_tried_when_it_has_begun_and_news_are_worth_a_try() {
        let sight = Sight::default();
        let mut of_1 = sight.of(1);
        let is_waiting = async |sight: &mut RankSight| timeout(FIRST_PAUSE, sight.until_begun()).await.is_err();
        assert!(is_waiting(&mut of_1).await, "the engine has said nothing");
        sight.see(1, RankState::Pending { message: String::new() });
        sight.see(0, RankState::Running);
        assert!(is_waiting(&mut of_1).await, "it is another that runs");
        sight.see(1, RankState::Running);
        assert!(!is_waiting(&mut of_1).await);
        assert_eq!(of_1.end(), None);
        let end = End { code: 3, reason: Reason::Exited };
        of_1.pause = UNSEEN;
        let began = Instant::now();
        let telling = async {
            tokio::time::sleep(FIRST_PAUSE).await;
            sight.see(1, RankState::Ended(end.clone()));
        };
        tokio::join!(of_1.pause(), telling);
        assert!(began.elapsed() < UNSEEN, "news are not waited for");
        assert_eq!(of_1.end(), Some(end));
        of_1.pause = UNSEEN;
        let began = Instant::now();
        of_1.pause().await;
        assert!(began.elapsed() < UNSEEN, "one that has ended is soon tried for the last time");
        drop(sight);
        let began = Instant::now();
        of_1.pause().await;
        assert!(began.elapsed() >= FIRST_PAUSE, "nothing spins when the engine says no more");
    }
}
