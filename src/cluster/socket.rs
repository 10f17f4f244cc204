//! Bytes over a WebSocket of the API server, both ways at once.
//!
//! The client's own streams are not used: they pass everything through one loop that stands still while either direction
//! is full (so two sides that both write wait for each other for ever), and they end silently when something breaks. Here
//! reading and writing are independent, and an end that was not orderly is an error. There is no half-close: neither
//! protocol has one that works everywhere, so a stream is closed by dropping it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures::{Sink, Stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

/// Longest frame sent, in bytes: servers accept 32 MiB, and much less is enough for full speed.
const MAX_FRAME: usize = 256 * 1024;
/// How much of an error text is kept, in bytes.
const MAX_WORDS: usize = 4096;

/// The two protocols; each message begins with the number of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Channel 0 is the port's data, 1 an error text; each begins with the port's number.
    PortForward,
    /// Channels 0, 1, 2 are the standard streams, 3 is the outcome.
    Exec,
}

impl Protocol {
    /// The channel that bytes come back on.
    const fn inbound(self) -> u8 {
        match self {
            Self::PortForward => 0,
            Self::Exec => 1,
        }
    }
}

trait Socket: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Send {}
impl<T> Socket for T where T: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Send {}

/// A byte stream to a rank: one of its ports, or a program started in it.
pub struct ControlStream {
    socket: Pin<Box<dyn Socket>>,
    protocol: Protocol,
    /// Received and not read yet.
    unread: Bytes,
    /// Which channels have told their port yet (port-forward only).
    introduced: [bool; 2],
    /// What came on the channels for errors.
    words: Vec<u8>,
    /// An exec's outcome.
    outcome: Option<Status>,
    closed: bool,
    ended: bool,
}

impl std::fmt::Debug for ControlStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlStream({:?})", self.protocol)
    }
}

impl ControlStream {
    pub(super) fn new(connection: kube::client::Connection, protocol: Protocol) -> Self {
        Self {
            socket: Box::pin(connection.into_stream()),
            protocol,
            unread: Bytes::new(),
            introduced: [false; 2],
            words: Vec::new(),
            outcome: None,
            closed: false,
            ended: false,
        }
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Binary(bytes) => self.take_frame(bytes),
            Message::Close(_) => self.closed = true,
            // Answers to pings are sent by the socket itself; nothing else is part of the protocols.
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    fn take_frame(&mut self, mut frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        let channel = frame.get_u8();
        if self.protocol == Protocol::PortForward
            && let Some(introduced) = self.introduced.get_mut(usize::from(channel))
            && !std::mem::replace(introduced, true)
        {
            frame.advance(frame.len().min(2));
        }
        match (self.protocol, channel) {
            (protocol, channel) if channel == protocol.inbound() => self.unread = frame,
            (Protocol::Exec, 3) => self.outcome = serde_json::from_slice(&frame).ok(),
            (Protocol::PortForward, 1) | (Protocol::Exec, 2) => {
                let room = MAX_WORDS.saturating_sub(self.words.len());
                self.words.extend_from_slice(&frame[..frame.len().min(room)]);
            }
            _ => {}
        }
    }

    /// What the end of the socket means.
    fn verdict(&self) -> io::Result<()> {
        let words = String::from_utf8_lossy(&self.words);
        let broken = |message: &str| Err(io::Error::new(io::ErrorKind::ConnectionReset, message.to_owned()));
        match (self.protocol, &self.outcome) {
            (Protocol::PortForward, _) if !words.is_empty() => broken(words.trim()),
            (Protocol::PortForward, _) if self.closed => Ok(()),
            (Protocol::Exec, Some(status)) if status.status.as_deref() == Some("Success") => Ok(()),
            (Protocol::Exec, Some(status)) => {
                let message = status.message.as_deref().unwrap_or("the program failed");
                Err(io::Error::other(format!("{message}: {}", words.trim())))
            }
            _ => broken("the connection to the API server broke"),
        }
    }
}

fn broke(error: SocketError) -> io::Error {
    match error {
        SocketError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::ConnectionReset, other),
    }
}

impl AsyncRead for ControlStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && !self.ended {
            match ready!(self.socket.as_mut().poll_next(cx)) {
                Some(Ok(message)) => self.take_in(message),
                // An error is final too, but one that was told on a channel says more.
                Some(Err(error)) => {
                    self.ended = true;
                    let told = !self.words.is_empty() || self.outcome.is_some() || self.closed;
                    return Poll::Ready(if told { self.verdict() } else { Err(broke(error)) });
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(self.verdict());
                }
            }
        }
        let len = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ControlStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.socket.as_mut().poll_ready(cx)).map_err(broke)?;
        let len = bytes.len().min(MAX_FRAME);
        let mut frame = Vec::with_capacity(len + 1);
        // Towards the rank, both protocols use channel 0.
        frame.push(0);
        frame.extend_from_slice(&bytes[..len]);
        self.socket.as_mut().start_send(Message::binary(frame)).map_err(broke)?;
        // Sent as far as it goes now; the next write or flush waits for the rest.
        if let Poll::Ready(Err(error)) = self.socket.as_mut().poll_flush(cx) {
            return Poll::Ready(Err(broke(error)));
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_flush(cx).map_err(broke)
    }

    /// Only flushes: see the module's first lines.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
