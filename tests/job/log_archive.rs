//! `nauta logs` of a rank that was killed with its supervisor, and when nothing is left of its run in the cluster.

use std::process::Stdio;
use std::time::Duration;

use super::cluster::{Cleanup, shell};
use crate::support::{Workstation, kubectl, tool};

/// A line each twentieth of a second, for ever.
const COUNTS: &str = "i=0; while :; do i=$((i + 1)); echo \"line $i of $RANK\"; sleep 0.05; done";

/// Kills all of a rank's container from outside, as losing its node does: nobody in it can say a last word.
fn kill_container(run: &str, rank: u32) {
    let selector = format!("nauta.dev/run={run},batch.kubernetes.io/job-completion-index={rank}");
    let path = "jsonpath={.items[0].spec.nodeName} {.items[0].status.containerStatuses[0].containerID}";
    let found = kubectl(&["get", "pods", "-l", &selector, "-o", path]);
    let (node, id) = found.split_once(" containerd://").expect("a container");
    let kill = ["ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", id];
    let _ = tool("docker", &[&["exec", &format!("nauta-test-{node}")][..], &kill].concat());
}

/// The numbers of the lines of rank 1.
fn numbers(text: &str) -> Vec<u32> {
    let number = |line: &str| line.split_once("line ")?.1.strip_suffix(" of 1")?.parse().ok();
    text.lines().filter_map(number).collect()
}

fn logs(workstation: &Workstation, run: &str, options: &[&str]) -> (String, String) {
    let done = workstation.succeeds(&[&["logs", "--rank", "1", run], options].concat());
    (done.stdout, done.stderr)
}

/// Waits until the kubelet, or the mailbox, has so many lines of rank 1.
fn until(workstation: &Workstation, run: &str, most: usize) {
    for _ in 0..120 {
        if workstation.nauta(&["logs", "--rank", "1", run]).stdout.lines().count() > most {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("rank 1 of {run} has not written {most} lines");
}

#[test]
fn a_rank_that_is_killed_with_its_supervisor_leaves_its_log() {
    let workstation = shell(COUNTS);
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    // Nobody follows: what is left is what the rank has sent by itself.
    let _ = workstation.succeeds(&["run", "--nodes", "2", "--detach"]);
    let folder = workstation.only_run();
    let run = folder.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    until(&workstation, &run, 300);
    kill_container(&run, 1);
    // The pod is still there: the kubelet has the rest.
    let (_, said) = logs(&workstation, &run, &[]);
    assert!(said.contains("from here on this is the kubelet's copy"), "{said}");
    let (whole, _) = logs(&workstation, &run, &["--raw"]);
    let last = u32::try_from(numbers(&whole).len()).expect("few");
    assert!(last >= 300 && numbers(&whole).into_iter().eq(1..=last), "{whole}");
    // Nothing is left of it but what is in the mailbox.
    let _ = workstation.succeeds(&["cancel", &run]);
    let label = format!("nauta.dev/run={run}");
    let _ = kubectl(&["wait", "--for=delete", "jobs,pods", "-l", &label, "--timeout=120s"]);
    let (archived, said) = logs(&workstation, &run, &[]);
    let archived = numbers(&archived);
    let end = u32::try_from(archived.len()).expect("few");
    assert!(archived.into_iter().eq(1..=end), "one after the other");
    assert!(end > 100 && end <= last, "{end} of {last} lines are in the mailbox");
    assert!(said.contains("the rest of its log is in no mailbox"), "{said}");
    options_work(&workstation, &run, end);
}

/// All options of `nauta logs`, of a run of which the mailbox has lines 1 to `end`.
fn options_work(workstation: &Workstation, run: &str, end: u32) {
    let shown = |options: &[&str]| logs(workstation, run, options).0;
    let all = workstation.succeeds(&["logs", run]).stdout;
    assert!(all.contains("[0] line 1 of 0") && all.contains("[1] line 1 of 1"), "{all}");
    let stamped = shown(&["--timestamps"]);
    assert_eq!(numbers(&stamped), (1..=end).collect::<Vec<_>>());
    let time = |number: u32| {
        let line = stamped.lines().find(|line| line.ends_with(&format!(" line {number} of 1"))).expect("shown");
        line.split(' ').nth(1).expect("a time").to_owned()
    };
    assert_eq!(numbers(&shown(&["--since", &time(40)])), (40..=end).collect::<Vec<_>>());
    assert_eq!(numbers(&shown(&["--until", &time(40)])), (1..=40).collect::<Vec<_>>());
    assert_eq!(numbers(&shown(&["--since", &time(20), "--until", &time(30)])), (20..=30).collect::<Vec<_>>());
    assert_eq!(numbers(&shown(&["--tail", "3"])), [end - 2, end - 1, end]);
    assert_eq!(numbers(&shown(&["--grep", "line 1?7 of"])), [7, 17]);
    assert_eq!(numbers(&shown(&["--grep", "7 of", "--tail", "1", "--until", &time(50)])), [47]);
    assert!(shown(&["--raw"]).starts_with("line 1 of 1\nline 2 of 1\n"));
    let file = workstation.project.join("log");
    assert_eq!(shown(&["--output", file.to_str().expect("text")]), "");
    assert_eq!(numbers(&std::fs::read_to_string(&file).expect("written")), (1..=end).collect::<Vec<_>>());
    let document = shown(&["--json", "--grep", "line 7 of"]);
    assert!(document.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{document}");
    // The reader goes away, quietly.
    let mut command = workstation.command(&["logs", run]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
