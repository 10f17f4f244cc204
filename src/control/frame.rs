//! Framing of the control stream, as a codec for `tokio_util`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use tokio_util::codec::{Decoder, Encoder};

/// Longest header accepted, in bytes.
pub const MAX_HEADER: usize = 64 * 1024;
/// Longest body accepted, in bytes: an index of 100,000 output files fits.
pub const MAX_BODY: usize = 32 * 1024 * 1024;

/// No more is reserved for bytes that have not come, in bytes.
pub(super) const MOST_AHEAD: usize = 256 * 1024;

/// What can be wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream broke.
    #[error("the control stream broke")]
    Io(#[from] std::io::Error),
    /// A length is beyond its limit: no peer of ours sent this.
    #[error("a control frame announces {header} + {body} bytes, more than any frame has")]
    TooLong {
        /// Announced header length in bytes.
        header: usize,
        /// Announced body length in bytes.
        body: usize,
    },
    /// The header is not one of ours.
    #[error("a control frame cannot be understood")]
    Header(#[from] serde_json::Error),
}

/// Reads frames with headers of type `I` and writes frames with headers of type `O`; both carry a body.
pub struct FrameCodec<I, O> {
    headers: PhantomData<fn(O) -> I>,
    longest_body: usize,
}

impl<I, O> FrameCodec<I, O> {
    /// Reads no longer bodies than this, in bytes.
    #[must_use]
    pub const fn with_bodies_up_to(longest: usize) -> Self {
        Self { headers: PhantomData, longest_body: longest }
    }
}

impl<I, O> Default for FrameCodec<I, O> {
    fn default() -> Self {
        Self::with_bodies_up_to(MAX_BODY)
    }
}

impl<I: DeserializeOwned, O> Decoder for FrameCodec<I, O> {
    type Item = (I, Bytes);
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Item>, FrameError> {
        let Some(lengths) = buffer.first_chunk::<8>() else { return Ok(None) };
        let [h0, h1, h2, h3, b0, b1, b2, b3] = *lengths;
        let header = u32::from_be_bytes([h0, h1, h2, h3]) as usize;
        let body = u32::from_be_bytes([b0, b1, b2, b3]) as usize;
        if header > MAX_HEADER || body > self.longest_body {
            return Err(FrameError::TooLong { header, body });
        }
        let whole = 8 + header + body;
        if buffer.len() < whole {
            // What is announced may never come.
            buffer.reserve((whole - buffer.len()).min(MOST_AHEAD));
            return Ok(None);
        }
        let mut frame = buffer.split_to(whole).freeze();
        frame.advance(8);
        let message = serde_json::from_slice(&frame.split_to(header))?;
        Ok(Some((message, frame)))
    }
}

impl<I, O: Serialize> Encoder<(O, Bytes)> for FrameCodec<I, O> {
    type Error = FrameError;

    fn encode(&mut self, (message, body): (O, Bytes), buffer: &mut BytesMut) -> Result<(), FrameError> {
        let header = serde_json::to_vec(&message)?;
        match (u32::try_from(header.len()), u32::try_from(body.len())) {
            (Ok(h), Ok(b)) if header.len() <= MAX_HEADER && body.len() <= MAX_BODY => {
                buffer.reserve(8 + header.len() + body.len());
                buffer.put_u32(h);
                buffer.put_u32(b);
                buffer.put_slice(&header);
                buffer.put_slice(&body);
                Ok(())
            }
            _ => Err(FrameError::TooLong { header: header.len(), body: body.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Reply, Request};

    #[test]
    fn frames_survive_any_cutting() {
        let messages = [
            (Request::Hello { protocol: 1 }, Bytes::new()),
            (Request::Fetch { path: "a\n\"b".into(), offset: u64::MAX, len: 7 }, Bytes::from_static(b"body\0\xff")),
            (Request::Release, Bytes::new()),
        ];
        let mut wire = BytesMut::new();
        let mut writer = FrameCodec::<Reply, Request>::default();
        for message in &messages {
            writer.encode(message.clone(), &mut wire).expect("fits");
        }
        for step in 1..wire.len() {
            let mut reader = FrameCodec::<Request, Reply>::default();
            let mut buffer = BytesMut::new();
            let mut read = Vec::new();
            for piece in wire.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = reader.decode(&mut buffer).expect("valid") {
                    read.push(frame);
                }
            }
            assert_eq!(read, messages, "cut every {step} bytes");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn absurd_lengths_are_refused_before_anything_is_allocated() {
        let mut reader = FrameCodec::<Request, Reply>::default();
        let mut buffer = BytesMut::from(&[0xff; 8][..]);
        assert!(matches!(reader.decode(&mut buffer), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn little_is_reserved_for_what_is_only_announced() {
        let mut announced = BytesMut::from(&[0, 0, 0, 1, 2, 0, 0, 0][..]);
        let mut reader = FrameCodec::<Request, Reply>::default();
        assert!(matches!(reader.decode(&mut announced), Ok(None)));
        assert!(announced.capacity() <= 2 * MOST_AHEAD, "{}", announced.capacity());
        let mut reader = FrameCodec::<Request, Reply>::with_bodies_up_to(0);
        assert!(matches!(reader.decode(&mut announced), Err(FrameError::TooLong { .. })));
    }
}
