//! The runs of a namespace, from their Jobs alone.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde::Serialize;

use super::Cluster;
use super::error::{Cause, ClusterError};
use crate::diagnosis::nearest;
use crate::job::Nodes;
use crate::job::objects::{holds_credentials, label_value};
use crate::job::state::{RunState, job_state};
use crate::layout::label;

/// Jobs asked for at a time.
const PAGE: u32 = 500;

/// Which runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Those of one project.
    Project(&'a str),
    /// All of the namespace.
    All,
}

/// A run, as its Job tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its name.
    pub name: String,
    /// Its project, as a label's value.
    pub project: String,
    /// Who started it, as a label's value.
    pub user: String,
    /// How many ranks.
    pub nodes: u32,
    /// With how few it goes on.
    #[serde(skip)]
    pub strength: Nodes,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Digest of the project's files; empty when the Job does not tell.
    pub snapshot: String,
    /// The mailbox's repository as the workstation sees it; empty when there is none.
    pub mailbox: String,
    /// When it was submitted.
    pub created: Option<Timestamp>,
    /// When the cluster took it up.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Whether credentials were put into the namespace for it.
    #[serde(skip)]
    pub holds_credentials: bool,
    /// Where it stands.
    #[serde(flatten)]
    pub state: RunState,
}

impl RunSummary {
    /// What a Job tells of its run.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        let labelled = |key| job.labels().get(key).cloned().unwrap_or_default();
        let annotated = |key| job.annotations().get(key).cloned().unwrap_or_default();
        let completions = job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(1);
        let status = job.status.as_ref();
        let nodes = u32::try_from(completions).unwrap_or(1);
        Self {
            name: job.name_any(),
            project: labelled(label::PROJECT),
            user: labelled(label::USER),
            nodes,
            strength: annotated(label::NODES).parse().unwrap_or(Nodes::all(nodes)),
            command: serde_json::from_str(&annotated(label::COMMAND)).unwrap_or_default(),
            snapshot: annotated(label::SNAPSHOT),
            mailbox: annotated(label::MAILBOX),
            created: job.metadata.creation_timestamp.as_ref().map(|at| at.0),
            started: status.and_then(|status| status.start_time.as_ref()).map(|at| at.0),
            ended: ended(job),
            holds_credentials: holds_credentials(job),
            state: job_state(job),
        }
    }
}

/// A Job has a completion time only when it succeeded; a failure's time is that of the condition.
fn ended(job: &Job) -> Option<Timestamp> {
    let status = job.status.as_ref()?;
    let failed = || {
        let mut conditions = status.conditions.iter().flatten();
        conditions
            .find(|condition| condition.type_ == "Failed" && condition.status == "True")?
            .last_transition_time
            .as_ref()
    };
    status.completion_time.as_ref().or_else(failed).map(|at| at.0)
}

impl Cluster {
    /// The runs there are, the newest first.
    pub async fn list(&self, scope: Scope<'_>) -> Result<Vec<RunSummary>, ClusterError> {
        let mut selector = format!("{}={}", label::MANAGED_BY, label::MANAGED_BY_NAUTA);
        if let Scope::Project(project) = scope {
            selector = format!("{selector},{}={}", label::PROJECT, label_value(project));
        }
        let mut params = ListParams::default().labels(&selector).limit(PAGE);
        let mut runs: Vec<RunSummary> = Vec::new();
        loop {
            let page = self
                .ask("list the runs", |client| {
                    let (api, params) = (Api::<Job>::namespaced(client, self.namespace()), &params);
                    async move { api.list(params).await }
                })
                .await?;
            runs.extend(page.items.iter().filter(|job| job.labels().contains_key(label::RUN)).map(RunSummary::of));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        runs.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        Ok(runs)
    }

    /// The run of this name.
    pub async fn find(&self, run: &str) -> Result<RunSummary, ClusterError> {
        match self.find_job(run).await? {
            Some(job) if job.labels().contains_key(label::RUN) => Ok(RunSummary::of(&job)),
            _ => Err(self.no_such_run(run).await),
        }
    }

    /// That there is no such run, with the one that was probably meant.
    pub(super) async fn no_such_run(&self, run: &str) -> ClusterError {
        let known = self.list(Scope::All).await.unwrap_or_default();
        let nearest = nearest(run, known.iter().map(|known| known.name.as_str())).map(str::to_owned);
        self.error(Cause::NoSuchRun { run: run.to_owned(), nearest })
    }
}
