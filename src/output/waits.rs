//! What ranks wait for before they are up, gathered into one row.

use std::collections::{BTreeMap, BTreeSet};

use super::folding::ranges;
use crate::event::RankState;

/// What ranks wait for.
#[derive(Debug, Default)]
pub(super) struct Waits {
    now: BTreeMap<u32, String>,
    said: BTreeSet<(u32, String)>,
}

impl Waits {
    /// Takes a rank's state; tells whether it waits for something that was not said of it before.
    pub(super) fn see(&mut self, rank: u32, state: &RankState) -> bool {
        match state {
            RankState::Pending { message } | RankState::Meeting { message } if !message.is_empty() => {
                self.now.insert(rank, message.clone());
                self.said.insert((rank, message.clone()))
            }
            _ => {
                self.now.remove(&rank);
                false
            }
        }
    }

    /// All of it, ranks that wait for the same together; nothing where none waits.
    pub(super) fn row(&self) -> Option<String> {
        let mut waits: Vec<(&str, BTreeSet<u32>)> = Vec::new();
        for (rank, message) in &self.now {
            match waits.iter_mut().find(|(known, _)| known == message) {
                Some((_, ranks)) => drop(ranks.insert(*rank)),
                None => waits.push((message, BTreeSet::from([*rank]))),
            }
        }
        let row: Vec<String> = waits.iter().map(|(message, ranks)| format!("[{}] {message}", ranges(ranks))).collect();
        (!row.is_empty()).then(|| row.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_that_wait_for_the_same_are_together_and_each_says_it_once() {
        let mut waits = Waits::default();
        let pending = |message: &str| RankState::Pending { message: message.to_owned() };
        assert_eq!(waits.row(), None);
        assert!((0..3).all(|rank| waits.see(rank, &pending("no node yet"))));
        assert!(waits.see(1, &pending("its container is being made")));
        assert_eq!(waits.row().as_deref(), Some("[0,2] no node yet; [1] its container is being made"));
        assert!(!waits.see(1, &pending("no node yet")), "it was said before");
        assert!(!waits.see(0, &RankState::Running) && !waits.see(2, &RankState::Meeting { message: String::new() }));
        assert_eq!(waits.row().as_deref(), Some("[1] no node yet"));
    }
}
