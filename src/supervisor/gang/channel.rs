//! A link between two ranks: authenticated by the run's key and encrypted (Noise protocol framework, pattern `NNpsk0`).

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use snow::{Builder, TransportState};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::Message;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// The longest Noise message, in bytes.
const LONGEST: usize = 65535;
/// What encryption adds to a message, in bytes.
const SEAL: usize = 16;
/// A peer that does not finish its handshake in this time is none.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A link; messages arrive whole or not at all.
pub(super) struct Channel {
    framed: Framed<TcpStream, LengthDelimitedCodec>,
    noise: TransportState,
}

/// Which end of a new link this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Connecting,
    Accepting,
}

impl Channel {
    /// Proves the run's key to the other side, and has it proved.
    pub(super) async fn open(stream: TcpStream, side: Side, key: &[u8; 32]) -> Result<Self, String> {
        let handshake = Self::handshake(stream, side, key);
        tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| "no handshake in time".to_owned())?
    }

    async fn handshake(stream: TcpStream, side: Side, key: &[u8; 32]) -> Result<Self, String> {
        let _ = stream.set_nodelay(true);
        let codec = LengthDelimitedCodec::builder().length_field_type::<u16>().max_frame_length(LONGEST).new_codec();
        let mut framed = Framed::new(stream, codec);
        let builder = PATTERN.parse().map(Builder::new).and_then(|builder| builder.psk(0, key)).map_err(text)?;
        let mut noise = match side {
            Side::Connecting => builder.build_initiator(),
            Side::Accepting => builder.build_responder(),
        }
        .map_err(text)?;
        let mut buffer = vec![0; LONGEST];
        while !noise.is_handshake_finished() {
            if noise.is_my_turn() {
                let n = noise.write_message(&[], &mut buffer).map_err(text)?;
                framed.send(Bytes::copy_from_slice(&buffer[..n])).await.map_err(text)?;
            } else {
                let frame = framed.next().await.ok_or("it hung up: has it another run's key?")?.map_err(text)?;
                noise.read_message(&frame, &mut buffer).map_err(|_| "it does not have this run's key".to_owned())?;
            }
        }
        Ok(Self { framed, noise: noise.into_transport_mode().map_err(text)? })
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
    pub(super) async fn carry(self, stream: DuplexStream) {
        let noise = RefCell::new(self.noise);
        let (mut frames_tx, mut frames) = self.framed.split();
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

    /// This side's address.
    pub(super) fn local_address(&self) -> Option<IpAddr> {
        self.framed.get_ref().local_addr().ok().map(|address| address.ip().to_canonical())
    }

    /// The address that the link comes from.
    pub(super) fn peer_address(&self) -> Option<IpAddr> {
        self.framed.get_ref().peer_addr().ok().map(|address| address.ip().to_canonical())
    }
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
