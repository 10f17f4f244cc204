//! What tools read that install a project by its own description.

use toml::Table;

use super::gather::{Gatherer, Shape};
use super::local::take_local;
use super::python;
use super::requirements::{named, take_named};
use super::value::Reason;
use crate::project::Declared;
use crate::snapshot::SnapshotError;

/// By pip.
pub(super) fn gather(gatherer: &mut Gatherer<'_>, file: &str, declared: &Declared) -> Result<(), SnapshotError> {
    let project = gatherer.project.clone();
    if declared.is_package {
        gatherer.python_project(&project, true, &Reason::new("the project", None, ""))?;
    }
    gatherer.requirements.extend(declared.named.iter().chain(&declared.lines).cloned());
    for line in &declared.lines {
        if let Some(found) = named(line) {
            take_named(gatherer, &found, &project, &project, &Reason::new(file, None, line))?;
        }
    }
    Ok(())
}

/// By a tool with a lock of its own.
pub(super) fn locked(gatherer: &mut Gatherer<'_>, needs: &[&str], takes: &[&str]) -> Result<(), SnapshotError> {
    let (project, own) = (gatherer.project.clone(), Reason::new("the project", None, ""));
    for name in needs {
        gatherer.take(&project.join(name), Shape::Named, &own)?;
    }
    for name in takes {
        gatherer.take_if_there(&project.join(name), Shape::Named, &own)?;
    }
    gatherer.python_project(&project, true, &own)
}

/// By Pipenv.
pub(super) fn pipenv(gatherer: &mut Gatherer<'_>) -> Result<(), SnapshotError> {
    let (project, own) = (gatherer.project.clone(), Reason::new("the project", None, ""));
    gatherer.take_if_there(&project.join("Pipfile"), Shape::Named, &own)?;
    gatherer.take_if_there(&project.join("Pipfile.lock"), Shape::Named, &own)?;
    let table = gatherer.peek(&project.join("Pipfile")).and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
    for local in python::locals(&table) {
        take_local(gatherer, &project, &local.path, local.editable, &Reason::new("Pipfile", None, &local.path))?;
    }
    Ok(())
}
