//! What came of a run: which rank failed first, and the exit code that follows.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{CANCELLED, End, NOT_RUN, RankState, Reason};
use crate::job::state::{RunState, RunView, State};
use crate::job::{Nodes, last_words};

/// How a program ends that was asked to (128 + SIGTERM) and has no other wish.
const STOPPED: u8 = 143;
/// SIGKILL: what follows where the time for it is over.
const KILL: i32 = 9;

/// What of a run's outputs is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub size: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How each rank ended.
    pub ends: BTreeMap<u32, End>,
    /// The rank that failed first.
    pub first_failed: Option<u32>,
    /// Lost ranks that the others have done the work without.
    pub excused: BTreeSet<u32>,
    /// What of the outputs could not be had; empty when all is here.
    pub missing_outputs: Vec<String>,
    /// Somebody ended the run as a whole.
    pub ended_by_hand: bool,
    /// Ranks whose programs are known to have had no connection to another rank's.
    pub alone: BTreeSet<u32>,
    /// What its ranks' last words say of why they failed, where anything.
    pub causes: BTreeMap<u32, last_words::Cause>,
    /// What of its outputs is here; `None` where somebody else brings them.
    pub brought: Option<Brought>,
}

impl Outcome {
    /// What the cluster alone tells of a run that is over: its pods, their last words, and its Job. `None` while it is not.
    #[must_use]
    pub fn of(view: &RunView) -> Option<Self> {
        let ended = |state: &RankState| match state {
            RankState::Ended(end) => Some(end.clone()),
            _ => None,
        };
        let ends = view.ranks.iter().filter_map(|rank| Some((rank.rank, ended(&rank.state)?)));
        let (ends, missing_outputs) = (ends.collect(), view.missing_outputs());
        let (first_failed, ended_by_hand) = (view.first_failed, view.is_deleted);
        let outcome = Self { ends, first_failed, missing_outputs, ended_by_hand, ..Self::default() };
        view.state.is_final().then_some(outcome)
    }

    /// The exit code of a run that is over, as the cluster alone tells it; 125 where it does not. `None` while the run is not
    /// over.
    #[must_use]
    pub fn code_of(view: &RunView) -> Option<u8> {
        let outcome = Self::of(view)?;
        let by_ranks = outcome.code(u32::try_from(view.ranks.len()).unwrap_or(u32::MAX));
        let by_job = match &view.state {
            RunState::Succeeded if outcome.missing_outputs.is_empty() => return Some(0),
            RunState::Failed { code, .. } => *code,
            _ => return Some(by_ranks),
        };
        let knows = outcome
            .first_failure()
            .is_some_and(|(_, end)| !matches!(end.reason, Reason::Lost { .. } | Reason::PeerFailed { .. }));
        // The Job names the first of the failed pods that it happens to see: it may be one that was stopped for another's sake.
        if outcome.is_cancelled() {
            return Some(CANCELLED);
        }
        let is_consequence =
            |code| code == STOPPED || outcome.ends.values().any(|end| end.is_consequence() && end.code == code);
        let by_job = by_job.filter(|code| *code != 0 && !is_consequence(*code)).unwrap_or(NOT_RUN);
        Some(if knows { by_ranks } else { by_job })
    }

    /// The failure that the others follow from. What ranks reported counts where it is a cause of its own: a rank that
    /// only lost sight of its peers takes the wrong one for the first.
    #[must_use]
    pub fn first_failure(&self) -> Option<(u32, &End)> {
        let is_excused = |rank: &u32| self.excused.contains(rank);
        let reported = self.first_failed.and_then(|rank| self.ends.get_key_value(&rank));
        let failed = || self.ends.iter().filter(|(rank, end)| !end.is_success() && !is_excused(rank));
        let causes = || failed().filter(|(_, end)| !end.is_consequence());
        let known = |end: &End| !matches!(end.reason, Reason::Lost { .. });
        let found = reported.filter(|(_, end)| !end.is_success() && !end.is_consequence() && known(end));
        let found = found.or_else(|| causes().find(|(_, end)| known(end))).or_else(|| causes().next());
        // A rank that was told to stop from outside is what the others follow from, when nothing else is.
        let is_stopped = |end: &End| matches!(end.reason, Reason::Stopped { .. } | Reason::Cancelled { .. });
        let stopped = || failed().find(|(_, end)| is_stopped(end));
        found.or_else(stopped).or_else(|| failed().next()).map(|(rank, end)| (*rank, end))
    }

    /// Excuses ranks that were lost (those in `lost` ended without a word of their own) where the run goes on with fewer, and
    /// enough have done the work: rank 0 among them, which the others meet by.
    pub fn excuse(&mut self, strength: Nodes, lost: &BTreeSet<u32>) {
        let is_done = |rank: &u32| self.ends.get(rank).is_some_and(End::is_success) && !lost.contains(rank);
        let done = (0..strength.most).filter(is_done).count();
        if strength.is_elastic() && is_done(&0) && done >= strength.least as usize {
            self.excused.clone_from(lost);
        }
    }

    /// The failure that can be named: of a run that has stalled, or that somebody has ended, nobody is the first, and of several
    /// ranks that were all stopped from outside nobody knows it, unless another one was stopped for one's sake.
    #[must_use]
    pub fn named_failure(&self) -> Option<(u32, &End)> {
        let has_none = |end: &End| matches!(end.reason, Reason::Stalled { .. }) || self.is_cancelled();
        let first = self.first_failure().filter(|(_, end)| !has_none(end))?;
        let is_stopped = |end: &End| matches!(end.reason, Reason::Stopped { .. });
        if !is_stopped(first.1) {
            return Some(first);
        }
        let mut stopped = self.ends.iter().filter(|(_, end)| is_stopped(end));
        let is_blamed = |rank| self.ends.values().any(|end| end.reason == Reason::PeerFailed { rank });
        let blamed = stopped.clone().find(|(rank, _)| is_blamed(**rank));
        let only = stopped.next().filter(|_| stopped.next().is_none());
        blamed.or(only).map(|(rank, end)| (*rank, end))
    }

    /// Whether somebody ended the run before its time, and no rank had failed by itself before.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // What becomes of ranks that are stopped, and not all of them in time.
        let follows = |end: &End| {
            let is_killed = matches!(end.reason, Reason::Signalled { signal: KILL });
            end.is_consequence() || self.ended_by_hand && (is_killed || matches!(end.reason, Reason::Lost { .. }))
        };
        let mut failed = self.ends.values().filter(|end| !end.is_success()).peekable();
        let is_told = self.ends.values().any(|end| matches!(end.reason, Reason::Cancelled { .. }));
        let is_known = is_told || self.ended_by_hand && (failed.peek().is_some() || self.ends.is_empty());
        is_known && failed.all(follows)
    }

    /// Where a run of so many ranks stands that is over.
    #[must_use]
    pub fn state(&self, nodes: u32) -> State {
        match self.code(nodes) {
            _ if self.is_cancelled() => State::Cancelled,
            0 => State::Succeeded,
            _ if self.lacks_only_outputs(nodes) => State::Incomplete,
            _ => State::Failed,
        }
    }

    /// What the words of the rank say that failed first, and its number; of a run that nobody cancelled.
    #[must_use]
    pub fn cause(&self) -> Option<(u32, &last_words::Cause)> {
        let (first, _) = self.first_failure().filter(|_| !self.is_cancelled())?;
        self.causes.get(&first).map(|cause| (first, cause))
    }

    /// Whether every rank's program has done its work, and something of what they left is missing.
    #[must_use]
    pub fn lacks_only_outputs(&self, nodes: u32) -> bool {
        self.all_ended(nodes) && self.first_failure().is_none() && !self.missing_outputs.is_empty()
    }

    /// What is to be said where the ranks were no more than copies of one program.
    #[must_use]
    pub fn told_of_copies(&self, nodes: u32) -> Option<String> {
        self.is_of_copies(nodes).then(|| {
            format!(
                "{nodes} independent copies ran: the ranks' programs never connected to each other, and nothing used \
                 MASTER_PORT (where that is meant, say `--variables none`)"
            )
        })
    }

    /// Whether the ranks were copies of one program that never connected to each other, and none of them failed for a reason
    /// of its own.
    fn is_of_copies(&self, nodes: u32) -> bool {
        let is_own_failure =
            |end: &End| !end.is_success() && !end.is_consequence() && !matches!(end.reason, Reason::Stalled { .. });
        nodes > 1 && self.alone.len() == nodes as usize && !self.ends.values().any(is_own_failure)
    }

    fn all_ended(&self, nodes: u32) -> bool {
        nodes > 0 && self.ends.len() == nodes as usize
    }

    /// The run's exit code: that of the rank that failed first; 130 where somebody cancelled it; 125 when some rank's end is not known.
    #[must_use]
    pub fn code(&self, nodes: u32) -> u8 {
        match self.first_failure() {
            _ if self.is_cancelled() => CANCELLED,
            Some((_, End { reason: Reason::Lost { .. } | Reason::PeerFailed { .. }, .. })) => NOT_RUN,
            Some((_, end)) => end.code.max(1),
            None if self.all_ended(nodes) && self.missing_outputs.is_empty() => 0,
            None => NOT_RUN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::state::{FailureCause, RankView};

    #[test]
    fn the_code_is_that_of_the_first_failure_and_nothing_unknown_is_success() {
        let end = |code, reason| End { code, reason };
        let lost = || Reason::Lost { message: "its node is gone".to_owned() };
        let outcome = |ends: &[End], first_failed| Outcome {
            ends: (0..).zip(ends.iter().cloned()).collect(),
            first_failed,
            ..Outcome::default()
        };
        let of_peer = |rank| end(143, Reason::PeerFailed { rank });
        let killed = || end(137, Reason::Signalled { signal: 9 });
        for (ends, first_failed, code) in [
            (vec![of_peer(1), end(7, Reason::Exited)], Some(1), 7),
            (vec![killed(), of_peer(0)], Some(0), 137),
            (vec![killed(), end(125, lost())], Some(1), 137),
            (vec![of_peer(1), of_peer(0)], Some(1), 125),
            (vec![end(0, Reason::Exited), end(125, lost())], None, 125),
            (vec![end(143, Reason::Stopped { message: "asked".to_owned() }), of_peer(0)], Some(0), 143),
            (vec![of_peer(1), end(143, Reason::Stopped { message: "asked".to_owned() })], Some(1), 143),
            (vec![end(0, Reason::Exited); 2], None, 0),
            (vec![end(0, Reason::Exited)], None, 125),
        ] {
            assert_eq!(outcome(&ends, first_failed).code(2), code, "{ends:?}");
        }
        let stopped = || End { code: 143, reason: Reason::Stopped { message: "asked".to_owned() } };
        assert_eq!(outcome(&[stopped(), stopped()], None).named_failure(), None);
        assert_eq!(outcome(&[of_peer(1), stopped()], None).named_failure().map(|(rank, _)| rank), Some(1));
        let three = outcome(&[of_peer(1), stopped(), stopped()], None);
        assert_eq!(three.named_failure().map(|(rank, _)| rank), Some(1));
        // Of what somebody ended as a whole nobody is the first; a program that had failed by itself is.
        let by_hand = |ends: &[End]| Outcome { ended_by_hand: true, ..outcome(ends, None) };
        let failed = || end(139, Reason::Signalled { signal: 11 });
        assert_eq!(by_hand(&[stopped(), of_peer(0)]).named_failure(), None);
        assert_eq!(by_hand(&[stopped(), failed()]).named_failure().map(|(rank, _)| rank), Some(1));
        let stalled = || end(124, Reason::Stalled { seconds: 9 });
        let both = outcome(&[stalled(), stalled()], Some(1));
        assert_eq!((both.code(2), both.named_failure()), (124, None));
        for (ends, gone, strength, code) in [
            (vec![end(0, Reason::Exited), end(0, Reason::Exited), killed()], 2, "2:3", 0),
            (vec![end(0, Reason::Exited), end(0, Reason::Exited), killed()], 2, "3", 137),
            (vec![end(0, Reason::Exited), killed(), end(3, Reason::Exited)], 1, "2:3", 137),
            (vec![end(125, lost()), end(0, Reason::Exited), end(0, Reason::Exited)], 0, "2:3", 125),
        ] {
            let mut run = outcome(&ends, None);
            run.excuse(strength.parse().expect("valid"), &BTreeSet::from([gone]));
            assert_eq!(run.code(3), code, "{ends:?}");
        }
        let copies =
            |ends: Vec<End>, alone: &[u32]| Outcome { alone: alone.iter().copied().collect(), ..outcome(&ends, None) };
        let two = || vec![end(0, Reason::Exited); 2];
        assert!(copies(two(), &[0, 1]).is_of_copies(2) && copies(vec![stalled(), stalled()], &[0, 1]).is_of_copies(2));
        assert!(!copies(two(), &[1]).is_of_copies(2) && !copies(vec![of_peer(1), killed()], &[0, 1]).is_of_copies(2));
        let mut done = outcome(&[end(0, Reason::Exited)], None);
        done.missing_outputs.push("x".to_owned());
        assert_eq!(done.code(1), 125);
    }

    #[test]
    fn what_somebody_ended_is_cancelled_unless_it_had_failed_before() {
        let end = |code, reason| End { code, reason };
        let lost = || end(125, Reason::Lost { message: "its node is gone".to_owned() });
        let outcome = |ends: &[End], first_failed| Outcome {
            ends: (0..).zip(ends.iter().cloned()).collect(),
            first_failed,
            ..Outcome::default()
        };
        let by_hand = |ends: &[End]| Outcome { ended_by_hand: true, ..outcome(ends, None) };
        let of_peer = |rank| end(143, Reason::PeerFailed { rank });
        let (killed, failed) = (end(137, Reason::Signalled { signal: 9 }), end(139, Reason::Signalled { signal: 11 }));
        let stopped = || end(143, Reason::Stopped { message: "asked".to_owned() });
        let cancelled = |code| end(code, Reason::Cancelled { by: "ada".to_owned() });
        let exited = || end(0, Reason::Exited);
        for (run, state, code) in [
            (by_hand(&[stopped(), of_peer(0)]), State::Cancelled, 130),
            // Saved and exited with 0, or not gone in time.
            (outcome(&[cancelled(0), cancelled(143)], None), State::Cancelled, 130),
            (by_hand(&[killed.clone(), lost()]), State::Cancelled, 130),
            (by_hand(&[]), State::Cancelled, 130),
            (outcome(&[cancelled(143), of_peer(0)], Some(0)), State::Cancelled, 130),
            (outcome(&[cancelled(143), exited()], None), State::Cancelled, 130),
            // Something else had happened before.
            (by_hand(&[stopped(), failed.clone()]), State::Failed, 139),
            (outcome(&[cancelled(143), end(3, Reason::Exited)], Some(1)), State::Failed, 3),
            (outcome(&[stopped(), of_peer(0)], None), State::Failed, 143),
            (by_hand(&[exited(), exited()]), State::Succeeded, 0),
        ] {
            assert_eq!((run.state(2), run.code(2)), (state, code), "{run:?}");
        }
    }

    #[test]
    fn the_job_tells_where_its_pods_cannot() {
        let view = |state: RunState, ends: &[End]| RunView {
            state,
            ranks: (0..).zip(ends).map(|(rank, end)| RankView::ended(rank, end.clone())).collect(),
            troubles: Vec::new(),
            first_failed: None,
            is_deleted: false,
        };
        let failed = |code| RunState::Failed { cause: FailureCause::Program, code, message: String::new() };
        let exited = |code| End { code, reason: Reason::Exited };
        let lost = || End::lost("its pod was deleted");
        for (state, ends, code) in [
            (RunState::Succeeded, vec![exited(0), exited(0)], Some(0)),
            (failed(Some(9)), vec![exited(3), lost()], Some(3)),
            (failed(Some(9)), vec![lost(), lost()], Some(9)),
            (failed(Some(143)), vec![lost(), End { code: 143, reason: Reason::PeerFailed { rank: 0 } }], Some(125)),
            (failed(Some(4)), vec![lost(), End { code: 4, reason: Reason::PeerFailed { rank: 0 } }], Some(125)),
            (RunState::Deleted, vec![], Some(125)),
            (failed(None), vec![lost(), exited(0)], Some(125)),
            // The deadline came while the last of them was done.
            (failed(None), vec![exited(0), exited(0)], Some(125)),
            (RunState::Deleted, vec![exited(0), exited(0)], Some(0)),
            (RunState::Deleted, vec![exited(0), lost()], Some(125)),
            (RunState::Deleted, vec![lost(), lost()], Some(125)),
            (RunState::Running, vec![exited(0), exited(0)], None),
        ] {
            let view = view(state, &ends);
            assert_eq!(Outcome::code_of(&view), code, "{view:?}");
            // The same, and somebody was seen to delete it; which nobody is of a Job that had ended.
            if view.state == RunState::Deleted {
                let code = if code == Some(125) { Some(130) } else { code };
                assert_eq!(Outcome::code_of(&RunView { is_deleted: true, ..view }), code);
            }
        }
    }
}
