//! A connection to a cluster: one context, one namespace.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use kube::{Client, Config};
use serde_json::Value;

use super::ClusterError;
use crate::job::objects::{self, ClusterPlan};

/// What nauta does in a namespace: verb, group, resource, subresource.
const RIGHTS: [(&str, &str, &str, Option<&str>); 11] = [
    ("create", "batch", "jobs", None),
    ("get", "batch", "jobs", None),
    ("list", "batch", "jobs", None),
    ("delete", "batch", "jobs", None),
    ("create", "", "services", None),
    ("create", "", "secrets", None),
    ("list", "", "pods", None),
    ("get", "", "pods", Some("log")),
    ("create", "", "pods", Some("portforward")),
    ("list", "", "events", None),
    ("get", "", "pods", None),
];

/// Which cluster, and where in it.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    /// The kubeconfig file; what kubectl would read where absent.
    pub kubeconfig: Option<String>,
    /// The context; the file's current one where absent.
    pub context: Option<String>,
    /// The namespace; the context's where absent.
    pub namespace: Option<String>,
}

/// A connection to a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: Client,
    /// The context's name.
    pub context: String,
    /// The namespace.
    pub namespace: String,
    server: String,
}

impl Cluster {
    /// Reads the kubeconfig; nothing is sent yet.
    pub async fn connect(settings: &ClusterSettings) -> Result<Self, ClusterError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bad = |error: &dyn std::error::Error| ClusterError::Kubeconfig {
            path: settings.kubeconfig.clone(),
            reason: deepest(error),
        };
        let file = match &settings.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).map_err(|e| bad(&e))?,
            None => Kubeconfig::read().map_err(|e| bad(&e))?,
        };
        let context = settings.context.clone().or_else(|| file.current_context.clone()).unwrap_or_default();
        let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(file, &options).await.map_err(|e| bad(&e))?;
        config.connect_timeout = Some(Duration::from_secs(5));
        let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|e| bad(&e))?;
        Ok(Self { client, context, namespace, server })
    }

    /// Looks whether we may do all that a run needs, and whether the cluster would take its pods. All that is missing is
    /// said at once.
    pub async fn check(&self, plan: Option<&ClusterPlan>) -> Result<(), ClusterError> {
        let reviews = RIGHTS.map(|right| self.may(right));
        let mut missing = Vec::new();
        for (right, allowed) in RIGHTS.iter().zip(futures::future::join_all(reviews).await) {
            if !allowed? {
                let resource = right.3.map_or_else(|| right.2.to_owned(), |sub| format!("{}/{sub}", right.2));
                missing.push(format!("{} {resource}", right.0));
            }
        }
        if !missing.is_empty() {
            let (context, namespace) = (self.context.clone(), self.namespace.clone());
            return Err(ClusterError::Forbidden { context, namespace, what: missing.join(", ") });
        }
        match plan {
            Some(plan) => self.try_pod(plan).await,
            None => Ok(()),
        }
    }

    async fn may(
        &self,
        (verb, group, resource, subresource): (&str, &str, &str, Option<&str>),
    ) -> Result<bool, ClusterError> {
        let attributes = ResourceAttributes {
            namespace: Some(self.namespace.clone()),
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| self.error("look at your rights", error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Has the cluster look at a pod of the run without making it: quota, Pod Security and webhooks speak now. Only those
    /// who may make pods can ask; for others, the Job's events say it later.
    async fn try_pod(&self, plan: &ClusterPlan) -> Result<(), ClusterError> {
        if !self.may(("create", "", "pods", None)).await? {
            return Ok(());
        }
        let job = objects::job(plan);
        let name = format!("{}-check", plan.spec.name);
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": plan.namespace, "labels": job["spec"]["template"]["metadata"]["labels"],
                          "annotations": {} },
            "spec": job["spec"]["template"]["spec"],
        });
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        self.create_with(&pod, "run these pods", &dry).await.map(drop)
    }

    /// Makes an object.
    pub(super) async fn create(&self, object: &Value, what: &str) -> Result<DynamicObject, ClusterError> {
        self.create_with(object, what, &PostParams::default()).await
    }

    async fn create_with(
        &self,
        object: &Value,
        what: &str,
        parameters: &PostParams,
    ) -> Result<DynamicObject, ClusterError> {
        let (version, kind) =
            (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let (group, version_name) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version_name.to_owned(),
            api_version: version.to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let typed = serde_json::from_value(object.clone()).map_err(|error| ClusterError::Refused {
            context: self.context.clone(),
            what: what.to_owned(),
            message: error.to_string(),
        })?;
        api.create(parameters, &typed).await.map_err(|error| self.error(what, error))
    }

    /// What an error of the client means.
    pub(super) fn error(&self, what: &str, error: kube::Error) -> ClusterError {
        let context = self.context.clone();
        match error {
            kube::Error::Api(status) => match status.code {
                401 => ClusterError::Unauthorised { context },
                403 if !status.message.contains("exceeded quota")
                    && !status.message.contains("violates PodSecurity") =>
                {
                    ClusterError::Forbidden { context, namespace: self.namespace.clone(), what: what.to_owned() }
                }
                404 if status.message.contains("namespaces") => {
                    ClusterError::NoNamespace { context, namespace: self.namespace.clone() }
                }
                _ => ClusterError::Refused { context, what: what.to_owned(), message: status.message.clone() },
            },
            kube::Error::Auth(error) => ClusterError::Kubeconfig { path: None, reason: deepest(&error) },
            other => ClusterError::Unreachable { context, place: self.server.clone(), reason: deepest(&other) },
        }
    }
}

/// The innermost cause, which says what happened.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
