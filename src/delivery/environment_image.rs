//! The environment image in a registry: found, taken over from another repository, or taken out of Docker and sent.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::DeliveryError;
use super::environment::{LocalEnvironment, Surroundings, local_environment};
use super::known::{Known, Packed, PackedLayer};
use super::provenance::{Doubt, Expected, Maker};
use super::run_image::{AT_ONCE, Delivery, temporary};
use crate::diagnosis::Result;
use crate::digest::Digest;
use crate::docker::{Docker, ExportedLayer};
use crate::event::{Event, Phase};
use crate::image::compose::{self, ComposeError, Image, Layer, config_of, select_platform};
use crate::image::{Environment, EnvironmentPlan, ImageReference, short_name};
use crate::registry::{Blob, MAX_MANIFEST, Registry, RegistryError, Taken};

/// Requests that only ask are cheap.
const ASK_AT_ONCE: usize = 8;

fn tag_of(key: &Digest) -> String {
    format!("env-{}", key.short())
}

impl Delivery<'_> {
    /// What the environment image is called.
    pub(super) fn environment_tag(&self, environment: &Environment) -> String {
        tag_of(&environment.key(self.architecture.name()))
    }

    fn expected(&self, environment: &Environment) -> Expected {
        let architecture = self.architecture.name();
        Expected { key: environment.key(architecture), bases: environment.plan.bases(), architecture }
    }

    /// The environment image in the registry: the one made before, or the base itself, or one that Docker builds. Without
    /// `trust`, what is known and what the registry's tags promise is looked at layer by layer.
    pub(super) async fn environment(
        &self,
        environment: &Environment,
        surroundings: &Surroundings,
        known: &mut Known,
        trust: bool,
    ) -> Result<Image> {
        let (plan, expected) = (&environment.plan, self.expected(environment));
        let tag = tag_of(&expected.key);
        let unchanged = |by: &str| {
            let detail = format!("{} is unchanged{by}", plan.describe());
            self.events.send(Event::Finished { phase: Phase::Environment, detail });
        };
        // By digests, and made or believed here before: nobody else can have changed it.
        if let Some(image) = known.environment(&tag).filter(|_| trust) {
            unchanged("");
            return Ok(image.clone());
        }
        if let Some((image, maker)) = self.find_environment(&expected, &tag).await?
            && (trust || self.lacks(&image.layers).await?.is_empty())
        {
            unchanged(&format!(" ({})", maker.describe(Timestamp::now())));
            known.add_environment(&tag, image.clone());
            return Ok(image);
        }
        let image = self.make_environment(environment, surroundings, &expected).await?;
        known.add_environment(&tag, image.clone());
        Ok(image)
    }

    /// The environment that somebody has pushed, if it says that it is what its tag stands for.
    async fn find_environment(&self, expected: &Expected, tag: &str) -> Result<Option<(Image, Maker)>> {
        let Some(pulled) = self.pull_with_manifest(self.repository, tag).await? else { return Ok(None) };
        let compared = pulled.map_err(|_| Doubt::NoImage).and_then(|(image, manifest)| {
            let maker = expected.compare(&manifest, &image.config)?;
            Ok((image, maker))
        });
        let (events, repository) = (self.events, self.repository);
        let doubted = |doubt: &Doubt| {
            events.warn(format!("the environment `{tag}` in `{repository}` is not used, and made anew: {doubt}"));
        };
        Ok(compared.inspect_err(doubted).ok())
    }

    async fn make_environment(
        &self,
        environment: &Environment,
        surroundings: &Surroundings,
        expected: &Expected,
    ) -> Result<Image> {
        let plan = &environment.plan;
        let mut bases = Vec::new();
        for name in plan.bases() {
            let Ok(reference) = name.parse::<ImageReference>() else { continue };
            if reference.host == self.registry.endpoint().host()
                && let Some(image) = self.pull_image(&reference.repository, reference.version()).await?
            {
                bases.push((reference, image));
            }
        }
        if let (EnvironmentPlan::Base { .. }, Some((reference, image))) = (plan, bases.first()) {
            return self.adopt(image, reference, expected).await;
        }
        let docker = self.context.docker().await?;
        let platform = self.architecture.platform();
        let local = LocalEnvironment { docker: &docker, platform };
        let name = local_environment(self.context, &local, environment, surroundings, self.events).await?;
        self.push_from_docker(&docker, &name, &bases, expected).await
    }

    async fn pull_image(&self, repository: &str, reference: &str) -> Result<Option<Image>> {
        let pulled = self.pull_with_manifest(repository, reference).await?;
        Ok(pulled.transpose().map_err(DeliveryError::from)?.map(|(image, _)| image))
    }

    /// An image and the manifest that names its parts, or why it is none.
    async fn pull_with_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Result<(Image, Bytes), ComposeError>>, RegistryError> {
        let registry = self.registry;
        let Some(mut manifest) = registry.pull_manifest(repository, reference).await? else { return Ok(None) };
        match select_platform(&manifest.bytes, self.architecture.name()) {
            Ok(None) => {}
            Ok(Some(digest)) => match registry.pull_manifest(repository, digest.as_str()).await? {
                Some(selected) => manifest = selected,
                None => return Ok(None),
            },
            Err(error) => return Ok(Some(Err(error))),
        }
        let config = match config_of(&manifest.bytes) {
            Ok((config, _)) => config,
            Err(error) => return Ok(Some(Err(error))),
        };
        let config = match registry.pull_blob(repository, &config, MAX_MANIFEST).await {
            // A manifest is no image without it: as good as lost.
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            config => config?,
        };
        Ok(Some(Image::from_documents(&manifest.bytes, &config).map(|image| (image, manifest.bytes))))
    }

    /// Those of some layers that the repository does not have.
    pub(super) async fn lacks<'l>(&self, layers: impl IntoIterator<Item = &'l Layer>) -> Result<Vec<&'l Layer>> {
        let asked = stream::iter(layers).map(|layer| async move {
            let is_there = self.registry.has_blob(self.repository, &layer.digest).await?;
            Ok::<_, RegistryError>((!is_there).then_some(layer))
        });
        let lacks: Vec<Option<&Layer>> = asked.buffered(ASK_AT_ONCE).try_collect().await?;
        Ok(lacks.into_iter().flatten().collect())
    }

    /// Makes an image of another repository of this registry the environment: its layers are mounted, none is sent.
    async fn adopt(&self, image: &Image, reference: &ImageReference, expected: &Expected) -> Result<Image> {
        let taken = stream::iter(&image.layers).map(|layer| self.take_over(layer, &reference.repository));
        taken.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        self.publish(image.clone(), expected, Vec::new(), format!("took {}", short_name(&reference.to_string()))).await
    }

    async fn take_over(&self, layer: &Layer, from: &str) -> Result<()> {
        if self.registry.mount_blob(self.repository, from, &layer.digest).await? {
            return Ok(());
        }
        let file = tempfile::NamedTempFile::new().map_err(temporary)?;
        let (events, detail, total) = (self.events, format!("fetching a layer of {from}"), Some(layer.size));
        let progress = |done| {
            events.send(Event::Progress { phase: Phase::Environment, done, total, detail: detail.clone() });
        };
        self.registry.pull_blob_to_file(from, &layer.digest, layer.size, file.path(), progress).await?;
        let blob = Blob::from_file(file.path(), 0, layer.size, layer.digest.clone());
        self.push(Phase::Environment, &blob).await?;
        Ok(())
    }

    /// Takes an image out of Docker and sends it. Layers that the registry has, here or in a repository that is known, are
    /// not even read; the others are compressed while they come, and sent while the next ones are compressed.
    async fn push_from_docker(
        &self,
        docker: &Docker,
        name: &str,
        bases: &[(ImageReference, Image)],
        expected: &Expected,
    ) -> Result<Image> {
        let detail = "asking which layers the registry has".to_owned();
        self.events.send(Event::Started { phase: Phase::Environment, detail });
        let local = docker.image(name).await?;
        let local = local.ok_or_else(|| DeliveryError::Vanished { image: name.to_owned() })?;
        let mut packed = Packed::open(&self.context.state_folder(), self.registry.endpoint().host());
        for (reference, image) in bases {
            for layer in &image.layers {
                packed.add(layer.clone(), &reference.repository);
            }
        }
        let mut there = self.find_packed(&local.diff_ids, &packed).await?;
        let wanted: HashSet<Digest> = local.diff_ids.iter().filter(|id| !there.contains_key(*id)).cloned().collect();
        if !wanted.is_empty() {
            let folder = tempfile::tempdir().map_err(temporary)?;
            let (ready_tx, mut ready_rx) = tokio::sync::mpsc::unbounded_channel();
            // Nobody listens any more where sending has failed, and that is the error.
            let ready = move |layer| drop(ready_tx.send(layer));
            let export = docker.export_layers(name, &wanted, folder.path(), ready, self.events);
            let sent = stream::poll_fn(|context| ready_rx.poll_recv(context)).map(|layer| self.push_exported(layer));
            let kept = sent.buffer_unordered(AT_ONCE).try_for_each(|layer| {
                if let Some(layer) = layer {
                    packed.keep(layer.clone(), self.repository);
                    there.insert(layer.diff_id.clone(), layer);
                }
                std::future::ready(Ok(()))
            });
            let (exported, kept) = tokio::join!(export, kept);
            kept?;
            exported?;
        }
        let taken = there.iter().filter(|(diff_id, _)| wanted.contains(*diff_id));
        let taken = taken.map(|(_, layer)| (layer.digest.clone(), layer.size)).collect();
        let layers = local.diff_ids.iter().map(|diff_id| there.get(diff_id).cloned());
        let layers = layers.collect::<Option<Vec<Layer>>>();
        let layers = layers.ok_or_else(|| DeliveryError::Vanished { image: name.to_owned() })?;
        let config = serde_json::from_slice(&local.config).map_err(|error| {
            let (document, reason) = ("configuration", error.to_string());
            DeliveryError::Compose(compose::ComposeError::Malformed { document, reason })
        })?;
        let detail = match wanted.len() {
            0 => format!("all {} layers of {name} were there", layers.len()),
            count => format!("sent {count} of {} layers of {name}", layers.len()),
        };
        self.publish(Image { config, layers }, expected, taken, detail).await
    }

    /// Sends a layer while it comes out of Docker; `None` when it is none that is wanted.
    async fn push_exported(&self, exported: ExportedLayer) -> Result<Option<Layer>, RegistryError> {
        let ExportedLayer { file, layer } = exported;
        let mut whole = None;
        let blob = async {
            whole = layer.await.ok();
            whole.as_ref().map(|layer| Blob::from_file(&file.path, 0, layer.size, layer.digest.clone()))
        };
        let detail = format!("sending to {}", self.registry.endpoint().host());
        let progress = |done| {
            let (phase, detail) = (Phase::Environment, detail.clone());
            self.events.send(Event::Progress { phase, done, total: None, detail });
        };
        self.registry.push_growing(self.repository, &file, blob, progress).await?;
        let _ = std::fs::remove_file(&file.path);
        Ok(whole)
    }

    /// Those layers whose compressed form the repository has, or another one of this registry gives away.
    async fn find_packed(&self, diff_ids: &[Digest], packed: &Packed) -> Result<HashMap<Digest, Layer>> {
        let known = diff_ids.iter().filter_map(|diff_id| packed.get(diff_id));
        let found = stream::iter(known).map(|known: &PackedLayer| async move {
            let PackedLayer { layer, repository } = known;
            let is_there = self.registry.has_blob(self.repository, &layer.digest).await?
                || (repository != self.repository
                    && self.registry.mount_blob(self.repository, repository, &layer.digest).await?);
            Ok::<_, RegistryError>(is_there.then(|| (layer.diff_id.clone(), layer.clone())))
        });
        let found: Vec<_> = found.buffered(ASK_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Names the environment, so that it is found the next time.
    async fn publish(&self, image: Image, expected: &Expected, mut taken: Vec<Taken>, detail: String) -> Result<Image> {
        let annotations = expected.annotations(&self.context.user(), Timestamp::now());
        let (config, manifest) = compose::documents(&image, &annotations);
        let config = Blob::from_bytes(config);
        let sent = self.push(Phase::Environment, &config).await?;
        taken.extend(Registry::taken([(&config, sent)]));
        let tag = tag_of(&expected.key);
        self.registry.push_image(self.repository, &tag, compose::MANIFEST, manifest, &taken).await?;
        self.events.send(Event::Finished { phase: Phase::Environment, detail });
        Ok(image)
    }
}
