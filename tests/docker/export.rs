//! Taking images out of the engine.

use std::collections::HashSet;

use nauta::digest::{Digest, Hasher};
use nauta::docker::DockerError;
use nauta::event::Events;
use nauta::image::Builder;
use nauta::image::build_plan::{BuildPlan, Dockerfile};

use super::{busybox, docker, docker_command, unique};

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
    let exported = docker.export_layers(&tag, &all, folder.path(), &Events::none()).await.unwrap();
    let config: serde_json::Value = serde_json::from_slice(&exported.config).unwrap();
    assert!(config["history"].is_array());
    let order: Vec<&Digest> = exported.layers.iter().map(|layer| &layer.diff_id).collect();
    let expected: Vec<&Digest> = image.diff_ids.iter().filter(|layer| order.contains(layer)).collect();
    assert_eq!(order, expected);
    assert_eq!(order.len(), all.len());
    for layer in &exported.layers {
        let (digest, size) = Hasher::read_to_end(std::fs::File::open(&layer.path).unwrap()).unwrap();
        assert_eq!((&digest, size), (&layer.diff_id, layer.size));
    }

    for (index, wanted) in image.diff_ids.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let exported =
            docker.export_layers(&tag, &HashSet::from([wanted.clone()]), folder.path(), &Events::none()).await.unwrap();
        assert_eq!(exported.layers.len(), 1, "layer {index}");
        assert_eq!(&exported.layers[0].diff_id, wanted);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    docker_command(&["image", "rm", &tag]);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let docker = docker().await;
    let error = docker.export_layers("no-such-image", &HashSet::new(), folder.path(), &Events::none()).await;
    assert!(matches!(error, Err(DockerError::NoSuchImage { .. })), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_is_named() {
    let docker = docker().await;
    let image = docker.image(&busybox()).await.unwrap().expect("it is there");
    let all: HashSet<Digest> = image.diff_ids.iter().cloned().collect();
    let error =
        docker.export_layers(&busybox(), &all, "/proc/self".as_ref(), &Events::none()).await.expect_err("no room");
    assert!(error.to_string().contains("/proc/self"), "{error}");
}
