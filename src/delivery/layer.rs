//! Layers on their way into a registry: compressed where that pays, and never copied where the files will do.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::DeliveryError;
use super::code::write_differences;
use super::parts::{Items, Part};
use super::secrets;
use crate::archive::{BLOCK, Packer, Writer, Written, gzip, gzip_bytes};
use crate::diagnosis::Result;
use crate::image::compose::{LAYER_GZIP, LAYER_TAR, Layer};
use crate::registry::{Blob, Piece};
use crate::snapshot::{Difference, Entry, Snapshot};

/// Smaller layers stay in memory, and are sent compressed where that makes them smaller; whether larger ones would be is told from samples.
const SMALL: u64 = 4 * 1024 * 1024;
/// How many samples tell whether a layer can be compressed, and how large each is, in bytes.
const SAMPLES: usize = 16;
const SAMPLE: usize = 64 * 1024;

/// A layer, and its bytes.
pub(super) struct Made {
    pub(super) layer: Layer,
    pub(super) blob: Blob,
    /// The file that holds the bytes, where it is not the user's; it goes when this goes.
    _file: Option<tempfile::TempPath>,
}

/// Where an archive's bytes go.
enum Sink {
    Memory(Vec<u8>),
    /// Nowhere but for the first [`SMALL`] bytes: the rest is a file that is there already.
    Start(Vec<u8>),
    Plain(BufWriter<File>),
    Packed(Box<Packer<BufWriter<File>>>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Memory(sink) => sink.write(bytes),
            Self::Start(sink) => {
                let room = usize::try_from(SMALL).unwrap_or(usize::MAX) - sink.len();
                sink.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(bytes.len())
            }
            Self::Plain(sink) => sink.write(bytes),
            Self::Packed(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Memory(_) | Self::Start(_) => Ok(()),
            Self::Plain(sink) => sink.flush(),
            Self::Packed(sink) => sink.flush(),
        }
    }
}

/// Makes the layer of a part.
pub(super) fn make(snapshot: &Snapshot, project: &str, items: &impl Items, part: &Part) -> Result<Made> {
    let is_packed = part.size > SMALL && packs_well(snapshot.root(), items, part);
    let (sink, file) = match (is_packed, part.is_alone()) {
        (false, true) => (Sink::Start(Vec::new()), None),
        (false, false) if part.size <= SMALL => (Sink::Memory(Vec::new()), None),
        _ => {
            let (file, path) = tempfile::NamedTempFile::new().map_err(temporary)?.into_parts();
            let file = BufWriter::with_capacity(256 * 1024, file);
            (if is_packed { Sink::Packed(Box::new(Packer::new(file))) } else { Sink::Plain(file) }, Some(path))
        }
    };
    let mut archive = Writer::new(sink);
    let look = |entry: &Entry, text: &[u8]| secrets::check(snapshot, entry, text);
    write_differences(&mut archive, snapshot, project, part.differences(items), look)?;
    let (sink, plain) = archive.finish()?;
    let diff_id = plain.digest.clone();
    let (media_type, written) = match sink {
        Sink::Packed(packer) => (LAYER_GZIP, packer.finish().map_err(temporary)?.1),
        Sink::Memory(bytes) => return Made::in_memory(plain, bytes),
        Sink::Start(bytes) => {
            let file = part.differences(items).find(|item| item.size() > 0);
            let pieces = file.map(|file| around(bytes, &plain, &file, snapshot.root())).unwrap_or_default();
            return Ok(Made::plain(plain, Blob::from_pieces(pieces, diff_id)));
        }
        Sink::Plain(_) => (LAYER_TAR, plain),
    };
    let path: &Path = file.as_deref().expect("what is not in memory is in a file");
    let blob = Blob::from_file(path, 0, written.size, written.digest.clone());
    let layer = Layer { media_type: media_type.to_owned(), digest: written.digest, size: written.size, diff_id };
    Ok(Made { layer, blob, _file: file })
}

impl Made {
    /// Compressed, if that makes it smaller: an archive of one small file is mostly zeros.
    fn in_memory(plain: Written, bytes: Vec<u8>) -> Result<Self> {
        let packed = gzip_bytes(&bytes).map_err(temporary)?;
        if packed.len() >= bytes.len() {
            return Ok(Self::plain(plain, Blob::from_bytes(bytes)));
        }
        let blob = Blob::from_bytes(packed);
        let (media_type, digest) = (LAYER_GZIP.to_owned(), blob.digest().clone());
        let layer = Layer { media_type, digest, size: blob.size(), diff_id: plain.digest };
        Ok(Self { layer, blob, _file: None })
    }

    fn plain(written: Written, blob: Blob) -> Self {
        let (media_type, diff_id) = (LAYER_TAR.to_owned(), written.digest.clone());
        Self { layer: Layer { media_type, digest: written.digest, size: written.size, diff_id }, blob, _file: None }
    }
}

/// An archive of one large file as what is before the content, the file itself, and the zeros behind it. When the file
/// changes before it is sent, the registry refuses the bytes.
fn around(mut start: Vec<u8>, archive: &Written, file: &Difference, root: &Path) -> Vec<Piece> {
    let Difference::Put { entry, .. } = file else { return Vec::new() };
    let size = entry.size();
    let end = size.next_multiple_of(BLOCK) - size + 2 * BLOCK;
    start.truncate(usize::try_from(archive.size - size - end).unwrap_or(usize::MAX));
    let file = Piece::File { path: entry.path_below(root), offset: 0, size };
    let zeros = vec![0; usize::try_from(end).unwrap_or(0)];
    vec![Piece::Memory(start.into()), file, Piece::Memory(zeros.into())]
}

fn temporary(source: io::Error) -> DeliveryError {
    DeliveryError::File { path: std::env::temp_dir(), source }
}

/// Whether a few samples get smaller. Code and text do; tensors, images and archives do not, and would only cost time.
fn packs_well(root: &Path, items: &impl Items, part: &Part) -> bool {
    let count = part.differences(items).count().max(1);
    let files = part.differences(items).step_by(count.div_ceil(SAMPLES)).filter_map(|item| match item {
        Difference::Put { entry, .. } if entry.size() > 0 => Some((entry.path_below(root), entry.size())),
        _ => None,
    });
    let files: Vec<(PathBuf, u64)> = files.collect();
    let each = SAMPLES.div_ceil(files.len().max(1)) as u64;
    let mut samples = Vec::new();
    for (path, size) in files {
        for at in 0..each {
            // What cannot be read now is noticed when it is sent.
            let _ = sample(&path, size / each * at, &mut samples);
        }
    }
    gzip(&samples[..], io::sink()).is_ok_and(|(plain, packed)| packed.size * 10 < plain.size * 9)
}

fn sample(path: &Path, at: u64, samples: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.take(SAMPLE as u64).read_to_end(samples).map(drop)
}
