//! The supervisor's layer: its binary, and the folders it needs. One blob per version of nauta and architecture.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DeliveryError;
use crate::archive::{Attributes, Writer, gzip};
use crate::bounded_file::{self, KEPT};
use crate::diagnosis::Result;
use crate::image::compose::{LAYER_GZIP, Layer};
use crate::layout;

/// A layer and the file that holds it.
#[derive(Serialize, Deserialize)]
pub(super) struct SupervisorLayer {
    pub(super) layer: Layer,
    pub(super) path: PathBuf,
}

/// Makes the layer, or finds the one made before: compressing the binary takes longer than all else of a code change.
pub(super) fn supervisor_layer(program: &Path, state: &Path) -> Result<SupervisorLayer> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| DeliveryError::File { path, source }
    };
    let metadata = program.metadata().map_err(file_error(program))?;
    let stamp = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let name =
        format!("supervisor-{}-{}-{}", env!("CARGO_PKG_VERSION"), metadata.len(), stamp.unwrap_or_default().as_nanos());
    std::fs::create_dir_all(state).map_err(file_error(state))?;
    let note = state.join(format!("{name}.json"));
    let known =
        bounded_file::read(&note, KEPT).ok().and_then(|text| serde_json::from_slice::<SupervisorLayer>(&text).ok());
    if let Some(layer) = known.filter(|known| known.path.metadata().is_ok_and(|m| m.len() == known.layer.size)) {
        return Ok(layer);
    }
    let path = state.join(format!("{name}.tar.gz"));
    let plain = write_archive(program, state)?;
    let compressed = tempfile::NamedTempFile::new_in(state).map_err(file_error(state))?;
    let source = plain.reopen().map_err(file_error(state))?;
    let (inner, outer) = gzip(source, compressed.as_file()).map_err(file_error(state))?;
    compressed.persist(&path).map_err(|error| file_error(&path)(error.error))?;
    let layer =
        Layer { media_type: LAYER_GZIP.to_owned(), digest: outer.digest, size: outer.size, diff_id: inner.digest };
    let layer = SupervisorLayer { layer, path };
    std::fs::write(&note, serde_json::to_vec(&layer).unwrap_or_default()).map_err(file_error(&note))?;
    Ok(layer)
}

fn write_archive(program: &Path, state: &Path) -> Result<tempfile::NamedTempFile> {
    let io = |source| DeliveryError::File { path: state.to_owned(), source };
    let file = tempfile::NamedTempFile::new_in(state).map_err(io)?;
    let out: File = file.reopen().map_err(io)?;
    let mut archive = Writer::new(std::io::BufWriter::new(out));
    let root = Attributes { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
    let user = Attributes { uid: layout::USER_ID, gid: layout::USER_ID, ..root };
    let relative = |path: &str| path.trim_start_matches('/').to_owned();
    archive.directory("nauta", root)?;
    archive.directory("nauta/bin", root)?;
    archive.file(relative(layout::SUPERVISOR), program, root)?;
    for folder in [layout::HOME, layout::OUTPUTS, layout::STATE, layout::WORKSPACE] {
        archive.directory(relative(folder), user)?;
    }
    archive.directory("job", root)?;
    archive.symlink(relative(layout::DEEPSPEED_HOSTFILE), layout::HOSTFILE, root)?;
    let (out, _) = archive.finish()?;
    out.into_inner().map_err(|error| io(error.into_error()))?;
    Ok(file)
}
