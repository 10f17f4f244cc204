//! What is put into each rank's container before it starts: the supervisor, the run's key, the code and empty folders.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tempfile::NamedTempFile;
use tokio_util::io::ReaderStream;

use super::plan::LocalPlan;
use crate::archive::{ArchiveError, Attributes, Writer};
use crate::docker::error::DockerError;
use crate::docker::upload::UploadStream;
use crate::layout;
use crate::secret::Secret;

/// Bytes per piece of a body.
const PIECE: usize = 256 * 1024;
/// Made on 1980-01-01, the oldest time that zip files can hold.
const ROOT: Attributes = Attributes { mode: 0o755, uid: 0, gid: 0, mtime: 315_532_800 };
const USER: Attributes = Attributes { uid: layout::USER_ID, gid: layout::USER_ID, ..ROOT };

type WriteCode = dyn Fn(&mut Writer<&mut dyn Write>) -> Result<(), ArchiveError> + Send + Sync;

/// The project's files, as something that writes them into an archive.
#[derive(Clone)]
pub struct Code(Arc<WriteCode>);

impl Code {
    /// Files that `write` adds, below `workspace/<project>/` and owned by [`layout::USER_ID`].
    pub fn new(
        write: impl Fn(&mut Writer<&mut dyn Write>) -> Result<(), ArchiveError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(write))
    }
}

/// An archive that every rank gets: written once, so that all ranks have the same even while files change.
pub(super) struct Contents {
    /// The beginning, kept in memory since the run's key and the program's secrets are in it.
    secret_part: Bytes,
    /// The rest.
    public_part: NamedTempFile,
}

impl Contents {
    /// Writes the archive. Blocks.
    pub(super) fn write(plan: &LocalPlan) -> Result<Self, DockerError> {
        let secret_part = secret_part(&plan.run_key, &plan.secrets, plan.spec.shared.is_some())?.into();
        let mut public_part =
            NamedTempFile::new().map_err(|e| local("write a temporary file for the run's code", e))?;
        let mut buffered = std::io::BufWriter::with_capacity(PIECE, public_part.as_file_mut());
        public_part_into(&mut buffered, &plan.supervisor, &plan.code)?;
        buffered.flush().map_err(|e| local("write a temporary file for the run's code", e))?;
        drop(buffered);
        Ok(Self { secret_part, public_part })
    }

    /// The archive's bytes.
    pub(super) fn stream(&self) -> Result<UploadStream, DockerError> {
        let file = self.public_part.reopen().map_err(|e| local("read a temporary file again", e))?;
        let rest = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
        let start = self.secret_part.clone();
        Ok(Box::pin(futures::stream::once(async { Ok(start) }).chain(rest)))
    }
}

fn secret_part(run_key: &Secret, secrets: &BTreeMap<String, Secret>, is_shared: bool) -> Result<Vec<u8>, ArchiveError> {
    let mut archive = Writer::new(Vec::new());
    for folder in [layout::SUPERVISOR, layout::RUN_KEY, layout::DEEPSPEED_HOSTFILE] {
        for folder in ancestors(folder) {
            archive.directory(folder, ROOT)?;
        }
    }
    // A volume begins as root's.
    let shared = is_shared.then_some(layout::SHARED);
    for folder in [layout::WORKSPACE, layout::OUTPUTS, layout::HOME].into_iter().chain(shared) {
        archive.directory(inside(folder), USER)?;
    }
    archive.symlink(inside(layout::DEEPSPEED_HOSTFILE), layout::HOSTFILE, ROOT)?;
    archive.directory(inside(layout::STATE), Attributes { mode: 0o700, ..USER })?;
    archive.bytes(inside(layout::RUN_KEY), run_key.expose().as_bytes(), Attributes { mode: 0o400, ..USER })?;
    if !secrets.is_empty() {
        let variables: BTreeMap<&str, &str> = secrets.iter().map(|(name, value)| (&**name, value.expose())).collect();
        let text = serde_json::to_vec(&variables).unwrap_or_default();
        // The supervisor removes it, so the folder is its own too.
        let folder = ancestors(layout::SECRETS).pop().unwrap_or_default();
        archive.directory(folder, Attributes { mode: 0o700, ..USER })?;
        archive.bytes(inside(layout::SECRETS), &text, Attributes { mode: 0o400, ..USER })?;
    }
    archive.into_part()
}

fn public_part_into(out: &mut dyn Write, supervisor: &Path, code: &Code) -> Result<(), ArchiveError> {
    let mut archive = Writer::new(out);
    archive.file(inside(layout::SUPERVISOR), supervisor, ROOT)?;
    (code.0)(&mut archive)?;
    archive.finish().map(drop)
}

/// A path of the layout as a name in an archive that is unpacked at `/`.
fn inside(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// The folders above a path, outermost first.
fn ancestors(path: &str) -> Vec<String> {
    let path = inside(path);
    path.match_indices('/').map(|(slash, _)| path[..slash].to_owned()).collect()
}

fn local(what: &str, source: std::io::Error) -> DockerError {
    DockerError::Local { what: what.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        assert_eq!(ancestors(layout::SUPERVISOR), ["nauta", "nauta/bin"]);
        let secrets = BTreeMap::from([("A".to_owned(), Secret::new("b"))]);
        let part = secret_part(&Secret::new("key"), &secrets, true).unwrap();
        assert!(part.len().is_multiple_of(512));
        let whole = [part, vec![0; 1024]].concat();
        let names: Vec<String> = tar::Archive::new(&whole[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(
            names.ends_with(&["nauta/key/run-key", "nauta/secrets/", "nauta/secrets/variables"].map(str::to_owned))
        );
        for folder in ["nauta/outputs/", "nauta/shared/"] {
            assert!(names.contains(&folder.to_owned()), "{names:?}");
        }
    }
}
