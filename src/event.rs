//! The vocabulary of things that happen: plain data that adapters report and `output` shows.
//!
//! Owns: [`Event`], [`Events`] and the states of a rank. Does not own: how any of it looks (`output`).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A step of the way from a directory to a run and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Looking before any slow work: registry, permissions, quota.
    Check,
    /// Reading the project's files.
    Snapshot,
    /// Making sure of the environment image.
    Environment,
    /// Sending layers and manifests to the registry.
    Push,
    /// Handing the run to the engine.
    Submit,
    /// Waiting until every rank runs.
    Start,
    /// The program runs.
    Run,
    /// Bringing outputs back.
    Collect,
    /// Removing what the run had on the engine.
    CleanUp,
    /// What no other step says of itself.
    Other,
}

/// Where a rank's program wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The supervisor's own words.
    Supervisor,
}

/// Why a rank's program is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Reason {
    /// It exited by itself.
    Exited,
    /// A signal ended it.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel killed it for memory.
    OutOfMemory,
    /// It could not be started.
    NotStarted {
        /// What was tried and why it failed.
        message: String,
    },
    /// The ranks did not meet in time, or the gang could not be formed.
    NoGang {
        /// Who is missing, or what went wrong.
        message: String,
    },
    /// Stopped by nauta because no rank gave a sign of life any more.
    Stalled {
        /// For so many seconds.
        seconds: u64,
    },
    /// Stopped by nauta because another rank failed first.
    PeerFailed {
        /// The rank that failed first.
        rank: u32,
    },
    /// Stopped because somebody cancelled the run.
    Cancelled {
        /// Who.
        by: String,
    },
    /// Stopped because the engine or the workstation's end asked for it.
    Stopped {
        /// Who asked.
        message: String,
    },
    /// The engine says it is gone (node lost, evicted, deleted), without a word from the supervisor.
    Lost {
        /// The engine's words.
        message: String,
    },
}

/// How a rank ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The exit code as a shell would say it: the program's own, or 128 + signal; 125 when nauta could not start it.
    pub code: u8,
    /// Why.
    pub reason: Reason,
}

/// What became of a rank's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Delivered {
    /// A workstation or the mailbox has all of them.
    Complete,
    /// Some, or all, are lost or were left behind.
    Incomplete {
        /// Which and why, in one sentence.
        missing: String,
    },
}

/// The exit code where nauta itself could not run the program, or cannot tell how it ended.
pub const NOT_RUN: u8 = 125;
/// The exit code of a run that has stalled, as `timeout` has it for what took too long.
pub const STALLED: u8 = 124;
/// The exit code of a run that somebody cancelled, whatever its programs made of it.
pub const CANCELLED: u8 = 130;
/// The longest cause of an end, in bytes: it goes through every link of a gang, and to the workstation.
pub const LONGEST_CAUSE: usize = 2048;

/// A cause that is no longer than any may be. A command's name may have a megabyte, and be in it.
#[must_use]
pub fn cause(message: impl Into<String>) -> String {
    let mut message = message.into();
    if message.len() > LONGEST_CAUSE {
        message.truncate(message.floor_char_boundary(LONGEST_CAUSE - 3));
        message.push_str("...");
    }
    message
}

impl End {
    /// Nobody knows how it ended.
    #[must_use]
    pub fn lost(message: impl Into<String>) -> Self {
        Self { code: NOT_RUN, reason: Reason::Lost { message: message.into() } }
    }

    /// It could not be started.
    #[must_use]
    pub fn not_started(message: impl Into<String>) -> Self {
        Self { code: NOT_RUN, reason: Reason::NotStarted { message: cause(message) } }
    }

    /// Whether this is what a program that did its work looks like.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == 0 && self.reason == Reason::Exited
    }

    /// Whether this end is only the consequence of another one.
    #[must_use]
    pub const fn is_consequence(&self) -> bool {
        matches!(self.reason, Reason::PeerFailed { .. } | Reason::Stopped { .. } | Reason::Cancelled { .. })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Exited => write!(f, "exited with code {}", self.code),
            Reason::Signalled { signal } => write!(f, "was killed by signal {signal}"),
            Reason::OutOfMemory => write!(f, "was killed by the kernel: out of memory"),
            Reason::NotStarted { message } => write!(f, "could not be started: {message}"),
            Reason::NoGang { message } => write!(f, "never met the other ranks: {message}"),
            Reason::Stalled { seconds } => write!(f, "was stopped: no rank has written anything for {seconds} s"),
            Reason::PeerFailed { rank } => write!(f, "was stopped because rank {rank} failed"),
            Reason::Cancelled { by } => write!(f, "was cancelled by {by}"),
            Reason::Stopped { message } => write!(f, "was stopped: {message}"),
            Reason::Lost { message } => write!(f, "was lost: {message}"),
        }
    }
}

impl RankState {
    /// Whether the rank is no more.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

/// Where a rank stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum RankState {
    /// The engine has not started it yet.
    Pending {
        /// What it waits for, in the engine's words; empty when it said nothing.
        message: String,
    },
    /// The supervisor runs and waits for its peers.
    Meeting {
        /// Whom or what it waits for.
        message: String,
    },
    /// The program runs.
    Running,
    /// It has no program of its own, and waits for what rank 0's starts there.
    Hosting,
    /// The program is no more.
    Ended(End),
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A step began.
    Started {
        /// Which.
        phase: Phase,
        /// What it works on.
        detail: String,
    },
    /// A step went on.
    Progress {
        /// Which.
        phase: Phase,
        /// How much is done, in bytes or pieces.
        done: u64,
        /// Of how much, where known.
        total: Option<u64>,
        /// What it works on now.
        detail: String,
    },
    /// A step is done.
    Finished {
        /// Which.
        phase: Phase,
        /// What came of it, in the past tense.
        detail: String,
    },
    /// A line of the image build's own output.
    BuildOutput {
        /// One line, without its end.
        line: String,
    },
    /// Something worth knowing.
    Note {
        /// One sentence.
        text: String,
    },
    /// Something that may go wrong.
    Warning {
        /// One sentence.
        text: String,
    },
    /// A rank's state changed.
    Rank {
        /// Which.
        rank: u32,
        /// To what.
        #[serde(flatten)]
        state: RankState,
    },
    /// A rank wrote something.
    Log {
        /// Which.
        rank: u32,
        /// Where to.
        stream: Stream,
        /// When, in milliseconds since 1970.
        time: i64,
        /// The bytes, cut anywhere.
        #[serde(serialize_with = "as_text")]
        bytes: Bytes,
    },
    /// What a rank had written before it was followed was shown; what comes now is news.
    LogCurrent {
        /// Which.
        rank: u32,
    },
    /// A part of a rank's log cannot be had.
    LogGap {
        /// Which.
        rank: u32,
        /// Why, and how much where known.
        message: String,
    },
    /// A file of a rank's outputs arrived, verified.
    Output {
        /// Which rank wrote it.
        rank: u32,
        /// Where it is now, relative to the run's folder.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
}

/// Log bytes as JSON text; what is no UTF-8 becomes U+FFFD (the raw bytes are in the run's log files).
fn as_text<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// Where events go. Cheap to clone; sending never fails.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Events that end in `sink`.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Events that nobody wants.
    #[must_use]
    pub fn none() -> Self {
        Self::new(drop)
    }

    /// Reports one event.
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }

    /// Reports something worth knowing.
    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note { text: text.into() });
    }

    /// Reports something that may go wrong.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(Event::Warning { text: text.into() });
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
