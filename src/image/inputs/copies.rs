//! What a Dockerfile of the user's own reads of the project.

use super::gather::{Gatherer, Shape};
use super::glob;
use super::value::{Reason, Trouble};
use crate::image::instructions::copied_sources;
use crate::snapshot::SnapshotError;

pub(super) fn gather(gatherer: &mut Gatherer<'_>, path: &str, text: &str) -> Result<(), SnapshotError> {
    let own = gatherer.resolve_inside(path);
    gatherer.take_if_there(&own, Shape::Named, &Reason::new("the project", None, "dockerfile"))?;
    for source in copied_sources(text) {
        let reason = Reason::new(path, source.line, &source.text);
        if !glob::is_pattern(&source.path) {
            let wanted = gatherer.resolve_inside(&source.path);
            gatherer.take(&wanted, Shape::Copied, &reason)?;
            continue;
        }
        let pattern = gatherer.resolve_inside(&source.path);
        let pattern = pattern.strip_prefix(&gatherer.project).unwrap_or(&pattern).to_string_lossy().into_owned();
        if pattern == "*" {
            let project = gatherer.project.clone();
            gatherer.take(&project, Shape::Copied, &reason)?;
            continue;
        }
        let found = glob::expand(&gatherer.project, &pattern, true);
        if found.is_empty() {
            let path = gatherer.project.join(&pattern);
            gatherer.problem(&path, &reason, Trouble::Missing);
        }
        for path in found {
            gatherer.take(&path, Shape::Copied, &reason)?;
        }
    }
    Ok(())
}
