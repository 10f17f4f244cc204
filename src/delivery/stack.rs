//! The code of a project as a few layers in a registry: the whole, and on it differences that grow geometrically.
//!
//! Each level leads from the tree of the one below to its own tree. A new difference is put on top; a level on top that is not
//! at least twice as large as the new one is replaced together with it, so that the stack stays low and each byte is sent a
//! few times at most. A difference that outgrows the whole is sent as it is, and the whole is made anew afterwards, when
//! nobody waits. What the stack is, is remembered in nauta's state; lost or doubted, it begins anew.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::parts::{ENTRY, Items, parts};
use crate::bounded_file::{self, KEPT};
use crate::digest::Digest;
use crate::image::compose::Layer;
use crate::layout;
use crate::snapshot::{self, Difference, Snapshot};

/// Most levels; every layer costs a pull a little.
const HIGHEST: usize = 8;
/// Most layers in all levels; engines take 125 with those of the environment.
const MOST_LAYERS: usize = 64;

/// A project's code in one repository.
pub(super) struct Stack {
    folder: PathBuf,
    levels: Vec<Level>,
}

/// Some layers, and the tree they lead to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Level {
    layers: Vec<Layer>,
    /// Bytes of the archives, about, before compression.
    weight: u64,
    tree: Digest,
}

/// What is to be sent so that the stack leads to a snapshot.
pub(super) enum Step {
    /// Nothing: it does already.
    None,
    /// The whole snapshot, in place of all layers.
    Whole,
    /// The differences from what the lowest `keep` levels lead to.
    Delta {
        /// How many levels stay.
        keep: usize,
        /// What is different.
        differences: Arc<Vec<Difference>>,
    },
}

impl Stack {
    /// What is remembered of the code of the project at `root`, which is called `project`, in `place` (host and repository).
    pub(super) fn open(state: &Path, place: &str, root: &Path, project: &str) -> Self {
        let folder = layout::project_folder(project);
        let name = Digest::of(format!("{place}\n{}\n{folder}", root.display()));
        let folder = state.join("code").join(name.short());
        let levels = bounded_file::read(&folder.join("stack.json"), KEPT).ok();
        let levels = levels.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { folder, levels }
    }

    /// The layers of the lowest `keep` levels, the lowest first.
    pub(super) fn layers(&self, keep: usize) -> impl Iterator<Item = &Layer> {
        self.levels.iter().take(keep).flat_map(|level| &level.layers)
    }

    /// How many levels there are.
    pub(super) const fn height(&self) -> usize {
        self.levels.len()
    }

    /// Whether nothing is to be sent.
    pub(super) fn leads_to(&self, snapshot: &Snapshot) -> bool {
        self.levels.last().is_some_and(|top| top.tree == *snapshot.digest())
    }

    /// Forgets everything: the registry does not have what it was thought to have.
    pub(super) fn forget(&mut self) {
        self.levels.clear();
    }

    /// Held while the whole is made anew; none where another process does that. It goes with the file that is returned.
    pub(super) fn lock(&self) -> Option<std::fs::File> {
        std::fs::create_dir_all(&self.folder).ok()?;
        let file = std::fs::File::create(self.folder.join("lock")).ok()?;
        file.try_lock().ok().map(|()| file)
    }

    /// Whether the differences have outgrown the whole, so that it should be made anew.
    pub(super) fn is_heavy(&self) -> bool {
        let weights: Vec<u64> = self.levels.iter().map(|level| level.weight).collect();
        matches!(&weights[..], [whole, differences @ ..] if differences.iter().sum::<u64>() > *whole)
            || self.levels.windows(2).any(|pair| pair[1].weight * 2 > pair[0].weight)
    }

    /// What is to be sent.
    pub(super) fn step(&self, snapshot: &Snapshot) -> Step {
        if self.leads_to(snapshot) {
            return Step::None;
        }
        for keep in (1..=self.levels.len()).rev() {
            let below = &self.levels[keep - 1];
            // On the whole itself anything goes that is less than the whole.
            let most = if keep == 1 { snapshot.weight() / 4 * 3 } else { below.weight / 2 };
            // No difference is lighter than this: the tree need not be looked at.
            if keep >= HIGHEST || most < ENTRY {
                continue;
            }
            let Some(differences) = snapshot::differences(&self.tree_file(&below.tree), snapshot) else { continue };
            let size = differences.weight();
            let layers = self.layers(keep).count() + parts(&differences).len();
            if layers <= MOST_LAYERS && size <= most {
                return Step::Delta { keep, differences: Arc::new(differences) };
            }
        }
        Step::Whole
    }

    /// Puts layers on the lowest `keep` levels, which now lead to this snapshot, and remembers that.
    pub(super) fn put(&mut self, keep: usize, layers: Vec<Layer>, weight: u64, snapshot: &Snapshot) {
        self.levels.truncate(keep);
        self.levels.push(Level { layers, weight, tree: snapshot.digest().clone() });
        if let Err(error) = self.save(snapshot) {
            tracing::debug!(%error, "the stack of code is not remembered; the next run sends everything");
            let _ = std::fs::remove_file(self.folder.join("stack.json"));
        }
    }

    fn save(&self, snapshot: &Snapshot) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        snapshot.save(&self.tree_file(snapshot.digest()))?;
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        new.write_all(&serde_json::to_vec(&self.levels)?)?;
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
