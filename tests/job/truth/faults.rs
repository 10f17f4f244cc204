//! How a run is hurt from outside.

use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{kubectl_command, tool};

/// What kubectl says; nothing where it fails, as the API server may be gone on purpose.
fn ask(arguments: &[&str]) -> Option<String> {
    let output = kubectl_command(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn try_kubectl(arguments: &[&str]) -> bool {
    ask(arguments).is_some()
}

/// What kubectl says, whoever kills the API server meanwhile.
fn insist(arguments: &[&str]) -> String {
    for _ in 0..10 {
        if let Some(said) = ask(arguments) {
            return said;
        }
        await_api_server();
    }
    panic!("kubectl {arguments:?} fails while the API server answers")
}

/// The machine's processes that have these words in their environment and this one in their command line. Containers and
/// nodes are processes of this machine too.
pub(crate) fn processes(variables: &[String], word: &str) -> Vec<Pid> {
    let is_one = |pid: i32| {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (command, environment) = (read("cmdline"), read("environ"));
        let has = |variable: &String| environment.split(|byte| *byte == 0).any(|other| other == variable.as_bytes());
        String::from_utf8_lossy(&command).split('\0').any(|other| other == word) && variables.iter().all(has)
    };
    let entries = std::fs::read_dir("/proc").expect("mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_one(*pid)).map(Pid::from_raw).collect()
}

/// Kills a rank's supervisor, and with it all that is in its container.
pub(crate) fn kill_supervisor(run: &str, rank: u32, is_local: bool) {
    let index = if is_local { "NAUTA_RANK" } else { "JOB_COMPLETION_INDEX" };
    let variables = [format!("NAUTA_RUN={run}"), format!("{index}={rank}")];
    let found = processes(&variables, "supervise");
    assert!(!found.is_empty(), "{run} has no supervisor of rank {rank}");
    for pid in found {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// Kills a rank's program and leaves its supervisor alone.
pub(crate) fn kill_program(run: &str, rank: u32) {
    // `RANK` is not there with one rank, and the supervisor has the program in its command line.
    let variables = [format!("NAUTA_RUN={run}"), format!("NAUTA_RANK={rank}")];
    let supervisors = processes(&variables, "supervise");
    let mut found = processes(&variables, "job.sh");
    found.retain(|pid| !supervisors.contains(pid));
    assert!(!found.is_empty(), "{run} has no program of rank {rank}");
    // The shell first: it would tell its child's end as a code of its own.
    for pid in found {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

pub(crate) fn delete_pod(run: &str, rank: u32, force: bool) {
    let selector = format!("nauta.dev/run={run},batch.kubernetes.io/job-completion-index={rank}");
    let how: &[&str] = if force { &["--grace-period=0", "--force", "--wait=false"] } else { &["--wait=false"] };
    let _ = insist(&[&["delete", "pod", "-l", &selector], how].concat());
}

/// Kills the API server; its node starts it again.
pub(crate) fn kill_api_server() {
    for pid in processes(&[], "kube-apiserver") {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// Until the API server answers.
pub(crate) fn await_api_server() {
    let started = Instant::now();
    while !try_kubectl(&["get", "--raw", "/readyz", "--request-timeout=2s"]) {
        assert!(started.elapsed() < Duration::from_mins(2), "the API server does not come back");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Halts the node of a rank's pod, with all that runs on it, for a time.
pub(crate) fn pause_node(run: &str, rank: u32, time: Duration) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let selector = format!("nauta.dev/run={run},batch.kubernetes.io/job-completion-index={rank}");
    let template = "jsonpath={.items[0].spec.nodeName}";
    let node = insist(&["get", "pods", "-l", &selector, "-o", template]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/env/node");
    let script = script.to_str().expect("text");
    let _ = tool(script, &["pause", &node]);
    std::thread::sleep(time);
    let _ = tool(script, &["resume", &node]);
}

/// A container of a local run.
pub(crate) fn local_container(run: &str, rank: u32) -> String {
    let (run, rank) = (format!("label=nauta.dev/run={run}"), format!("label=nauta.dev/rank={rank}"));
    tool("docker", &["ps", "-q", "--no-trunc", "--filter", &run, "--filter", &rank]).trim().to_owned()
}
