//! Whether a cluster has storage for what the ranks of a run share.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::Cluster;
use super::error::{Cause, ClusterError};
use crate::job::state::TroubleReason;

/// How a class says that it is for claims that name none (Kubernetes' documentation, "Default `StorageClass`").
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

impl Cluster {
    /// Asks whether a claim would be admitted, and looks whether its storage class is there, where classes may be read. Whether
    /// a class allows several nodes to write, no field says: that shows when storage is made.
    pub async fn admit_claim(&self, claim: Option<&PersistentVolumeClaim>) -> Result<(), ClusterError> {
        let Some(claim) = claim else { return Ok(()) };
        let (admitted, classes) = tokio::join!(self.dry_run("PersistentVolumeClaim", claim), self.storage_classes());
        admitted?;
        let Some(classes) = classes? else { return Ok(()) };
        let wanted = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
        match missing(wanted, &classes) {
            Some(message) => {
                let what = "storage for --shared".to_owned();
                Err(self.error(Cause::Refused { what, reason: TroubleReason::Storage, message }))
            }
            None => Ok(()),
        }
    }

    /// The cluster's classes; `None` where they may not be read.
    async fn storage_classes(&self) -> Result<Option<Vec<StorageClass>>, ClusterError> {
        let list = self
            .ask("list the storage classes", |client| {
                let api = Api::<StorageClass>::all(client);
                async move { api.list(&ListParams::default()).await }
            })
            .await;
        match list {
            Ok(list) => Ok(Some(list.items)),
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a claim will get no storage, as far as classes tell. A claim that names a class may be met by a volume that somebody has
/// made by hand for it, and then no class of that name is needed.
fn missing(wanted: Option<&str>, classes: &[StorageClass]) -> Option<String> {
    let is_default = |class: &StorageClass| class.annotations().get(DEFAULT).is_some_and(|value| value == "true");
    if wanted.is_some() || classes.iter().any(is_default) {
        return None;
    }
    let names: Vec<String> = classes.iter().map(|class| format!("`{}`", class.name_any())).collect();
    let known = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
    Some(format!("the cluster has no default storage class (it has {known})"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[test]
    fn a_claim_without_a_class_needs_a_default_one() {
        let class = |name: &str, default: &str| StorageClass {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: Some([(DEFAULT.to_owned(), default.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..StorageClass::default()
        };
        assert_eq!(missing(None, &[class("nfs", "true")]), None);
        assert_eq!(missing(Some("by-hand"), &[]), None);
        let told = missing(None, &[class("nfs", "false"), class("disk", "")]).unwrap_or_default();
        assert!(told.ends_with("(it has `nfs`, `disk`)"), "{told}");
        assert!(missing(None, &[]).is_some_and(|told| told.contains("none at all")));
    }
}
