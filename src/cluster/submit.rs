//! Handing a run to the cluster, once, whatever happens to the answers.

use std::fmt::Debug;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use super::error::{Cause, ClusterError};
use crate::job::objects::RunObjects;
use crate::layout::label;

/// Waits between attempts when the server cannot be reached or has too much to do.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(600), Duration::from_secs(2), Duration::from_secs(5)];

/// A run that is the cluster's now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Submitted {
    /// The run's name.
    pub run: String,
    /// The Job's uid.
    pub uid: String,
    /// Whether it was there already: an earlier submission of the same run had got through.
    pub was_there: bool,
}

/// An object that nauta makes in a namespace.
pub(super) trait Dependent:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Dependent for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
}

/// Creates an object, or only asks whether it could be created.
pub(super) async fn post<K: Dependent>(
    cluster: &Cluster,
    what: &str,
    object: &K,
    dry_run: bool,
) -> Result<K, ClusterError> {
    let params = PostParams { dry_run, field_manager: Some("nauta".to_owned()) };
    cluster
        .ask(what, |client| {
            let (api, params) = (Api::<K>::namespaced(client, cluster.namespace()), &params);
            async move { api.create(params, object).await }
        })
        .await
}

impl Cluster {
    /// Makes the Job, and what it owns. When any of it fails, the Job is deleted again; when an answer was lost, a look at the
    /// cluster decides. Submitting the same run twice is submitting it once.
    pub async fn submit(&self, objects: &RunObjects) -> Result<Submitted, ClusterError> {
        let (job, was_there) = self.submit_job(objects).await?;
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let owned = objects.clone().owned_by(&uid);
        let secrets = try_join_all(owned.secrets.iter().map(|secret| self.submit_owned("Secret", secret, &uid)));
        let made = tokio::try_join!(secrets, self.submit_owned("Service", &owned.service, &uid));
        if let Err(error) = made {
            self.withdraw(&job).await;
            return Err(error);
        }
        Ok(Submitted { run: objects.run().to_owned(), uid, was_there })
    }

    /// The Job, made now or found from an earlier attempt.
    async fn submit_job(&self, objects: &RunObjects) -> Result<(Job, bool), ClusterError> {
        let run = objects.run();
        let mut waits = RETRIES.iter();
        loop {
            let error = match post(self, "Job", &objects.job, false).await {
                Ok(job) => return Ok((job, false)),
                Err(error) => error,
            };
            // No status code tells whether it is there: an answer can be lost after the object was made, and a full quota
            // answers 403 even for an object that exists.
            match self.find_job(run).await {
                Ok(Some(job)) if is_submission(&job, objects) => return Ok((job, true)),
                Ok(Some(job)) => return Err(self.taken(run, &job)),
                Ok(None) if !error.is_temporary() => return Err(error),
                // Even if the look failed: nothing is known to exist, and the same request again is harmless.
                Ok(None) | Err(_) => {}
            }
            match waits.next() {
                Some(wait) => tokio::time::sleep(*wait).await,
                None => return Err(error),
            }
        }
    }

    fn taken(&self, run: &str, job: &Job) -> ClusterError {
        let kind = if job.labels().contains_key(label::RUN) { "run" } else { "Job" };
        self.error(Cause::NameTaken { run: run.to_owned(), kind })
    }

    /// The Job of this name.
    pub(super) async fn find_job(&self, run: &str) -> Result<Option<Job>, ClusterError> {
        self.object("look at the Job", run).await
    }

    /// The object of this name.
    async fn object<K: Dependent>(&self, action: &str, name: &str) -> Result<Option<K>, ClusterError> {
        self.ask(action, |client| {
            let api = Api::<K>::namespaced(client, self.namespace());
            async move { api.get_opt(name).await }
        })
        .await
    }

    async fn submit_owned<K: Dependent>(
        &self,
        what: &'static str,
        object: &K,
        owner: &str,
    ) -> Result<(), ClusterError> {
        let name = object.name_any();
        let mut waits = RETRIES.iter();
        loop {
            let Err(error) = post(self, what, object, false).await else { return Ok(()) };
            match self.object::<K>("look at what was made", &name).await {
                Ok(Some(found)) if is_owned(found.meta(), owner) => return Ok(()),
                Ok(Some(_)) => return Err(self.error(Cause::NameTaken { run: name, kind: what })),
                // Not being allowed to read Secrets is usual: then the answer to the creation has to do.
                Err(look) if matches!(look.cause(), Cause::Forbidden { .. }) && !error.is_temporary() => {
                    return Err(error);
                }
                Ok(None) if !error.is_temporary() => return Err(error),
                Ok(None) | Err(_) => {}
            }
            match waits.next() {
                Some(wait) => tokio::time::sleep(*wait).await,
                None => return Err(error),
            }
        }
    }

    /// Deletes a Job whose Service or Secrets could not be made. If even that fails, its deadline ends it.
    async fn withdraw(&self, job: &Job) {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: job.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::background()
        };
        for wait in RETRIES {
            let answer = self
                .ask("delete the Job again", |client| {
                    let api = Api::<Job>::namespaced(client, self.namespace());
                    let (name, params) = (job.name_any(), params.clone());
                    async move { api.delete(&name, &params).await }
                })
                .await;
            match answer {
                Err(error) if error.is_temporary() => tokio::time::sleep(wait).await,
                _ => return,
            }
        }
    }
}

/// Whether this Job is what these objects asked for, and not another run of the same name.
fn is_submission(job: &Job, objects: &RunObjects) -> bool {
    let same = |key| job.annotations().get(key).map(String::as_str) == Some(objects.submission());
    job.labels().get(label::RUN).map(String::as_str) == Some(objects.run()) && same(label::SUBMISSION)
}

fn is_owned(metadata: &ObjectMeta, owner: &str) -> bool {
    metadata.owner_references.iter().flatten().any(|reference| reference.uid == owner)
}
