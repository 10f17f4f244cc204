//! What came of a run: which rank failed first, and the exit code that follows.

use std::collections::BTreeMap;

use crate::event::{End, NOT_RUN, Reason};

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How each rank ended.
    pub ends: BTreeMap<u32, End>,
    /// The rank that failed first.
    pub first_failed: Option<u32>,
    /// What of the outputs could not be had; empty when all is here.
    pub missing_outputs: Vec<String>,
}

impl Outcome {
    /// The failure that the others follow from. What ranks reported counts where it is a cause of its own: a rank that
    /// only lost sight of its peers takes the wrong one for the first.
    #[must_use]
    pub fn first_failure(&self) -> Option<(u32, &End)> {
        let reported = self.first_failed.and_then(|rank| self.ends.get_key_value(&rank));
        let failed = || self.ends.iter().filter(|(_, end)| !end.is_success());
        let causes = || failed().filter(|(_, end)| !end.is_consequence());
        let known = |end: &End| !matches!(end.reason, Reason::Lost { .. });
        let found = reported.filter(|(_, end)| !end.is_success() && !end.is_consequence() && known(end));
        let found = found.or_else(|| causes().find(|(_, end)| known(end))).or_else(|| causes().next());
        found.or_else(|| failed().next()).map(|(rank, end)| (*rank, end))
    }

    /// The run's exit code: that of the rank that failed first; 125 when some rank's end is not known.
    #[must_use]
    pub fn code(&self, nodes: u32) -> u8 {
        match self.first_failure() {
            Some((_, End { reason: Reason::Lost { .. } | Reason::PeerFailed { .. }, .. })) => NOT_RUN,
            Some((_, end)) => end.code.max(1),
            None if self.ends.len() == nodes as usize && self.missing_outputs.is_empty() => 0,
            None => NOT_RUN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (vec![end(0, Reason::Exited); 2], None, 0),
            (vec![end(0, Reason::Exited)], None, 125),
        ] {
            assert_eq!(outcome(&ends, first_failed).code(2), code, "{ends:?}");
        }
        let mut done = outcome(&[end(0, Reason::Exited)], None);
        done.missing_outputs.push("x".to_owned());
        assert_eq!(done.code(1), 125);
    }
}
