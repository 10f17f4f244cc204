//! Images that the engine has.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{ImageConfig, ImageInspect};
use serde::Serialize;

use super::engine::Docker;
use super::error::DockerError;
use crate::digest::Digest;

/// An image of the engine.
#[derive(Clone, Debug)]
pub struct LocalImage {
    /// The engine's id of it.
    pub id: String,
    /// The layers' digests, uncompressed, lowest first.
    pub diff_ids: Vec<Digest>,
    /// An image configuration (OCI, JSON) that says all of the image that a container needs: the platform, the layers,
    /// variables, working directory, entry point. It has not the bytes of the image's own configuration, which an
    /// engine gives away only with all layers (see [`Docker::export_layers`]).
    pub config: Vec<u8>,
    /// Its entry point, which the configuration has too.
    pub entrypoint: Vec<String>,
    /// Architecture, as Go names it (`amd64`).
    pub architecture: String,
    /// Operating system (`linux`).
    pub os: String,
    /// Size of all layers in bytes.
    pub size: u64,
    /// The names and digests that registries are known to have it under, `host/repository@digest`.
    pub pulled: Vec<String>,
}

impl LocalImage {
    /// What it runs on, such as `linux/amd64`.
    #[must_use]
    pub fn platform(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: &'a str,
    config: Container,
    rootfs: RootFs<'a>,
}

/// What containers of the image get, in an order that does not change: the same image gives the same bytes.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Names::is_empty")]
    exposed_ports: Names,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(skip_serializing_if = "Names::is_empty")]
    volumes: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shell: Vec<String>,
}

/// A set of names as images write it: an object whose members are empty objects.
struct Names(BTreeSet<String>);

impl Names {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Names {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|name| (name, BTreeMap::<&str, &str>::new())))
    }
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: &'a [Digest],
}

impl Docker {
    /// The image of that name or id; `None` when the engine has none.
    pub async fn image(&self, name: &str) -> Result<Option<LocalImage>, DockerError> {
        let what = format!("look at the image `{name}`");
        match self.api().inspect_image(name).await.map_err(|e| self.error(what.as_str(), e)) {
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
            Ok(image) => local_image(name, image).map(Some),
        }
    }
}

fn local_image(name: &str, image: ImageInspect) -> Result<LocalImage, DockerError> {
    let bad = |detail: String| DockerError::BadExport { image: name.to_owned(), detail };
    let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
    let diff_ids: Vec<Digest> =
        layers.iter().map(|layer| layer.parse()).collect::<Result<_, _>>().map_err(|e| bad(format!("{e}")))?;
    let architecture = image.architecture.ok_or_else(|| bad("it has no architecture".to_owned()))?;
    let os = image.os.unwrap_or_else(|| "linux".to_owned());
    let image_config = image.config.unwrap_or_default();
    let entrypoint = image_config.entrypoint.clone().unwrap_or_default();
    let config = Document {
        created: image.created.map(|created| created.to_rfc3339()),
        architecture: &architecture,
        variant: image.variant.as_deref().filter(|variant| !variant.is_empty()),
        os: &os,
        config: container(image_config),
        rootfs: RootFs { kind: "layers", diff_ids: &diff_ids },
    };
    let config = serde_json::to_vec(&config).expect("strings serialise");
    let size = image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    let pulled = image.repo_digests.unwrap_or_default();
    let id = image.id.unwrap_or_else(|| name.to_owned());
    Ok(LocalImage { id, diff_ids, config, entrypoint, architecture, os, size, pulled })
}

fn container(config: ImageConfig) -> Container {
    // Engines say nothing as an empty text; images say it by leaving it out.
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let set = |names: Option<Vec<String>>| Names(names.unwrap_or_default().into_iter().collect());
    Container {
        user: text(config.user),
        exposed_ports: set(config.exposed_ports),
        env: config.env.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        volumes: set(config.volumes),
        working_dir: text(config.working_dir),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        stop_signal: text(config.stop_signal),
        shell: config.shell.unwrap_or_default(),
    }
}
