//! What a registry is known to have, so that it need not be asked: remembered in nauta's state, forgotten when in doubt.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::bounded_file::{self, KEPT};
use crate::digest::Digest;
use crate::image::compose::{Image, Layer};

/// Environments that are remembered for a repository.
const MOST_ENVIRONMENTS: usize = 8;
/// How a registry behaves is asked again after so long: it may have become another one.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// What one repository has.
pub(super) struct Known {
    path: PathBuf,
    content: Content,
    /// Whether the state has something else.
    is_changed: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    /// Environment images by their tags, the latest last.
    environments: Vec<(String, Image)>,
    /// The supervisor's layer.
    supervisor: Option<Digest>,
    /// The latest run image.
    image: Option<Digest>,
    /// Whether the registry refuses manifests that name what it does not have, and when it was asked.
    #[serde(default)]
    checks_manifests: Option<(bool, Timestamp)>,
}

impl Known {
    /// What is remembered of `place` (host and repository).
    pub(super) fn open(state: &Path, place: &str) -> Self {
        let path = state.join("registry").join(Digest::of(place).short()).with_extension("json");
        let content = read(&path);
        Self { path, content, is_changed: false }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.content = Content::default();
        self.is_changed = true;
    }

    /// The environment image of that tag.
    pub(super) fn environment(&self, tag: &str) -> Option<&Image> {
        self.content.environments.iter().find(|(known, _)| known == tag).map(|(_, image)| image)
    }

    /// Notes an environment image.
    pub(super) fn add_environment(&mut self, tag: &str, image: Image) {
        self.content.environments.retain(|(known, _)| known != tag);
        self.content.environments.push((tag.to_owned(), image));
        let surplus = self.content.environments.len().saturating_sub(MOST_ENVIRONMENTS);
        self.content.environments.drain(..surplus);
        self.is_changed = true;
    }

    /// Whether this supervisor's layer is there.
    pub(super) fn has_supervisor(&self, layer: &Digest) -> bool {
        self.content.supervisor.as_ref() == Some(layer)
    }

    /// Whether this was the run image of the latest run.
    pub(super) fn is_latest(&self, image: &Digest) -> bool {
        self.content.image.as_ref() == Some(image)
    }

    /// Whether the registry refuses manifests that name what it does not have; `None` when it has to be asked.
    pub(super) fn checks_manifests(&self, now: Timestamp) -> Option<bool> {
        let is_fresh = |asked: Timestamp| asked <= now && now.duration_since(asked) < ASK_AGAIN;
        self.content.checks_manifests.filter(|(_, asked)| is_fresh(*asked)).map(|(checks, _)| checks)
    }

    /// Notes whether it does.
    pub(super) const fn add_checks_manifests(&mut self, checks: bool, now: Timestamp) {
        self.content.checks_manifests = Some((checks, now));
        self.is_changed = true;
    }

    /// Notes that a run image is there, and with it all that it consists of.
    pub(super) fn delivered(&mut self, image: &Digest, supervisor: &Digest) {
        self.is_changed |= !self.has_supervisor(supervisor) || !self.is_latest(image);
        self.content.supervisor = Some(supervisor.clone());
        self.content.image = Some(image.clone());
        if self.is_changed {
            write(&self.path, &self.content);
        }
    }
}

/// Layers that were compressed before, by the digests of what they hold: what they are called in registries.
pub(super) struct Packed {
    path: PathBuf,
    layers: BTreeMap<Digest, PackedLayer>,
}

/// A layer that was compressed before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PackedLayer {
    /// The layer.
    pub(super) layer: Layer,
    /// A repository of the same registry that had it.
    pub(super) repository: String,
}

impl Packed {
    /// Those of a registry.
    pub(super) fn open(state: &Path, host: &str) -> Self {
        let path = state.join("registry").join(format!("layers-{}.json", Digest::of(host).short()));
        let layers = read(&path);
        Self { path, layers }
    }

    /// What the layer that holds `diff_id` is called.
    pub(super) fn get(&self, diff_id: &Digest) -> Option<&PackedLayer> {
        self.layers.get(diff_id)
    }

    /// Notes a layer that a repository has.
    pub(super) fn add(&mut self, layer: Layer, repository: &str) {
        self.layers.insert(layer.diff_id.clone(), PackedLayer { layer, repository: repository.to_owned() });
    }

    /// Notes a layer at once: whoever is interrupted goes on with the next one.
    pub(super) fn keep(&mut self, layer: Layer, repository: &str) {
        self.add(layer, repository);
        write(&self.path, &self.layers);
    }
}

fn read<T: Default + DeserializeOwned>(path: &Path) -> T {
    bounded_file::read(path, KEPT).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn write(path: &Path, content: &impl Serialize) {
    let written = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder)?;
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        new.write_all(&serde_json::to_vec(content)?)?;
        new.persist(path)?;
        Ok(())
    };
    if let Err(error) = written() {
        tracing::debug!(%error, "what the registry has is not remembered; it will be asked again");
        let _ = std::fs::remove_file(path);
    }
}
