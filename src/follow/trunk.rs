//! One connection that leads to all ranks of a run: HTTP/2, each rank the target of a `CONNECT` (RFC 9113, section 8.5).

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::control::trunk;

/// A stream to one rank's supervisor.
pub type RankStream = TokioIo<Upgraded>;

/// Longest refusal that is read, in bytes.
const REFUSAL: usize = 1024;

/// An open trunk; its clones share the connection.
#[derive(Clone)]
pub struct Trunk(SendRequest<Empty<Bytes>>);

impl Trunk {
    /// Speaks first on a stream to a supervisor. The error is one sentence.
    pub async fn open(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, String> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(trunk::KEEP_ALIVE)
            .keep_alive_timeout(trunk::KEEP_ALIVE_LIMIT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(trunk::STREAM_WINDOW)
            .initial_connection_window_size(trunk::CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Whether the connection is known to be gone.
    pub(super) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    /// Opens a stream to a rank. The error is one sentence.
    pub async fn to(&mut self, rank: u32) -> Result<RankStream, String> {
        self.0.ready().await.map_err(|error| error.to_string())?;
        let request = Request::builder().method(Method::CONNECT).uri(trunk::target(rank)).body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        let response = self.0.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status() == StatusCode::OK {
            return hyper::upgrade::on(response).await.map(TokioIo::new).map_err(|error| error.to_string());
        }
        let refusal = http_body_util::Limited::new(response.into_body(), REFUSAL).collect().await;
        let refusal = refusal.map_err(|error| error.to_string())?.to_bytes();
        Err(String::from_utf8_lossy(&refusal).into_owned())
    }
}
