//! A link between two ranks: authenticated by the run's key and encrypted (Noise protocol framework, pattern `NNpsk0`).

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use snow::{Builder, HandshakeState, TransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::Message;
use crate::supervisor::admission::Place;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// The longest Noise message, in bytes.
const LONGEST: usize = 65535;
/// The length of a handshake's messages, in bytes: a key and a seal. Nothing else is heard from a stranger.
const GREETING: usize = 32 + SEAL;
/// The longest first message of who has proved the key, in bytes: a name and some numbers.
const LONGEST_FIRST: usize = 1024;
/// The longest message, in bytes: the end of a program, whose cause is told in no more than [`crate::event::LONGEST_CAUSE`].
const LONGEST_MESSAGE: usize = 32 * 1024;
/// What encryption adds to a message, in bytes.
const SEAL: usize = 16;
/// A peer that does not finish its handshake in this time is none.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A link; messages arrive whole or not at all.
pub(super) struct Channel<S = TcpStream> {
    framed: Framed<S, LengthDelimitedCodec>,
    noise: TransportState,
}

impl Channel {
    /// Proves the run's key to the side that was called, and has it proved.
    pub(super) async fn call(stream: TcpStream, key: &[u8; 32]) -> Result<Self, String> {
        let _ = stream.set_nodelay(true);
        let calling = Self::calling(stream, key);
        let mut channel = timeout(HANDSHAKE, calling).await.map_err(|_| "no handshake in time".to_owned())??;
        channel.limit(LONGEST_MESSAGE);
        Ok(channel)
    }

    /// Has the run's key proved by who has called, proves it, and gives its first message. Until then the caller is worth a
    /// socket and a few bytes, and `place` is its place among others.
    pub(super) async fn answer(stream: TcpStream, key: &[u8; 32], place: Place) -> Result<(Self, Message), String> {
        let _ = stream.set_nodelay(true);
        // Who loses its place leaves nothing behind in the kernel either.
        let _ = stream.set_zero_linger();
        let answering = Self::answering(stream, key, || place.proven());
        let answered = timeout(HANDSHAKE, answering).await.map_err(|_| "no handshake in time".to_owned())?;
        let (mut channel, first) = answered?;
        channel.limit(LONGEST_MESSAGE);
        let _ = rustix::net::sockopt::set_socket_linger(channel.framed.get_ref(), None);
        Ok((channel, first))
    }

    /// This side's address.
    pub(super) fn local_address(&self) -> Option<IpAddr> {
        self.framed.get_ref().local_addr().ok().map(|address| address.ip().to_canonical())
    }

    /// The address that the link comes from.
    pub(super) fn peer_address(&self) -> Option<IpAddr> {
        self.framed.get_ref().peer_addr().ok().map(|address| address.ip().to_canonical())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    pub(super) async fn calling(mut stream: S, key: &[u8; 32]) -> Result<Self, String> {
        let mut noise = noise(key)?.build_initiator().map_err(text)?;
        greet(&mut stream, &mut noise).await?;
        hear(&mut stream, &mut noise).await?;
        Self::of(stream, noise)
    }

    /// `proven` is called once the caller has shown that it has the key.
    pub(super) async fn answering(
        mut stream: S,
        key: &[u8; 32],
        proven: impl FnOnce(),
    ) -> Result<(Self, Message), String> {
        let mut noise = noise(key)?.build_responder().map_err(text)?;
        hear(&mut stream, &mut noise).await?;
        proven();
        greet(&mut stream, &mut noise).await?;
        let mut channel = Self::of(stream, noise)?;
        let first = channel.receive().await?;
        Ok((channel, first))
    }

    fn of(stream: S, noise: HandshakeState) -> Result<Self, String> {
        let mut codec = LengthDelimitedCodec::builder();
        let codec = codec.length_field_type::<u16>().max_frame_length(LONGEST_FIRST).new_codec();
        let framed = Framed::with_capacity(stream, codec, LONGEST_FIRST);
        Ok(Self { framed, noise: noise.into_transport_mode().map_err(text)? })
    }

    /// From now on longer messages than this are none.
    fn limit(&mut self, longest: usize) {
        self.framed.codec_mut().set_max_frame_length(longest);
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, message: &Message) -> Result<(), String> {
        let plain = serde_json::to_vec(message).map_err(text)?;
        self.framed.send(seal(&mut self.noise, &plain)?).await.map_err(text)
    }

    /// The next message. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Result<Message, String> {
        let frame = self.framed.next().await.ok_or("it hung up")?.map_err(text)?;
        serde_json::from_slice(&unseal(&mut self.noise, &frame)?).map_err(text)
    }

    /// Carries a stream's bytes both ways, until both sides have closed it or one is gone. An empty message closes a direction.
    pub(super) async fn carry(mut self, stream: DuplexStream) {
        self.limit(LONGEST);
        // From now on there is much to read at once.
        let mut parts = self.framed.into_parts();
        let early = std::mem::replace(&mut parts.read_buf, BytesMut::with_capacity(LONGEST));
        parts.read_buf.extend_from_slice(&early);
        let noise = RefCell::new(self.noise);
        let (mut frames_tx, mut frames) = Framed::from_parts(parts).split();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let there = async {
            let mut buffer = vec![0; LONGEST - SEAL];
            loop {
                let n = reader.read(&mut buffer).await.map_err(text)?;
                let sealed = seal(&mut noise.borrow_mut(), &buffer[..n])?;
                frames_tx.send(sealed).await.map_err(text)?;
                if n == 0 {
                    return Ok::<(), String>(());
                }
            }
        };
        let back = async {
            loop {
                let frame = frames.next().await.ok_or("it hung up")?.map_err(text)?;
                let piece = unseal(&mut noise.borrow_mut(), &frame)?;
                if piece.is_empty() {
                    return writer.shutdown().await.map_err(text);
                }
                writer.write_all(&piece).await.map_err(text)?;
            }
        };
        let _ = tokio::try_join!(there, back);
    }
}

fn noise(key: &[u8; 32]) -> Result<Builder<'_>, String> {
    PATTERN.parse().map(Builder::new).and_then(|builder| builder.psk(0, key)).map_err(text)
}

/// Says this side's part of a handshake.
async fn greet(stream: &mut (impl AsyncWrite + Unpin), noise: &mut HandshakeState) -> Result<(), String> {
    let mut said = [0; 2 + GREETING];
    let (length, greeting) = said.split_at_mut(2);
    length.copy_from_slice(&u16::try_from(GREETING).map_err(text)?.to_be_bytes());
    noise.write_message(&[], greeting).map_err(text)?;
    stream.write_all(&said).await.map_err(text)
}

/// Hears the other side's part. Whoever announces anything else is not listened to.
async fn hear(stream: &mut (impl AsyncRead + Unpin), noise: &mut HandshakeState) -> Result<(), String> {
    // A caller without the key is hung up on: by a close, or by a reset.
    let gone = |_| "it hung up: has it another run's key?".to_owned();
    let length = stream.read_u16().await.map_err(gone)?;
    if usize::from(length) != GREETING {
        return Err("it is none of a run's ranks".to_owned());
    }
    let mut greeting = [0; GREETING];
    stream.read_exact(&mut greeting).await.map_err(gone)?;
    noise.read_message(&greeting, &mut []).map_err(|_| "it does not have this run's key".to_owned())?;
    Ok(())
}

fn seal(noise: &mut TransportState, plain: &[u8]) -> Result<Bytes, String> {
    let mut sealed = vec![0; plain.len() + SEAL];
    let n = noise.write_message(plain, &mut sealed).map_err(text)?;
    sealed.truncate(n);
    Ok(sealed.into())
}

fn unseal(noise: &mut TransportState, frame: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = vec![0; frame.len()];
    let n = noise.read_message(frame, &mut plain).map_err(text)?;
    plain.truncate(n);
    Ok(plain)
}

#[expect(clippy::needless_pass_by_value, reason = "fits `map_err` as it is")]
fn text(error: impl ToString) -> String {
    error.to_string()
}
