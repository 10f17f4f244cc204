//! What can stand in a cluster run's way: said in words, with the right code, and nothing is left.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::cluster::{Cleanup, shell};
use crate::support::certificates::Authority;
use crate::support::docker_registry::DockerRegistry;
use crate::support::{Workstation, environment, folders, interrupt, kubectl};

/// Everything of a project that the cluster has and nobody has begun to delete.
fn remains(project: &str) -> String {
    let label = format!("nauta.dev/project={project}");
    let template = "{range .items[*]}{.kind}/{.metadata.name}{.metadata.deletionTimestamp}\n{end}";
    let listed = kubectl(&["get", "jobs,services,secrets", "-l", &label, "-o", &format!("jsonpath={template}")]);
    // A Secret or Service goes with its Job: the garbage collector may still be at it.
    listed.lines().filter(|line| line.starts_with("Job/") && !line.ends_with('Z')).map(str::to_owned).collect()
}

fn named(workstation: &Workstation, project: &str) {
    let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    workstation.write("nauta.toml", &text.replace("name = 'shell'", &format!("name = '{project}'")));
}

fn starts(workstation: &Workstation, arguments: &[&str]) -> Child {
    workstation.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts")
}

#[test]
fn an_image_that_the_nodes_may_not_pull_is_said_and_nothing_is_left() {
    let workstation = shell("true");
    named(&workstation, "no-pull");
    let auth = environment("NAUTA_TEST_REGISTRY_AUTH_FROM_PODS");
    workstation.configure_cluster(&format!("registry_from_nodes = '{auth}'"));
    let done = workstation.nauta(&["run"]);
    assert_eq!((done.code, done.stdout.as_str()), (125, ""), "{}", done.stderr);
    let error = done.stderr.lines().find(|line| line.starts_with("error:")).expect("an error");
    assert!(error.contains("the run cannot start: image ") && error.contains("401 Unauthorized"), "{error}");
    assert_eq!(error.matches("@sha256:").count(), 1, "{error}");
    assert!(done.stderr.contains("`registry_from_nodes`") && done.stderr.contains("`pull_secret`"), "{}", done.stderr);
    assert_eq!(remains("no-pull"), "");
    let listed = workstation.succeeds(&["list"]).stdout;
    assert!(listed.contains("failed"), "{listed}");
}

#[test]
fn a_run_that_finds_no_room_says_why_and_waits() {
    let workstation = shell("true");
    named(&workstation, "no-room");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let mut child = starts(&workstation, &["run", "--memory", "900Gi"]);
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("[0]") && line.contains("Insufficient memory")));
    interrupt(&child);
    let rest = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(child.wait().expect("waited").code(), Some(130));
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    for word in [&format!("{name} goes on"), "nauta logs -f", "nauta pull", "nauta cancel"] {
        assert!(rest.contains(word), "{rest}");
    }
    let status = workstation.succeeds(&["status", &name]).stdout;
    assert!(status.contains("Insufficient memory"), "{status}");
    let _ = workstation.succeeds(&["cancel", &name]);
    assert_eq!(remains("no-room"), "");
}

#[test]
fn a_run_that_somebody_deletes_has_its_last_words() {
    let workstation =
        shell("trap 'echo bye; echo saved > $NAUTA_OUTPUTS/last; exit 3' TERM; echo up; while :; do sleep 0.1; done");
    named(&workstation, "deleted");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let mut child = starts(&workstation, &["run"]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert_eq!(lines.next().expect("a line"), "[0] up");
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    let _ = kubectl(&["delete", "job", &name, "--wait=false"]);
    assert!(lines.any(|line| line == "[0] bye"));
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("[0] was stopped: the engine asked for it"), "{said}");
    assert!(said.contains("run cancelled: 1 file, 6 B in runs/"), "{said}");
    assert_eq!(std::fs::read_to_string(run.join("last")).expect("arrived"), "saved\n");
}

#[test]
fn a_run_that_somebody_deletes_before_it_starts_is_not_waited_for() {
    let workstation = shell("true");
    named(&workstation, "gone");
    workstation.configure_cluster("");
    let mut child = starts(&workstation, &["run", "--memory", "900Gi"]);
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Insufficient memory")));
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    let _ = kubectl(&["delete", "job", &name, "--wait=false"]);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("waited").code(), Some(130));
    assert!(rest.last().is_some_and(|line| line.trim_start().starts_with("run cancelled")), "{rest:?}");
    assert_eq!(remains("gone"), "");
}

#[test]
fn a_registry_that_cannot_prove_who_it_is_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (identity, trusted, words) in [
        (authority.valid(), &stranger, "signed by an unknown authority"),
        (authority.issue(&["localhost", "127.0.0.1"], 2020, 2021), &authority, "expired"),
        (authority.issue(&["localhost", "127.0.0.1"], 2090, 2100), &authority, "not valid yet"),
        (authority.issue(&["elsewhere.example"], 2020, 2100), &authority, "elsewhere.example"),
    ] {
        let registry = DockerRegistry::builder().tls(&identity).start();
        let workstation = shell("true");
        let ca = workstation.project.join("../ca.pem");
        std::fs::write(&ca, &trusted.pem).expect("written");
        let (kubeconfig, namespace) = (environment("NAUTA_TEST_KUBECONFIG_USER"), environment("NAUTA_TEST_NAMESPACE"));
        let host = &registry.address;
        workstation.configure(&format!(
            "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{host}/tests'\n\
             registry_ca = '{}'\n",
            ca.display()
        ));
        let done = workstation.nauta(&["run"]);
        assert_eq!(done.code, 125, "{}", done.stderr);
        assert!(done.stderr.contains(words) && done.stderr.contains("hint:"), "{words}: {}", done.stderr);
        assert_eq!(folders(&workstation.project.join("runs")).len(), 0);
    }
}
