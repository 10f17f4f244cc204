//! Taking images out of the engine.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use nauta::digest::{Digest, Hasher};
use nauta::docker::{Docker, DockerError, ExportedImage, ExportedLayer};
use nauta::event::Events;
use nauta::image::Builder;
use nauta::image::build_plan::{BuildPlan, Dockerfile};
use nauta::image::compose::Layer;

use super::{busybox, docker, docker_command, unique};

/// Takes layers out, and waits for all of them.
async fn export(
    docker: &Docker,
    image: &str,
    wanted: &HashSet<Digest>,
    folder: &Path,
) -> Result<(ExportedImage, Vec<(Layer, PathBuf)>), DockerError> {
    let (ready_tx, ready_rx) = std::sync::mpsc::channel();
    let ready = move |layer: ExportedLayer| ready_tx.send(layer).expect("somebody listens");
    let exported = docker.export_layers(image, wanted, folder, ready, &Events::none()).await?;
    // What looked as if it were wanted, and is not, gets no name.
    let named = |mut layer: ExportedLayer| Some((layer.layer.try_recv().ok()?, layer.file.path));
    Ok((exported, ready_rx.iter().filter_map(named).collect()))
}

#[tokio::test]
async fn an_image_is_described_as_it_is() {
    let docker = docker().await;
    let image = docker.image(&busybox()).await.unwrap().expect("it is there");
    let id = docker_command(&["image", "inspect", "-f", "{{.Id}}", &busybox()]);
    assert_eq!((image.id.as_str(), image.os.as_str()), (id.as_str(), "linux"));
    let config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    let diff_ids: Vec<Digest> = serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap();
    assert_eq!(diff_ids, image.diff_ids);
    let command = docker_command(&["image", "inspect", "-f", "{{json .Config.Cmd}}", &busybox()]);
    assert_eq!(config["config"]["Cmd"].to_string(), command);
    assert_eq!(config["architecture"], image.architecture);
    assert!(image.size > 1_000_000);
    assert!(docker.image("nauta-test/no-such-image:1").await.unwrap().is_none());
    let again = docker.image(&busybox()).await.unwrap().expect("it is there");
    assert_eq!(again.config, image.config);
}

#[tokio::test]
async fn wanted_layers_come_out_verified_and_others_do_not() {
    let docker = docker().await;
    let tag = format!("{}:1", unique("export"));
    let text = format!("FROM {}\nRUN echo one > /one\nRUN echo two > /two\nRUN true\nENV A=b\n", busybox());
    let mut plan = BuildPlan::new(Dockerfile::Text(text), Builder::BuildKit);
    plan.tags.push(tag.clone());
    docker.build(&plan, &Events::none()).await.unwrap();
    let image = docker.image(&tag).await.unwrap().expect("it was built");
    assert!(image.diff_ids.len() >= 3, "{:?}", image.diff_ids);

    let folder = tempfile::tempdir().unwrap();
    let all: HashSet<Digest> = image.diff_ids.iter().cloned().collect();
    let (exported, layers) = export(&docker, &tag, &all, folder.path()).await.unwrap();
    let config: serde_json::Value = serde_json::from_slice(&exported.config).unwrap();
    assert!(config["history"].is_array());
    assert_eq!(exported.diff_ids, image.diff_ids);
    let found: HashSet<Digest> = layers.iter().map(|(layer, _)| layer.diff_id.clone()).collect();
    assert_eq!((&found, layers.len()), (&all, all.len()));
    for (layer, path) in &layers {
        let open = || std::fs::File::open(path).unwrap();
        let (digest, size) = Hasher::read_to_end(open()).unwrap();
        assert_eq!((&digest, size), (&layer.digest, layer.size));
        let (inner, _) = Hasher::read_to_end(flate2::read::MultiGzDecoder::new(open())).unwrap();
        assert_eq!(inner, layer.diff_id);
    }

    for (index, wanted) in image.diff_ids.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let (_, layers) = export(&docker, &tag, &HashSet::from([wanted.clone()]), folder.path()).await.unwrap();
        assert_eq!(layers.len(), 1, "layer {index}");
        assert_eq!(&layers[0].0.diff_id, wanted);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    docker_command(&["image", "rm", &tag]);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let docker = docker().await;
    let error = export(&docker, "no-such-image", &HashSet::new(), folder.path()).await;
    assert!(matches!(error, Err(DockerError::NoSuchImage { .. })), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_is_named() {
    let docker = docker().await;
    let image = docker.image(&busybox()).await.unwrap().expect("it is there");
    let all: HashSet<Digest> = image.diff_ids.iter().cloned().collect();
    let error = export(&docker, &busybox(), &all, "/proc/self".as_ref()).await.expect_err("no room");
    assert!(error.to_string().contains("/proc/self"), "{error}");
}
