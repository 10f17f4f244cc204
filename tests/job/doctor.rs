//! `nauta doctor` before a run, and `nauta init` in a directory that has a program.

use crate::support::{Workstation, environment};

fn findings(workstation: &Workstation, arguments: &[&str], code: i32) -> serde_json::Value {
    let done = workstation.nauta(&[&["--json", "doctor"], arguments].concat());
    assert_eq!(done.code, code, "{}\n{}", done.stdout, done.stderr);
    let mut document: serde_json::Value = serde_json::from_str(&done.stdout).expect("one document");
    assert_eq!(document["good"], code == 0);
    document["findings"].take()
}

fn of<'a>(findings: &'a serde_json::Value, what: &str) -> &'a serde_json::Value {
    findings.as_array().expect("a list").iter().find(|finding| finding["what"] == what).expect("looked at")
}

#[test]
fn everything_is_there() {
    let workstation = Workstation::new();
    let here = findings(&workstation, &[], 0);
    assert!(of(&here, "docker")["words"].as_str().expect("text").contains("builds with"), "{here}");
    assert_eq!(of(&here, "runs go to")["words"], "Docker on this workstation (from the default)", "{here}");
    workstation.configure_cluster("");
    let lab = findings(&workstation, &[], 0);
    assert!(of(&lab, "cluster")["words"].as_str().expect("text").contains("takes runs"), "{lab}");
    assert!(of(&lab, "registry")["words"].as_str().expect("text").contains("takes pushes without a login"), "{lab}");
}

#[test]
fn what_is_missing_is_said_together_with_what_to_do() {
    let mut workstation = Workstation::new();
    let registry = environment("NAUTA_TEST_REGISTRY_AUTH");
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{}'\nnamespace = 'nauta-test'\nregistry = '{registry}/tests'\n",
        environment("NAUTA_TEST_KUBECONFIG_EXPIRED")
    ));
    workstation.set("DOCKER_HOST", "unix:///no/such/socket");
    let found = findings(&workstation, &["--target", "lab"], 3);
    for (what, words) in [
        ("docker", "/no/such/socket"),
        ("cluster", "the client certificate expired"),
        ("registry", "asks for credentials"),
    ] {
        let finding = of(&found, what);
        assert!(finding["good"] == false && finding["words"].as_str().expect("text").contains(words), "{finding}");
        assert!(!finding["hints"].as_array().expect("a list").is_empty(), "{finding}");
    }
    let table = workstation.nauta(&["doctor"]);
    assert!(table.stdout.contains(&format!("hint: run `nauta login {registry}`")), "{}", table.stdout);
}

#[test]
fn init_writes_down_what_it_finds_and_that_runs() {
    let workstation = Workstation::new();
    workstation.write("main.py", "import os; print('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'])");
    let _ = workstation.succeeds(&["init"]);
    let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("written");
    assert!(text.contains("command = \"python3 main.py\"") && text.contains("[environment]"), "{text}");
    let again = workstation.nauta(&["init"]);
    assert!(again.code == 1 && again.stderr.contains("nauta.toml"), "{}", again.stderr);
    let base = environment("NAUTA_TEST_IMAGE_PYTHON");
    workstation.write("nauta.toml", &text.replace("python:3.12-slim", &base).replace("nodes = 1", "nodes = 2"));
    let done = workstation.succeeds(&["run", "--local"]);
    assert!(done.stdout.contains("rank 0 of 2") && done.stdout.contains("rank 1 of 2"), "{}", done.stdout);
}

#[test]
fn a_program_that_ignores_its_rank_runs_independently() {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n[run]\ncommand = 'echo the same'\n"));
    let done = workstation.succeeds(&["run", "--local", "-n", "3"]);
    assert_eq!(done.stdout.matches("the same").count(), 3, "{}", done.stdout);
}
