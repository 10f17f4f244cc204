//! Following a run on a cluster until it ends, cannot start, or the user goes away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::interrupt::interrupted;
use crate::cluster::{Cluster, Observation};
use crate::diagnosis::Result;
use crate::event::{End, Event, Events, RankState, Reason};
use crate::follow::{Collector, Engine, FollowError, Mailbox, Outcome, follow};
use crate::job::Nodes;
use crate::job::state::{RunView, Trouble, TroubleReason};

/// What came of following.
pub(super) enum Followed {
    /// The run ended.
    Ended(Outcome),
    /// It cannot start.
    CannotStart(FollowError),
    /// The user went away, and the run goes on.
    Left,
}

/// Follows a run; with `start`, it has that long to begin.
pub(super) async fn follow_on_cluster(
    cluster: &Arc<Cluster>,
    run: &str,
    strength: Nodes,
    start: Option<Duration>,
    collector: Option<Collector>,
    mailbox: Option<Mailbox>,
    events: &Events,
) -> Result<Followed> {
    let (states_tx, states) = mpsc::unbounded_channel();
    let engine = Arc::new(Engine::Cluster { cluster: Arc::clone(cluster), run: run.to_owned() });
    let seen = Arc::new(Seen::default());
    let heard = seen.heard(events);
    tokio::select! {
        outcome = follow(engine, strength, collector, mailbox, states, &heard) => {
            Ok(Followed::Ended(Outcome { ended_by_hand: seen.is_deleted.load(Relaxed), ..outcome? }))
        }
        cannot = until_it_cannot_start(cluster, run, start, states_tx, &seen, events) => Ok(match cannot {
            Some(error) => Followed::CannotStart(error),
            None => Followed::Ended(Outcome { ended_by_hand: true, ..Outcome::default() }),
        }),
        () = interrupted() => Ok(Followed::Left),
    }
}

/// What was seen of a run that the ranks' ends do not tell.
#[derive(Default)]
struct Seen {
    /// All ranks have come, as the cluster says, or before that a supervisor: its program runs.
    has_begun: AtomicBool,
    /// Its Job is deleted, and was before its end.
    is_deleted: AtomicBool,
}

impl Seen {
    /// The same events, and looks at them.
    fn heard(self: &Arc<Self>, events: &Events) -> Events {
        let (seen, events) = (Arc::clone(self), events.clone());
        Events::new(move |event| {
            if let Event::Rank { state: RankState::Running | RankState::Hosting, .. } = event {
                seen.has_begun.store(true, Relaxed);
            }
            events.send(event);
        })
    }
}

/// Sends the ranks' states as they change, and sees whether the Job is deleted before its end; gives back what keeps the run from
/// starting (nothing where somebody has deleted it before), and pends for ever once it has.
async fn until_it_cannot_start(
    cluster: &Cluster,
    run: &str,
    start: Option<Duration>,
    states_tx: mpsc::UnboundedSender<(u32, RankState)>,
    seen: &Seen,
    events: &Events,
) -> Option<FollowError> {
    let deadline = async {
        match start {
            Some(start) => sleep(start).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let observations = cluster.watch(run);
    tokio::pin!(observations);
    let mut start = Start { states_tx, told: BTreeMap::new(), seen, last: None };
    let mut is_lost = false;
    loop {
        tokio::select! {
            observation = observations.next() => match observation {
                Some(Observation::View(view)) => {
                    is_lost = false;
                    seen.is_deleted.fetch_or(view.is_deleted, Relaxed);
                    if let Some(trouble) = start.verdict(view) {
                        let is_deleted = trouble.reason == TroubleReason::Deleted && seen.is_deleted.load(Relaxed);
                        return (!is_deleted).then(|| cannot_start(trouble));
                    }
                }
                Some(Observation::OutOfContact { message, .. }) => {
                    if !std::mem::replace(&mut is_lost, true) {
                        events.warn(format!("{message}; trying again"));
                    }
                }
                None => std::future::pending().await,
            },
            () = &mut deadline, if !seen.has_begun.load(Relaxed) => return Some(start.what_is_missing()),
        }
    }
}

/// How far a run has come on its way to running.
struct Start<'s> {
    states_tx: mpsc::UnboundedSender<(u32, RankState)>,
    told: BTreeMap<u32, RankState>,
    seen: &'s Seen,
    last: Option<RunView>,
}

impl Start<'_> {
    /// Takes a new view in; gives what will never pass.
    fn verdict(&mut self, view: RunView) -> Option<Trouble> {
        for rank in &view.ranks {
            if self.told.get(&rank.rank) != Some(&rank.state) {
                self.told.insert(rank.rank, rank.state.clone());
                // Nobody listens any more only when the run has ended.
                let _ = self.states_tx.send((rank.rank, rank.state.clone()));
            }
        }
        let all_have_come = !view.ranks.is_empty() && view.ranks.iter().all(|rank| has_come(&rank.state));
        let has_begun = self.seen.has_begun.fetch_or(all_have_come, Relaxed) || all_have_come;
        let verdict = view.fatal().filter(|_| !has_begun).cloned();
        self.last = Some(view);
        verdict
    }

    fn what_is_missing(&self) -> FollowError {
        if let Some(trouble) = self.last.as_ref().and_then(|view| view.troubles.first()) {
            return cannot_start(trouble.clone());
        }
        let waiting = self.told.iter().find_map(|(rank, state)| match state {
            RankState::Pending { message } => Some(format!("rank {rank} waits: {message}")),
            _ => None,
        });
        let message = waiting.unwrap_or_else(|| "not all ranks came up in time".to_owned());
        FollowError::CannotStart { message, hint: "`nauta doctor` looks at the target" }
    }
}

/// Whether a rank has been there. One that is only known to be gone (its pod was deleted, maybe before it was placed) may
/// never have been.
const fn has_come(state: &RankState) -> bool {
    !matches!(state, RankState::Pending { .. } | RankState::Ended(End { reason: Reason::Lost { .. }, .. }))
}

fn cannot_start(Trouble { reason, message, .. }: Trouble) -> FollowError {
    FollowError::CannotStart { message, hint: reason.remedy() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::state::{RankView, RunState};

    #[test]
    fn a_run_that_is_deleted_before_its_pods_are_placed_cannot_start() {
        let view = |rank, troubles| RunView {
            state: RunState::Deleted,
            ranks: vec![RankView { rank: 0, pod: None, node: None, state: rank, outputs: None }],
            troubles,
            first_failed: None,
            is_deleted: true,
        };
        let (states_tx, _states) = mpsc::unbounded_channel();
        let seen = Seen::default();
        let mut start = Start { states_tx, told: BTreeMap::new(), seen: &seen, last: None };
        let waiting = RankState::Pending { message: "no node has room".to_owned() };
        assert!(start.verdict(view(waiting, Vec::new())).is_none());
        let deleted = Trouble {
            rank: None,
            reason: TroubleReason::Deleted,
            message: "the Job was deleted".to_owned(),
            fatal: true,
        };
        // The pod may be seen to go before the Job is.
        let verdict = start.verdict(view(RankState::Ended(End::lost("its pod was deleted")), vec![deleted.clone()]));
        assert_eq!(verdict.map(|trouble| trouble.message), Some("the Job was deleted".to_owned()));
        // Once it ran, the end is what its ranks say.
        assert!(start.verdict(view(RankState::Running, Vec::new())).is_none());
        let lost = RankState::Ended(End::lost("its pod was deleted"));
        assert!(start.verdict(view(lost, vec![deleted])).is_none());
    }
}
