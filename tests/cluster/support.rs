//! Runs on the test cluster that are gone when the test is over, however it ends.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Pod, Secret as SecretObject, Service};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use nauta::cluster::{Cluster, ClusterAddress, Observation};
use nauta::digest::Digest;
use nauta::job::objects::{ClusterRun, RunObjects};
use nauta::job::state::RunView;
use nauta::job::{Deadlines, Launch, OutputRules, Resources, Restarts, RunSpec, Variables};
use nauta::secret::Secret;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run"))
}

pub(crate) fn namespace() -> String {
    variable("NAUTA_TEST_NAMESPACE")
}

pub(crate) fn kubectl() -> std::process::Command {
    let mut command = std::process::Command::new(PathBuf::from(variable("NAUTA_TEST_BIN")).join("kubectl"));
    command.env("KUBECONFIG", variable("NAUTA_TEST_KUBECONFIG")).env_remove("HTTPS_PROXY");
    command
}

pub(crate) fn address(kubeconfig: &str, namespace: &str) -> ClusterAddress {
    ClusterAddress { kubeconfig: vec![kubeconfig.into()], namespace: Some(namespace.to_owned()), ..Default::default() }
}

/// The data scientist, in her namespace.
pub(crate) async fn user() -> Cluster {
    let address = address(&variable("NAUTA_TEST_KUBECONFIG_USER"), &namespace());
    Cluster::connect(&address).await.expect("the test cluster's user can log in: run tests/run")
}

/// The administrator.
pub(crate) async fn admin(namespace: &str) -> Cluster {
    let address = address(&variable("NAUTA_TEST_KUBECONFIG"), namespace);
    Cluster::connect(&address).await.expect("the test cluster's administrator can log in: run tests/run")
}

pub(crate) async fn admin_client() -> Client {
    _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(variable("NAUTA_TEST_KUBECONFIG"))
        .expect("the test cluster's kubeconfig can be read: run tests/run");
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a valid kubeconfig");
    Client::try_from(config).expect("a client")
}

/// A name that no other test has.
pub(crate) fn unique(stem: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let mut random = [0; 3];
    getrandom::fill(&mut random).expect("randomness");
    let [a, b, c] = random;
    format!("test-{stem}-{a:02x}{b:02x}{c:02x}{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A test image by digest, as nodes pull it.
pub(crate) async fn image(variable_name: &str) -> String {
    let registry = variable("NAUTA_TEST_REGISTRY");
    let image = variable(variable_name);
    let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let url = format!("http://{registry}/v2/{repository}/manifests/{tag}");
    _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::Client::new().head(&url).header("Accept", accept).send().await;
    let answer = answer.unwrap_or_else(|error| panic!("the test registry does not answer ({error}): run tests/run"));
    let digest = answer.headers().get("Docker-Content-Digest").expect("the image is in the registry: run tests/run");
    format!("{registry}/{repository}@{}", digest.to_str().expect("a digest"))
}

pub(crate) fn spec(name: &str, nodes: u32) -> RunSpec {
    RunSpec {
        name: name.to_owned(),
        project: "cluster-tests".to_owned(),
        user: "ada".to_owned(),
        nodes,
        min_nodes: None,
        restarts: Restarts::default(),
        launch: Launch::default(),
        slots: None,
        variables: Variables::default(),
        outputs: OutputRules::default(),
        shared: None,
        command: vec!["sleep".to_owned(), "600".to_owned()],
        env: [].into(),
        resources: Resources { cpu: "10m".parse().ok(), memory: "32Mi".parse().ok(), gpus: 0 },
        deadlines: Deadlines {
            grace: Duration::from_secs(1),
            drain: Duration::from_secs(1),
            run: Duration::from_mins(10),
            keep: Duration::from_mins(10),
            ..Deadlines::default()
        },
        snapshot: Digest::of("nothing"),
    }
}

pub(crate) fn at(namespace: &str, image: &str) -> ClusterRun {
    ClusterRun::new(namespace, image, Secret::new("ab".repeat(32)))
}

/// A run whose ranks do what `script` says instead of starting a supervisor, which the test images have none of.
pub(crate) async fn script(spec: &RunSpec, namespace: &str, script: &str) -> RunObjects {
    let objects = RunObjects::plan(spec, &at(namespace, &image("NAUTA_TEST_IMAGE_BUSYBOX").await));
    let mut objects = objects.expect("a valid run");
    container(&mut objects).command = Some(["sh", "-c", script].map(str::to_owned).to_vec());
    objects
}

pub(crate) fn container(objects: &mut RunObjects) -> &mut Container {
    let spec = objects.job.spec.as_mut().expect("a Job has a specification");
    &mut spec.template.spec.as_mut().expect("a template has a specification").containers[0]
}

/// Deletes a run at the end, even after a panic.
pub(crate) struct Guard {
    pub(crate) run: String,
    namespace: String,
}

impl Guard {
    pub(crate) fn new(objects: &RunObjects) -> Self {
        Self { run: objects.run().to_owned(), namespace: objects.namespace().to_owned() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (run, namespace) = (self.run.clone(), self.namespace.clone());
        let clean = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let jobs: Api<Job> = Api::namespaced(admin_client().await, &namespace);
                _ = jobs.delete(&run, &DeleteParams::background().grace_period(0)).await;
            });
        };
        // A runtime cannot be made inside another one.
        _ = std::thread::spawn(clean).join();
    }
}

/// Watches until `wanted` holds.
pub(crate) async fn until(cluster: &Cluster, run: &str, wanted: impl Fn(&RunView) -> bool) -> RunView {
    let mut last = None;
    let all = async {
        let mut observations = Box::pin(cluster.watch(run));
        while let Some(observation) = observations.next().await {
            if let Observation::View(view) = observation {
                let done = wanted(&view);
                last = Some(view);
                if done {
                    return;
                }
            }
        }
        panic!("the watch of {run} ended before that: {last:#?}");
    };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "{run} never came to that: {last:#?}");
    last.expect("a view")
}

/// What is left of a run: kinds and names.
pub(crate) async fn leftovers(namespace: &str, run: &str) -> Vec<String> {
    let client = admin_client().await;
    let params = ListParams::default().labels(&format!("nauta.dev/run={run}"));
    let mut left = Vec::new();
    macro_rules! look {
        ($($kind:ident),*) => {$(
            let api: Api<$kind> = Api::namespaced(client.clone(), namespace);
            let list = api.list(&params).await.expect("the administrator may list");
            left.extend(list.items.into_iter().map(|o| format!("{} {}", stringify!($kind), o.metadata.name.unwrap_or_default())));
        )*};
    }
    look!(Job, Pod, Service, SecretObject);
    left
}

/// Waits until nothing of a run is left.
pub(crate) async fn gone(namespace: &str, run: &str) {
    let all = async {
        while !leftovers(namespace, run).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "left of {run}: {:?}", leftovers(namespace, run).await);
}
