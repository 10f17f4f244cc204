//! A run on a cluster: made, looked at, reached, deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as ClusterEvent, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::{Cluster, ClusterError};
use crate::event::RankState;
use crate::job::objects::{self, ClusterPlan};
use crate::job::state::{Trouble, job_trouble, rank_of, rank_state, trouble};
use crate::layout::{self, label};
use crate::secret::Secret;

/// Between two looks at a run.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks in a row must find a trouble that waiting does not mend: clusters contradict themselves for a moment.
const PATIENCE: u32 = 3;

/// A run on a cluster.
#[derive(Clone)]
pub struct ClusterRun {
    cluster: Cluster,
    /// Its name.
    pub name: String,
}

/// A run as its Job tells it.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterSummary {
    /// Its name.
    pub name: String,
    /// The project.
    pub project: String,
    /// Who started it.
    pub user: String,
    /// How many ranks.
    pub nodes: u32,
    /// The command.
    pub command: Vec<String>,
    /// `pending`, `running`, `done` or `failed`.
    pub state: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    /// The mailbox as the workstation sees it; empty when there is none.
    pub mailbox: String,
}

impl Cluster {
    /// Hands a run to the cluster. What was made is deleted again when not all of it can be.
    pub async fn submit(&self, plan: &ClusterPlan, secrets: &[(String, Secret)]) -> Result<ClusterRun, ClusterError> {
        let run = ClusterRun { cluster: self.clone(), name: plan.spec.name.clone() };
        let job = self.create(&objects::job(plan), "create jobs").await?;
        let owner = serde_json::json!([{
            "apiVersion": "batch/v1", "kind": "Job", "name": run.name,
            "uid": job.metadata.uid, "controller": true, "blockOwnerDeletion": false,
        }]);
        let mut rest = vec![(objects::service(plan), "create services"), (objects::key_secret(plan), "create secrets")];
        rest.extend(
            secrets.iter().map(|(name, config)| (objects::registry_secret(plan, name, config), "create secrets")),
        );
        for (mut object, what) in rest {
            object["metadata"]["ownerReferences"] = owner.clone();
            if let Err(error) = self.create(&object, what).await {
                let _ = run.delete().await;
                return Err(error);
            }
        }
        Ok(run)
    }

    /// A run that is there.
    pub async fn find(&self, name: &str) -> Result<(ClusterRun, ClusterSummary), ClusterError> {
        let run = ClusterRun { cluster: self.clone(), name: name.to_owned() };
        let job = self.jobs().get_opt(name).await.map_err(|error| self.error("get jobs", error))?;
        let ours = job.filter(|job| job.metadata.labels.as_ref().is_some_and(|l| l.contains_key(label::RUN)));
        let no_run = || ClusterError::NoRun {
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            run: name.to_owned(),
        };
        Ok((run, summary(&ours.ok_or_else(no_run)?)))
    }

    /// All runs of the namespace, the newest first.
    pub async fn list(&self) -> Result<Vec<ClusterSummary>, ClusterError> {
        let ours = ListParams::default().labels(&format!("{}={}", label::MANAGED_BY, label::MANAGED_BY_NAUTA));
        let jobs = self.jobs().list(&ours).await.map_err(|error| self.error("list jobs", error))?;
        let mut runs: Vec<ClusterSummary> = jobs.items.iter().map(summary).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.created));
        Ok(runs)
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

impl ClusterRun {
    /// Deletes the run and all that belongs to it; `false` when it was not there.
    pub async fn delete(&self) -> Result<bool, ClusterError> {
        let deleted = self.cluster.jobs().delete(&self.name, &DeleteParams::background()).await;
        match deleted {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(self.cluster.error("delete jobs", error)),
        }
    }

    /// The pods of the run by rank; the newest where a rank has several.
    pub async fn pods(&self) -> Result<BTreeMap<u32, Pod>, ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace);
        let ours = ListParams::default().labels(&format!("{}={}", label::RUN, self.name));
        let list = pods.list(&ours).await.map_err(|error| self.cluster.error("list pods", error))?;
        let mut by_rank = list.items;
        by_rank.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        Ok(by_rank.into_iter().filter_map(|pod| Some((rank_of(&pod)?, pod))).collect())
    }

    /// What keeps the run from having pods, in the cluster's words.
    async fn job_trouble(&self) -> Result<Option<Trouble>, ClusterError> {
        let events: Api<ClusterEvent> = Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace);
        let about = ListParams::default().fields(&format!("involvedObject.kind=Job,involvedObject.name={}", self.name));
        let list = events.list(&about).await.map_err(|error| self.cluster.error("list events", error))?;
        Ok(list.items.iter().find_map(job_trouble))
    }

    /// Looks at the run again and again: sends each rank's state when it changes, and gives back what keeps the run from
    /// starting. Pends for ever once all ranks run. Connections may break meanwhile; they are made anew.
    pub async fn watch(
        &self,
        nodes: u32,
        start: Duration,
        states_tx: mpsc::UnboundedSender<(u32, RankState)>,
    ) -> String {
        let begun = tokio::time::Instant::now();
        let mut last: BTreeMap<u32, RankState> = BTreeMap::new();
        let mut fatal_looks = 0;
        let mut started = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(pods) = self.pods().await else { continue };
            for (rank, pod) in &pods {
                let state = rank_state(pod);
                if last.get(rank) != Some(&state) {
                    last.insert(*rank, state.clone());
                    let _ = states_tx.send((*rank, state));
                }
            }
            started |= last.len() == nodes as usize && !last.values().any(|s| matches!(s, RankState::Pending { .. }));
            if started {
                if pods.is_empty() && matches!(self.cluster.find(&self.name).await, Err(ClusterError::NoRun { .. })) {
                    return "somebody has deleted it".to_owned();
                }
                continue;
            }
            let mut found = pods.values().filter_map(trouble).max_by_key(|trouble| trouble.fatal);
            if found.is_none() && pods.len() < nodes as usize {
                found = self.job_trouble().await.unwrap_or_default();
            }
            fatal_looks = if found.as_ref().is_some_and(|trouble| trouble.fatal) { fatal_looks + 1 } else { 0 };
            if let Some(trouble) = found.filter(|_| fatal_looks >= PATIENCE || begun.elapsed() > start) {
                return trouble.message;
            }
        }
    }

    /// Opens a byte stream to a rank's supervisor.
    pub async fn open_control(
        &self,
        rank: u32,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, ClusterError> {
        let failed = |reason: String| ClusterError::NoStream { run: self.name.clone(), rank, reason };
        let pods = self.pods().await?;
        let pod = pods.get(&rank).ok_or_else(|| failed("it has no pod yet".to_owned()))?;
        if rank_state(pod) != RankState::Running {
            return Err(failed("its container does not run".to_owned()));
        }
        let name = pod.metadata.name.clone().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace);
        let forward = api.portforward(&name, &[layout::CONTROL_PORT]).await;
        let mut forward = forward.map_err(|error| self.cluster.error("forward ports", error))?;
        let stream =
            forward.take_stream(layout::CONTROL_PORT).ok_or_else(|| failed("no stream was opened".to_owned()))?;
        // The forwarder lives as long as its task; the stream's end is the caller's to see.
        drop(tokio::spawn(async move { drop(forward.join().await) }));
        Ok(stream)
    }

    /// What the kubelet still has of a rank's output; each line begins with its time (RFC 3339) and a space.
    pub async fn kubelet_log(&self, rank: u32) -> Result<String, ClusterError> {
        let pods = self.pods().await?;
        let name = pods.get(&rank).and_then(|pod| pod.metadata.name.clone()).unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace);
        let timed = LogParams { timestamps: true, ..LogParams::default() };
        api.logs(&name, &timed).await.map_err(|error| self.cluster.error("get pods/log", error))
    }
}

fn summary(job: &Job) -> ClusterSummary {
    let metadata = &job.metadata;
    let of = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default()
    };
    let status = job.status.clone().unwrap_or_default();
    let has = |kind: &str| status.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True");
    let state = if has("Complete") || has("SuccessCriteriaMet") {
        "done"
    } else if has("Failed") || has("FailureTarget") {
        "failed"
    } else if status.ready.unwrap_or(0) > 0 {
        "running"
    } else {
        "pending"
    };
    ClusterSummary {
        name: metadata.name.clone().unwrap_or_default(),
        project: of(&metadata.labels, label::PROJECT),
        user: of(&metadata.labels, label::USER),
        nodes: of(&metadata.annotations, label::NODES).parse().unwrap_or(1),
        command: serde_json::from_str(&of(&metadata.annotations, label::COMMAND)).unwrap_or_default(),
        state,
        created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        mailbox: of(&metadata.annotations, label::MAILBOX),
    }
}
