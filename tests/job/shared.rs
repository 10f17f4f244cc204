//! A folder that all ranks of a run share: a volume here, a claim on the cluster, and why there is none.

use std::process::Stdio;

use serde_json::json;

use super::cluster::{Cleanup, base};
use crate::support::{Workstation, apply, environment, interrupt, kubectl, nothing_of, read_until, tool};

/// Each rank writes a file there and reads the other's.
const MEET: &str = "
    test {shared} = $NAUTA_SHARED && echo from $NAUTA_RANK > {shared}/rank-$NAUTA_RANK.txt
    until [ -s {shared}/rank-0.txt ] && [ -s {shared}/rank-1.txt ]; do sleep 0.05; done
    cat {shared}/rank-*.txt";

fn shell(base: &str) -> Workstation {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[project]\nname = 'shared'\n[environment]\nbase = '{base}'\n"));
    workstation
}

/// Both ranks have read both files, and both files have come back.
fn have_met(workstation: &Workstation, stdout: &str) {
    assert_eq!(stdout.matches("from ").count(), 4, "{stdout}");
    for rank in 0..2 {
        let path = workstation.only_run().join(format!("rank-{rank}.txt"));
        assert_eq!(std::fs::read_to_string(path).expect("arrived"), format!("from {rank}\n"));
    }
    assert!(!workstation.only_run().join("rank-1").exists(), "what is shared comes once");
}

#[test]
fn ranks_on_this_workstation_share_a_volume_for_as_long_as_they_run() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let done = workstation.succeeds(&["run", "--local", "-n", "2", "--shared", "1Gi", "--", "sh", "-c", MEET]);
    have_met(&workstation, &done.stdout);
    let run = workstation.only_run();
    nothing_of(&run.file_name().expect("a name").display().to_string());

    let without = workstation.succeeds(&["run", "--local", "--", "sh", "-c", "echo {shared} ${NAUTA_SHARED-none}"]);
    assert!(without.stdout.contains("[0] {shared} none\n"), "{without:?}");
    let wrong = workstation.nauta(&["run", "--local", "--shared", "much", "--", "true"]);
    assert!(wrong.code == 125 && wrong.stderr.contains("`much`"), "{wrong:?}");
}

/// Storage of one node, so that both ranks go there.
#[test]
fn ranks_on_the_cluster_share_a_claim_for_as_long_as_they_run() {
    let workstation = shell(&base("NAUTA_TEST_IMAGE_BUSYBOX"));
    let class = format!("shared-{}", std::process::id());
    let path = format!("/var/{class}");
    tool("docker", &["exec", "nauta-test-node-1", "mkdir", "-p", "-m", "777", &path]);
    apply(&[json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": class },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteMany"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": path },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"] },
            ] }] } },
        },
    })]);
    workstation.configure_cluster(&format!("storage_class = '{class}'\n"));
    let cleanup = Cleanup(&workstation);
    let done = workstation.succeeds(&["run", "-n", "2", "--shared", "1Gi", "--", "sh", "-c", MEET]);
    have_met(&workstation, &done.stdout);
    let run = workstation.only_run();
    let claim = format!("pvc/{}-shared", run.file_name().expect("a name").display());
    assert!(kubectl(&["get", "-o", "name", &claim]).contains("claim"));
    // With its Job, which is removed some time after the run's end, or now.
    drop(cleanup);
    kubectl(&["wait", "--for=delete", "--timeout=60s", &claim]);
    kubectl(&["delete", "pv", &class]);
    tool("docker", &["exec", "nauta-test-node-1", "rm", "-r", &path]);
}

#[test]
fn why_there_is_no_storage_is_said() {
    let workstation = shell(&base("NAUTA_TEST_IMAGE_BUSYBOX"));
    workstation.configure_cluster("storage_class = 'no-such-class'\n");
    let _cleanup = Cleanup(&workstation);
    let mut command = workstation.command(&["run", "-n", "2", "--shared", "1Gi", "--", "true"]);
    let mut run = command.stderr(Stdio::piped()).spawn().expect("started");
    let told = "no storage for --shared: storageclass.storage.k8s.io \"no-such-class\" not found";
    let read = read_until(run.stderr.as_mut().expect("piped"), told);
    assert!(read.ends_with(told), "{read}");
    interrupt(&run);
    assert_eq!(run.wait().expect("ended").code(), Some(130));
    let name = workstation.only_run().file_name().expect("a name").display().to_string();
    let _ = workstation.succeeds(&["cancel", &name]);

    // Who may read the classes is told before anything is built.
    let administrator = shell(&base("NAUTA_TEST_IMAGE_BUSYBOX"));
    let (kubeconfig, namespace) = (environment("NAUTA_TEST_KUBECONFIG"), environment("NAUTA_TEST_NAMESPACE"));
    let registry = environment("NAUTA_TEST_REGISTRY");
    administrator.configure(&format!(
        "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{registry}/tests'\n"
    ));
    let refused = administrator.nauta(&["run", "--shared", "1Gi", "--", "true"]);
    let has_words =
        ["has no default storage class", "`storage_class`"].iter().all(|word| refused.stderr.contains(word));
    assert!(refused.code == 125 && has_words, "{refused:?}");
}
