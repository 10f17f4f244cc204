//! The folder that all ranks of a run share: a claim that lives as long as the run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Volume,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata::object_meta;
use super::plan::ClusterRun;
use crate::job::RunSpec;

/// The volume's name in a pod.
pub(super) const VOLUME: &str = "shared";

/// The claim's name.
pub(super) fn claim_name(run: &str) -> String {
    format!("{run}-shared")
}

/// The claim; `None` where ranks share nothing.
pub(super) fn claim(spec: &RunSpec, at: &ClusterRun) -> Option<PersistentVolumeClaim> {
    let size = spec.shared?;
    let requests = BTreeMap::from([("storage".to_owned(), Quantity(size.to_string()))]);
    Some(PersistentVolumeClaim {
        metadata: object_meta(spec, claim_name(&spec.name), &at.namespace),
        spec: Some(PersistentVolumeClaimSpec {
            // Ranks are on several nodes.
            access_modes: Some(vec!["ReadWriteMany".to_owned()]),
            storage_class_name: at.storage_class.clone(),
            resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    })
}

/// The claim as a pod's volume.
pub(super) fn volume(spec: &RunSpec) -> Option<Volume> {
    spec.shared.map(|_| Volume {
        name: VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(&spec.name),
            read_only: None,
        }),
        ..Volume::default()
    })
}
