//! Everything that can be known to fail before slow work begins, asked all at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde::Serialize;

use super::Cluster;
use super::access::Access;
use super::error::{Cause, ClusterError};
use super::submit::post;
use crate::job::objects::RunObjects;

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

/// What a check found out; nothing of it stops a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How ranks can be spoken to.
    pub control: ControlRoute,
    /// Whether the kubelet's logs may be read.
    pub kubelet_logs: bool,
    /// Whether events may be read; without them the cluster's reasons are often not told.
    pub events: bool,
    /// The nodes' architectures as Kubernetes names them (`amd64`, `arm64`); empty when nodes may not be listed.
    pub architectures: Vec<String>,
    /// Whether the cluster was asked if it would admit a rank's pod (it takes the right to create pods).
    pub pod_admitted: bool,
    /// Sentences worth showing.
    pub warnings: Vec<String>,
}

/// Without these no run can be made and watched.
fn needed() -> Vec<Access> {
    let jobs = ["create", "get", "list", "watch", "delete"].map(|verb| Access::new(verb, "batch", "jobs"));
    let pods = ["get", "list", "watch"].map(|verb| Access::new(verb, "", "pods"));
    let others = [Access::new("create", "", "services"), Access::new("create", "", "secrets")];
    jobs.into_iter().chain(pods).chain(others).collect()
}

/// The answers to the questions that decide how well a run can be followed.
#[expect(clippy::struct_excessive_bools, reason = "one answer per question, each on its own")]
struct Rights {
    log: bool,
    forward: bool,
    exec: bool,
    events: bool,
    nodes: bool,
    create_pods: bool,
}

impl Cluster {
    /// Checks rights, namespace and admission of `objects` (their image need not exist yet), and looks at the nodes.
    pub async fn check(&self, objects: &RunObjects) -> Result<Findings, ClusterError> {
        // One question first: whoever cannot be reached or does not know us says it once, not thirty times.
        let needed = needed();
        let first = self.may(&needed[0]).await?;
        let (missing, rights, namespace) =
            tokio::join!(self.missing(&needed[1..]), self.rights(), self.namespace_exists());
        namespace?;
        let mut missing = missing?;
        if !first {
            missing.insert(0, needed[0].clone());
        }
        if !missing.is_empty() {
            return Err(self.error(Cause::Forbidden { missing }));
        }
        let rights = rights?;
        let (pod, others, architectures) = tokio::join!(
            self.try_pod(objects, rights.create_pods),
            self.try_objects(objects),
            self.architectures(rights.nodes)
        );
        pod?;
        others?;
        Ok(findings(&rights, architectures))
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

    async fn missing(&self, all: &[Access]) -> Result<Vec<Access>, ClusterError> {
        let answers = join_all(all.iter().map(|access| self.may(access))).await;
        let mut missing = Vec::new();
        for (access, answer) in all.iter().zip(answers) {
            if !answer? {
                missing.push(access.clone());
            }
        }
        Ok(missing)
    }

    async fn rights(&self) -> Result<Rights, ClusterError> {
        // Opening a stream is a GET for some servers and also a `create` from 1.35 on: only both are safe.
        let questions = [
            Access::new("get", "", "pods/log"),
            Access::new("get", "", "pods/portforward"),
            Access::new("create", "", "pods/portforward"),
            Access::new("get", "", "pods/exec"),
            Access::new("create", "", "pods/exec"),
            Access::new("list", "", "events"),
            Access::new("watch", "", "events"),
            Access::new("list", "", "nodes"),
            Access::new("create", "", "pods"),
        ];
        let missing = self.missing(&questions).await?;
        let has = |verb, resource| !missing.contains(&Access::new(verb, "", resource));
        Ok(Rights {
            log: has("get", "pods/log"),
            forward: has("get", "pods/portforward") && has("create", "pods/portforward"),
            exec: has("get", "pods/exec") && has("create", "pods/exec"),
            events: has("list", "events") && has("watch", "events"),
            nodes: has("list", "nodes"),
            create_pods: has("create", "pods"),
        })
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
    /// tell of a Job's pods only later and only in events.
    async fn try_pod(&self, objects: &RunObjects, allowed: bool) -> Result<(), ClusterError> {
        let pod: Pod = objects.sample_pod();
        if allowed { self.dry_run("pods of this run", &pod).await } else { Ok(()) }
    }

    async fn try_objects(&self, objects: &RunObjects) -> Result<(), ClusterError> {
        let secrets = join_all(objects.secrets.iter().map(|secret| self.dry_run("Secret", secret)));
        let (job, service, secrets) =
            tokio::join!(self.dry_run("Job", &objects.job), self.dry_run("Service", &objects.service), secrets);
        job.and(service).and(secrets.into_iter().collect())
    }

    async fn dry_run<K: super::submit::Dependent>(&self, what: &str, object: &K) -> Result<(), ClusterError> {
        match Box::pin(post(self, what, object, true)).await {
            // It was submitted already; submitting finds out whether it is the same run.
            Err(error) if matches!(error.cause(), Cause::Answer { code: 409, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn architectures(&self, allowed: bool) -> Vec<String> {
        if !allowed {
            return Vec::new();
        }
        let nodes = self
            .ask("list the nodes", |client| {
                let api = Api::<Node>::all(client);
                async move { api.list(&ListParams::default().limit(500)).await }
            })
            .await;
        let architecture = |node: Node| node.status?.node_info.map(|info| info.architecture);
        let found: BTreeSet<String> = nodes.into_iter().flatten().filter_map(architecture).collect();
        found.into_iter().collect()
    }
}

fn findings(rights: &Rights, architectures: Vec<String>) -> Findings {
    let control = match (rights.forward, rights.exec) {
        (true, _) => ControlRoute::PortForward,
        (false, true) => ControlRoute::Exec,
        (false, false) => ControlRoute::None,
    };
    let mut warnings = Vec::new();
    if control == ControlRoute::None {
        warnings.push(
            "neither `pods/portforward` nor `pods/exec` may be used: logs come from the kubelet, and outputs only through the registry"
                .to_owned(),
        );
    }
    if control == ControlRoute::None && !rights.log {
        warnings
            .push("`pods/log` may not be read either: logs can only be seen once they are in the registry".to_owned());
    }
    if !rights.events {
        warnings.push("events may not be read: the cluster's reasons for refusing pods cannot be shown".to_owned());
    }
    Findings {
        control,
        kubelet_logs: rights.log,
        events: rights.events,
        architectures,
        pod_admitted: rights.create_pods,
        warnings,
    }
}
