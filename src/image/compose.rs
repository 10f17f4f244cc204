//! The run image, composed from the environment's layers, the supervisor's and the code's. Formats: OCI image
//! specification 1.1, "Image Manifest" and "Image Configuration".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::{env_vars, layout};

/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer: its digest is its diff id.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a gzip-compressed layer.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// moby's store has at most this many layers in an image.
const MAX_LAYERS: usize = 125;

/// A layer in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// [`LAYER_TAR`], [`LAYER_GZIP`] or another that the registry's manifest named.
    pub media_type: String,
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// Of the uncompressed archive.
    pub diff_id: Digest,
}

/// An image in a registry, as far as composing needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The configuration, as JSON.
    pub config: Value,
    /// Bottom first.
    pub layers: Vec<Layer>,
}

/// A composed image: the two documents to send after the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The configuration blob.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The manifest's digest: the run image's name.
    pub digest: Digest,
}

/// What can be wrong with an image that others made.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A document is not what it should be.
    #[error("the image's {document} cannot be understood: {reason}")]
    Malformed {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// Why.
        reason: String,
    },
    /// No more layers fit on it.
    #[error("the environment image has {0} layers; an image can have 125")]
    TooManyLayers(usize),
}

impl Image {
    /// Reads an image from its manifest and configuration, OCI or Docker schema 2.
    pub fn from_documents(manifest: &[u8], config: &[u8]) -> Result<Self, ComposeError> {
        let malformed = |document: &'static str| move |reason: String| ComposeError::Malformed { document, reason };
        let manifest: ManifestForm =
            serde_json::from_slice(manifest).map_err(|e| malformed("manifest")(e.to_string()))?;
        let config: Value = serde_json::from_slice(config).map_err(|e| malformed("configuration")(e.to_string()))?;
        let diff_ids: Vec<Digest> = serde_json::from_value(config["rootfs"]["diff_ids"].clone())
            .map_err(|e| malformed("configuration")(format!("rootfs.diff_ids: {e}")))?;
        if diff_ids.len() != manifest.layers.len() {
            let reason = format!("{} layers and {} diff ids", manifest.layers.len(), diff_ids.len());
            return Err(malformed("configuration")(reason));
        }
        let layers = manifest.layers.into_iter().zip(diff_ids).map(|(layer, diff_id)| Layer {
            media_type: oci_media_type(&layer.media_type).to_owned(),
            digest: layer.digest,
            size: layer.size,
            diff_id,
        });
        Ok(Self { config, layers: layers.collect() })
    }
}

/// The digest of a manifest's configuration blob, and its size in bytes.
pub fn config_of(manifest: &[u8]) -> Result<(Digest, u64), ComposeError> {
    #[derive(Deserialize)]
    struct WithConfig {
        config: Descriptor,
    }
    let form: WithConfig = serde_json::from_slice(manifest)
        .map_err(|e| ComposeError::Malformed { document: "manifest", reason: e.to_string() })?;
    Ok((form.config.digest, form.config.size))
}

/// The digest of a manifest's configuration blob, and its layers' digests and sizes in bytes.
pub fn blobs_of(manifest: &[u8]) -> Result<(Digest, Vec<(Digest, u64)>), ComposeError> {
    let (config, _) = config_of(manifest)?;
    let form: ManifestForm = serde_json::from_slice(manifest)
        .map_err(|e| ComposeError::Malformed { document: "manifest", reason: e.to_string() })?;
    Ok((config, form.layers.into_iter().map(|layer| (layer.digest, layer.size)).collect()))
}

/// The digest of the manifest for `architecture` in an image index; `None` when `manifest` is no index.
pub fn select_platform(manifest: &[u8], architecture: &str) -> Result<Option<Digest>, ComposeError> {
    let malformed = |reason: String| ComposeError::Malformed { document: "manifest", reason };
    let form: Value = serde_json::from_slice(manifest).map_err(|e| malformed(e.to_string()))?;
    let Some(manifests) = form["manifests"].as_array() else { return Ok(None) };
    manifests
        .iter()
        .find(|m| m["platform"]["architecture"] == architecture && m["platform"]["os"] == "linux")
        .and_then(|m| m["digest"].as_str()?.parse().ok())
        .map(Some)
        .ok_or_else(|| malformed(format!("it has no image for linux/{architecture}")))
}

#[derive(Deserialize)]
struct ManifestForm {
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// Docker's media types say the same as OCI's; a manifest must not mix them.
fn oci_media_type(media_type: &str) -> &str {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar" => LAYER_TAR,
        other => other,
    }
}

/// Puts `layers` on top of `environment`, with the supervisor as the entry point, in the folder of `project`.
pub fn compose(
    environment: &Image,
    project: &str,
    layers: &[&Layer],
    labels: &[(&str, &str)],
) -> Result<Composed, ComposeError> {
    let all: Vec<&Layer> = environment.layers.iter().chain(layers.iter().copied()).collect();
    if all.len() > MAX_LAYERS {
        return Err(ComposeError::TooManyLayers(environment.layers.len()));
    }
    let config = composed_config(&environment.config, project, &all, labels).to_string().into_bytes();
    let manifest = manifest(&config, &all);
    Ok(Composed { digest: Digest::of(&manifest), config, manifest })
}

/// The configuration and the manifest of an image whose layers are in a registry, with what the manifest is to say besides.
pub fn documents(image: &Image, annotations: &BTreeMap<String, String>) -> (Vec<u8>, Vec<u8>) {
    let config = image.config.to_string().into_bytes();
    let mut manifest = manifest_value(&config, &image.layers.iter().collect::<Vec<_>>());
    manifest["annotations"] = json!(annotations);
    (config, manifest.to_string().into_bytes())
}

/// A manifest that names a configuration and a layer of two bytes each, for asking a registry what it makes of it.
pub fn smallest_manifest(config: &Digest, layer: &Digest) -> Vec<u8> {
    manifest_of(&descriptor(CONFIG, config, 2), &[descriptor(LAYER_TAR, layer, 2)]).to_string().into_bytes()
}

fn manifest(config: &[u8], layers: &[&Layer]) -> Vec<u8> {
    manifest_value(config, layers).to_string().into_bytes()
}

fn manifest_value(config: &[u8], layers: &[&Layer]) -> Value {
    let layers: Vec<Value> =
        layers.iter().map(|layer| descriptor(&layer.media_type, &layer.digest, layer.size)).collect();
    manifest_of(&descriptor(CONFIG, &Digest::of(config), config.len() as u64), &layers)
}

fn manifest_of(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

fn composed_config(environment: &Value, project: &str, layers: &[&Layer], labels: &[(&str, &str)]) -> Value {
    let mut config = Map::new();
    // History and creation times are left out: they are no part of what runs, and would make equal images differ.
    for key in ["architecture", "os", "os.version", "variant"] {
        if let Some(value) = environment.get(key) {
            config.insert(key.to_owned(), value.clone());
        }
    }
    let mut runtime = match environment.get("config") {
        Some(Value::Object(runtime)) => runtime.clone(),
        _ => Map::new(),
    };
    for key in ["Healthcheck", "ArgsEscaped", "OnBuild", "Cmd"] {
        runtime.remove(key);
    }
    let mut all_labels = match runtime.remove("Labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    all_labels.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
    runtime.insert("Labels".to_owned(), Value::Object(all_labels));
    let own = runtime.insert("Entrypoint".to_owned(), json!([layout::SUPERVISOR, "supervise", "--"]));
    runtime.insert("WorkingDir".to_owned(), json!(layout::project_folder(project)));
    runtime.insert("User".to_owned(), json!(format!("{0}:{0}", layout::USER_ID)));
    let mut env = match runtime.remove("Env") {
        Some(Value::Array(env)) => env,
        _ => Vec::new(),
    };
    env.retain(|var| !var.as_str().is_some_and(|v| v.starts_with(&format!("{}=", env_vars::OUTPUTS))));
    env.push(json!(format!("{}={}", env_vars::OUTPUTS, layout::OUTPUTS)));
    if let Some(Value::Array(words)) = own.filter(|own| own[0].is_string() && own[0] != layout::SUPERVISOR) {
        env.push(json!(format!("{}={}", env_vars::ENTRYPOINT, Value::Array(words))));
    }
    runtime.insert("Env".to_owned(), Value::Array(env));
    config.insert("config".to_owned(), Value::Object(runtime));
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    config.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": diff_ids }));
    Value::Object(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str) -> Layer {
        let digest = Digest::of(name);
        Layer { media_type: LAYER_TAR.to_owned(), diff_id: digest.clone(), digest, size: 1 }
    }

    #[test]
    fn a_composed_image_can_be_read_back() {
        let environment = Image {
            config: json!({
                "architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z",
                "config": { "Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": { "a": "b" } },
            }),
            layers: vec![layer("base")],
        };
        let composed = compose(&environment, "p", &[&layer("code")], &[("c", "d")]).expect("composes");
        let again = compose(&environment, "p", &[&layer("code")], &[("c", "d")]).expect("composes");
        assert_eq!(composed, again);
        let image = Image::from_documents(&composed.manifest, &composed.config).expect("valid");
        assert_eq!(image.layers, [layer("base"), layer("code")]);
        assert_eq!(image.config["config"]["Entrypoint"][0], layout::SUPERVISOR);
        assert_eq!(image.config["config"]["Labels"], json!({ "a": "b", "c": "d" }));
        assert_eq!(image.config["config"]["Env"], json!(["PATH=/bin", "NAUTA_OUTPUTS=/nauta/outputs"]));
        assert!(image.config.get("created").is_none());
        let mut wrapped = environment;
        wrapped.config["config"]["Entrypoint"] = json!(["/entry.sh", "-x"]);
        let composed = compose(&wrapped, "p", &[], &[]).expect("composes");
        let image = Image::from_documents(&composed.manifest, &composed.config).expect("valid");
        assert_eq!(image.config["config"]["Env"][2], json!(r#"NAUTA_ENTRYPOINT=["/entry.sh","-x"]"#));
    }

    #[test]
    fn nothing_but_an_image_is_understood_as_one() {
        assert!(Image::from_documents(b"{}", b"{}").is_err());
        assert!(Image::from_documents(b"<html>", b"{}").is_err());
        let uneven = format!(r#"{{"layers":[{{"mediaType":"x","digest":"{}","size":1}}]}}"#, Digest::of(""));
        assert!(Image::from_documents(uneven.as_bytes(), br#"{"rootfs":{"diff_ids":[]}}"#).is_err());
        let full = Image { config: json!({}), layers: vec![layer("x"); 125] };
        assert!(matches!(compose(&full, "p", &[&layer("y")], &[]), Err(ComposeError::TooManyLayers(125))));
    }
}
