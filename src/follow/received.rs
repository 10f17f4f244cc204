//! What came of a list of outputs: how much arrived, and what did not, with the reasons.

use std::fmt;

use super::collect::CollectError;
use crate::sync::Limit;

/// So many missing files are named.
const NAMED: usize = 100;

/// What came of a list of outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Files that arrived; those that were here already do not count.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Files of the list that are not here.
    pub missing: Vec<Missing>,
    /// Files that arrived beside one that is not nauta's: the path that they would have, and the one that they have.
    pub beside: Vec<(String, String)>,
}

/// A file that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The rank that wrote it.
    pub rank: u32,
    /// Its path, as the rank gave it.
    pub path: String,
    /// Why it is not here.
    pub cause: Cause,
}

/// Why a file is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its name or its sizes are not taken.
    Refused(&'static str),
    /// It would go beyond what the run may take.
    OverBudget(Limit),
    /// It cannot be written.
    Unwritten(String),
    /// Its bytes cannot be had, or are not those that were announced.
    Lost(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => f.write_str(reason),
            Self::OverBudget(limit) => write!(f, "{limit}"),
            Self::Unwritten(reason) => write!(f, "it cannot be written: {reason}"),
            Self::Lost(reason) => write!(f, "it cannot be had: {reason}"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of rank {} is not taken: {}", self.path.escape_debug(), self.rank, self.cause)
    }
}

impl Received {
    /// Whether another way to the rank may bring what is missing.
    #[must_use]
    pub fn may_be_elsewhere(&self) -> bool {
        self.missing.iter().any(|missing| matches!(missing.cause, Cause::Lost(_)))
    }

    /// What is missing, a sentence each; of very much only how much it is.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let more = self.missing.len().saturating_sub(NAMED);
        let named = self.missing.iter().take(NAMED).map(Missing::to_string);
        named.chain((more > 0).then(|| format!("{more} more files are not here"))).collect()
    }

    /// What to do about what is missing, each advice once.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let mut hints: Vec<String> = self.missing.iter().filter_map(Missing::hint).collect();
        hints.sort();
        hints.dedup();
        hints
    }

    /// Nothing, where all is here.
    ///
    /// # Errors
    /// [`CollectError::Incomplete`] names the first that is not.
    pub fn whole(self) -> Result<(), CollectError> {
        match self.missing.first() {
            None => Ok(()),
            Some(first) => Err(CollectError::Incomplete {
                first: first.clone(),
                others: self.missing.len() - 1,
                hints: self.hints(),
            }),
        }
    }
}

impl Missing {
    /// A file that could not be had.
    pub(super) fn lost(rank: u32, path: &str, reason: String) -> Self {
        Self { rank, path: path.to_owned(), cause: Cause::Lost(reason) }
    }

    fn hint(&self) -> Option<String> {
        match &self.cause {
            Cause::Refused(_) => None,
            Cause::OverBudget(limit) => Some(limit.hint()),
            Cause::Unwritten(_) => Some("make room or check the permissions, then `nauta pull RUN`".to_owned()),
            Cause::Lost(_) => Some("`nauta pull RUN` tries again".to_owned()),
        }
    }
}
