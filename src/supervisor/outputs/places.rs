//! The folders that a rank's outputs are in: `$NAUTA_OUTPUTS`, the program's working directory, and on rank 0 what all ranks
//! share. Their files share one list, by their paths in them.

use std::path::{Path, PathBuf};

use crate::job::{InvalidPattern, OutputPatterns};
use crate::supervisor::config::Config;
use crate::sync::{Origin, link_inside};

/// Where the folders are.
pub(in crate::supervisor) struct Places {
    pub(super) outputs: PathBuf,
    /// `None`: nothing of it comes back.
    pub(super) workspace: Option<PathBuf>,
    /// `None`: there is none, or another rank lists it.
    pub(super) shared: Option<PathBuf>,
    pub(super) patterns: OutputPatterns,
}

impl Places {
    /// As a rank is told.
    pub(in crate::supervisor) fn new(config: &Config) -> Result<Self, InvalidPattern> {
        let workspace = config.workspace.clone().filter(|_| config.rules.covers(config.rank));
        let shared = config.shared.clone().filter(|_| config.rank == 0 && config.rules.workspace);
        Ok(Self { outputs: config.outputs.clone(), workspace, shared, patterns: config.rules.patterns()? })
    }

    /// A folder; `None` where there is none.
    pub(super) fn folder(&self, origin: Origin) -> Option<&Path> {
        match origin {
            Origin::Outputs => Some(&self.outputs),
            Origin::Workspace => self.workspace.as_deref(),
            Origin::Shared => self.shared.as_deref(),
        }
    }

    /// A path in a folder.
    pub(super) fn path(&self, origin: Origin, path: &str) -> PathBuf {
        self.folder(origin).unwrap_or(&self.outputs).join(path)
    }

    /// Where a link in a folder leads, if to something in the same folder: relative to its own.
    pub(super) fn link(&self, origin: Origin, path: &str) -> Option<String> {
        let folder = self.folder(origin)?;
        let target = std::fs::read_link(folder.join(path)).ok()?;
        link_inside(folder.to_str()?, path, target.to_str()?)
    }
}
