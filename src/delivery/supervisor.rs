//! The supervisor's binary: this very one, or the one for another architecture that was installed with it.

use std::path::{Path, PathBuf};

use super::DeliveryError;
use crate::architecture::Architecture;
use crate::bounded_file::{self, HAND_WRITTEN, read_text};
use crate::diagnosis::Result;
use crate::digest::{Digest, Hasher};

/// The supervisor for `architecture`. `program` is this very binary; those for others lie in the `libexec` beside its
/// `bin`, in a folder of this version, each with a file of its checksum.
pub fn supervisor(program: &Path, architecture: Architecture) -> Result<PathBuf> {
    if architecture == Architecture::OWN {
        return Ok(program.to_owned());
    }
    let prefix = program.ancestors().nth(2).unwrap_or(Path::new("/"));
    let name = format!("nauta-linux-{}", architecture.machine());
    let path = prefix.join("libexec/nauta").join(env!("CARGO_PKG_VERSION")).join(name);
    if !path.exists() {
        return Err(DeliveryError::NoSupervisor { architecture, path }.into());
    }
    // Read anew each time: the pods would run whatever is there.
    if checksum(&path)? == digest(&path)? { Ok(path) } else { Err(DeliveryError::DamagedSupervisor { path }.into()) }
}

/// What `sha256sum` wrote: the digest, and then a name.
fn checksum(path: &Path) -> Result<Option<Digest>, DeliveryError> {
    let path = path.with_added_extension("sha256");
    let text = read_text(&path, HAND_WRITTEN).map_err(|source| DeliveryError::File { path, source })?;
    Ok(text.split_whitespace().next().and_then(|digits| format!("sha256:{digits}").parse().ok()))
}

fn digest(path: &Path) -> Result<Option<Digest>, DeliveryError> {
    let read = bounded_file::open(path).and_then(Hasher::read_to_end);
    read.map(|(digest, _)| Some(digest)).map_err(|source| DeliveryError::File { path: path.to_owned(), source })
}
