//! Deliveries that are cut off, registries that are full or careless, and what a node fetches of an edit.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::delivery::{arrived, deliver, project, target};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fault_proxy::{Action, FaultProxy};
use crate::support::random::Random;
use crate::support::small_disk::SmallDisk;
use crate::support::{Workstation, folders, kubectl, tool};

/// Runs what blocks while the proxy goes on.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// The tags of code in a registry.
fn code_tags(server: &DockerRegistry) -> usize {
    let tags = server.storage().join("docker/registry/v2/repositories/tests/shell/_manifests/tags");
    let is_code = |path: &&Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("code-"));
    folders(&tags).iter().map(std::path::PathBuf::as_path).filter(is_code).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_killed_goes_on_where_it_was() {
    const LARGE: usize = 34 << 20;
    let server = DockerRegistry::start();
    let is_broken = Arc::new(AtomicBool::new(true));
    let large = AtomicUsize::new(0);
    let proxy = FaultProxy::before(&server.address, {
        let is_broken = Arc::clone(&is_broken);
        move |head| {
            let is_second = || head.body_len() > LARGE as u64 && large.fetch_add(1, Ordering::SeqCst) > 0;
            let stalls = is_broken.load(Ordering::SeqCst) && head.method == "PUT" && is_second();
            if stalls { Action::StallBody(1 << 20) } else { Action::Pass }
        }
    })
    .await;
    let workstation = project(&server);
    workstation.configure(&target(&proxy.address.to_string()));
    for seed in 1..3 {
        let path = workstation.project.join(format!("weights-{seed}.bin"));
        std::fs::write(path, Random::new(seed).bytes(LARGE)).expect("written");
    }
    let mut child =
        workstation.command(&["run", "--dry-run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let began = std::time::Instant::now();
    while server.size() < LARGE as u64 || proxy.seen().iter().filter(|head| head.body_len() > LARGE as u64).count() < 2
    {
        assert!(began.elapsed() < Duration::from_mins(2), "two large layers are on their way");
        assert!(child.try_wait().expect("ours").is_none(), "it is still sending");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().expect("ours to kill");
    child.wait().expect("ours to wait for");
    assert_eq!(code_tags(&server), 0, "nothing names what is not all there");
    is_broken.store(false, Ordering::SeqCst);
    let (workstation, again) = beside(move || {
        let again = deliver(&workstation);
        (workstation, again)
    })
    .await;
    assert!(again.bytes < 2 * LARGE as u64, "one large layer is not sent again: {again:?}");
    let image = again.image.replace(&proxy.address.to_string(), &server.address);
    beside(move || arrived(&workstation, &image)).await;
    assert_eq!(code_tags(&server), 1);
}

#[test]
fn a_registry_that_is_full_is_named_and_nothing_is_submitted() {
    let disk = SmallDisk::mount("6m");
    let server = DockerRegistry::builder().storage(disk.path()).start();
    let workstation = project(&server);
    let done = workstation.nauta(&["run", "--detach"]);
    assert!(done.code != 0 && done.stderr.contains("full"), "{done:?}");
    let run = done.stderr.split(": ").next().and_then(|text| text.rsplit([' ', '\n']).next()).expect("named");
    assert!(run.starts_with("shell-"), "{done:?}");
    assert_eq!(kubectl(&["get", "job", run, "--ignore-not-found"]), "");
    assert!(folders(&workstation.project.join("runs")).is_empty(), "a run that is none has no record");
    // With more room it goes on.
    disk.resize("200m");
    let delivered = deliver(&workstation);
    arrived(&workstation, &delivered.image);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_fetches_what_was_edited_and_no_more() {
    let server = DockerRegistry::start();
    let proxy = FaultProxy::before(&server.address, |_| Action::Pass).await;
    let workstation = project(&server);
    workstation.configure(&target(&proxy.address.to_string())).write("ballast", &"b".repeat(500_000));
    let fetched = |proxy: &FaultProxy| proxy.count("GET", "/blobs/sha256");
    let pull = |workstation: Workstation| {
        beside(move || {
            let delivered = deliver(&workstation);
            let _ = tool("docker", &["pull", "--quiet", &delivered.image]);
            (workstation, delivered.image)
        })
    };
    let (workstation, first) = pull(workstation).await;
    let before = fetched(&proxy);
    workstation.write("job.sh", "echo edited");
    let (workstation, second) = pull(workstation).await;
    // The configuration and one layer.
    assert_eq!(fetched(&proxy) - before, 2, "{:?}", proxy.seen());
    beside(move || {
        arrived(&workstation, &second);
        let _ = tool("docker", &["rmi", "-f", &first]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_checks_nothing_is_looked_at_before_it_is_relied_on() {
    let mut server = DockerRegistry::start();
    // It takes the two manifests that it is asked about, so that it does not count as one that checks them.
    let asked = AtomicUsize::new(0);
    let proxy = FaultProxy::before(&server.address, move |head| {
        let is_question = head.is("PUT", "/manifests/sha256") && asked.fetch_add(1, Ordering::SeqCst) < 2;
        if is_question { Action::status(201) } else { Action::Pass }
    })
    .await;
    let workstation = project(&server);
    workstation.configure(&target(&proxy.address.to_string())).write("ballast", &"b".repeat(300_000));
    let (workstation, first) = beside(move || {
        let first = deliver(&workstation);
        (workstation, first)
    })
    .await;
    assert!(first.bytes > 300_000, "{first:?}");
    // It loses all layers, and its memory of them.
    let layers = server.storage().join("docker/registry/v2/repositories/tests/shell/_layers");
    std::fs::remove_dir_all(layers).expect("there");
    server.kill();
    server.start_again();
    workstation.write("job.sh", "echo edited");
    let looks = proxy.count("HEAD", "/blobs/sha256");
    let (workstation, healed) = beside(move || {
        let healed = deliver(&workstation);
        (workstation, healed)
    })
    .await;
    assert!(proxy.count("HEAD", "/blobs/sha256") >= looks + 3, "environment, supervisor and code were looked at");
    assert!(healed.bytes > 300_000, "{healed:?}");
    let image = healed.image.replace(&proxy.address.to_string(), &server.address);
    beside(move || arrived(&workstation, &image)).await;
}
