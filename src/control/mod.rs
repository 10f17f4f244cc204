//! The control stream: what a rank's supervisor and the workstation say to each other, over any byte stream.
//!
//! Owns: the messages and their framing. Does not own: who opens the stream (`docker`: exec, `cluster`: port-forward),
//! who answers (`supervisor`), who asks (`follow`). Start reading at [`Request`] and [`Reply`].
//!
//! One connection, the [`trunk`], carries the streams of all ranks: HTTP/2, each stream a `CONNECT` to its rank.
//!
//! A frame is two big-endian 32-bit lengths, a JSON header of the first length and a body of the second.
//! End of stream means nothing: only [`Reply::Ended`], received whole, is an end.

mod frame;
pub(crate) mod fuzz;
pub mod trunk;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::event::{End, RankState, Stream};

pub use frame::{FrameCodec, FrameError, MAX_BODY, MAX_HEADER};

/// Version of this protocol; raised when an old peer could no longer understand a new one.
pub const PROTOCOL: u32 = 3;

/// Without a frame for this long, in seconds, a stream is dead (both sides send at least every [`HEARTBEAT`]).
pub const DEAD_AFTER: u64 = 15;
/// Seconds between heartbeats.
pub const HEARTBEAT: u64 = 5;

/// From the workstation to a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// First frame of a stream.
    Hello {
        /// [`PROTOCOL`] of the sender.
        protocol: u32,
    },
    /// Send the journal from this offset on, and every change of state and outputs, until the end.
    Follow {
        /// Journal offset in bytes, as former [`Reply::Log`] frames gave it; 0 for all.
        offset: u64,
    },
    /// Send a piece of an output file. Answered by [`Reply::Piece`] with the bytes, or [`Reply::NoPiece`].
    Fetch {
        /// The file, relative to the outputs folder, with `/`.
        path: String,
        /// From where, in bytes.
        offset: u64,
        /// How much, in bytes, at most [`MAX_BODY`].
        len: u32,
    },
    /// Send a part of the list of outputs. Answered by [`Reply::Listed`].
    List {
        /// What is known of the list already, as [`Reply::Listed`] said it; 0 for nothing.
        after: u64,
    },
    /// The run is cancelled: SIGTERM to the program, then SIGKILL after the grace time.
    Stop {
        /// Who asks, for the record.
        by: String,
    },
    /// Kill the program at once.
    Kill {
        /// Who asks, for the record.
        by: String,
    },
    /// Everything up to the end was received: the supervisor may exit.
    Release,
    /// Are you there?
    Ping,
}

/// From a supervisor to the workstation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// Answer to [`Request::Hello`].
    Hello {
        /// [`PROTOCOL`] of the sender.
        protocol: u32,
        /// nauta's version in the container.
        version: String,
        /// The run's name.
        run: String,
        /// The rank.
        rank: u32,
        /// Random per start of the supervisor: another value means another container, and journal offsets start anew.
        instance: String,
    },
    /// The rank's state now, or changed.
    State(RankState),
    /// Body: bytes of the journal.
    Log {
        /// Where the program wrote them.
        stream: Stream,
        /// When, in milliseconds since 1970.
        time: i64,
        /// Journal offset behind these bytes: what to resume from.
        next: u64,
    },
    /// The journal dropped its oldest bytes before they could be sent.
    Gap {
        /// How many bytes are missing.
        bytes: u64,
        /// Journal offset behind the gap.
        next: u64,
    },
    /// All that the journal held was sent; what follows is news.
    Caught,
    /// The list of outputs has grown: there is more to ask for with [`Request::List`].
    Outputs {
        /// The number of its last change.
        sequence: u64,
        /// Whether nothing will follow.
        complete: bool,
    },
    /// Body: what is listed behind the number that was asked for, as JSON: a [`crate::sync::Page`].
    Listed {
        /// What is known of the list with it.
        next: u64,
        /// Whether there is more already.
        more: bool,
        /// Whether this is all, and nothing will follow.
        complete: bool,
        /// Whether the list begins anew with it: what was known of it holds no more.
        anew: bool,
    },
    /// Body: the piece of the file that was asked for.
    Piece {
        /// SHA-256 of the body.
        digest: Digest,
    },
    /// The piece cannot be had (the file shrank, vanished, or the path is none of the outputs').
    NoPiece {
        /// Why.
        message: String,
    },
    /// The program is no more, the journal was sent to its end, and the outputs are final.
    Ended {
        /// How this rank ended.
        end: End,
        /// The rank that failed first in the gang, where known.
        first_failed: Option<u32>,
        /// Journal offset of the end.
        journal: u64,
        /// Whether the outputs (and this log) are complete in the mailbox.
        in_mailbox: bool,
        /// Whether another container takes this one's place: the rank goes on.
        #[serde(default)]
        replaced: bool,
        /// Whether its program is known to have had no connection to another rank's.
        #[serde(default)]
        alone: bool,
    },
    /// Answer to [`Request::Ping`], and sent when nothing else was for a while.
    Pong,
}
