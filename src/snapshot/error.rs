//! What can go wrong while the project's files are read.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::rules::BrokenRule;
use crate::bounded_file;
use crate::diagnosis::{Diagnosis, Kind};

/// What can go wrong while the project's files are read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Which, relative to the project.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of rules that is not read: without it, more would be sent than is meant.
    #[error("cannot read the rules in `{}`", path.display())]
    Rules {
        /// Which, relative to the project.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file never stands still.
    #[error("`{}` changes while it is read", path.display())]
    Changing {
        /// Which, relative to the project.
        path: PathBuf,
    },
    /// A pattern of an ignore file cannot be understood.
    #[error(transparent)]
    Rule(#[from] BrokenRule),
}

impl SnapshotError {
    pub(super) fn unreadable(path: &[u8], error: impl Into<io::Error>) -> Self {
        Self::Unreadable { path: to_path(path), source: error.into() }
    }

    pub(super) fn rules(path: &[u8], source: io::Error) -> Self {
        Self::Rules { path: to_path(path), source }
    }

    pub(super) fn changing(path: &[u8]) -> Self {
        Self::Changing { path: to_path(path) }
    }
}

/// The project itself is `.`.
fn to_path(path: &[u8]) -> PathBuf {
    std::ffi::OsStr::from_bytes(if path.is_empty() { b"." } else { path }).into()
}

impl Diagnosis for SnapshotError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => {
                vec!["make it readable, or leave it out with a line in `.nautaignore`".to_owned()]
            }
            Self::Rules { source, .. } => vec![bounded_file::hint(source, "make it readable")],
            Self::Changing { .. } => vec![
                "wait until nothing writes to it, or leave it out with a line in `.nautaignore`".to_owned(),
                "what a program writes belongs into $NAUTA_OUTPUTS, not among the code".to_owned(),
            ],
            Self::Rule(_) => vec!["mend that line, or make it a comment with `#`".to_owned()],
        }
    }
}
