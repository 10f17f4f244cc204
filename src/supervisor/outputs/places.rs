//! The folders that a rank's outputs are in: `$NAUTA_OUTPUTS`, and the program's working directory. Their files share one list,
//! by their paths in them.

use std::path::{Path, PathBuf};

use crate::job::{InvalidPattern, OutputPatterns};
use crate::supervisor::config::Config;
use crate::sync::link_inside;

/// One of the folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// `$NAUTA_OUTPUTS`.
    Outputs,
    /// The working directory.
    Workspace,
}

/// Where the folders are.
pub(in crate::supervisor) struct Places {
    pub(super) outputs: PathBuf,
    /// `None`: nothing of it comes back.
    pub(super) workspace: Option<PathBuf>,
    pub(super) patterns: OutputPatterns,
}

impl Places {
    /// As a rank is told.
    pub(in crate::supervisor) fn new(config: &Config) -> Result<Self, InvalidPattern> {
        let workspace = config.workspace.clone().filter(|_| config.rules.covers(config.rank));
        Ok(Self { outputs: config.outputs.clone(), workspace, patterns: config.rules.patterns()? })
    }

    /// A folder; `None` where there is none.
    pub(super) fn folder(&self, root: Root) -> Option<&Path> {
        match root {
            Root::Outputs => Some(&self.outputs),
            Root::Workspace => self.workspace.as_deref(),
        }
    }

    /// A path in a folder.
    pub(super) fn path(&self, root: Root, path: &str) -> PathBuf {
        self.folder(root).unwrap_or(&self.outputs).join(path)
    }

    /// Where a link in a folder leads, if to something in the same folder: relative to its own.
    pub(super) fn link(&self, root: Root, path: &str) -> Option<String> {
        let folder = self.folder(root)?;
        let target = std::fs::read_link(folder.join(path)).ok()?;
        link_inside(folder.to_str()?, path, target.to_str()?)
    }
}

impl Root {
    pub(super) const fn is_workspace(self) -> bool {
        matches!(self, Self::Workspace)
    }
}
