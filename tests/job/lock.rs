//! `nauta.lock`: a project is built on the images it was built on.

use super::cluster::shell;
use crate::support::{Workstation, environment, tool};

/// Puts an image with that word in it into the test registry as `name`.
fn publish(name: &str, word: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM {base}\nRUN echo {word} > /word\n"))
        .expect("written");
    tool("docker", &["build", "-q", "-t", name, folder.path().to_str().expect("text")]);
    tool("docker", &["push", "-q", name]);
    tool("docker", &["rmi", name]);
}

/// The word that the program of a project finds in its environment.
fn word(workstation: &Workstation) -> String {
    let done = workstation.succeeds(&["run", "--local", "--", "cat", "/word"]);
    done.stdout.trim().trim_start_matches("[0] ").to_owned()
}

#[test]
fn a_base_that_moves_is_followed_only_when_that_is_asked_for() {
    let unique = format!("{:?}", std::time::SystemTime::now()).replace(|c: char| !c.is_ascii_digit(), "");
    let name = format!("{}/tests/moving:{unique}", environment("NAUTA_TEST_REGISTRY"));
    let workstation = shell("true");
    publish(&name, "one");
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{name}'\n[run]\ncommand = 'true'\n"));
    assert_eq!(word(&workstation), "one");
    let lock = || std::fs::read_to_string(workstation.project.join("nauta.lock")).expect("written");
    let first = lock();
    assert!(first.contains(&format!("\"{name}\" = \"sha256:")), "{first}");
    publish(&name, "two");
    assert_eq!(word(&workstation), "one");
    assert!(workstation.succeeds(&["lock"]).stdout.contains("unchanged"));
    assert_eq!(lock(), first);
    let moved = workstation.succeeds(&["lock", "--update"]);
    assert!(moved.stdout.contains("moved") && lock() != first, "{}", moved.stdout);
    assert_eq!(word(&workstation), "two");
    // The same for a Dockerfile of one's own, whose text stays as it is.
    workstation
        .write("nauta.toml", "[run]\ncommand = 'true'\n")
        .write("Dockerfile", &format!("FROM {name} AS base\nRUN echo more >> /word\nFROM base\n"));
    assert_eq!(word(&workstation), "two\n[0] more");
    publish(&name, "three");
    workstation.write("Dockerfile", &format!("FROM {name} AS base\nRUN echo less >> /word\nFROM base\n"));
    assert_eq!(word(&workstation), "two\n[0] less");
    let _ = workstation.succeeds(&["--json", "lock", "--update"]);
    assert_eq!(word(&workstation), "three\n[0] less");
}

#[test]
fn what_cannot_be_locked_is_said() {
    let workstation = shell("true");
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n[run]\ncommand = 'true'\n"));
    let only_here = workstation.succeeds(&["lock"]);
    assert!(only_here.stdout.contains("only in Docker here"), "{}", only_here.stdout);
    assert!(!workstation.project.join("nauta.lock").exists());
    let nowhere = format!("{}/tests/nobody:has", environment("NAUTA_TEST_REGISTRY"));
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{nowhere}'\n[run]\ncommand = 'true'\n"));
    let update = workstation.nauta(&["lock", "--update"]);
    assert!(update.code == 1 && update.stderr.contains(&nowhere) && update.stderr.contains("hint:"), "{update:?}");
    workstation.write("nauta.lock", "version = 1\n<<<<<<< ours\n");
    let conflict = workstation.nauta(&["lock"]);
    assert!(conflict.code == 1 && conflict.stderr.contains("nauta.lock` line 2"), "{conflict:?}");
}
