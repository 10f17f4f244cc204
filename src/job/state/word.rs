//! Where a run stands, in one word: the same on every engine, in tables, in JSON and in records.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not all of its ranks have come up: they wait for a node, an image, a queue.
    Pending,
    /// All ranks are up; or their programs have ended, and they deliver what these left.
    Running,
    /// Every program did its work, and everything it left is here or in the mailbox.
    Succeeded,
    /// Every program did its work, and some of what they left is missing.
    Incomplete,
    /// A rank failed, stalled, or took too long.
    Failed,
    /// Somebody ended it: Ctrl-C, `nauta cancel`, its Job was deleted. Its ranks may still be saving.
    Cancelled,
    /// It is no more, and nobody knows how it ended.
    Lost,
}

impl State {
    /// All there are, in the order of a run's life.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::Incomplete, Self::Failed, Self::Cancelled, Self::Lost];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// For sentences, where one word says too little.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Incomplete => "succeeded, outputs incomplete",
            Self::Lost => "lost: nobody saw how it ended",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_same_in_tables_and_json() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).expect("a text"), state.as_str());
        }
    }
}
