//! The run image: environment, supervisor and code, composed in the registry. Docker is asked only for environments that
//! the registry does not have.

use std::collections::HashSet;
use std::path::Path;

use futures::future::try_join_all;

use super::DeliveryError;
use super::code::{write_code, write_differences};
use super::environment::{Surroundings, local_environment};
use super::stack::{Stack, Step};
use super::supervisor_layer::supervisor_layer;
use crate::archive::{ArchiveError, Writer, gzip};
use crate::context::Context;
use crate::diagnosis::Result;
use crate::digest::Digest;
use crate::event::{Event, Events, Phase};
use crate::image::compose::{self, Image, LAYER_GZIP, LAYER_TAR, Layer, compose, config_of, select_platform};
use crate::image::{EnvironmentPlan, ImageReference, environment_key};
use crate::layout::label;
use crate::registry::{Blob, MAX_MANIFEST, Registry, RegistryError, Sent};
use crate::snapshot::Snapshot;

/// The only platform that this binary can be the supervisor for.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// An archive on its way into a file.
type PlainArchive = Writer<std::io::BufWriter<std::fs::File>>;

/// A run image in a registry.
#[derive(Clone, Debug)]
pub struct RunImage {
    /// Its manifest's digest.
    pub digest: Digest,
}

/// Makes sure that the delivery's repository has the run image.
pub async fn run_image(
    delivery: &Delivery<'_>,
    plan: &EnvironmentPlan,
    snapshot: &Snapshot,
    surroundings: &Surroundings,
) -> Result<RunImage> {
    let Delivery { context, registry, repository, project_name, events } = *delivery;
    let environment = delivery.environment(plan, snapshot, surroundings).await?;
    check_platform(&environment)?;
    let before = registry.counters();
    events.send(Event::Started { phase: Phase::Push, detail: "the code".to_owned() });
    let supervisor = supervisor_layer(&context.program, &context.state_folder())?;
    delivery.push_layer(&supervisor.layer, &supervisor.path, Phase::Push).await?;
    let mut layers = vec![supervisor.layer];
    layers.extend(delivery.push_code(snapshot).await?);
    let labels = [(label::MANAGED_BY, label::MANAGED_BY_NAUTA), (label::PROJECT, project_name)];
    let composed = compose(&environment, &layers, &labels).map_err(DeliveryError::from)?;
    delivery.push_document(composed.config).await?;
    // A tag, so that garbage collection keeps it; the run itself names the digest.
    let tag = format!("code-{}", snapshot.digest().short());
    let digest = registry.push_manifest(repository, &tag, compose::MANIFEST, composed.manifest).await?;
    let (after, host) = (registry.counters(), registry.endpoint().host());
    let (sent, requests) = (after.bytes_sent - before.bytes_sent, after.requests - before.requests);
    let detail = format!("sent {sent} bytes in {requests} requests to {host}/{repository}@sha256:{}", digest.short());
    events.send(Event::Finished { phase: Phase::Push, detail });
    Ok(RunImage { digest })
}

fn check_platform(environment: &Image) -> Result<(), DeliveryError> {
    let text = |key: &str| environment.config[key].as_str().unwrap_or("unknown").to_owned();
    let (found, expected) = (format!("{}/{}", text("os"), text("architecture")), format!("linux/{ARCHITECTURE}"));
    if found == expected { Ok(()) } else { Err(DeliveryError::Platform { found, expected }) }
}

/// Where to, and with what.
pub struct Delivery<'a> {
    /// The workstation.
    pub context: &'a Context,
    /// The registry.
    pub registry: &'a Registry,
    /// The project's repository in it.
    pub repository: &'a str,
    /// The project's name.
    pub project_name: &'a str,
    /// Where to report.
    pub events: &'a Events,
}

impl Delivery<'_> {
    /// The environment image in the registry: the one made before, or the base itself, or one that Docker builds.
    async fn environment(
        &self,
        plan: &EnvironmentPlan,
        snapshot: &Snapshot,
        surroundings: &Surroundings,
    ) -> Result<Image> {
        let key = environment_key(plan, snapshot, ARCHITECTURE);
        let tag = format!("env-{}", key.short());
        if let Some(image) = self.pull_image(self.registry, self.repository, &tag).await? {
            let detail = format!("{} is unchanged", plan.describe());
            self.events.send(Event::Finished { phase: Phase::Environment, detail });
            return Ok(image);
        }
        if let EnvironmentPlan::Base { base } = plan {
            let reference: ImageReference = base.value.parse().map_err(DeliveryError::from)?;
            if reference.host == self.registry.endpoint().host()
                && let Some(image) = self.pull_image(self.registry, &reference.repository, reference.version()).await?
            {
                return self.adopt(image, &reference, &tag).await;
            }
        }
        let docker = self.context.docker().await?;
        let name = local_environment(&docker, self.project_name, plan, snapshot, surroundings, self.events).await?;
        self.push_from_docker(&docker, &name, &tag).await
    }

    async fn pull_image(&self, registry: &Registry, repository: &str, reference: &str) -> Result<Option<Image>> {
        let Some(mut manifest) = registry.pull_manifest(repository, reference).await? else { return Ok(None) };
        if let Some(digest) = select_platform(&manifest.bytes, ARCHITECTURE).map_err(DeliveryError::from)? {
            match registry.pull_manifest(repository, digest.as_str()).await? {
                Some(selected) => manifest = selected,
                None => return Ok(None),
            }
        }
        let (config, _) = config_of(&manifest.bytes).map_err(DeliveryError::from)?;
        let config = registry.pull_blob(repository, &config, MAX_MANIFEST).await?;
        Ok(Some(Image::from_documents(&manifest.bytes, &config).map_err(DeliveryError::from)?))
    }

    /// Makes an image of another repository of this registry the environment: its layers are mounted, none is sent.
    async fn adopt(&self, image: Image, reference: &ImageReference, tag: &str) -> Result<Image> {
        for layer in &image.layers {
            if !self.registry.mount_blob(self.repository, &reference.repository, &layer.digest).await? {
                let file = tempfile::NamedTempFile::new().map_err(temporary)?;
                let progress = self.progress(Phase::Environment, format!("fetching {reference}"), layer.size);
                let (repository, digest) = (&reference.repository, &layer.digest);
                self.registry.pull_blob_to_file(repository, digest, layer.size, file.path(), progress).await?;
                self.push_layer(layer, file.path(), Phase::Environment).await?;
            }
        }
        let detail = format!("took {reference}");
        self.publish(image, tag, detail).await
    }

    /// Takes an image out of Docker and sends it: only what the registry does not have is read.
    async fn push_from_docker(&self, docker: &crate::docker::Docker, name: &str, tag: &str) -> Result<Image> {
        let folder = tempfile::tempdir().map_err(temporary)?;
        let local = docker.image(name).await?;
        let known: HashSet<Digest> = local.into_iter().flat_map(|image| image.diff_ids).collect();
        let exported = docker.export_layers(name, &known, folder.path(), self.events).await?;
        let config = serde_json::from_slice(&exported.config).map_err(|error| {
            DeliveryError::Compose(compose::ComposeError::Malformed {
                document: "configuration",
                reason: error.to_string(),
            })
        })?;
        let mut layers = Vec::new();
        for diff_id in &exported.diff_ids {
            let Some(layer) = exported.layers.iter().find(|layer| layer.diff_id == *diff_id) else { continue };
            layers.push(self.push_compressed(&layer.path, folder.path()).await?);
        }
        self.publish(Image { config, layers }, tag, format!("sent {name}")).await
    }

    async fn push_compressed(&self, plain: &Path, folder: &Path) -> Result<Layer> {
        let (plain, folder) = (plain.to_owned(), folder.to_owned());
        let compress = move || -> std::io::Result<_> {
            let out = tempfile::NamedTempFile::new_in(folder)?;
            let written = gzip(std::fs::File::open(plain)?, out.as_file())?;
            Ok((out, written))
        };
        let joined =
            tokio::task::spawn_blocking(compress).await.map_err(|error| temporary(std::io::Error::other(error)))?;
        let (file, (inner, outer)) = joined.map_err(temporary)?;
        let (media_type, digest, size) = (LAYER_GZIP.to_owned(), outer.digest, outer.size);
        let layer = Layer { media_type, digest, size, diff_id: inner.digest };
        self.push_layer(&layer, file.path(), Phase::Environment).await?;
        Ok(layer)
    }

    /// Names the environment, so that it is found the next time.
    async fn publish(&self, image: Image, tag: &str, detail: String) -> Result<Image> {
        let config = image.config.to_string().into_bytes();
        let digest = Digest::of(&config);
        let size = config.len();
        self.push_document(config).await?;
        let layers = image.layers.iter().map(
            |layer| serde_json::json!({ "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size }),
        );
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": compose::MANIFEST,
            "config": { "mediaType": compose::CONFIG, "digest": digest, "size": size },
            "layers": layers.collect::<Vec<_>>(),
        });
        self.registry.push_manifest(self.repository, tag, compose::MANIFEST, manifest.to_string()).await?;
        self.events.send(Event::Finished { phase: Phase::Environment, detail });
        Ok(image)
    }

    /// Makes sure of the layers of code that lead to a snapshot.
    async fn push_code(&self, snapshot: &Snapshot) -> Result<Vec<Layer>> {
        let place = format!("{}/{}", self.registry.endpoint().host(), self.repository);
        let mut stack = Stack::open(&self.context.state_folder(), &place, snapshot.root());
        let known = stack.layers().map(|layer| self.registry.has_blob(self.repository, &layer.digest));
        if !try_join_all(known).await?.into_iter().all(|is_there| is_there) {
            stack.forget();
        }
        match stack.step(snapshot) {
            Step::None => {}
            Step::Whole => {
                let layer = self.push_archive(|archive| write_code(archive, snapshot)).await?;
                stack.put(0, layer, snapshot);
            }
            Step::Delta { keep, differences } => {
                let layer = self.push_archive(|archive| write_differences(archive, snapshot, &differences)).await?;
                stack.put(keep, layer, snapshot);
            }
        }
        Ok(stack.layers().cloned().collect())
    }

    /// Sends an archive as a layer; plain, so that its digest is known when it is written.
    async fn push_archive(&self, write: impl FnOnce(&mut PlainArchive) -> Result<(), ArchiveError>) -> Result<Layer> {
        let file = tempfile::NamedTempFile::new().map_err(temporary)?;
        let out = file.reopen().map_err(temporary)?;
        let mut archive = Writer::new(std::io::BufWriter::new(out));
        write(&mut archive)?;
        let (out, written) = archive.finish()?;
        out.into_inner().map_err(|error| temporary(error.into_error()))?;
        let (diff_id, media_type) = (written.digest.clone(), LAYER_TAR.to_owned());
        let layer = Layer { media_type, digest: written.digest, size: written.size, diff_id };
        self.push_layer(&layer, file.path(), Phase::Push).await?;
        Ok(layer)
    }

    async fn push_layer(&self, layer: &Layer, path: &Path, phase: Phase) -> Result<Sent, RegistryError> {
        let blob = Blob::from_file(path, 0, layer.size, layer.digest.clone());
        let progress = self.progress(phase, format!("sending to {}", self.registry.endpoint().host()), layer.size);
        self.registry.push_blob(self.repository, &blob, progress).await
    }

    async fn push_document(&self, bytes: Vec<u8>) -> Result<Sent, RegistryError> {
        self.registry.push_blob(self.repository, &Blob::from_bytes(bytes), |_| ()).await
    }

    /// Tells how many of `total` bytes have been moved.
    fn progress(&self, phase: Phase, detail: String, total: u64) -> impl Fn(u64) + Send + Sync {
        let events = self.events.clone();
        move |done| events.send(Event::Progress { phase, done, total: Some(total), detail: detail.clone() })
    }
}

fn temporary(source: std::io::Error) -> DeliveryError {
    DeliveryError::File { path: std::env::temp_dir(), source }
}
