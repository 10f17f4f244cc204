//! The code of a project as a few layers in a registry: one whole, and on it differences that grow geometrically.
//!
//! Each layer leads from the tree of the one below to its own tree. A new difference is put on top; a layer on top that is not
//! at least twice as large as the new one is replaced together with it, so that the stack stays low and each byte is sent a
//! few times at most. What the stack is, is remembered in nauta's state; lost or doubted, it begins anew.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image::compose::Layer;
use crate::snapshot::{self, Difference, Snapshot};

/// Most layers of code; engines take 125 in all, and every one costs its pull a little.
const HIGHEST: usize = 8;
/// What an entry costs in an archive, in bytes.
const ENTRY: u64 = 1024;

/// A project's code in one repository.
pub(super) struct Stack {
    folder: PathBuf,
    root: PathBuf,
    levels: Vec<Level>,
}

/// A layer, and the tree it leads to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Level {
    pub(super) layer: Layer,
    tree: Digest,
}

/// What is to be sent so that the stack leads to a snapshot.
pub(super) enum Step {
    /// Nothing: it does already.
    None,
    /// The whole snapshot, in place of all layers.
    Whole,
    /// The differences from what the lowest `keep` layers lead to.
    Delta {
        /// How many layers stay.
        keep: usize,
        /// What is different.
        differences: Vec<Difference>,
    },
}

impl Stack {
    /// What is remembered of the code of the project at `root` in `place` (host and repository).
    pub(super) fn open(state: &Path, place: &str, root: &Path) -> Self {
        let name = Digest::of(format!("{place}\n{}", root.display()));
        let folder = state.join("code").join(name.short());
        let levels = std::fs::read(folder.join("stack.json")).ok();
        let levels = levels.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { folder, root: root.to_owned(), levels }
    }

    /// The layers, the lowest first.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.levels.iter().map(|level| &level.layer)
    }

    /// Forgets everything: the registry does not have what it was thought to have.
    pub(super) fn forget(&mut self) {
        self.levels.clear();
    }

    /// What is to be sent.
    pub(super) fn step(&self, snapshot: &Snapshot) -> Step {
        let Some(top) = self.levels.last() else { return Step::Whole };
        if top.tree == *snapshot.digest() {
            return Step::None;
        }
        for keep in (1..=self.levels.len()).rev() {
            let Some(below) = snapshot::load(&self.tree_file(&self.levels[keep - 1].tree), &self.root) else {
                continue;
            };
            let differences = snapshot::differences(&below, snapshot);
            let size: u64 = differences.iter().map(|difference| ENTRY + difference.size()).sum();
            let is_room = keep < HIGHEST && size * 2 <= self.levels[keep - 1].layer.size;
            if is_room {
                return Step::Delta { keep, differences };
            }
        }
        Step::Whole
    }

    /// Puts a layer on the lowest `keep` ones, which now lead to this snapshot, and remembers that.
    pub(super) fn put(&mut self, keep: usize, layer: Layer, snapshot: &Snapshot) {
        self.levels.truncate(keep);
        self.levels.push(Level { layer, tree: snapshot.digest().clone() });
        if let Err(error) = self.save(snapshot) {
            tracing::debug!(%error, "the stack of code is not remembered; the next run sends everything");
            let _ = std::fs::remove_file(self.folder.join("stack.json"));
        }
    }

    fn save(&self, snapshot: &Snapshot) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        snapshot.save(&self.tree_file(snapshot.digest()))?;
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        serde_json::to_writer(&mut new, &self.levels)?;
        new.persist(self.folder.join("stack.json"))?;
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let path = entry.path();
            let is_needed = self.levels.iter().any(|level| self.tree_file(&level.tree) == path);
            if path.extension().is_some_and(|extension| extension == "tree") && !is_needed {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn tree_file(&self, tree: &Digest) -> PathBuf {
        self.folder.join(format!("{}.tree", tree.hex()))
    }
}
