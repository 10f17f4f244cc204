//! A neighbour on the cluster that floods the port where a run's gang meets.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::{Cleanup, base, shell};
use crate::support::{apply, figure, kubectl, number};

/// What a flood may cost rank 0, in KiB.
const MOST_KIB: u64 = 16 * 1024;

/// Connects until there were enough and it is told so, and says nothing, a lot, half a handshake, or one with another key.
const FLOOD: &str = "\
import collections, itertools, os, socket, sys
seven = bytes([7])
shapes = [b'', bytes([255, 255]) + seven * 65000, bytes([0, 48]) + seven * 20, bytes([0, 48]) + seven * 48]
address = (socket.gethostbyname(os.environ['HOST']), 7117)
least, held = int(os.environ['CONNECTIONS']), collections.deque(maxlen=500)
for made, shape in zip(itertools.count(1), itertools.cycle(shapes)):
    try:
        stranger = socket.create_connection(address, timeout=5)
        stranger.setblocking(False)
        held.append(stranger)
        if shape:
            stranger.send(shape)
    except OSError:
        pass
    if made == 1000:
        print('a flood', flush=True)
    if made >= least and os.path.exists('/tmp/enough'):
        break
print('strangers:', made)
";

/// A pod that is gone when the test is over.
struct Neighbour(String);

impl Neighbour {
    fn floods(run: &str, connections: u64) -> Self {
        let name = format!("{run}-neighbour");
        apply(&[serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "main", "image": base("NAUTA_TEST_IMAGE_PYTHON"), "command": ["python3", "-c", FLOOD],
                    "env": [
                        {"name": "HOST", "value": format!("{run}-0.{run}")},
                        {"name": "CONNECTIONS", "value": connections.to_string()},
                    ],
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        })]);
        Self(name)
    }

    /// Waits until it has said something.
    fn says(&self, word: &str) -> String {
        wait(word, || {
            let phase = kubectl(&["get", "pod", &self.0, "-o", "jsonpath={.status.phase}"]);
            let log = if phase == "Pending" { String::new() } else { kubectl(&["logs", &self.0]) };
            assert!(phase != "Failed", "{log}");
            log.contains(word).then_some(log)
        })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "pod", &self.0, "--grace-period=0", "--force", "--wait=false"]);
    }
}

fn wait<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(200));
    }
}

fn pod(run: &str, rank: u32) -> String {
    let selector = format!("nauta.dev/run={run},batch.kubernetes.io/job-completion-index={rank}");
    kubectl(&["get", "pod", "-l", &selector, "-o", "jsonpath={.items[*].metadata.name}"])
}

/// A figure of a pod's first process, in KiB.
fn memory(pod: &str, field: &str) -> u64 {
    let status = kubectl(&["exec", pod, "--", "cat", "/proc/1/status"]);
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells it");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_neighbour_that_floods_rank_0_neither_costs_it_memory_nor_keeps_a_rank_out() {
    let connections = number("NAUTA_TEST_FLOOD", 5000);
    let workstation = shell("echo up $NAUTA_ATTEMPT; while [ ! -e /tmp/over ]; do sleep 0.2; done");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let mut command = workstation.command(&["run", "--nodes", "2", "--restarts", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let mut both = |said: &str| lines.by_ref().filter(|line| line.ends_with(said)).take(2).count();
    assert_eq!(both("up 1"), 2);
    let run = workstation.only_run();
    let run = run.file_name().and_then(|name| name.to_str()).expect("text");
    let first = pod(run, 0);
    let before = memory(&first, "VmRSS");
    let neighbour = Neighbour::floods(run, connections);
    let _ = neighbour.says("a flood");
    // Another rank 1 has to come in through the flood.
    let _ = kubectl(&["delete", "pod", &pod(run, 1), "--grace-period=0", "--force"]);
    assert_eq!(both("up 2"), 2, "the gang meets in the flood");
    let _ = kubectl(&["exec", &neighbour.0, "--", "touch", "/tmp/enough"]);
    let made = neighbour.says("strangers: ");
    let (peak, after) = (memory(&first, "VmHWM"), memory(&first, "VmRSS"));
    let made = made.trim().rsplit(' ').next().unwrap_or_default();
    figure(&format!("{made} strangers on the cluster: rank 0 had {before} KiB, at most {peak} KiB, then {after} KiB"));
    for rank in [0, 1] {
        let _ = kubectl(&["exec", &pod(run, rank), "--", "touch", "/tmp/over"]);
    }
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(peak - before < MOST_KIB, "{before} KiB became {peak} KiB");
}
