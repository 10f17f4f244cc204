//! Taking an image out of the engine, to push it ourselves: its configuration, and those layers that are wanted.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};

use super::engine::Docker;
use super::error::DockerError;
use super::saved::SavedImage;
use super::upload;
use crate::archive::GrowingFile;
use crate::digest::Digest;
use crate::event::{Event, Events, Phase};
use crate::image::compose::Layer;

/// Pieces of the engine's answer in flight.
const DEPTH: usize = 8;
/// Progress is reported each time this many bytes have come.
const REPORT_EVERY: u64 = 8 * 1024 * 1024;

/// An image outside of the engine.
#[derive(Debug)]
pub struct ExportedImage {
    /// The image's configuration, byte by byte.
    pub config: Vec<u8>,
    /// All layers' digests, uncompressed, lowest first.
    pub diff_ids: Vec<Digest>,
}

/// A layer on its way out of the engine.
#[derive(Debug)]
pub struct ExportedLayer {
    /// The compressed layer, which may still be growing.
    pub file: GrowingFile,
    /// What it is called, once it is whole: what was compressed has been verified against its digest. Nothing comes when
    /// it turned out to be none that is wanted.
    pub layer: oneshot::Receiver<Layer>,
}

impl Docker {
    /// Writes the layers in `wanted`, compressed, as files into `folder`; each is given to `ready` as soon as it is known to
    /// be one of them, which is mostly at its beginning.
    /// Layers that are not wanted are skipped as they come, where the engine's archive says which they are, and otherwise
    /// removed as soon as their digest is known.
    pub async fn export_layers(
        &self,
        image: &str,
        wanted: &HashSet<Digest>,
        folder: &Path,
        ready: impl FnMut(ExportedLayer) + Send + 'static,
        events: &Events,
    ) -> Result<ExportedImage, DockerError> {
        let local = self.image(image).await?;
        let local = local.ok_or_else(|| DockerError::NoSuchImage { image: image.to_owned() })?;
        let (pieces_tx, pieces_rx) = mpsc::channel(DEPTH);
        let saved = SavedImage::new(image, local.diff_ids, wanted.clone(), folder.to_owned(), Box::new(ready));
        let read = upload::blocking(move || saved.read(Pieces { pieces_rx, piece: Bytes::new() }));
        let (sent, read) = tokio::join!(self.send_saved(&local.id, local.size, pieces_tx, events), read);
        // A broken connection looks to the reader like an archive that ends early: it is the cause.
        sent?;
        read
    }

    async fn send_saved(
        &self,
        id: &str,
        size: u64,
        pieces_tx: mpsc::Sender<io::Result<Bytes>>,
        events: &Events,
    ) -> Result<(), DockerError> {
        // The engine puts the whole image together before it begins to send: that may take half a minute.
        let detail = || "taking layers out of Docker".to_owned();
        events.send(Event::Started { phase: Phase::Environment, detail: detail() });
        let mut stream = std::pin::pin!(self.api().export_image(id));
        let (mut done, mut reported) = (0, 0);
        while let Some(piece) = stream.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    // Nobody may be listening any more; the error is returned in any case.
                    drop(pieces_tx.send(Err(io::Error::other("the engine's answer broke off"))).await);
                    return Err(self.error(format!("export the image `{id}`"), error));
                }
            };
            done += piece.len() as u64;
            if done - reported >= REPORT_EVERY {
                reported = done;
                let (phase, total) = (Phase::Environment, Some(size.max(done)));
                events.send(Event::Progress { phase, done, total, detail: detail() });
            }
            if pieces_tx.send(Ok(piece)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// A [`Read`] over pieces that arrive from the engine; ends with an error when the sender was dropped half-way, since
/// the archive's own end is read before.
struct Pieces {
    pieces_rx: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces_rx.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let n = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
