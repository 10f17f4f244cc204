//! Everything that can be known to fail before slow work begins, asked all at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::authorization::v1::{
    ResourceRule, SelfSubjectAccessReview, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Api;
use kube::api::{ListParams, PartialObjectMeta, PostParams};
use serde::Serialize;

use super::Cluster;
use super::access::Access;
use super::error::{Cause, ClusterError};
use super::submit::post;
use crate::job::objects::{NODE_ARCHITECTURE, RunObjects};

/// How a rank's supervisor can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlRoute {
    /// A port-forward to its control port.
    PortForward,
    /// A bridge process, started with exec.
    Exec,
    /// Not at all: logs come from the kubelet, outputs only through the registry.
    None,
}

/// What a cluster tells before a run is known.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The nodes' architectures as Kubernetes names them (`amd64`, `arm64`); empty when nodes may not be listed.
    pub architectures: Vec<String>,
    /// What the server says that we may do in the namespace; nothing where it does not say.
    rules: Vec<ResourceRule>,
}

/// What a check found out; nothing of it stops a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How ranks can be spoken to.
    pub control: ControlRoute,
    /// Whether the kubelet's logs may be read.
    pub kubelet_logs: bool,
    /// Whether events may be read; without them the cluster's reasons are often not told.
    pub events: bool,
    /// Sentences worth showing.
    pub warnings: Vec<String>,
}

/// Without these no run can be made and watched; `shares`: its ranks share a folder.
fn needed(shares: bool) -> Vec<Access> {
    let jobs = ["create", "get", "list", "watch", "delete"].map(|verb| Access::new(verb, "batch", "jobs"));
    let pods = ["get", "list", "watch"].map(|verb| Access::new(verb, "", "pods"));
    let others = [Access::new("create", "", "services"), Access::new("create", "", "secrets")];
    let claims = shares.then(|| Access::new("create", "", "persistentvolumeclaims"));
    jobs.into_iter().chain(pods).chain(others).chain(claims).collect()
}

/// These decide how well a run can be followed. Opening a stream is a GET for some servers and also a `create` from 1.35
/// on: only both are safe.
fn useful() -> [Access; 7] {
    [
        ("get", "pods/log"),
        ("get", "pods/portforward"),
        ("create", "pods/portforward"),
        ("get", "pods/exec"),
        ("create", "pods/exec"),
        ("list", "events"),
        ("watch", "events"),
    ]
    .map(|(verb, resource)| Access::new(verb, "", resource))
}

/// Questions on their way at the same time: each more than that opens a connection of its own.
const ASK_AT_ONCE: usize = 4;

impl Cluster {
    /// Checks rights, namespace and admission of `objects` (their image need not exist yet).
    pub async fn check(&self, objects: &RunObjects) -> Result<Findings, ClusterError> {
        let findings = self.rights(&self.survey().await?, objects.shared.is_some()).await?;
        let pod = objects.sample_pod();
        let claim = self.admit_claim(objects.shared.as_ref());
        let (pod, others, claim) = tokio::join!(self.admit_pod(&pod), self.admit_objects(objects), claim);
        pod.and(others).and(claim)?;
        Ok(findings)
    }

    /// What there is: our rules and the nodes.
    pub async fn survey(&self) -> Result<Survey, ClusterError> {
        let (rules, architectures) = tokio::join!(self.rules(), self.architectures());
        // Whoever cannot be reached or does not know us says it once.
        Ok(Survey { rules: rules?, architectures })
    }

    /// Checks rights; `shares`: also those of a run whose ranks share a folder.
    pub async fn rights(&self, survey: &Survey, shares: bool) -> Result<Findings, ClusterError> {
        let (needed, useful) = (needed(shares), useful());
        // What no rule gives is asked by itself: not every authorizer tells its rules.
        let asked = needed.iter().chain(&useful).filter(|access| !access.is_in(&survey.rules)).cloned().collect();
        let missing = self.missing(asked).await?;
        let (missing, useless): (Vec<Access>, Vec<Access>) =
            missing.into_iter().partition(|access| needed.contains(access));
        if !missing.is_empty() {
            // Nobody has rights where nothing is: that is to be said then.
            self.namespace_exists().await?;
            return Err(self.error(Cause::Forbidden { missing }));
        }
        Ok(findings(|verb, resource| !useless.contains(&Access::new(verb, "", resource))))
    }

    /// What the server says that we may do in the namespace; nothing where it does not say.
    async fn rules(&self) -> Result<Vec<ResourceRule>, ClusterError> {
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(self.namespace().to_owned()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let answer = self
            .ask("read our permissions", |client| {
                let (api, review) = (Api::<SelfSubjectRulesReview>::all(client), &review);
                async move { api.create(&PostParams::default(), review).await }
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.status.map(|status| status.resource_rules).unwrap_or_default()),
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn may(&self, access: &Access) -> Result<bool, ClusterError> {
        let review = access.review(self.namespace());
        let answer = self
            .ask("check permissions", |client| {
                let (api, review) = (Api::<SelfSubjectAccessReview>::all(client), &review);
                async move { api.create(&PostParams::default(), review).await }
            })
            .await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Those that we do not have.
    async fn missing(&self, asked: Vec<Access>) -> Result<Vec<Access>, ClusterError> {
        let asked = stream::iter(asked);
        let asked = asked.map(|access| async move { Ok((!self.may(&access).await?).then_some(access)) });
        asked.buffered(ASK_AT_ONCE).try_filter_map(async |missing| Ok(missing)).try_collect().await
    }

    /// Whether the namespace exists, where that may be asked.
    async fn namespace_exists(&self) -> Result<(), ClusterError> {
        let name = self.namespace();
        let answer = self
            .ask("look at the namespace", |client| {
                let api = Api::<Namespace>::all(client);
                async move { api.get_opt(name).await }
            })
            .await;
        match answer {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self.error(Cause::NamespaceNotFound { namespace: name.to_owned() })),
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks whether a rank's pod would be admitted: Pod Security, limit ranges, quota and webhooks judge pods, not Jobs, and
    /// tell of a Job's pods only later and only in events. Asking takes the right to make pods, which a run does not need:
    /// whoever lacks it is not told.
    pub async fn admit_pod(&self, pod: &Pod) -> Result<(), ClusterError> {
        match self.dry_run("pods of this run", pod).await {
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => Ok(()),
            answer => answer,
        }
    }

    /// Asks whether the cluster would admit a run's other objects. Making them finds out too; that is soon enough where nothing
    /// slow comes before.
    pub async fn admit_objects(&self, objects: &RunObjects) -> Result<(), ClusterError> {
        let secrets = [&objects.key].into_iter().chain(&objects.credentials);
        let secrets = join_all(secrets.map(|secret| self.dry_run("Secret", secret)));
        let (job, service, secrets) =
            tokio::join!(self.dry_run("Job", &objects.job), self.dry_run("Service", &objects.service), secrets);
        job.and(service).and(secrets.into_iter().collect())
    }

    pub(super) async fn dry_run<K: super::submit::Dependent>(
        &self,
        what: &str,
        object: &K,
    ) -> Result<(), ClusterError> {
        match Box::pin(post(self, what, object, true)).await {
            // It was submitted already; submitting finds out whether it is the same run.
            Err(error) if matches!(error.cause(), Cause::Answer { code: 409, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// By the nodes' labels, which are what a run chooses by: a node's whole object has tens of kilobytes.
    async fn architectures(&self) -> Vec<String> {
        let nodes = self
            .ask("list the nodes", |client| {
                let api = Api::<Node>::all(client);
                async move { api.list_metadata(&ListParams::default().limit(500)).await }
            })
            .await;
        let architecture = |node: PartialObjectMeta<Node>| node.metadata.labels?.remove(NODE_ARCHITECTURE);
        let found: BTreeSet<String> = nodes.into_iter().flatten().filter_map(architecture).collect();
        found.into_iter().collect()
    }
}

fn findings(may: impl Fn(&'static str, &'static str) -> bool) -> Findings {
    let stream = |resource| may("get", resource) && may("create", resource);
    let control = match (stream("pods/portforward"), stream("pods/exec")) {
        (true, _) => ControlRoute::PortForward,
        (false, true) => ControlRoute::Exec,
        (false, false) => ControlRoute::None,
    };
    let kubelet_logs = may("get", "pods/log");
    let events = may("list", "events") && may("watch", "events");
    let mut warnings = Vec::new();
    if control == ControlRoute::None {
        warnings.push(
            "neither `pods/portforward` nor `pods/exec` may be used: logs come from the kubelet, and outputs only through the registry"
                .to_owned(),
        );
    }
    if control == ControlRoute::None && !kubelet_logs {
        warnings
            .push("`pods/log` may not be read either: logs can only be seen once they are in the registry".to_owned());
    }
    if !events {
        warnings.push("events may not be read: the cluster's reasons for refusing pods cannot be shown".to_owned());
    }
    Findings { control, kubelet_logs, events, warnings }
}
