//! What requirements name by paths: folders of packages, and archives.

use std::path::Path;

use super::gather::{Gatherer, Shape, resolve};
use super::value::Reason;
use crate::snapshot::SnapshotError;

/// Takes what is at a path that an installer is told to install.
pub(super) fn take_local(
    gatherer: &mut Gatherer<'_>,
    folder: &Path,
    written: &str,
    editable: bool,
    reason: &Reason,
) -> Result<(), SnapshotError> {
    let written = written.replace("${PROJECT_ROOT}", &gatherer.project.display().to_string());
    let path = resolve(folder, &written);
    if path.starts_with(&gatherer.top) && path.is_dir() {
        return gatherer.python_project(&path, editable, reason);
    }
    gatherer.take(&path, Shape::Named, reason).map(drop)
}
