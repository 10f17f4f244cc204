//! Any bytes as a control stream.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::{Decoder, Encoder};

use super::frame::MOST_AHEAD;
use super::{FrameCodec, MAX_BODY, Reply, Request};

/// Frames from either side.
pub(crate) fn frames(bytes: &[u8]) {
    of::<Request, Reply>(bytes, 0);
    of::<Reply, Request>(bytes, MAX_BODY);
}

/// Frames are the same in whatever pieces they come, say the same once they are written anew, and nothing is reserved for what
/// is only announced.
pub(crate) fn of<I, O>(bytes: &[u8], longest_body: usize)
where
    I: DeserializeOwned + Serialize + Debug + PartialEq,
    O: DeserializeOwned + Serialize,
{
    let whole = in_pieces::<I, O>(bytes, usize::MAX, longest_body);
    for step in [1, 9, 1000] {
        assert_eq!(in_pieces::<I, O>(bytes, step, longest_body), whole, "in pieces of {step} bytes");
    }
    let mut wire = BytesMut::new();
    for (message, body) in whole.0 {
        let before = format!("{message:?}");
        FrameCodec::<O, I>::default().encode((message, body.clone()), &mut wire).expect("it came in a frame");
        let again = FrameCodec::<I, O>::default().decode(&mut wire).expect("our own").expect("whole");
        assert_eq!((format!("{:?}", again.0), again.1), (before, body));
    }
}

/// The frames in some bytes, and whether something was wrong.
fn in_pieces<I: DeserializeOwned, O>(bytes: &[u8], step: usize, longest_body: usize) -> (Vec<(I, Bytes)>, bool) {
    let mut codec = FrameCodec::<I, O>::with_bodies_up_to(longest_body);
    let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => read.push(frame),
                Ok(None) => break,
                Err(_) => return (read, true),
            }
        }
        assert!(buffer.capacity() <= 2 * (bytes.len() + MOST_AHEAD), "{} bytes reserved", buffer.capacity());
    }
    (read, false)
}
