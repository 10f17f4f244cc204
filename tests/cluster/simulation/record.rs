//! Makes the recordings: real runs, what happens to them, and every word of the API server about them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Recording;
use super::server::Entry;
use crate::cluster::support::{admin_client, namespace, variable};
use crate::job;
use crate::support::cluster_lock::ClusterLock;
use crate::support::{Done, Workstation, kubectl};

/// One kind of run.
struct Scene {
    name: &'static str,
    /// What its program does.
    script: &'static str,
    options: &'static [&'static str],
    /// What is done to it once all ranks run (or cannot).
    act: fn(&str),
    /// Its exit code.
    code: u8,
}

const WAITS: &str = "echo up; if [ $NAUTA_ATTEMPT = 2 ]; then exit 0; fi; sleep 100";

const fn nothing(_: &str) {}

fn pod(run: &str, rank: u32) -> String {
    format!("nauta.dev/run={run},batch.kubernetes.io/job-completion-index={rank}")
}

fn delete_job(run: &str) {
    let _ = kubectl(&["delete", "job", run, "--wait=false"]);
}

fn delete_pod(run: &str) {
    let _ = kubectl(&["delete", "pod", "-l", &pod(run, 1), "--wait=false"]);
}

fn delete_pod_by_force(run: &str) {
    let _ = kubectl(&["delete", "pod", "-l", &pod(run, 1), "--grace-period=0", "--force", "--wait=false"]);
}

fn evict(run: &str) {
    let name = kubectl(&["get", "pod", "-l", &pod(run, 1), "-o", "jsonpath={.items[0].metadata.name}"]);
    let body = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), body.to_string()).expect("written");
    let path = format!("/api/v1/namespaces/{}/pods/{name}/eviction", namespace());
    let _ = kubectl(&["create", "--raw", &path, "-f", file.path().to_str().expect("text")]);
}

fn kill_supervisor(run: &str) {
    job::truth::faults::kill_supervisor(run, 1, false);
}

fn lose_node(run: &str) {
    job::truth::faults::pause_node(run, 1, Duration::from_secs(85));
}

const SCENES: [Scene; 17] = [
    Scene { name: "success", script: "echo up; sleep 1", options: &[], act: nothing, code: 0 },
    Scene {
        name: "code",
        script: "echo up; sleep 1; [ $RANK = 1 ] && exit 3; sleep 100",
        options: &[],
        act: nothing,
        code: 3,
    },
    Scene {
        name: "signal",
        script: "echo up; sleep 1; [ $RANK = 0 ] && kill -11 $$; sleep 100",
        options: &[],
        act: nothing,
        code: 139,
    },
    Scene {
        name: "memory",
        script: "echo up; sleep 1; [ $RANK = 1 ] && exec dd if=/dev/zero of=/dev/null bs=400M count=1; sleep 100",
        options: &["--memory", "96Mi"],
        act: nothing,
        code: 137,
    },
    Scene { name: "not-in-the-image", script: "true", options: &["--", "no-such-program"], act: nothing, code: 127 },
    Scene { name: "image-pull", script: "true", options: &[], act: nothing, code: 125 },
    Scene { name: "unschedulable", script: "true", options: &["--gpus", "99"], act: delete_job, code: 130 },
    Scene { name: "deleted", script: WAITS, options: &[], act: delete_job, code: 130 },
    Scene { name: "pod-deleted", script: WAITS, options: &[], act: delete_pod, code: 143 },
    Scene { name: "pod-deleted-by-force", script: WAITS, options: &[], act: delete_pod_by_force, code: 143 },
    Scene { name: "evicted", script: WAITS, options: &[], act: evict, code: 143 },
    Scene { name: "supervisor-killed", script: WAITS, options: &[], act: kill_supervisor, code: 137 },
    Scene { name: "node-lost", script: WAITS, options: &[], act: lose_node, code: 143 },
    Scene {
        name: "begun-again",
        script: "echo up; [ $NAUTA_ATTEMPT = 1 ] && [ $RANK = 0 ] && exit 4; sleep 1",
        options: &["--restarts", "1"],
        act: nothing,
        code: 0,
    },
    Scene { name: "pod-replaced", script: WAITS, options: &["--restarts", "1"], act: delete_pod, code: 0 },
    Scene { name: "container-replaced", script: WAITS, options: &["--restarts", "1"], act: kill_supervisor, code: 0 },
    Scene {
        name: "killed-again",
        script: "echo up; sleep 1; [ $RANK = 1 ] && kill -9 $$; sleep 100",
        options: &["--restarts", "1"],
        act: nothing,
        code: 137,
    },
];

type Heard = Arc<Mutex<Vec<Entry>>>;

/// Hears everything about a kind's objects until it is dropped.
async fn hear<K>(api: Api<K>, params: WatchParams, heard: Heard, kind: &'static str)
where
    K: kube::Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug + Send + 'static,
{
    let version = api.list(&kube::api::ListParams::default()).await.expect("lists").metadata.resource_version;
    let mut version = version.expect("lists have versions");
    loop {
        let Ok(stream) = api.watch(&params, &version).await else { continue };
        let mut stream = Box::pin(stream);
        while let Some(Ok(event)) = stream.next().await {
            let (what, object) = match event {
                WatchEvent::Added(object) => ("ADDED", object),
                WatchEvent::Modified(object) => ("MODIFIED", object),
                WatchEvent::Deleted(object) => ("DELETED", object),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(error) => panic!("{error:?}"),
            };
            version = object.meta().resource_version.clone().expect("objects have versions");
            let number = version.parse().expect("a number");
            let object = slim(serde_json::to_value(object).expect("an object"));
            heard.lock().expect("no panic").push(Entry {
                version: number,
                kind: kind.to_owned(),
                what: what.to_owned(),
                object,
            });
        }
    }
}

/// What matters of an object: who it is, and how it is.
fn slim(mut object: Value) -> Value {
    let kept = |from: &Value, keys: &[&str]| {
        let pairs = keys.iter().filter_map(|key| Some(((*key).to_owned(), from.get(key)?.clone())));
        Value::Object(pairs.collect())
    };
    let mut metadata = kept(
        &object["metadata"],
        &["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "ownerReferences"],
    );
    for (part, keys) in [
        ("labels", &["nauta.dev/run", "batch.kubernetes.io/job-completion-index"][..]),
        ("annotations", &["batch.kubernetes.io/job-completion-index"]),
    ] {
        metadata[part] = kept(&object["metadata"][part], keys);
    }
    let spec = kept(&object["spec"], &["completions", "parallelism", "backoffLimit", "suspend", "nodeName"]);
    if let Some(statuses) = object.pointer_mut("/status/containerStatuses").and_then(Value::as_array_mut) {
        for status in statuses {
            *status = kept(status, &["name", "state", "ready", "started", "restartCount"]);
            if let Some(ended) = status.pointer_mut("/state/terminated").and_then(Value::as_object_mut) {
                ended.remove("containerID");
            }
        }
    }
    let of_job = ["conditions", "active", "succeeded", "failed", "ready", "terminating", "startTime", "completionTime"];
    let of_pod = ["phase", "reason", "message", "containerStatuses", "startTime"];
    let status = kept(&object["status"], &[&of_job[..], &of_pod].concat());
    let mut slim = kept(
        &object,
        &["apiVersion", "kind", "involvedObject", "reason", "message", "type", "count", "lastTimestamp", "eventTime"],
    );
    slim["metadata"] = metadata;
    if object.get("spec").is_some() {
        slim["spec"] = spec;
        slim["status"] = status;
    }
    slim
}

fn workstation(scene: &Scene) -> Workstation {
    let workstation = job::cluster::shell(scene.script);
    let more = match scene.name {
        "image-pull" => format!("registry_from_nodes = '{}'", variable("NAUTA_TEST_REGISTRY_AUTH_FROM_PODS")),
        _ => String::new(),
    };
    workstation.configure_cluster(&more);
    workstation
}

/// Runs a scene; gives the run's name, and how `nauta run` ended.
fn play(scene: &Scene) -> (String, Done) {
    let workstation = workstation(scene);
    let never_runs = matches!(scene.name, "image-pull" | "not-in-the-image" | "unschedulable");
    std::thread::scope(|scope| {
        let options = [&["run", "--nodes", "2"], scene.options].concat();
        let of_thread = &workstation;
        let running = scope.spawn(move || of_thread.nauta(&options));
        let name = loop {
            let runs = crate::support::folders(&workstation.project.join("runs"));
            if let Some(run) = runs.first() {
                break run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if never_runs {
            std::thread::sleep(Duration::from_secs(4));
        } else {
            let wanted = ["get", "job", &name, "-o", "jsonpath={.status.ready}{.status.succeeded}{.status.failed}"];
            while crate::job::truth::faults::try_kubectl(&["get", "job", &name]) && kubectl(&wanted).is_empty() {
                std::thread::sleep(Duration::from_millis(100));
            }
            std::thread::sleep(Duration::from_secs(3));
        }
        (scene.act)(&name);
        let done = running.join().expect("no panic");
        (name, done)
    })
}

async fn record(scene: &'static Scene) -> Option<String> {
    let client = admin_client().await;
    let heard = Heard::default();
    let labelled = WatchParams::default().labels("nauta.dev/project=shell");
    let mut ears = tokio::task::JoinSet::new();
    ears.spawn(hear(Api::<Job>::namespaced(client.clone(), &namespace()), labelled.clone(), Arc::clone(&heard), "Job"));
    ears.spawn(hear(Api::<Pod>::namespaced(client.clone(), &namespace()), labelled, Arc::clone(&heard), "Pod"));
    let events = Api::<Event>::namespaced(client, &namespace());
    ears.spawn(hear(events, WatchParams::default(), Arc::clone(&heard), "Event"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (run, done) = tokio::task::spawn_blocking(move || play(scene)).await.expect("no panic");
    // Until the Job says so too, and a little longer.
    let is_over = |entry: &Entry| {
        let conditions = entry.object["status"]["conditions"].as_array();
        let ended = conditions.is_some_and(|all| {
            all.iter().any(|one| matches!(one["type"].as_str(), Some("Complete" | "Failed")) && one["status"] == "True")
        });
        entry.kind == "Job" && entry.object["metadata"]["name"] == *run && (ended || entry.what == "DELETED")
    };
    while !heard.lock().expect("no panic").iter().any(is_over) || pods_remain(&heard.lock().expect("no panic"), &run) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(ears);
    let ours = |name: &Value| name.as_str().is_some_and(|name| name.starts_with(&run));
    let mut entries: Vec<Entry> = heard.lock().expect("no panic").clone();
    entries.retain(|entry| ours(&entry.object["metadata"]["name"]));
    entries.sort_by_key(|entry| entry.version);
    Recording { name: scene.name.to_owned(), run: run.clone(), code: scene.code, entries }.write();
    let _ = kubectl(&["delete", "job", &run, "--wait=false", "--ignore-not-found"]);
    let problem = format!("{}: {} instead of {}\n{}", scene.name, done.code, scene.code, done.stderr);
    (done.code != i32::from(scene.code)).then_some(problem)
}

/// Whether the pods of a run are still going that go with its Job.
fn pods_remain(heard: &[Entry], run: &str) -> bool {
    let of = |kind: &'static str, what: Option<&'static str>| {
        let ours =
            move |entry: &&Entry| entry.object["metadata"]["labels"]["nauta.dev/run"] == *run && entry.kind == kind;
        let ours = heard.iter().filter(ours).filter(move |entry| what.is_none_or(|what| entry.what == what));
        ours.map(|entry| entry.object["metadata"]["uid"].to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    !of("Job", Some("DELETED")).is_empty() && of("Pod", Some("DELETED")) != of("Pod", None)
}

/// Does nothing unless it is asked for: what it makes is in the repository.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_are_made_anew() {
    if std::env::var_os("NAUTA_TEST_UPDATE").is_none() {
        return;
    }
    let only = std::env::var("NAUTA_TEST_SCENE").ok();
    let mut wrong = Vec::new();
    for scene in SCENES.iter().filter(|scene| only.as_deref().is_none_or(|only| scene.name == only)) {
        let _lock = match scene.name {
            "node-lost" => ClusterLock::exclusive(),
            _ => ClusterLock::shared(),
        };
        wrong.extend(record(scene).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
