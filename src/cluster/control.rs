//! A byte stream to a rank's supervisor.
//!
//! The client's own streams end silently when something breaks; [`ControlStream`] turns what they know into an error. There
//! is no half-close: closing one direction would lose the other, so a stream is closed by dropping it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{AttachParams, AttachedProcess, Portforwarder};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, DuplexStream, Join, ReadBuf, ReadHalf, SimplexStream, WriteHalf,
};

use super::Cluster;
use super::error::{Cause, ClusterError};
use crate::event::RankState;
use crate::job::objects::CONTAINER;
use crate::job::state::Fold;
use crate::layout;

/// How long opening a stream may take.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Room for bytes on their way in each direction of an exec stream; the client's own 1 KiB makes it crawl.
const BUFFER: usize = 256 * 1024;

/// Why a stream ended, told when it has.
type Verdict = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

enum Pipe {
    Forward(DuplexStream),
    Exec(Join<ReadHalf<SimplexStream>, WriteHalf<SimplexStream>>),
}

/// What keeps the connection alive, until it is asked why it ended.
enum Connection {
    Forward(Portforwarder, u16),
    Exec(AttachedProcess),
}

/// A byte stream to a rank's supervisor: its control port, or a bridge to it.
pub struct ControlStream {
    pipe: Pipe,
    connection: Option<Connection>,
    verdict: Option<Verdict>,
}

impl std::fmt::Debug for ControlStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.pipe {
            Pipe::Forward(_) => "ControlStream(port-forward)",
            Pipe::Exec(_) => "ControlStream(exec)",
        })
    }
}

impl Cluster {
    /// Opens a stream to the supervisor of a rank: by port-forward, or by exec where only that is allowed.
    pub async fn open_control(&self, run: &str, rank: u32) -> Result<ControlStream, ClusterError> {
        let pod = self.running_pod(run, rank).await?;
        match self.open_forward(&pod, layout::CONTROL_PORT).await {
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => {
                self.open_exec(&pod, vec![layout::SUPERVISOR, "supervise", "--bridge"]).await
            }
            answer => answer,
        }
    }

    /// Opens a stream to any port of a rank.
    pub async fn open_port(&self, run: &str, rank: u32, port: u16) -> Result<ControlStream, ClusterError> {
        let pod = self.running_pod(run, rank).await?;
        self.open_forward(&pod, port).await
    }

    /// The name of the pod in which a rank runs.
    pub(super) async fn running_pod(&self, run: &str, rank: u32) -> Result<String, ClusterError> {
        let mut fold = Fold::new(run);
        self.look(run).await?.into_iter().for_each(|change| fold.apply(change));
        if fold.job().is_none() {
            return Err(self.no_such_run(run).await);
        }
        let view = fold.view(jiff::Timestamp::now());
        let none = |message: String| self.error(Cause::NoContainer { run: run.to_owned(), rank, message });
        let state = view.ranks.iter().find(|view| view.rank == rank).map(|view| &view.state);
        match (state, fold.pod(rank)) {
            (Some(RankState::Running | RankState::Meeting { .. }), Some(pod)) => Ok(pod.name_any()),
            (None, _) => Err(none(format!("it has only {} ranks", view.ranks.len()))),
            (Some(RankState::Ended(end)), _) => Err(none(format!("it {end}"))),
            (Some(RankState::Pending { message }), _) => Err(none(format!("it has not started ({message})"))),
            (Some(_), None) => Err(none("it has no pod".to_owned())),
        }
    }

    async fn open_forward(&self, pod: &str, port: u16) -> Result<ControlStream, ClusterError> {
        let action = "open a port-forward";
        let api = self.api::<Pod>().await?;
        let mut forwarder = self.opened(action, api.portforward(pod, &[port])).await?;
        let pipe = forwarder.take_stream(port).expect("the stream of the one port asked for is taken once");
        Ok(ControlStream {
            pipe: Pipe::Forward(pipe),
            connection: Some(Connection::Forward(forwarder, port)),
            verdict: None,
        })
    }

    /// Starts a program in the rank's container, with its standard input and output as the stream.
    pub(super) async fn open_exec(&self, pod: &str, command: Vec<&str>) -> Result<ControlStream, ClusterError> {
        let params = AttachParams {
            max_stdin_buf_size: Some(BUFFER),
            max_stdout_buf_size: Some(BUFFER),
            ..AttachParams::default().container(CONTAINER).stdin(true).stdout(true).stderr(true)
        };
        let api = self.api::<Pod>().await?;
        let mut process = self.opened("run a bridge in the rank", api.exec(pod, command, &params)).await?;
        let (Some(stdout), Some(stdin)) = (process.stdout(), process.stdin()) else {
            unreachable!("both were asked for, and neither was taken before")
        };
        let pipe = Pipe::Exec(tokio::io::join(stdout, stdin));
        Ok(ControlStream { pipe, connection: Some(Connection::Exec(process)), verdict: None })
    }

    async fn opened<T>(&self, action: &str, open: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
        match tokio::time::timeout(OPEN_LIMIT, open).await {
            Ok(answer) => answer.map_err(|error| self.classify(action, error)),
            Err(_) => Err(self.error(Cause::Unreachable {
                server: self.server().to_owned(),
                message: format!("no stream within {} seconds", OPEN_LIMIT.as_secs()),
            })),
        }
    }
}

/// Why a connection ended; `Ok` when it was closed in an orderly way.
async fn why_ended(connection: Connection) -> io::Result<()> {
    match connection {
        Connection::Forward(mut forwarder, port) => {
            let port_error = forwarder.take_error(port);
            if let Some(error) = port_error
                && let Some(message) = error.await
            {
                return Err(io::Error::new(io::ErrorKind::ConnectionReset, message.trim().to_owned()));
            }
            forwarder.join().await.map_err(io::Error::other)
        }
        Connection::Exec(mut process) => {
            let mut words = String::new();
            if let Some(stderr) = process.stderr() {
                // Only for the message: what cannot be read is not shown.
                _ = stderr.take(4096).read_to_string(&mut words).await;
            }
            let status = match process.take_status() {
                Some(status) => status.await,
                None => None,
            };
            match status {
                Some(status) if status.status.as_deref() == Some("Success") => Ok(()),
                Some(status) => {
                    Err(io::Error::other(format!("{} {}", status.message.unwrap_or_default(), words.trim())))
                }
                None => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke")),
            }
        }
    }
}

impl AsyncRead for ControlStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.verdict.is_none() {
            let before = buffer.filled().len();
            ready!(match &mut this.pipe {
                Pipe::Forward(pipe) => Pin::new(pipe).poll_read(cx, buffer),
                Pipe::Exec(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            })?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let Some(connection) = this.connection.take() else { return Poll::Ready(Ok(())) };
            this.verdict = Some(Box::pin(why_ended(connection)));
        }
        let Some(verdict) = &mut this.verdict else { return Poll::Ready(Ok(())) };
        let answer = ready!(verdict.as_mut().poll(cx));
        // Asked again after its end, a stream has simply ended.
        this.verdict = None;
        Poll::Ready(answer)
    }
}

impl AsyncWrite for ControlStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.pipe {
            Pipe::Forward(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Pipe::Exec(pipe) => Pin::new(pipe).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.pipe {
            Pipe::Forward(pipe) => Pin::new(pipe).poll_flush(cx),
            Pipe::Exec(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    /// Only flushes: see the module's first lines.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Drop for ControlStream {
    fn drop(&mut self) {
        match &self.connection {
            Some(Connection::Forward(forwarder, _)) => forwarder.abort(),
            Some(Connection::Exec(process)) => process.abort(),
            None => {}
        }
    }
}
