//! `nauta run` on Kubernetes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{parameters, pytorch};
use crate::support::{Workstation, environment, interrupt, kubectl, kubectl_on};

/// Deletes a run's Job when the test is over.
pub(super) struct Cleanup<'a>(pub(super) &'a Workstation);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        for run in crate::support::folders(&self.0.project.join("runs")) {
            let name = run.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let _ = self.0.nauta(&["cancel", "--target", "lab", &name]);
        }
    }
}

pub(super) fn base(image: &str) -> String {
    format!("{}/{}", environment("NAUTA_TEST_REGISTRY"), environment(image))
}

pub(crate) fn shell(script: &str) -> Workstation {
    let workstation = Workstation::new();
    let base = base("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("job.sh", script);
    workstation.write(
        "nauta.toml",
        &format!("[project]\nname = 'shell'\n[environment]\nbase = '{base}'\n[run]\ncommand = 'sh job.sh'\n"),
    );
    workstation
}

#[test]
fn four_ranks_on_three_nodes_train_the_model_that_four_containers_train() {
    let workstation = pytorch(&base("NAUTA_TEST_IMAGE_PYTORCH"));
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let done = workstation.succeeds(&["run", "--nodes", "4"]);
    let losses: Vec<f64> = done.stdout.lines().filter_map(|line| line.split("loss ").nth(1)?.parse().ok()).collect();
    assert!(losses.len() == 5 && losses[4] < losses[0] / 4.0, "{losses:?}");
    let on_cluster = parameters(&done.stdout);
    assert!(on_cluster.len() == 4 && on_cluster.iter().all(|digest| *digest == on_cluster[0]), "{on_cluster:?}");
    let run = workstation.only_run();
    assert!(run.join("checkpoint.pt").is_file());
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    let label = format!("nauta.dev/run={name}");
    let nodes = kubectl(&["get", "pods", "-l", &label, "-o", "jsonpath={.items[*].spec.nodeName}"]);
    let distinct: std::collections::BTreeSet<&str> = nodes.split(' ').collect();
    assert!(distinct.len() >= 3, "{nodes}");
    // The mailbox outlives the pods.
    let _ = workstation.succeeds(&["cancel", &name]);
    std::fs::remove_file(run.join("checkpoint.pt")).expect("removed");
    let pulled = workstation.succeeds(&["pull", &name]);
    assert!(pulled.stdout.contains("received 1 file in") && run.join("checkpoint.pt").is_file(), "{}", pulled.stdout);
    // Only some files, into a folder of one's own, and never over what is there.
    workstation.write("best/checkpoint.pt", "mine");
    let pulled = workstation.succeeds(&["pull", &name, "*.pt", "--to", "best"]);
    assert!(pulled.stdout.contains("received 1 file in"), "{}", pulled.stdout);
    let best = workstation.project.join("best");
    assert_eq!(std::fs::read(best.join("checkpoint.pt")).expect("readable"), b"mine");
    assert!(best.join("checkpoint.pt.nauta-conflict-1").is_file() && !best.join("rank-1").exists());
    let nothing = workstation.nauta(&["pull", &name, "no-such-file"]);
    assert!(nothing.code == 1 && nothing.stderr.contains("nothing that"), "{}", nothing.stderr);
    let here = pytorch(&environment("NAUTA_TEST_IMAGE_PYTORCH"));
    let done = here.succeeds(&["run", "--local", "--nodes", "4"]);
    assert_eq!(parameters(&done.stdout), on_cluster);
}

#[test]
fn a_change_of_code_needs_no_docker_and_few_bytes() {
    let mut workstation = shell("echo one");
    workstation.configure_cluster("");
    let first = workstation.succeeds(&["run"]);
    assert!(first.stdout.contains("[0] one"), "{}", first.stdout);
    workstation.write("job.sh", "echo two");
    workstation.set("DOCKER_HOST", "unix:///no/docker/here");
    let _cleanup = Cleanup(&workstation);
    let second = workstation.succeeds(&["run"]);
    assert!(second.stdout.contains("[0] two"), "{}", second.stdout);
    let sent = second.stderr.split("sent ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(sent.is_some_and(|sent| sent < 20_000), "{}", second.stderr);
}

#[test]
fn the_first_failure_gives_the_code_and_outputs_come_back() {
    let workstation = shell("echo words > $NAUTA_OUTPUTS/words; [ $RANK = 0 ] || { sleep 1; exit 9; }; sleep 100");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let done = workstation.nauta(&["run", "--nodes", "2"]);
    assert_eq!(done.code, 9, "{}\n{}", done.stdout, done.stderr);
    assert!(done.stderr.contains("failed: rank 1 exited with code 9"), "{}", done.stderr);
    let run = workstation.only_run();
    assert!(run.join("words").is_file() && run.join("rank-1/words").is_file(), "{}", done.stderr);
}

#[test]
fn dry_run_prints_manifests_that_kubectl_runs() {
    let workstation = shell("echo from kubectl");
    workstation.configure_cluster("");
    let done = workstation.succeeds(&["run", "--nodes", "2", "--dry-run"]);
    // `apply` patches, which ada may not.
    let output = kubectl_on(&done.stdout, &["apply"]);
    assert!(output.status.success(), "{}", done.stdout);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = text.split("job.batch/").nth(1).and_then(|rest| rest.split(' ').next()).expect("a job").to_owned();
    let job = format!("job/{name}");
    let _ = kubectl(&["wait", "--for=condition=complete", "--timeout=240s", &job]);
    let logs = kubectl(&["logs", "-l", &format!("nauta.dev/run={name}")]);
    assert_eq!(logs.matches("from kubectl").count(), 2, "{logs}");
    let _ = kubectl(&["delete", &job, &format!("service/{name}"), &format!("secret/{name}-key")]);
}

#[test]
fn a_registry_with_a_password_gets_a_pull_secret_and_outputs_come_over_the_control_stream() {
    let workstation = shell("echo kept > $NAUTA_OUTPUTS/kept");
    let auth = environment("NAUTA_TEST_REGISTRY_AUTH");
    let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    workstation.write("nauta.toml", &text.replace(&environment("NAUTA_TEST_REGISTRY"), &auth));
    let pods = environment("NAUTA_TEST_REGISTRY_AUTH_FROM_PODS");
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{}'\nnamespace = '{}'\nregistry = '{auth}/tests'\nregistry_from_pods = '{pods}'\nplain_http = ['{pods}']\n",
        environment("NAUTA_TEST_KUBECONFIG_USER"),
        environment("NAUTA_TEST_NAMESPACE"),
    ));
    let refused = workstation.nauta(&["run"]);
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains(&format!("run `nauta login {auth}`")), "{}", refused.stderr);
    let password = std::fs::File::open(environment("NAUTA_TEST_REGISTRY_PASSWORD_FILE")).expect("readable");
    let mut login = workstation.command(&["login", "--user", "ada", "--store", "docker-config", &auth]);
    assert!(login.stdin(password).status().expect("runs").success());
    let _cleanup = Cleanup(&workstation);
    let done = workstation.succeeds(&["--quiet", "run"]);
    let warning = done.stderr.lines().find(|line| line.starts_with("warning: your login for")).expect("a warning");
    assert!(warning.contains("lies in namespace") && warning.contains("`pull_secret`"), "{warning}");
    let run = workstation.only_run();
    assert_eq!(std::fs::read_to_string(run.join("kept")).expect("arrived"), "kept\n");
    // The login is gone, and the Job is not.
    let name = run.file_name().and_then(|name| name.to_str()).expect("text");
    let _ = kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("secret/{name}-pull")]);
    let pulls = kubectl(&["get", &format!("job/{name}"), "-o", "jsonpath={..imagePullSecrets[0].name}"]);
    assert_eq!(pulls, format!("{name}-pull"));
    let _ = kubectl(&["wait", "--for=condition=complete", "--timeout=60s", &format!("job/{name}")]);
    let _ = workstation.succeeds(&["logout", &auth]);
}

#[test]
fn what_the_cluster_refuses_is_said_in_its_words_and_nothing_is_left() {
    let workstation = shell("true");
    let before = kubectl(&["get", "jobs,secrets,services", "-A", "-l", "nauta.dev/project=refused", "-o", "name"]);
    workstation.configure_cluster("");
    let with = |line: &str, from: &str| {
        let text = std::fs::read_to_string(workstation.project.join("../config/nauta/config.toml")).expect("readable");
        let lines: Vec<String> =
            text.lines().map(|l| if l.starts_with(from) { line.to_owned() } else { l.to_owned() }).collect();
        workstation.configure(&lines.join("\n"));
        let done = workstation.nauta(&["run", "--memory", "64Mi"]);
        workstation.configure_cluster("");
        assert_eq!(done.code, 125, "{}", done.stderr);
        done.stderr
    };
    let forbidden = with("namespace = 'kube-system'", "namespace");
    assert!(
        forbidden.contains("not allowed to create, get, list, watch, delete jobs.batch")
            && forbidden.contains("`kube-system`"),
        "{forbidden}"
    );
    let expired = with(&format!("kubeconfig = '{}'", environment("NAUTA_TEST_KUBECONFIG_EXPIRED")), "kubeconfig");
    assert!(expired.contains("the client certificate expired on"), "{expired}");
    let down = with("registry = 'localhost:1/tests'", "registry =");
    assert!(down.contains("registry `localhost:1` cannot be reached"), "{down}");
    let context = with("context = 'nowhere'", "namespace");
    assert!(context.contains("has no context `nowhere`"), "{context}");
    let after = kubectl(&["get", "jobs,secrets,services", "-A", "-l", "nauta.dev/project=refused", "-o", "name"]);
    assert_eq!(before, after);
}

#[test]
fn ctrl_c_leaves_the_run_alone_and_one_can_come_back() {
    let workstation =
        shell("for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 1; done; echo kept > $NAUTA_OUTPUTS/kept");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let mut child =
        workstation.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "[0] line 1");
    interrupt(&child);
    assert_eq!(child.wait().expect("waited").code(), Some(130));
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text");
    let status = workstation.succeeds(&["status", name]);
    assert!(status.stdout.contains("runs"), "{}", status.stdout);
    let followed = workstation.succeeds(&["logs", "-f", name]);
    assert!(
        followed.stdout.starts_with("[0] line 1\n") && followed.stdout.ends_with("[0] line 8\n"),
        "{}",
        followed.stdout
    );
    let _ = workstation.succeeds(&["pull", name]);
    assert_eq!(std::fs::read_to_string(run.join("kept")).expect("arrived"), "kept\n");
    // The log outlives the pods in the mailbox, with its times.
    let _ = workstation.succeeds(&["cancel", name]);
    let logs = |options: &[&str]| workstation.succeeds(&[&["logs", name], options].concat()).stdout;
    assert_eq!(logs(&[]), followed.stdout);
    assert_eq!(logs(&["--tail", "2"]), "[0] line 7\n[0] line 8\n");
    assert_eq!(logs(&["--since", "1s"]), "");
    assert_eq!(logs(&["--since", "1h"]), followed.stdout);
    assert_eq!(logs(&["--rank", "1"]), "");
}

/// Whoever follows it, and whoever asks when its Job is gone: it is in what the ranks left.
#[test]
fn a_cancelled_run_is_cancelled_for_everybody() {
    let workstation =
        shell("trap 'echo saved > $NAUTA_OUTPUTS/last; exit 0' TERM; echo up; while :; do sleep 0.1; done");
    workstation.configure_cluster("");
    let name = workstation.succeeds(&["run", "-n", "2", "--detach"]).stdout.trim().to_owned();
    // Another workstation, which has no record of it.
    let other = Workstation::new();
    other.configure_cluster("");
    let options = ["logs", "-f", "--target", "lab", &name];
    let mut command = other.command(&options);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    // Its other end stays open: who has no readers says nothing.
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert_eq!(lines.by_ref().filter(|line| line.ends_with("] up")).take(2).count(), 2);
    let _ = other.succeeds(&["cancel", "--target", "lab", &name]);
    let followed = child.wait_with_output().expect("ended");
    drop(lines);
    let words = String::from_utf8_lossy(&followed.stderr);
    let last = words.lines().last().unwrap_or_default().trim();
    assert!(last.starts_with("run cancelled: 2 files, 12 B in runs/"), "{words}");
    let _ = kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("job/{name}")]);
    let status = workstation.succeeds(&["status", &name]).stdout;
    assert!(status.starts_with(&format!("{name}: cancelled (code 130), and no longer on the cluster\n")), "{status}");
    assert!(status.contains("  command  ") && status.contains(&format!("  outputs  runs/{name}\n")), "{status}");
    assert!(workstation.succeeds(&["list", "--json"]).stdout.contains(r#""state":"cancelled""#));
}

#[test]
fn a_program_that_ends_before_anybody_could_follow_it_loses_nothing() {
    let workstation = shell("echo one; echo two >&2; echo kept > $NAUTA_OUTPUTS/kept");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    for _ in 0..3 {
        let done = workstation.succeeds(&["run", "--nodes", "2"]);
        for line in ["[0] one", "[0] two", "[1] one", "[1] two"] {
            assert!(done.stdout.contains(line), "{}\n{}", done.stdout, done.stderr);
        }
        let run = workstation.only_run();
        assert!(run.join("kept").is_file() && run.join("rank-1/kept").is_file(), "{}", done.stderr);
        let name = run.file_name().and_then(|name| name.to_str()).expect("text");
        let _ = workstation.succeeds(&["cancel", name]);
        std::fs::remove_dir_all(&run).expect("removed");
    }
}

#[test]
fn a_quota_and_a_lack_of_accelerators_are_said_in_the_clusters_words() {
    let workstation = shell("true");
    let (kubeconfig, namespace) = (environment("NAUTA_TEST_KUBECONFIG"), environment("NAUTA_TEST_NAMESPACE_QUOTA"));
    let registry = environment("NAUTA_TEST_REGISTRY");
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{registry}/tests'\n"
    ));
    let refused = workstation.nauta(&["run", "--memory", "2Gi", "--cpu", "1"]);
    assert!(refused.code == 125 && refused.stderr.contains("exceeded quota"), "{}", refused.stderr);
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let detached = workstation.succeeds(&["run", "--gpus", "99", "--detach"]);
    let name = detached.stdout.trim().to_owned();
    let pods = format!("nauta.dev/run={name}");
    let _ = kubectl(&["wait", "--for=condition=PodScheduled=false", "--timeout=60s", "pods", "-l", &pods]);
    let status = workstation.succeeds(&["status", &name]);
    assert!(status.stdout.contains("Insufficient nvidia.com/gpu"), "{}", status.stdout);
    let _ = workstation.succeeds(&["cancel", &name]);
    let _ = kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("job/{name}")]);
    assert_eq!(workstation.nauta(&["cancel", &name]).code, 1, "there is nothing left to cancel");
}
