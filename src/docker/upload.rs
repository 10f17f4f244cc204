//! Archives on their way to the engine: written by a blocking thread, sent as they are written.

use std::io::{self, Write};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::DockerError;
use crate::archive::{ArchiveError, Writer};

/// Bytes per piece of a body.
const PIECE: usize = 128 * 1024;
/// Pieces in flight.
const DEPTH: usize = 4;

/// A body that is written while it is sent.
pub(super) struct Upload {
    /// The bytes.
    pub(super) body: UploadStream,
    /// Fails with what went wrong while writing; the engine only sees a body that breaks off.
    pub(super) outcome: UploadOutcome,
}

/// The outcome of an archive's writer.
pub(super) struct UploadOutcome(JoinHandle<Result<(), ArchiveError>>);

/// The bytes of an archive.
pub(super) type UploadStream = futures::stream::BoxStream<'static, io::Result<Bytes>>;

/// Runs something that blocks where it may; a panic in there is a panic here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    begin(work).await
}

/// The same, begun at once and not when it is waited for.
pub(super) fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send {
    let working = tokio::task::spawn_blocking(work);
    async {
        match working.await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Starts to write an archive.
pub(super) fn archive(write: impl FnOnce(&mut Writer<Pieces>) -> Result<(), ArchiveError> + Send + 'static) -> Upload {
    let (pieces_tx, pieces_rx) = mpsc::channel(DEPTH);
    let writer = tokio::task::spawn_blocking(move || {
        let failed_tx = pieces_tx.clone();
        let mut archive = Writer::new(Pieces { pieces_tx, buffer: Vec::with_capacity(PIECE) });
        let outcome = write(&mut archive).and_then(|()| archive.finish().map(drop));
        if outcome.is_err() {
            // The body must not end well. Nobody may be listening any more, and then nobody has to know.
            drop(failed_tx.blocking_send(Err(io::Error::other("the archive could not be written"))));
        }
        outcome
    });
    Upload { body: Box::pin(stream(pieces_rx)), outcome: UploadOutcome(writer) }
}

fn stream(pieces_rx: mpsc::Receiver<io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::unfold(pieces_rx, |mut pieces_rx| async { pieces_rx.recv().await.map(|piece| (piece, pieces_rx)) })
}

impl UploadOutcome {
    /// What was wrong with the archive, or else `sent`.
    pub(super) async fn explain<T>(self, sent: Result<T, DockerError>) -> Result<T, DockerError> {
        let Err(error) = sent else { return sent };
        match self.0.await {
            Ok(Err(ArchiveError::Write(_)) | Ok(())) | Err(_) => Err(error),
            Ok(Err(archive)) => Err(archive.into()),
        }
    }
}

/// A [`Write`] whose bytes leave in pieces.
pub(super) struct Pieces {
    pieces_tx: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine stopped reading");
        self.pieces_tx.blocking_send(Ok(Bytes::from(piece))).map_err(gone)
    }
}
