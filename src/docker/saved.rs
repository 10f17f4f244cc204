//! Reading what `docker save` gives, as it comes: the older form (a folder per layer) and the OCI layout (blobs by
//! digest) that engines give since version 25.
//!
//! The archive says only at its end which file is what, so files are told apart by what they hold: a layer is what has
//! a layer's digest, and a configuration is what lists the image's layers.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::error::DockerError;
use super::export::{ExportedImage, ExportedLayer};
use crate::archive::{GrowingWriter, Hashing, Packer, growing};
use crate::digest::Digest;
use crate::image::compose::{LAYER_GZIP, Layer};

/// Documents are smaller than this, in bytes; what is larger is a layer.
const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// Who gets the layers, as soon as it is known that they are wanted.
pub(super) type Ready = Box<dyn FnMut(ExportedLayer) + Send>;

/// An image on its way out of the engine.
pub(super) struct SavedImage {
    image: String,
    diff_ids: Vec<Digest>,
    wanted: HashSet<Digest>,
    folder: PathBuf,
    found: HashSet<Digest>,
    ready: Ready,
    config: Option<Vec<u8>>,
    /// Layers of the older form that were recognised by the document that precedes them, by their folder.
    recognised: HashMap<String, Digest>,
}

impl SavedImage {
    pub(super) fn new(
        image: &str,
        diff_ids: Vec<Digest>,
        wanted: HashSet<Digest>,
        folder: PathBuf,
        ready: Ready,
    ) -> Self {
        Self {
            image: image.to_owned(),
            diff_ids,
            wanted,
            folder,
            found: HashSet::new(),
            ready,
            config: None,
            recognised: HashMap::new(),
        }
    }

    /// Reads the archive to its end.
    pub(super) fn read(mut self, archive: impl Read) -> Result<ExportedImage, DockerError> {
        let mut archive = tar::Archive::new(BufReader::with_capacity(256 * 1024, archive));
        for entry in archive.entries().map_err(|e| self.unreadable(&e))? {
            let entry = entry.map_err(|e| self.unreadable(&e))?;
            if entry.header().entry_type().is_file() {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                let size = entry.size();
                self.entry(&name, size, entry)?;
            }
        }
        let config = self.config.take().ok_or_else(|| self.bad("its configuration is missing"))?;
        let missing = self.diff_ids.iter().find(|layer| self.is_missing(layer));
        match missing {
            Some(layer) => Err(DockerError::MissingLayer { image: self.image.clone(), layer: layer.clone() }),
            None => Ok(ExportedImage { config, diff_ids: self.diff_ids }),
        }
    }

    fn entry(&mut self, name: &str, size: u64, mut content: impl Read) -> Result<(), DockerError> {
        let is_layer = name.ends_with("/layer.tar") || self.known_layer(name).is_some();
        if !is_layer && size <= MAX_DOCUMENT {
            let mut start = [0; 1];
            let n = content.read(&mut start).map_err(|e| self.unreadable(&e))?;
            let mut content = start[..n].chain(content);
            if n == 1 && (start[0] == b'{' || start[0] == b'[') {
                return self.document(name, content);
            }
            return if name.starts_with("blobs/") { self.layer(name, &mut content) } else { Ok(()) };
        }
        if is_layer || name.starts_with("blobs/") { self.layer(name, &mut content) } else { Ok(()) }
    }

    fn document(&mut self, name: &str, mut content: impl Read) -> Result<(), DockerError> {
        let mut text = Vec::new();
        content.read_to_end(&mut text).map_err(|e| self.unreadable(&e))?;
        if let Some(folder) = name.strip_suffix("/json") {
            if let Some(layer) = older_layer(&text, folder, &self.diff_ids) {
                self.recognised.insert(folder.to_owned(), layer);
            }
        } else if is_config(&text, &self.diff_ids) {
            self.config = Some(text);
        }
        Ok(())
    }

    fn layer(&mut self, name: &str, content: &mut dyn Read) -> Result<(), DockerError> {
        if self.known_layer(name).is_some_and(|layer| !self.is_missing(&layer)) {
            return Ok(());
        }
        let mut start = [0; 4];
        let n = fill(content, &mut start).map_err(|e| self.unreadable(&e))?;
        let content = start[..n].chain(content);
        match start {
            [0x1f, 0x8b, ..] => self.export(name, flate2::read::MultiGzDecoder::new(content)),
            [0x28, 0xb5, 0x2f, 0xfd] => Err(self.bad("a layer is compressed with zstd, which nauta cannot read")),
            _ => self.export(name, content),
        }
    }

    /// Gives a layer away: at its beginning where it seems to be wanted, else when that is certain.
    fn export(&mut self, name: &str, content: impl Read) -> Result<(), DockerError> {
        let file = tempfile::Builder::new().suffix(".tar.gz").tempfile_in(&self.folder);
        let (file, path) = file.and_then(|file| Ok(file.keep()?)).map_err(|e| local(&self.folder, e))?;
        let (writer, file) = growing(file, path.clone());
        let (layer_tx, layer) = oneshot::channel();
        let mut exported = Some(ExportedLayer { file, layer });
        if self.seems(name).is_some_and(|layer| self.is_missing(&layer)) {
            exported.take().into_iter().for_each(&mut self.ready);
        }
        let layer = self.pack(writer, &path, content)?;
        if !self.is_missing(&layer.diff_id) {
            return std::fs::remove_file(&path).map_err(|e| local(&path, e));
        }
        self.found.insert(layer.diff_id.clone());
        // Nobody listens any more where sending has failed, and that is the error.
        let _ = layer_tx.send(layer);
        exported.into_iter().for_each(&mut self.ready);
        Ok(())
    }

    /// Which layer a file most likely is: in the older form, the one that is not recognised is the top one.
    fn seems(&self, name: &str) -> Option<Digest> {
        let top = || self.diff_ids.last().cloned().filter(|_| name.ends_with("/layer.tar"));
        self.known_layer(name).or_else(top)
    }

    /// Which layer a file is, where that can be known before it is read.
    fn known_layer(&self, name: &str) -> Option<Digest> {
        if let Some(folder) = name.strip_suffix("/layer.tar") {
            return self.recognised.get(folder).cloned();
        }
        let digest: Digest = format!("sha256:{}", name.strip_prefix("blobs/sha256/")?).parse().ok()?;
        self.diff_ids.contains(&digest).then_some(digest)
    }

    fn is_missing(&self, layer: &Digest) -> bool {
        self.wanted.contains(layer) && self.diff_ids.contains(layer) && !self.found.contains(layer)
    }

    /// Writes a layer, compressed, and names it by what was written.
    fn pack(&self, writer: GrowingWriter, path: &Path, mut content: impl Read) -> Result<Layer, DockerError> {
        let mut packer = Hashing::new(Packer::new(BufWriter::new(writer)));
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => packer.write_all(&buffer[..n]).map_err(|e| local(path, e))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(&e)),
            }
        }
        let (packer, read) = packer.finish();
        let (_, written) = packer.finish().map_err(|e| local(path, e))?;
        let (media_type, diff_id) = (LAYER_GZIP.to_owned(), read.digest);
        Ok(Layer { media_type, digest: written.digest, size: written.size, diff_id })
    }

    fn bad(&self, detail: &str) -> DockerError {
        DockerError::BadExport { image: self.image.clone(), detail: detail.to_owned() }
    }

    fn unreadable(&self, error: &io::Error) -> DockerError {
        self.bad(&format!("its archive cannot be read ({error})"))
    }
}

fn local(path: &Path, source: io::Error) -> DockerError {
    DockerError::Local { what: format!("write `{}`", path.display()), source }
}

fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Whether a document is the configuration of an image with these layers.
fn is_config(text: &[u8], diff_ids: &[Digest]) -> bool {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<Digest>,
    }
    serde_json::from_slice::<Config>(text).is_ok_and(|config| config.rootfs.diff_ids == diff_ids)
}

/// Which layer a folder of the older form holds.
///
/// Its name is a digest over the chain of layers up to it and a few constants, which its document repeats; so the layer
/// is the one that gives this name. The top layer's digest covers more than that, and is not recognised.
fn older_layer(text: &[u8], folder: &str, diff_ids: &[Digest]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Older<'a> {
        created: &'a str,
        #[serde(borrow)]
        container_config: &'a RawValue,
        parent: Option<&'a str>,
    }
    let older: Older = serde_json::from_slice(text).ok()?;
    let parent = older.parent.map(|parent| format!(r#","parent":"sha256:{parent}""#)).unwrap_or_default();
    let mut chain: Option<Digest> = None;
    diff_ids.iter().find_map(|diff_id| {
        let link = match &chain {
            Some(below) => Digest::of(format!("{below} {diff_id}")),
            None => diff_id.clone(),
        };
        let name = format!(
            r#"{{"container_config":{},"created":"{}","layer_id":"{link}"{parent}}}"#,
            older.container_config, older.created
        );
        chain = Some(link);
        (Digest::of(name).hex() == folder).then(|| diff_id.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Attributes, Writer};

    const PLAIN: Attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime: 0 };

    fn layer(text: &str) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer.bytes("file", text.as_bytes(), PLAIN).unwrap();
        writer.finish().unwrap().0
    }

    fn layout(blobs: &[(Digest, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (digest, content) in blobs {
            writer.bytes(format!("blobs/sha256/{}", digest.hex()), content, PLAIN).unwrap();
        }
        writer.bytes("index.json", b"{}", PLAIN).unwrap();
        writer.finish().unwrap().0
    }

    #[test]
    fn an_oci_layout_gives_layers_compressed_or_not() {
        let layers = [layer("one"), layer("two"), layer("three")];
        let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
        let config =
            serde_json::to_vec(&serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}})).unwrap();
        let mut compressed = Vec::new();
        let (_, packed) = crate::archive::gzip(&layers[1][..], &mut compressed).unwrap();
        let archive = layout(&[
            (diff_ids[0].clone(), layers[0].clone()),
            (packed.digest, compressed),
            (diff_ids[2].clone(), layers[2].clone()),
            (Digest::of(&config), config.clone()),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let wanted: HashSet<Digest> = [diff_ids[1].clone(), diff_ids[2].clone(), Digest::of("other")].into();
        let (ready_tx, ready_rx) = std::sync::mpsc::channel();
        let ready = Box::new(move |layer| ready_tx.send(layer).unwrap());
        let saved = SavedImage::new("x", diff_ids.clone(), wanted, folder.path().to_owned(), ready);
        let image = saved.read(&archive[..]).unwrap();
        assert_eq!(image.config, config);
        let unpacked = |mut exported: ExportedLayer| {
            let (packed, layer) = (std::fs::read(exported.file.path).unwrap(), exported.layer.try_recv().unwrap());
            assert_eq!(Digest::of(&packed), layer.digest);
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
            (layer.diff_id, plain)
        };
        let found: Vec<(Digest, Vec<u8>)> = ready_rx.iter().map(unpacked).collect();
        assert_eq!(found, [(diff_ids[1].clone(), layers[1].clone()), (diff_ids[2].clone(), layers[2].clone())]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn wrong_or_missing_content_is_an_error() {
        let one = layer("one");
        let diff_ids = vec![Digest::of(&one)];
        let config =
            serde_json::to_vec(&serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}})).unwrap();
        let read = |blobs: &[(Digest, Vec<u8>)]| {
            let folder = tempfile::tempdir().unwrap();
            let wanted = diff_ids.iter().cloned().collect();
            let saved = SavedImage::new("x", diff_ids.clone(), wanted, folder.path().to_owned(), Box::new(drop));
            saved.read(&layout(blobs)[..])
        };
        let config = (Digest::of(&config), config);
        assert!(read(&[(diff_ids[0].clone(), one.clone()), config.clone()]).is_ok());
        let forged = read(&[(diff_ids[0].clone(), layer("forged")), config.clone()]);
        assert!(matches!(forged, Err(DockerError::MissingLayer { .. })), "{forged:?}");
        assert!(matches!(read(&[config]), Err(DockerError::MissingLayer { .. })));
        assert!(matches!(read(&[(diff_ids[0].clone(), one)]), Err(DockerError::BadExport { .. })));
        let zstd = read(&[(Digest::of("z"), vec![0x28, 0xb5, 0x2f, 0xfd, 0])]);
        assert!(zstd.expect_err("refused").to_string().contains("zstd"));
    }
}
