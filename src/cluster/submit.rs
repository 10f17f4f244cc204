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

/// Why there is no Job.
enum NotMade {
    Certainly(ClusterError),
    /// It may be there, or come.
    Perhaps(ClusterError),
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
    /// cluster decides. Submitting the same run twice is submitting it once. After an error nothing of the run is there, but
    /// after [`Cause::Uncertain`] it may be.
    pub async fn submit(&self, objects: &RunObjects) -> Result<Submitted, ClusterError> {
        let uncertain = |error: &ClusterError| {
            self.error(Cause::Uncertain { run: objects.run().to_owned(), message: error.cause().to_string() })
        };
        let (job, was_there) = self.submit_job(objects).await.map_err(|error| match error {
            NotMade::Certainly(error) => error,
            NotMade::Perhaps(error) => uncertain(&error),
        })?;
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let owned = objects.clone().owned_by(&uid);
        let key = self.submit_owned("Secret", &owned.key, &uid, was_there);
        let shared = Box::pin(async {
            let Some(claim) = &owned.shared else { return Ok(()) };
            self.submit_owned("PersistentVolumeClaim", claim, &uid, was_there).await.map(drop)
        });
        let made = tokio::try_join!(key, shared, self.submit_service(&owned, &uid, was_there));
        if let Err(error) = made {
            return Err(if self.withdraw(&job).await { error } else { uncertain(&error) });
        }
        Ok(Submitted { run: objects.run().to_owned(), uid, was_there })
    }

    /// The Service, and what it owns.
    async fn submit_service(&self, owned: &RunObjects, job: &str, was_there: bool) -> Result<(), ClusterError> {
        let service = self.submit_owned("Service", &owned.service, job, was_there).await?;
        let uid = service.metadata.uid.unwrap_or_default();
        let credentials = owned.credentials_owned_by(&uid);
        try_join_all(credentials.iter().map(|secret| self.submit_owned("Secret", secret, &uid, was_there))).await?;
        Ok(())
    }

    /// The Job, made now or found from an earlier attempt.
    async fn submit_job(&self, objects: &RunObjects) -> Result<(Job, bool), NotMade> {
        let run = objects.run();
        let mut waits = RETRIES.iter();
        // A request whose answer was lost may still arrive.
        let mut may_arrive = false;
        loop {
            let error = match post(self, "Job", &objects.job, false).await {
                Ok(job) => return Ok((job, false)),
                Err(error) => error,
            };
            // No status code tells whether it is there: an answer can be lost after the object was made, and a full quota
            // answers 403 even for an object that exists.
            may_arrive |= error.is_temporary();
            let look = self.find_job(run).await;
            let is_certain = look.is_ok() && !may_arrive;
            let not_made = if is_certain { NotMade::Certainly } else { NotMade::Perhaps };
            match look {
                Ok(Some(job)) if is_submission(&job, objects) => return Ok((job, true)),
                Ok(Some(job)) => return Err(NotMade::Certainly(self.taken(run, &job))),
                Ok(None) if !error.is_temporary() => return Err(not_made(error)),
                // Even if the look failed: nothing is known to exist, and the same request again is harmless.
                Ok(None) | Err(_) => {}
            }
            match waits.next() {
                Some(wait) => tokio::time::sleep(*wait).await,
                None => return Err(not_made(error)),
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
    pub(super) async fn object<K: Dependent>(&self, action: &str, name: &str) -> Result<Option<K>, ClusterError> {
        self.ask(action, |client| {
            let api = Api::<K>::namespaced(client, self.namespace());
            async move { api.get_opt(name).await }
        })
        .await
    }

    /// The object, made now or found from an earlier attempt; `may_be_there`: there was one before.
    async fn submit_owned<K: Dependent>(
        &self,
        what: &'static str,
        object: &K,
        owner: &str,
        mut may_be_there: bool,
    ) -> Result<K, ClusterError> {
        let name = object.name_any();
        let mut waits = RETRIES.iter();
        loop {
            let error = match post(self, what, object, false).await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            may_be_there |= error.is_temporary();
            let is_there = matches!(error.cause(), Cause::Answer { code: 409, .. });
            match self.object::<K>("look at what was made", &name).await {
                Ok(Some(found)) if is_owned(found.meta(), owner) => return Ok(found),
                Ok(Some(_)) => return Err(self.error(Cause::NameTaken { run: name, kind: what })),
                // Nobody needs the right to read Secrets: then the answer to the creation has to do. What is there after an
                // attempt whose answer was lost is what that one made: no other run has this name.
                Err(look) if matches!(look.cause(), Cause::Forbidden { .. }) && !error.is_temporary() => {
                    return if is_there && may_be_there { Ok(object.clone()) } else { Err(error) };
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

    /// Deletes a Job whose Service or Secrets could not be made; tells whether it is gone for certain. If not, its deadline
    /// ends it.
    async fn withdraw(&self, job: &Job) -> bool {
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
                Ok(_) => return true,
                Err(error) if matches!(error.cause(), Cause::Answer { code: 404 | 409, .. }) => return true,
                Err(_) => tokio::time::sleep(wait).await,
            }
        }
        false
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
