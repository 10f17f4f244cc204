//! Runs that begin again after a failure, and go on from their checkpoint.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::cluster::{Cleanup, base, shell};
use super::{parameters, pytorch};
use crate::support::{Done, Workstation, environment, kubectl};

/// The template, with a rank 0 that dies behind its second checkpoint in the first attempt.
const CRASHES: &str = "\
import os, signal, train
replace, saved = os.replace, []

def replace_and_die(*paths):
    replace(*paths)
    saved.append(paths)
    if os.environ['NAUTA_ATTEMPT'] == '1' and len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace_and_die
train.main()
";

fn epochs(done: &Done) -> Vec<String> {
    let lines = done.stdout.lines().filter_map(|line| line.split_once("epoch ").map(|(_, rest)| rest.to_owned()));
    lines.collect()
}

/// An interrupted run has the same loss curve, epoch by epoch, and the same parameters as one that was not.
fn goes_on_from_its_checkpoint(workstation: &Workstation, place: &[&str]) {
    workstation.write("crashes.py", CRASHES);
    let run = |options: &[&str], program: &str| {
        let rest = ["--nodes", "2", "-e", "EPOCHS=4", "--", "python3", program];
        workstation.succeeds(&[&["run"], place, options, &rest].concat())
    };
    let whole = run(&[], "train.py");
    let interrupted = run(&["--restarts", "1", "--restart-on", "signal"], "crashes.py");
    assert_eq!(epochs(&whole).len(), 4, "{}", whole.stdout);
    let seen = epochs(&interrupted);
    // The epoch whose checkpoint was the last word may have been printed before or after it was killed, but once.
    assert_eq!(seen, epochs(&whole), "{}", interrupted.stdout);
    assert_eq!(parameters(&interrupted.stdout), parameters(&whole.stdout));
    let said = "attempt 2 of 2 begins: rank 0 was killed by signal 9";
    assert!(interrupted.stderr.contains(said) || interrupted.stdout.contains(said), "{interrupted:?}");
}

#[test]
fn on_docker_it_goes_on_from_its_checkpoint() {
    goes_on_from_its_checkpoint(&pytorch(&environment("NAUTA_TEST_IMAGE_PYTORCH")), &["--local"]);
}

#[test]
fn on_the_cluster_it_goes_on_from_its_checkpoint() {
    let workstation = pytorch(&base("NAUTA_TEST_IMAGE_PYTORCH"));
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    goes_on_from_its_checkpoint(&workstation, &[]);
}

/// A run of two ranks that may begin again once, from when both have said that they are up; what it says from then on, and its
/// name.
pub(super) fn two_that_are_up(workstation: &Workstation) -> (Child, impl Iterator<Item = String> + use<>, String) {
    let mut command = workstation.command(&["run", "--nodes", "2", "--restarts", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    assert_eq!(lines.by_ref().filter(|line| line.ends_with("up")).take(2).count(), 2);
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    (child, lines, name)
}

/// A rank's pod goes, gently or not; another one finds what it had left, and the run ends well.
#[test]
fn a_pod_that_is_lost_is_replaced_and_finds_its_checkpoint() {
    let script = "if [ $NAUTA_ATTEMPT = 2 ]; then cat $NAUTA_OUTPUTS/checkpoint; exit 0; fi
        echo of rank $NAUTA_RANK > $NAUTA_OUTPUTS/checkpoint; sleep 5; echo up; sleep 600";
    for (rank, gently) in [(1, true), (0, true), (1, false)] {
        let workstation = shell(script);
        workstation.configure_cluster("");
        let _cleanup = Cleanup(&workstation);
        let (child, lines, name) = two_that_are_up(&workstation);
        let selector = format!("nauta.dev/run={name},batch.kubernetes.io/job-completion-index={rank}");
        let how: &[&str] = if gently { &["--wait=false"] } else { &["--grace-period=0", "--force"] };
        let _ = kubectl(&[&["delete", "pod", "-l", &selector], how].concat());
        let rest: Vec<String> = lines.collect();
        let output = child.wait_with_output().expect("ended");
        let said = format!("{}\n{}", rest.join("\n"), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{rank} {gently}: {said}");
        for found in ["[0] of rank 0", "[1] of rank 1"] {
            assert!(rest.iter().any(|line| line == found), "{rank} {gently}: {said}");
        }
        assert!(said.contains("this container takes a lost one's place: 1 outputs brought back"), "{said}");
        // The archive has what the pod that was stopped gently had written, and what its successor has.
        let _ = workstation.succeeds(&["cancel", &name]);
        let logs = workstation.succeeds(&["logs", "--rank", &rank.to_string(), &name]).stdout;
        assert!(logs.contains("] up") || !gently, "{logs}");
        assert!(logs.contains(&format!("of rank {rank}")), "{logs}");
    }
}

#[test]
fn nonsense_is_refused_before_anything_is_done() {
    let workstation = Workstation::new();
    workstation.write("main.py", "");
    for (arguments, said) in [
        (["--restarts", "5000"], "5000 restarts are too many"),
        (["--restart-on", "oom"], "`oom` is no kind of failure"),
        (["--max-duration", "soon"], "`soon` is no amount of time"),
    ] {
        let done = workstation.nauta(&[&["run", "--local"][..], &arguments].concat());
        assert!(done.code == 125 && done.stderr.contains(said) && done.stderr.contains("hint:"), "{done:?}");
    }
}
