//! A byte stream into a rank: the standard streams of a command that runs beside the supervisor.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::StreamReader;

use super::run::LocalRun;
use crate::docker::error::DockerError;
use crate::layout;

/// What a command in a rank reads and writes. Its end says nothing about whether all was sent.
pub struct ControlStream {
    output: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl LocalRun {
    /// Opens a control stream to a rank's supervisor.
    pub async fn open_control(&self, rank: u32) -> Result<ControlStream, DockerError> {
        self.exec(rank, &[layout::SUPERVISOR, "supervise", "--bridge"]).await
    }

    /// Runs a command in a rank's container; what it writes to stderr is only traced.
    pub async fn exec(&self, rank: u32, command: &[&str]) -> Result<ControlStream, DockerError> {
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            ..ExecConfig::default()
        };
        let what = format!("open a stream into rank {rank}");
        let api = self.docker().api();
        let created = api.create_exec(self.container(rank)?, config).await;
        let exec = created.map_err(|e| self.not_running(rank, self.docker().error(what.as_str(), e)))?;
        match api.start_exec(&exec.id, None).await {
            Ok(StartExecResults::Attached { output, input }) => Ok(ControlStream::new(rank, output, input)),
            Ok(StartExecResults::Detached) => unreachable!("attached streams were asked for"),
            Err(error) => Err(self.not_running(rank, self.docker().error(what, error))),
        }
    }

    fn not_running(&self, rank: u32, error: DockerError) -> DockerError {
        match error {
            DockerError::Rejected { status: 404 | 409, message, .. } => {
                DockerError::NotRunning { run: self.name().to_owned(), rank, message }
            }
            other => other,
        }
    }
}

type Output = BoxStream<'static, Result<LogOutput, bollard::errors::Error>>;

impl ControlStream {
    fn new(rank: u32, output: Output, input: Pin<Box<dyn AsyncWrite + Send>>) -> Self {
        let stdout = output.filter_map(move |piece| async move {
            match piece {
                Ok(LogOutput::StdErr { message }) => {
                    tracing::debug!(rank, text = %String::from_utf8_lossy(&message), "the control stream's stderr");
                    None
                }
                Ok(piece) => Some(Ok(piece.into_bytes())),
                Err(error) => Some(Err(io::Error::other(error))),
            }
        });
        Self { output: StreamReader::new(stdout.boxed()), input }
    }
}

impl AsyncRead for ControlStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for ControlStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.input.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_shutdown(cx)
    }
}
