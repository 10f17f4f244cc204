//! When a gang whose rank has failed begins again.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::{End, Reason};

/// More restarts than this are a slip of the finger.
const MOST: u32 = 1000;

/// Exit codes of containers that ended before their gang was done: killed together with the supervisor, or stopped by the
/// engine (128 + SIGKILL, 128 + SIGTERM).
pub const LOST_CODES: [u8; 2] = [137, 143];

/// How often a gang begins again, and after which failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// How often, 0 to 1000.
    pub most: u32,
    /// After which failures.
    pub on: RestartOn,
}

/// Failures after which it is worth a new attempt: those of any of its kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RestartOn(BTreeSet<Failure>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    /// Any.
    Any,
    /// A signal ended the program.
    Signal,
    /// The kernel killed it for memory.
    Memory,
    /// No rank gave a sign of life any more.
    Stall,
    /// Its container, pod or node is gone, or its link broke.
    Lost,
    /// It ended by itself with this code.
    Code(u8),
}

/// The names of failures, as `--restart-on` takes them.
const NAMES: [(&str, Failure); 5] = [
    ("failure", Failure::Any),
    ("signal", Failure::Signal),
    ("memory", Failure::Memory),
    ("lost", Failure::Lost),
    ("stall", Failure::Stall),
];

/// What is wrong with a number of restarts or with what they follow on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRestarts {
    /// Too many.
    #[error("{0} restarts are too many (0 to {MOST})")]
    Most(u32),
    /// No kind of failure.
    #[error(
        "`{0}` is no kind of failure: `failure` (any), `signal`, `memory`, `lost`, `stall`, or an exit code from 1 to 255"
    )]
    Failure(String),
}

impl Restarts {
    /// Restarts as a user asks for them.
    pub fn new(most: u32, on: RestartOn) -> Result<Self, InvalidRestarts> {
        if most > MOST { Err(InvalidRestarts::Most(most)) } else { Ok(Self { most, on }) }
    }

    /// Whether another attempt follows one that ended like this. `attempt` counts from 1.
    #[must_use]
    pub fn follow(&self, attempt: u32, first_failure: &End) -> bool {
        attempt <= self.most && self.on.holds(first_failure)
    }
}

/// The code with which a rank's container ends where the engine replaces lost ones: it does so after [`LOST_CODES`]. A
/// program's own end by one of those signals is told as the negative signal, modulo 256.
#[must_use]
pub fn container_code(end: &End, leaving: bool) -> u8 {
    match end.code {
        _ if leaving => LOST_CODES[1],
        code if LOST_CODES.contains(&code) => 128_u8.wrapping_sub(code),
        code => code,
    }
}

/// The code of a program whose container ended with this one: [`container_code`] the other way round.
#[must_use]
pub fn program_code(container: u8) -> u8 {
    let told = LOST_CODES.into_iter().find(|code| 128_u8.wrapping_sub(*code) == container);
    told.unwrap_or(container)
}

impl RestartOn {
    fn holds(&self, end: &End) -> bool {
        let kind = match &end.reason {
            Reason::Exited if end.code == 0 => return false,
            Reason::Exited => Failure::Code(end.code),
            Reason::Signalled { .. } => Failure::Signal,
            Reason::OutOfMemory => Failure::Memory,
            Reason::Stalled { .. } => Failure::Stall,
            Reason::Lost { .. } | Reason::Stopped { .. } => Failure::Lost,
            // The next attempt would find the same image and the same command.
            Reason::NotStarted { .. }
            | Reason::NoGang { .. }
            | Reason::PeerFailed { .. }
            | Reason::Cancelled { .. } => return false,
        };
        self.0.contains(&Failure::Any) || self.0.contains(&kind)
    }
}

impl Default for RestartOn {
    /// Any failure.
    fn default() -> Self {
        Self(BTreeSet::from([Failure::Any]))
    }
}

impl FromStr for RestartOn {
    type Err = InvalidRestarts;

    /// Kinds of failures, separated by commas.
    fn from_str(text: &str) -> Result<Self, InvalidRestarts> {
        text.split(',').map(|word| word.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Failure {
    type Err = InvalidRestarts;

    fn from_str(text: &str) -> Result<Self, InvalidRestarts> {
        let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, failure)| *failure);
        let code = || text.parse().ok().filter(|code| *code > 0).map(Self::Code);
        named.or_else(code).ok_or_else(|| InvalidRestarts::Failure(text.to_owned()))
    }
}

impl fmt::Display for RestartOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, failure) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match NAMES.iter().find(|(_, named)| named == failure) {
                Some((name, _)) => f.write_str(name)?,
                None => {
                    if let Failure::Code(code) = failure {
                        write!(f, "{code}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for RestartOn {
    type Error = InvalidRestarts;

    fn try_from(text: String) -> Result<Self, InvalidRestarts> {
        text.parse()
    }
}

impl From<RestartOn> for String {
    fn from(on: RestartOn) -> Self {
        on.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_written_and_refused() {
        for text in ["failure", "signal,lost", "memory,75,137"] {
            assert_eq!(text.parse::<RestartOn>().expect("known").to_string(), text);
        }
        for wrong in ["", "oom", "0", "256", "signal,,lost"] {
            assert!(wrong.parse::<RestartOn>().is_err(), "{wrong}");
        }
        assert_eq!(Restarts::new(1001, RestartOn::default()), Err(InvalidRestarts::Most(1001)));
    }

    #[test]
    fn an_attempt_follows_on_what_was_asked_for_and_never_on_what_cannot_change() {
        let end = |code, reason| End { code, reason };
        let signalled = end(139, Reason::Signalled { signal: 11 });
        let restarts = |most, on: &str| Restarts::new(most, on.parse().expect("known")).expect("few");
        assert!(restarts(2, "failure").follow(2, &signalled) && !restarts(2, "failure").follow(3, &signalled));
        assert!(restarts(1, "signal").follow(1, &signalled) && !restarts(1, "memory,1").follow(1, &signalled));
        assert!(restarts(1, "75").follow(1, &end(75, Reason::Exited)));
        assert!(!restarts(1, "75").follow(1, &end(1, Reason::Exited)));
        assert!(restarts(1, "lost").follow(1, &End::lost("its node is gone")));
        assert!(!restarts(1, "failure").follow(1, &End::not_started("no such program")));
        assert!(!restarts(1, "failure").follow(1, &end(0, Reason::Exited)));
        assert!(!Restarts::default().follow(1, &signalled));
    }

    #[test]
    fn only_a_lost_container_ends_as_one() {
        let end = |code| End { code, reason: Reason::Exited };
        for (code, told) in [(0, 0), (3, 3), (137, 247), (143, 241), (139, 139)] {
            assert_eq!(container_code(&end(code), false), told);
            assert_eq!(program_code(told), code);
            assert_eq!(container_code(&end(code), true), 143);
        }
    }
}
