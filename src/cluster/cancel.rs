//! Ending a run by deleting its Job, and all that the Job owns with it.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, ResourceExt as _};
use serde::Serialize;

use super::Cluster;
use super::error::{Cause, ClusterError};
use super::submit::Dependent;
use super::watch::selector;
use crate::job::state::{RunState, job_state};
use crate::layout::label;

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cancelled {
    /// The run.
    pub run: String,
    /// Where it stood before.
    pub was: RunState,
    /// The objects that go: `Job a`, `Service a`, `Pod a-0-x5f2k`; those that may not be listed are missing here.
    pub deleted: Vec<String>,
}

impl Cluster {
    /// Deletes a run. Its ranks get SIGTERM and their grace time; the Job stays visible until the last of them is gone.
    pub async fn cancel(&self, run: &str) -> Result<Cancelled, ClusterError> {
        let job = match self.find_job(run).await? {
            Some(job) if job.labels().contains_key(label::RUN) => job,
            _ => return Err(self.no_such_run(run).await),
        };
        let (pods, services, secrets) =
            tokio::join!(self.pods(run), self.owned::<Service>(run), self.owned::<Secret>(run));
        let pods = pods.unwrap_or_default().into_iter().map(|pod| format!("Pod {}", pod.name_any()));
        let deleted = [format!("Job {run}")].into_iter().chain(services).chain(secrets).chain(pods).collect();
        let params = DeleteParams {
            // The run that was looked at, not one of the same name made since.
            preconditions: Some(Preconditions { uid: job.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::foreground()
        };
        let answer = self
            .ask("delete the Job", |client| {
                let (api, params) = (Api::<Job>::namespaced(client, self.namespace()), &params);
                async move { api.delete(run, params).await }
            })
            .await;
        match answer {
            Ok(_) => {}
            // Somebody else was faster.
            Err(error) if matches!(error.cause(), Cause::Answer { code: 404 | 409, .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Cancelled { run: run.to_owned(), was: job_state(&job), deleted })
    }

    /// The run's objects of one kind, for the report; none when they may not be listed.
    async fn owned<K: Dependent>(&self, run: &str) -> Vec<String> {
        let params = ListParams::default().labels(&selector(run));
        let list = self
            .ask("list what the run owns", |client| {
                let (api, params) = (Api::<K>::namespaced(client, self.namespace()), &params);
                async move { api.list(params).await }
            })
            .await;
        let named = |object: &K| format!("{} {}", K::kind(&()), object.name_any());
        list.map(|list| list.items.iter().map(named).collect()).unwrap_or_default()
    }
}
