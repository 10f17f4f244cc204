//! Outputs that are many, large or late, on the cluster: nobody follows, and nothing may be lost, or it is said.

use super::cluster::{Cleanup, shell};
use crate::support::{Workstation, environment, kubectl, number};

/// Starts a run that nobody follows, and waits until its Job is over; gives its name and whether the Job succeeded.
fn detached(workstation: &Workstation, arguments: &[&str]) -> (String, bool) {
    let done = workstation.succeeds(&[&["run", "--detach"], arguments].concat());
    let run = done.stdout.trim().to_owned();
    let job = format!("job/{run}");
    let ended = |condition: &str| {
        let asked =
            crate::support::kubectl_command(&["get", &job, "-o", "jsonpath={.status.conditions[*].type}"]).output();
        String::from_utf8_lossy(&asked.expect("kubectl runs").stdout).split(' ').any(|type_| type_ == condition)
    };
    loop {
        if ended("Complete") {
            return (run, true);
        }
        if ended("Failed") {
            return (run, false);
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

/// A target whose pods do not reach the registry that they are told.
fn without_mailbox(workstation: &Workstation) {
    let registry = environment("NAUTA_TEST_REGISTRY");
    let pods = environment("NAUTA_TEST_REGISTRY_FROM_PODS").replace(":5000", ":9");
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{}'\nnamespace = '{}'\nregistry = '{registry}/tests'\nregistry_from_pods = '{pods}'\nplain_http = ['{pods}']\n",
        environment("NAUTA_TEST_KUBECONFIG_USER"),
        environment("NAUTA_TEST_NAMESPACE"),
    ));
}

#[test]
fn thousands_of_files_that_are_written_last_are_in_the_mailbox() {
    let files = number("NAUTA_TEST_LATE_FILES", 5000);
    let workstation = shell(&format!(
        "cd $NAUTA_OUTPUTS; awk 'BEGIN {{ for (i = 0; i < {files}; i++) {{ d = int(i / 1000); if (i % 1000 == 0) system(\"mkdir -p \" d); f = d \"/\" i; printf \"%04d\", i % 10000 > f; close(f) }} }}'"
    ));
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let (run, succeeded) = detached(&workstation, &[]);
    assert!(succeeded, "{}", kubectl(&["get", &format!("job/{run}"), "-o", "yaml"]));
    let status = workstation.succeeds(&["status", &run]);
    assert!(status.stdout.contains("succeeded\n"), "{}", status.stdout);
    let pulled = workstation.succeeds(&["pull", &run]);
    assert!(
        pulled.stdout.contains(&format!("received {files} files")) && pulled.stdout.contains("complete"),
        "{}",
        pulled.stdout
    );
    let folder = workstation.only_run();
    for i in [0, 1, files / 2, files - 1] {
        let text = std::fs::read_to_string(folder.join(format!("{}/{i}", i / 1000))).expect("arrived");
        assert_eq!(text, format!("{:04}", i % 10000));
    }
}

#[test]
fn outputs_that_nobody_takes_are_no_success() {
    let workstation = shell("echo precious > $NAUTA_OUTPUTS/model; echo done");
    without_mailbox(&workstation);
    let _cleanup = Cleanup(&workstation);
    let (run, succeeded) = detached(&workstation, &["--drain", "2s"]);
    assert!(!succeeded, "whoever looks at the Job alone must not take it for a success");
    let status = workstation.succeeds(&["status", &run]);
    assert!(status.stdout.contains("succeeded, outputs incomplete"), "{}", status.stdout);
    assert!(status.stdout.contains("1 files (9 bytes) were not sent: model"), "{}", status.stdout);
    let json = workstation.succeeds(&["--json", "status", &run]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (json["code"].as_u64(), json["missing_outputs"].as_array().map(Vec::len)),
        (Some(125), Some(1)),
        "{json}"
    );
    let listed = workstation.succeeds(&["list", "--target", "lab"]).stdout;
    let line = listed.lines().find(|line| line.starts_with(&run)).expect("listed");
    assert!(line.contains("  incomplete  "), "{line}");
    let pulled = workstation.nauta(&["pull", &run]);
    assert_eq!(pulled.code, 3, "{pulled:?}");
    assert!(!pulled.stdout.contains("complete"), "{}", pulled.stdout);
}

#[test]
fn outputs_that_the_mailbox_does_not_take_come_over_the_control_stream() {
    let workstation = shell(
        "cd $NAUTA_OUTPUTS; echo precious > model; dd if=/dev/urandom of=large bs=1M count=40 2>/dev/null; sha256sum large > sum",
    );
    without_mailbox(&workstation);
    let _cleanup = Cleanup(&workstation);
    let done = workstation.succeeds(&["run", "--drain", "10s"]);
    let folder = workstation.only_run();
    assert_eq!(std::fs::read_to_string(folder.join("model")).expect("arrived"), "precious\n", "{}", done.stderr);
    let sum = std::fs::read_to_string(folder.join("sum")).expect("arrived");
    let digest = nauta::digest::Digest::of(std::fs::read(folder.join("large")).expect("arrived"));
    assert_eq!(sum.split(' ').next(), Some(digest.hex()));
    let run = folder.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    // The Job is complete a moment after its last pod is.
    let _ = kubectl(&["wait", "--for=condition=complete", "--timeout=60s", &format!("job/{run}")]);
    let status = workstation.succeeds(&["status", &run]);
    assert!(status.stdout.contains(": succeeded\n"), "all is here: {}", status.stdout);
}
