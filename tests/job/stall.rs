//! Runs that stand still.

use super::cluster::{Cleanup, shell};
use crate::support::{Workstation, environment};

/// Two Pythons wait for each other, in functions with names.
const WAITS: &str = "\
import threading, time

def the_other_thread():
    time.sleep(600)

def the_collective_that_never_ends():
    time.sleep(600)

print('up', flush=True)
threading.Thread(target=the_other_thread, daemon=True).start()
the_collective_that_never_ends()
";

#[test]
fn on_docker_each_thread_of_a_python_says_where_it_was() {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_PYTHON")));
    workstation.write("waits.py", WAITS);
    let options = ["run", "--local", "-n", "2", "--stall-timeout", "3s", "--json", "--", "python3", "waits.py"];
    let done = workstation.nauta(&options);
    assert_eq!(done.code, 124, "{done:?}");
    let document: serde_json::Value =
        serde_json::from_str(done.stdout.lines().last().expect("a document")).expect("JSON");
    assert!(document["first_failed"].is_null() && document["ranks"]["1"]["reason"]["why"] == "stalled", "{document}");
    let said = format!("{}{}", done.stdout, done.stderr);
    for rank in ["0", "1"] {
        let of_rank =
            |name: &str| said.lines().any(|line| line.contains(name) && line.contains(&format!("\"rank\":{rank}")));
        assert!(of_rank("the_collective_that_never_ends") && of_rank("the_other_thread"), "{said}");
    }
}

#[test]
fn on_the_cluster_a_stalled_run_ends_with_124() {
    let workstation = shell("echo up; sleep 600");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let done = workstation.nauta(&["run", "-n", "2", "--stall-timeout", "4s", "--grace", "2s"]);
    assert_eq!(done.code, 124, "{done:?}");
    assert!(done.stderr.contains("stalled: the words of each rank say where it was"), "{done:?}");
    assert!(done.stderr.contains("`sleep 600`: S (sleeping)"), "{done:?}");
    // Where the cluster's machines are told of, they are counted.
    assert!(done.stderr.contains("preflight: 2 ranks, ") && done.stderr.contains("clocks "), "{done:?}");
    let name = workstation.only_run().file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    let status = workstation.succeeds(&["status", "--json", &name]).stdout;
    assert!(status.contains("\"code\":124"), "{status}");
}
