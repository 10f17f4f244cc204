//! Taking credentials back from a run that has ended.

use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt as _};

use super::Cluster;
use super::error::{Cause, ClusterError};
use crate::layout::label;

impl Cluster {
    /// Deletes the Service of a run that has ended, and so the credentials that it owns. The Job stays, for those who ask how
    /// the run went.
    ///
    /// Not the Secrets themselves: the right to delete them is the right to read them, as a deletion that is a dry run in the
    /// foreground answers with the whole object.
    pub async fn release(&self, run: &str) -> Result<(), ClusterError> {
        let found = self.object::<Service>("look at the Service", run).await?;
        let is_ours = |service: &Service| service.labels().get(label::RUN).map(String::as_str) == Some(run);
        let Some(service) = found.filter(is_ours) else { return Ok(()) };
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: service.metadata.uid, resource_version: None }),
            ..DeleteParams::background()
        };
        let answer = self
            .ask("delete the Service", |client| {
                let (api, params) = (Api::<Service>::namespaced(client, self.namespace()), &params);
                async move { api.delete(run, params).await }
            })
            .await;
        match answer {
            // Somebody else was faster.
            Err(error) if !matches!(error.cause(), Cause::Answer { code: 404 | 409, .. }) => Err(error),
            _ => Ok(()),
        }
    }
}
