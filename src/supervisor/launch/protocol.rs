//! What a front and the rank that runs its command say to each other, in frames of [`crate::control::FrameCodec`].
//! The end of the stream, without a word before, is a hang-up.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::control::FrameCodec;
use crate::event::End;

/// From a front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub(super) enum Ask {
    /// First: run a command. Body: the command, as a shell would read it.
    Run {
        /// The host as the caller named it.
        host: String,
    },
    /// First, from rank 0's supervisor: was anything killed there?
    Inquest,
    /// Body: bytes for the command's standard input.
    Input,
    /// No more input comes.
    InputEnd,
    /// Send a signal to all of the command's processes.
    Signal {
        /// Its number.
        signal: i32,
    },
}

/// From the rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub(super) enum Answer {
    /// Body: what the command wrote to its standard output.
    Output,
    /// Body: what it wrote to its standard error.
    Error,
    /// The command is no more.
    Ended {
        /// How it ended.
        end: End,
    },
    /// It cannot be run.
    Refused {
        /// Why, in one sentence.
        message: String,
    },
    /// What was killed, where anything was.
    Killed {
        /// The first.
        casualty: Option<Casualty>,
    },
}

/// Something that was killed on a rank, by a signal or for memory, and not by nauta.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::supervisor) struct Casualty {
    /// How it ended.
    pub(in crate::supervisor) end: End,
    /// How long ago, in milliseconds: ranks' clocks differ.
    pub(in crate::supervisor) ago: u64,
}

/// Frames as the rank's side reads and writes them.
pub(super) type RankCodec = FrameCodec<Ask, Answer>;

/// The longest body of either, in bytes: a command, which is no longer than what a kernel takes.
pub(super) const LONGEST_BODY: usize = 4 * 1024 * 1024;

/// The codec of either side.
pub(super) const fn codec<I, O>() -> FrameCodec<I, O> {
    FrameCodec::with_bodies_up_to(LONGEST_BODY)
}

/// A frame without a body.
pub(super) fn plain<T>(message: T) -> (T, Bytes) {
    (message, Bytes::new())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio_util::codec::{Decoder, Encoder};

    use super::*;
    use crate::event::Reason;

    type FrontCodec = FrameCodec<Answer, Ask>;

    #[test]
    fn every_word_arrives_as_it_was_said() {
        let end = End { code: 137, reason: Reason::OutOfMemory };
        let casualty = Some(Casualty { end: end.clone(), ago: 7 });
        let killed = |casualty| Answer::Killed { casualty };
        let refused = Answer::Refused { message: "no".to_owned() };
        let answers = [Answer::Output, Answer::Error, Answer::Ended { end }, refused, killed(casualty), killed(None)];
        let mut wire = BytesMut::new();
        for answer in answers {
            RankCodec::default().encode((answer.clone(), Bytes::from_static(b"x")), &mut wire).expect("fits");
            let read = FrontCodec::default().decode(&mut wire).expect("valid").expect("whole");
            assert_eq!(read, (answer, Bytes::from_static(b"x")));
        }
        let host = "r-1".to_owned();
        for ask in [Ask::Run { host }, Ask::Inquest, Ask::Input, Ask::InputEnd, Ask::Signal { signal: 15 }] {
            FrontCodec::default().encode(plain(ask.clone()), &mut wire).expect("fits");
            let read = RankCodec::default().decode(&mut wire).expect("valid").expect("whole");
            assert_eq!(read, plain(ask));
        }
    }
}
