//! What another user of the machine may not read.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::tool;

/// A folder of a user without rights, with a copy of nauta that she may run.
struct Guest(tempfile::TempDir);

const NOBODY: u32 = 65534;

impl Guest {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // The build's own folder may be closed to others. By a process of its own: a file that is open for writing when another
        // test forks cannot be started.
        let _ = tool("cp", &[env!("CARGO_BIN_EXE_nauta"), folder.path().join("nauta").to_str().expect("text")]);
        std::fs::create_dir(folder.path().join("project")).expect("created");
        let guest = Self(folder);
        guest.owns(guest.0.path());
        guest.owns(&guest.project());
        guest
    }

    fn project(&self) -> std::path::PathBuf {
        self.0.path().join("project")
    }

    #[expect(clippy::unused_self, reason = "reads as what it is")]
    fn owns(&self, path: &Path) {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("tests that change users run as root");
    }

    fn nauta(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.0.path().join("nauta"));
        command.args(arguments).env_clear().env("HOME", self.0.path()).current_dir(self.project());
        command.env("DOCKER_HOST", format!("unix://{}", self.0.path().join("docker.sock").display()));
        command.uid(NOBODY).gid(NOBODY).output().expect("nauta starts")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_nothing_is_made() {
    let guest = Guest::new();
    for (name, mode) in [("train.py", 0o644), ("secret.bin", 0o600)] {
        let path = guest.project().join(name);
        std::fs::write(&path, "print(1)").expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("ours");
    }
    let output = guest.nauta(&["run", "--local"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.contains("secret.bin") && text.contains("ermission denied") && text.contains("hint:"), "{text}");
    assert!(text.contains(".nautaignore"), "{text}");
    assert!(!guest.project().join("runs").exists());
}

#[test]
fn a_project_file_that_cannot_be_read_is_named() {
    let guest = Guest::new();
    std::fs::write(guest.project().join("nauta.toml"), "").expect("written");
    std::fs::set_permissions(guest.project().join("nauta.toml"), PermissionsExt::from_mode(0o600)).expect("ours");
    let output = guest.nauta(&["run", "--local"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.contains("nauta.toml") && text.contains("ermission denied") && text.contains("hint:"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let guest = Guest::new();
    std::fs::write(guest.project().join("train.py"), "").expect("written");
    std::os::unix::fs::chown(guest.project(), Some(0), Some(0)).expect("root");
    let output = guest.nauta(&["init"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("nauta.toml") && text.contains("ermission denied"), "{text}");
}

#[test]
fn a_docker_socket_without_permission_says_how_to_get_it() {
    let guest = Guest::new();
    std::fs::write(guest.project().join("train.py"), "").expect("written");
    let socket = guest.0.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o600)).expect("ours");
    let output = guest.nauta(&["run", "--local"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.contains("docker.sock") && text.contains("usermod -aG docker"), "{text}");
    assert!(!guest.project().join("runs").exists());
}
