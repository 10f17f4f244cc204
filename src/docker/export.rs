//! Taking an image out of the engine, to push it ourselves: its configuration, and those layers that are wanted.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::sync::mpsc;

use super::engine::Docker;
use super::error::DockerError;
use super::saved::SavedImage;
use super::upload;
use crate::digest::Digest;
use crate::event::{Event, Events, Phase};

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
    /// The wanted layers, lowest first.
    pub layers: Vec<ExportedLayer>,
}

/// A layer outside of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedLayer {
    /// Digest of the uncompressed layer; the file has been verified against it.
    pub diff_id: Digest,
    /// The uncompressed layer.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

impl Docker {
    /// Writes the layers in `wanted` as files into `folder`. Layers that are not wanted are skipped as they come, where
    /// the engine's archive says which they are, and otherwise removed as soon as their digest is known.
    pub async fn export_layers(
        &self,
        image: &str,
        wanted: &HashSet<Digest>,
        folder: &Path,
        events: &Events,
    ) -> Result<ExportedImage, DockerError> {
        let local = self.image(image).await?;
        let local = local.ok_or_else(|| DockerError::NoSuchImage { image: image.to_owned() })?;
        let (pieces_tx, pieces_rx) = mpsc::channel(DEPTH);
        let saved = SavedImage::new(image, local.diff_ids, wanted.clone(), folder.to_owned());
        let read = upload::blocking(move || saved.read(Pieces { pieces_rx, piece: Bytes::new() }));
        let (sent, read) = tokio::join!(self.send_saved(&local.id, pieces_tx, events), read);
        // A broken connection looks to the reader like an archive that ends early: it is the cause.
        sent?;
        read
    }

    async fn send_saved(
        &self,
        id: &str,
        pieces_tx: mpsc::Sender<io::Result<Bytes>>,
        events: &Events,
    ) -> Result<(), DockerError> {
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
                let detail = "taking layers out of Docker".to_owned();
                events.send(Event::Progress { phase: Phase::Push, done, total: None, detail });
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

/// The layers of an export in the image's order.
pub(super) fn in_order(
    image: &str,
    diff_ids: &[Digest],
    wanted: &HashSet<Digest>,
    mut found: HashMap<Digest, ExportedLayer>,
) -> Result<Vec<ExportedLayer>, DockerError> {
    let missing = |layer: &Digest| DockerError::MissingLayer { image: image.to_owned(), layer: layer.clone() };
    // An image may hold the same layer twice; it is one file.
    let mut seen = HashSet::new();
    diff_ids
        .iter()
        .filter(|layer| wanted.contains(*layer) && seen.insert((*layer).clone()))
        .map(|layer| found.remove(layer).ok_or_else(|| missing(layer)))
        .collect()
}
