//! Which faults a simulated API server has: drawn from a seed, so that a case can be repeated.

use std::time::Duration;

use http::Method;

use crate::support::random::Random;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Serve,
    /// Nothing is done, and this code is the answer.
    Refuse(u16),
    /// It is done, and this code is the answer.
    Deny(u16),
    /// Nothing is done, and the connection is cut.
    Cut,
    /// It is done, and the connection is cut.
    Swallow,
    /// Nothing is done, and no answer ever comes.
    Stall,
    /// It is done after a while.
    Late(Duration),
}

/// What happens to a watch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WatchFault {
    /// It ends after so many changes.
    pub(super) cut_after: Option<usize>,
    /// It does not end then, but says nothing more.
    pub(super) is_half_open: bool,
    /// What it wants to begin with is forgotten.
    pub(super) is_gone: bool,
    pub(super) has_bookmarks: bool,
}

/// How bad a server is, each in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Badness {
    pub(super) refused: usize,
    pub(super) cut: usize,
    pub(super) swallowed: usize,
    pub(super) denied: usize,
    pub(super) stalled: usize,
    pub(super) late: usize,
    pub(super) lost: usize,
    pub(super) doubled: usize,
    pub(super) watch_cut: usize,
    pub(super) half_open: usize,
    pub(super) gone: usize,
}

pub(super) struct Faults {
    random: Random,
    badness: Badness,
    /// Only requests that change something are hit.
    pub(super) only_writes: bool,
}

impl Faults {
    pub(super) fn new(seed: u64, badness: Badness) -> Self {
        Self { random: Random::new(seed), badness, only_writes: false }
    }

    /// A server whose faults are drawn themselves.
    pub(super) fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut some = |most: usize| if random.below(2) == 0 { random.below(most + 1) } else { 0 };
        let badness = Badness {
            refused: some(30),
            cut: some(20),
            swallowed: 0,
            denied: 0,
            stalled: some(3),
            late: some(30),
            lost: some(60),
            doubled: some(40),
            watch_cut: some(60),
            half_open: some(20),
            gone: some(30),
        };
        Self { random, badness, only_writes: false }
    }

    pub(super) fn heal(&mut self) {
        self.badness = Badness::default();
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    pub(super) fn reaction(&mut self, method: &Method, is_watch: bool) -> Reaction {
        if self.only_writes && *method == Method::GET {
            return Reaction::Serve;
        }
        let Badness { refused, cut, swallowed, denied, stalled, late, .. } = self.badness;
        let codes = [429, 500, 502, 503, 504];
        let code = codes[self.random.below(codes.len())];
        if self.chance(refused) {
            Reaction::Refuse(code)
        } else if self.chance(cut) {
            Reaction::Cut
        } else if self.chance(stalled) && !is_watch {
            Reaction::Stall
        } else if self.chance(swallowed) {
            Reaction::Swallow
        } else if self.chance(denied) {
            Reaction::Deny(code)
        } else if self.chance(late) {
            Reaction::Late(Duration::from_millis(self.random.next() % 200))
        } else {
            Reaction::Serve
        }
    }

    pub(super) fn watch(&mut self) -> WatchFault {
        let Badness { watch_cut, half_open, gone, .. } = self.badness;
        let is_half_open = self.chance(half_open);
        let is_cut = is_half_open || self.chance(watch_cut);
        let after = self.random.below(6);
        WatchFault {
            cut_after: is_cut.then_some(after),
            is_half_open,
            is_gone: self.chance(gone),
            has_bookmarks: self.chance(50),
        }
    }

    /// Whether a change is lost, told twice, and how late it is: each kind's changes come in order, but not the kinds.
    pub(super) fn entry(&mut self) -> (bool, bool, Duration) {
        let (lost, doubled) = (self.badness.lost, self.badness.doubled);
        let late = Duration::from_millis(self.random.next() % 30);
        (self.chance(lost), self.chance(doubled), late)
    }
}
